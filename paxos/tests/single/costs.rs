//! What a decree costs: messages and message delays, measured.

use synod_paxos::single::{Body, Event, Learning};

use crate::cluster::{Cluster, n, nodes, value};

/// `m` acceptors, and `l` learners on nodes of their own, the first of which proposes.
fn apart(m: u64, l: u64, learning: Learning) -> Cluster {
    let learners: Vec<u64> = (11..11 + l).collect();
    let ids: Vec<u64> = (1..=m).chain(learners.iter().copied()).collect();
    Cluster::new(&ids, |builder| {
        builder
            .acceptors(nodes(1..=m))
            .proposers(nodes([11]))
            .learners(nodes(learners.clone()))
            .learning(learning)
    })
}

/// Proposes at a node and delivers, a message delay at a time; after how many delays the first and the
/// last of these nodes have learned.
fn delays(cluster: &mut Cluster, at: u64, learners: &[u64]) -> (usize, usize) {
    cluster.propose(at, value(at)).unwrap();
    let (mut first, mut delays) = (None, 0);
    loop {
        let known = |id: &&u64| cluster.decree(**id).chosen().is_some();
        let count = learners.iter().filter(known).count();
        if count > 0 && first.is_none() {
            first = Some(delays);
        }
        if count == learners.len() {
            return (first.unwrap(), delays);
        }
        assert!(
            !cluster.net.is_empty(),
            "{count} of {learners:?} have learned"
        );
        cluster.round();
        delays += 1;
    }
}

/// Paxos Made Simple §2.3: "a number of responses equal to the product of the number of acceptors and
/// the number of learners", or "the sum", or in between.
#[test]
fn messages_of_the_learning_schemes() {
    println!("| acceptors | learners | scheme | votes and tellings | all messages | delays |");
    println!("|---|---|---|---|---|---|");
    for (m, l) in [(3, 3), (3, 8), (5, 5), (5, 20)] {
        for (learning, expected) in [
            (Learning::Everyone, m * l),
            (Learning::Distinguished, m + l - 1),
            (Learning::First(2), m * 2 + l - 2),
        ] {
            let mut cluster = apart(m, l, learning);
            let learners: Vec<u64> = (11..11 + l).collect();
            let (first, last) = delays(&mut cluster, 11, &learners);
            cluster.settle();
            let about = cluster
                .count_sent(|body| matches!(body, Body::Accepted { .. } | Body::Chosen { .. }));
            let all = cluster.sent.len();
            println!("| {m} | {l} | {learning:?} | {about} | {all} | {first} to {last} |");
            assert_eq!(about as u64, expected, "{m} {l} {learning:?}");
            // Prepare, promise and accept go to or come from every acceptor once.
            assert_eq!(all as u64, 3 * m + expected);
            let telling = usize::from(learning != Learning::Everyone);
            assert_eq!((first, last), (4, 4 + telling));
        }
    }
}

/// Three nodes of all roles: what a user sees first.
#[test]
fn a_classic_decree_takes_four_delays() {
    let mut cluster = Cluster::new(&[1, 2, 3], |builder| builder.acceptors(nodes(1..=3)));
    let (first, last) = delays(&mut cluster, 1, &[1, 2, 3]);
    println!("classic, 3 nodes of all roles: {first} delays, {last} for all");
    // A node that votes late has heard of another vote by then.
    assert_eq!((first, last), (3, 4));
    cluster.settle();
    println!("messages: {}", cluster.sent.len());
    // Two each of prepare, promise, accept; and each of three tells two of its vote.
    assert_eq!(cluster.sent.len(), 2 + 2 + 2 + 6);
    assert!(
        cluster
            .server(1)
            .events
            .iter()
            .any(|e| matches!(e, Event::Won(_)))
    );
}

/// Fast Paxos §1: two message delays from the client, if its values do not collide.
#[test]
fn a_fast_decree_takes_two_delays() {
    for at in 1..=4 {
        let mut cluster = Cluster::new(&[1, 2, 3, 4], |builder| {
            builder.fast_acceptors(nodes(1..=4)).distinguished(n(1))
        });
        cluster.settle();
        let before = cluster.sent.len();
        let (_, last) = delays(&mut cluster, at, &[1, 2, 3, 4]);
        cluster.settle();
        let (opened, more) = (before, cluster.sent.len() - before);
        println!("fast, 4 nodes, client at {at}: {last} delays, {opened} + {more} messages");
        assert_eq!(last, 2);
        // Phase 1 and "any" beforehand; then the value to three, and each of four tells three.
        assert_eq!((opened, more), (9, 3 + 12));
    }
}

/// A collision costs the coordinator two delays more: its votes are promises already.
#[test]
fn a_collision_is_recovered_in_two_more_delays() {
    for (recovery, expected) in [
        (synod_paxos::single::Recovery::Coordinated, 4),
        (synod_paxos::single::Recovery::Uncoordinated, 3),
    ] {
        let mut cluster = Cluster::new(&[1, 2, 3, 4, 11, 12], |builder| {
            builder
                .fast_acceptors(nodes(1..=4))
                .proposers(nodes([11, 12]))
                .learners(nodes([11, 12]))
                .distinguished(n(11))
                .recovery(recovery)
        });
        cluster.settle();
        let now = cluster.now;
        cluster.propose(11, value(11)).unwrap();
        cluster.propose(12, value(12)).unwrap();
        // Two acceptors hear of one first, two of the other.
        let late = |e: &synod_core::Envelope<synod_paxos::single::Message>| {
            (e.from == n(11)) == (e.to.0 > 2)
        };
        cluster.net.sort_by_key(late);
        let mut delays = 0;
        while cluster.decree(11).chosen().is_none() || cluster.decree(12).chosen().is_none() {
            cluster.round();
            delays += 1;
            assert!(delays < 20, "{recovery:?}");
        }
        println!("collision, {recovery:?}: {delays} delays");
        assert_eq!(delays, expected, "{recovery:?}");
        assert_eq!(cluster.now, now, "without any timer");
    }
}
