//! Leaders: the first one, voters that have promised too much, restarts, transfers, odd clusters.

use synod_core::{ReplicatedLog, Role};
use synod_paxos::Ballot;
use synod_paxos::log::{Body, Detail};

use super::cluster::{Cluster, LONGEST_ROUND, i, ms, n};

const LIMIT: core::time::Duration = LONGEST_ROUND.saturating_mul(4);

#[test]
fn the_first_election_takes_no_longer_than_any_other() {
    for size in [2, 3, 4, 5, 7] {
        for seed in 0..20 {
            let mut cluster = Cluster::with(size, move |builder| {
                let id = builder.clone().build().unwrap().id();
                builder.seed(seed * 100 + id.0)
            });
            let took = cluster.progress(LIMIT);
            assert!(took.is_some(), "{size} nodes, seed {seed}: nobody leads");
            cluster.run(LIMIT);
            let rest = cluster.now;
            cluster.run(ms(2000));
            assert_eq!(cluster.ballots_since(rest), 0, "{size} nodes, seed {seed}");
        }
    }
}

#[test]
fn one_node_is_a_cluster() {
    let mut cluster = Cluster::new(1);
    cluster.run(ms(1));
    assert_eq!(cluster.leader(), Some(n(1)), "at once: it waits for nobody");
    assert_eq!(cluster.commit(n(1), "a"), i(1));
    cluster.crash(n(1));
    cluster.restart(n(1));
    cluster.run(ms(1));
    assert_eq!(cluster.commit(n(1), "b"), i(2));
    assert_eq!(cluster.commands(n(1)), ["a", "b"]);
    assert_eq!(cluster.sent.len(), 0, "and talks to nobody");
}

#[test]
fn ids_are_names_and_not_places() {
    let ids = [7, 40, 1000, u64::MAX - 1, u64::MAX];
    let mut cluster = Cluster::of(&ids, |builder| builder.retained_entries(0));
    let leader = cluster.elect();
    for k in 0..50 {
        cluster.commit(leader, &k.to_string());
    }
    cluster.run(ms(10));
    for id in ids.map(n) {
        assert_eq!(cluster.commands(id).len(), 50, "{id}");
        cluster.snapshot(id, i(40), b"forty");
        assert_eq!(cluster.status(id).compacted, i(40), "{id}");
    }
    cluster.crash(leader);
    let next = cluster.elect();
    cluster.commit(next, "after");
    cluster.restart(leader);
    cluster.run(ms(300));
    assert_eq!(
        cluster.status(leader).committed,
        cluster.status(next).committed
    );
}

/// A voter that has promised itself a ballot that nobody else has heard of takes part in no lower
/// one. The leader goes above it, so that the vote is not missing when it is needed.
#[test]
fn a_stranded_voter_is_won_back() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    cluster.crash(n(1));
    cluster.stuck = vec![n(2), n(3)];
    let start = cluster.now;
    while cluster.ballots_since(start) == 0 {
        cluster.run(ms(1));
    }
    let high = cluster.ballots.last().unwrap().1;
    let (stranded, other) = (high.proposer, n(5 - high.proposer.0));
    // Its promise has reached the disk, and no word of it anybody.
    cluster.crash_keeping(stranded, usize::MAX);
    cluster.stuck.clear();
    // The others go on in a ballot that is as low as it may be.
    cluster.restart(n(1));
    let leader = cluster.elect();
    cluster.commit(leader, "b");
    cluster.run(ms(500));
    cluster.restart(stranded);
    assert_eq!(
        cluster.status(stranded).era,
        high.round,
        "it keeps its promise"
    );
    let start = cluster.now;
    while cluster.status(stranded).leader.is_none() {
        cluster.run(ms(1));
        assert!(cluster.now.since(start) < LIMIT, "nobody wins it back");
    }
    cluster.run(ms(200));
    let leader = cluster.leader().unwrap();
    let third = [n(1), other, stranded]
        .into_iter()
        .find(|id| *id != leader && *id != stranded);
    if let Some(third) = third.filter(|_| leader != stranded) {
        cluster.isolate(third);
        cluster.commit(leader, "c");
    }
    cluster.run(ms(10));
    assert_eq!(
        cluster.status(stranded).committed,
        cluster.status(leader).committed
    );
}

