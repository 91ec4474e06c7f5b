//! Thrifty mode: who is sent entries when, and what happens when a member of the quorum falls silent.

use synod_core::{NodeId, ReadLevel};
use synod_paxos::log::ConfigBuilder;

use super::cluster::{Cluster, LONGEST_ROUND, i, ms, n};

const ON: fn(ConfigBuilder) -> ConfigBuilder = |builder| builder.thrifty(true);

/// Led by node 1, with heartbeats each 50 ms; and those that entries went to first.
fn thrifty(size: u64) -> (Cluster, Vec<NodeId>) {
    let mut cluster = Cluster::with(size, ON);
    cluster.led_by(n(1));
    cluster.commit(n(1), "a");
    let first = holders(&cluster, 1);
    (cluster, first)
}

fn holders(cluster: &Cluster, index: u64) -> Vec<NodeId> {
    let holds = |id: &NodeId| cluster.status(*id).last >= i(index);
    let ids = cluster.ids().into_iter();
    ids.filter(|id| *id != n(1)).filter(holds).collect()
}

#[test]
fn entries_go_to_a_quorum_first_and_to_the_others_once_they_are_chosen() {
    for (size, others) in [(3, 1), (4, 2), (5, 2), (7, 3)] {
        let (mut cluster, first) = thrifty(size);
        assert_eq!(first.len(), others, "with the leader a quorum of {size}");
        cluster.run(ms(60));
        assert_eq!(holders(&cluster, 1).len() as u64, size - 1);
        for id in cluster.ids() {
            assert_eq!(cluster.commands(id), ["a"]);
        }
        // It asks the same ones again.
        cluster.commit(n(1), "b");
        assert_eq!(holders(&cluster, 2), first);
    }
}

#[test]
fn a_member_that_falls_silent_is_replaced() {
    for size in [3, 5] {
        for crash in [false, true] {
            let (mut cluster, first) = thrifty(size);
            cluster.run(ms(60));
            if crash {
                cluster.crash(first[0]);
            } else {
                cluster.part(n(1), first[0]);
            }
            let start = cluster.now;
            cluster.commit(n(1), "b");
            let took = cluster.now.since(start);
            println!("{size} nodes, crash {crash}: {took:?}");
            assert!(took <= LONGEST_ROUND + ms(55), "{took:?}");
            assert!(!crash || took <= ms(5), "a broken link is known at once");
            let now = holders(&cluster, 2);
            assert!(!now.contains(&first[0]) && now.len() >= first.len());
            // And those that come next wait for nobody.
            let start = cluster.now;
            cluster.commit(n(1), "c");
            assert!(cluster.now.since(start) <= ms(5));
        }
    }
}

/// Without a quorum of those that answer, all are asked: whoever comes back is enough.
#[test]
fn without_a_quorum_all_are_asked() {
    let (mut cluster, _) = thrifty(3);
    cluster.run(ms(60));
    for id in [2, 3].map(n) {
        cluster.crash(id);
    }
    let ticket = cluster.propose(n(1), "b").unwrap();
    cluster.run(ms(20));
    cluster.restart(n(3));
    cluster.run(ms(20));
    assert_eq!(cluster.outcome(n(1), ticket), "committed i2");
}

/// Who passes something on is told of it as soon as without thrift.
#[test]
fn forwarded_proposals_and_reads_do_not_wait_for_heartbeats() {
    let (mut cluster, first) = thrifty(3);
    cluster.run(ms(200));
    let other = [2, 3].map(n).into_iter().find(|id| !first.contains(id));
    let other = other.unwrap();
    let ticket = cluster.propose(other, "b").unwrap();
    cluster.run(ms(6));
    assert_eq!(cluster.outcome(other, ticket), "committed i2");
    cluster.run(ms(200));
    cluster.commit(n(1), "c");
    let ticket = cluster.read(other, ReadLevel::Linearizable).unwrap();
    cluster.run(ms(60));
    assert_eq!(cluster.outcome(other, ticket), "read i3");
}

/// What gathers for the others goes out before the next heartbeat, and a new leader finds everything.
#[test]
fn the_others_are_not_left_far_behind() {
    let mut cluster = Cluster::with(3, |builder| {
        ON(builder
            .election_round(ms(10_000))
            .heartbeat_interval(ms(10_000)))
    });
    cluster.led_by_in(n(1), ms(95_000));
    for k in 0..600 {
        cluster.commit(n(1), &k.to_string());
    }
    let least = [2, 3].map(|id| cluster.status(n(id)).last);
    assert!(least.into_iter().min() >= Some(i(256)), "{least:?}");
}
