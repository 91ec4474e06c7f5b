//! Nodes that come back with another disk: an acceptor that has lost its votes never votes again under
//! its name, and a proposer that has lost its ballots never proposes.

use synod_core::{Generation, Machine};
use synod_paxos::single::{Body, Config, Decree, Event, Record, Rejected};

use crate::cluster::{Cluster, n, nodes, value};
use crate::solo::{Solo, accept, prepare};

/// A value is chosen by 1 and 2; 2 comes back empty. With its help a majority would know nothing of
/// the value.
fn forgetful() -> Cluster {
    let mut cluster = Cluster::new(&[1, 2, 3], |builder| builder.acceptors(nodes(1..=3)));
    // All have met.
    for (a, b) in [(1, 2), (2, 3), (3, 1), (2, 1), (3, 2), (1, 3)] {
        let ask = Body::Ask;
        let Record::Storage { generation, .. } = cluster.server(a).disk[0] else {
            unreachable!("a storage begins with its name");
        };
        cluster.net.push(synod_core::Envelope {
            from: n(a),
            to: n(b),
            link: synod_core::LinkId(1),
            message: synod_paxos::single::Message {
                generation,
                body: ask,
            },
        });
    }
    cluster.settle();
    cluster.propose(1, value(8)).unwrap();
    cluster.round();
    cluster.round();
    cluster.pass(|e| e.to == n(2) && matches!(e.message.body, Body::Accept { .. }));
    cluster.lose(|_| true);
    let phases = cluster.server(1).config.quorums().clone();
    assert_eq!(cluster.truth(&phases), [value(8).id]);
    cluster.crash(1, 0);
    cluster.crash(2, 0);
    cluster
}

fn wipe(cluster: &mut Cluster, id: u64) {
    let server = cluster.server(id);
    server.disk.clear();
    // A start is given a fresh seed, and so draws another life.
    let config = Config::builder(n(id)).acceptors(nodes(1..=3)).seed(999);
    server.config = config.build().unwrap();
}

#[test]
fn an_acceptor_that_lost_its_votes_does_not_vote() {
    let mut cluster = forgetful();
    wipe(&mut cluster, 2);
    cluster.restart(2);
    cluster.propose(3, value(9)).unwrap();
    for _ in 0..20 {
        cluster.settle();
        cluster.wait();
    }
    assert_eq!(
        cluster.decree(3).chosen(),
        None,
        "2 does not count, 1 is down"
    );
    let amnesia = |e: &Event| matches!(e, Event::Amnesia { peer, .. } if *peer == n(2));
    assert!(cluster.server(3).events.iter().any(amnesia));
    let fenced = |e: &Event| matches!(e, Event::Fenced { .. });
    assert!(cluster.server(2).events.iter().any(fenced));
    cluster.restart(1);
    cluster.run_until_learned(&[3], core::time::Duration::from_secs(10));
    assert_eq!(cluster.decree(3).chosen(), Some(&value(8)));
}

/// With its own disk it is welcome.
#[test]
fn an_acceptor_with_its_disk_goes_on() {
    let mut cluster = forgetful();
    cluster.restart(2);
    cluster.propose(3, value(9)).unwrap();
    cluster.run_until_learned(&[2, 3], core::time::Duration::from_secs(10));
    assert_eq!(cluster.decree(3).chosen(), Some(&value(8)));
}

/// The fence is durable: after a restart it still votes for nothing and proposes nothing, and learns.
#[test]
fn the_fence_outlives_a_restart() {
    let config = Config::builder(n(1))
        .acceptors(nodes(1..=3))
        .build()
        .unwrap();
    let mut solo = Solo::new(config);
    let known = Generation(77);
    solo.hear(2, Body::Stranger { known });
    assert_eq!(solo.events, [Event::Fenced { known }]);
    for _ in 0..2 {
        assert_eq!(solo.hear(3, prepare(2, 3)), []);
        assert_eq!(solo.hear(3, accept(2, 3, 8)), []);
        let refused = solo.decree.propose(solo.now, value(8));
        assert_eq!(refused, Err(Rejected::Fenced(value(8))));
        assert_eq!(solo.decree.vote(), None);
        solo.restart();
    }
    solo.hear(3, Body::Chosen { value: value(8) });
    assert_eq!(solo.decree.chosen(), Some(&value(8)));
}

/// A peer that is confused about this node's life and names the right one does no harm.
#[test]
fn its_own_life_is_no_fence() {
    let config = Config::builder(n(1))
        .acceptors(nodes(1..=3))
        .build()
        .unwrap();
    let mut solo = Solo::new(config);
    let Record::Storage { generation, .. } = solo.disk[0] else {
        panic!("a storage begins with its name");
    };
    solo.hear(2, Body::Ask);
    solo.drops(2, Body::Stranger { known: generation });
    assert!(!solo.hear(3, prepare(2, 3)).is_empty());
}

/// A first contact is durable before anything is said to the peer.
#[test]
fn a_peers_life_is_written_before_it_is_answered() {
    let mut solo = Solo::acceptor(|builder| builder);
    let envelope = solo.envelope(11, prepare(2, 11));
    solo.decree.step(solo.now, envelope);
    assert!(matches!(
        solo.decree.poll(),
        Some(synod_core::Output::Persist(..))
    ));
    assert_eq!(solo.decree.poll(), None);
    // A stranger in 11's place is told so, and nothing else.
    let mut solo = Solo::acceptor(|builder| builder);
    solo.hear(11, prepare(2, 11));
    solo.restart();
    let mut envelope = solo.envelope(11, prepare(4, 11));
    envelope.message.generation = Generation(5);
    let known = Generation(11);
    solo.decree.step(solo.now, envelope);
    assert_eq!(solo.drain(), [(n(11), Body::Stranger { known })]);
    assert_eq!(
        solo.events,
        [Event::Amnesia {
            peer: n(11),
            known,
            seen: Generation(5)
        }]
    );
}

/// Lives differ by seed and by node.
#[test]
fn lives_are_drawn_from_the_seed() {
    let life = |id: u64, seed: u64| {
        let config = Config::builder(n(id)).acceptors(nodes(1..=3)).seed(seed);
        let mut decree =
            Decree::new(config.build().unwrap(), [], synod_core::Instant::START).unwrap();
        match decree.poll() {
            Some(synod_core::Output::Persist(_, records)) => records.iter().next().cloned(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(life(1, 1), life(1, 1));
    assert_ne!(life(1, 1), life(1, 2));
    assert_ne!(life(1, 1), life(2, 1));
}