/// The same with a promise far above what anybody else has heard of: no attempt of the leader lands
/// below it.
#[test]
fn a_voter_far_above_is_won_back_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    // Alone with a disk and a network that swallows its questions, it cannot be a candidate. But it
    // may have been asked by one that is gone: the word of a ballot of node 2.
    cluster.part(n(2), n(3));
    let high = Ballot {
        round: 1_000,
        proposer: n(2),
    };
    let (now, status) = (cluster.now, cluster.status(n(2)));
    let message = synod_paxos::log::Message {
        generation: status.generation,
        ballot: high,
        epoch: synod_paxos::log::Epoch(0),
        body: Body::Prepare { after: i(0) },
    };
    let envelope = synod_core::Envelope {
        from: n(2),
        to: n(3),
        link: synod_core::LinkId(1),
        message,
    };
    synod_core::Machine::step(cluster.log(n(3)), now, envelope);
    cluster.pump();
    assert_eq!(cluster.status(n(3)).era, 1_000);
    let start = cluster.now;
    while cluster.status(n(3)).leader.is_none() {
        cluster.run(ms(1));
        assert!(cluster.now.since(start) < LIMIT, "nobody wins it back");
    }
    assert_eq!(cluster.ballots_since(start), 1, "one attempt is enough");
    cluster.run(ms(1000));
    assert_eq!(cluster.ballots_since(start), 1);
}

/// It may have proposed in that ballot what it does not remember: it needs a new one.
#[test]
fn a_leader_that_restarts_does_not_lead_on() {
    for size in [1, 3] {
        let mut cluster = Cluster::new(size);
        cluster.led_by(n(1));
        cluster.commit(n(1), "a");
        let old = cluster.status(n(1)).era;
        cluster.crash(n(1));
        cluster.restart(n(1));
        let start = cluster.now;
        let status = cluster.status(n(1));
        assert_eq!(status.era, old, "its promise is durable");
        assert!(size == 1 || status.role == Role::Follower);
        assert!(cluster.progress(LIMIT).is_some());
        let rise = |(at, ballot): &(_, Ballot)| *at < start || ballot.round > old;
        assert!(cluster.ballots.iter().all(rise), "{:?}", cluster.ballots);
        let leader = cluster.leader().unwrap();
        assert!(cluster.status(leader).era > old);
    }
}

#[test]
fn leadership_is_handed_over() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    for to in [2, 3, 1] {
        let leader = cluster.leader().unwrap();
        let (now, start) = (cluster.now, cluster.now);
        cluster.log(leader).transfer(now, n(to)).unwrap();
        cluster.pump();
        cluster.run(ms(6));
        assert_eq!(cluster.leader(), Some(n(to)));
        assert_eq!(cluster.status(leader).role, Role::Follower);
        cluster.run(ms(1000));
        assert_eq!(cluster.ballots_since(start), 1, "and nobody wants it back");
        cluster.commit(n(to), "on");
    }
}

/// Whoever takes over needs not have everything: phase 1 gives it what it lacks.
#[test]
fn leadership_goes_to_one_that_is_behind() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.run(ms(100));
    // Everything but entries goes to node 3.
    cluster.lose_unless(|envelope| {
        let accept = matches!(&envelope.message.body, Body::Accept(_));
        envelope.to != n(3) || !accept
    });
    for k in 0..10 {
        cluster.commit(n(1), &k.to_string());
    }
    let now = cluster.now;
    cluster.log(n(1)).transfer(now, n(3)).unwrap();
    cluster.pump();
    cluster.run(ms(10));
    assert_eq!(cluster.leader(), Some(n(3)));
    assert_eq!(cluster.commands(n(3)).len(), 10);
    let recovered = cluster.servers[&n(3)]
        .details()
        .filter_map(|detail| match detail {
            Detail::Recovered {
                through, blanks, ..
            } => Some((*through, *blanks)),
            _ => None,
        });
    assert_eq!(
        recovered.last(),
        Some((i(10), 0)),
        "nothing is lost, nothing made up"
    );
}

#[test]
fn leadership_goes_to_voters_and_from_the_leader() {
    let mut cluster = Cluster::of(&[1, 2, 3, 4], |builder| {
        builder.voters([n(1), n(2), n(3)]).learners([n(4)])
    });
    cluster.led_by(n(1));
    let now = cluster.now;
    let mut ask = |at, to| {
        let refused = cluster.log(n(at)).transfer(now, n(to));
        refused.map_err(|rejected| rejected.to_string())
    };
    assert_eq!(ask(1, 1), Ok(()), "it leads already");
    assert_eq!(
        ask(1, 4),
        Err("n4 is not a voter (the leader is n1)".into())
    );
    assert_eq!(
        ask(1, 9),
        Err("n9 is not a voter (the leader is n1)".into())
    );
    assert_eq!(
        ask(2, 3),
        Err("this node is not the leader (the leader is n1)".into())
    );
    assert_eq!(
        ask(4, 1),
        Err("this node is not the leader (the leader is n1)".into())
    );
}
