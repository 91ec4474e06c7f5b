//! How many messages an entry costs.

use super::cluster::{Cluster, ms, n};

const KINDS: [&str; 6] = [
    "Accept",
    "Accept of nothing",
    "Accepted",
    "Propose",
    "Proposed",
    "Fetch",
];

/// Messages in the life of entries, without those of the election and, by long heartbeats, without
/// those of an idle leader.
fn quiet(size: u64) -> Cluster {
    let mut cluster = Cluster::with(size, |builder| {
        builder
            .election_round(ms(10_000))
            .heartbeat_interval(ms(10_000))
    });
    cluster.led_by_in(n(1), ms(95_000));
    cluster.sent.clear();
    cluster
}

fn total(cluster: &Cluster) -> u64 {
    KINDS.iter().map(|kind| cluster.count(kind)).sum()
}

/// One proposal at a time, the next as soon as the last is chosen: an Accept and an Accepted for
/// each follower, and what is chosen rides on the next Accept.
#[test]
fn a_loaded_leader_of_three_needs_four_messages_for_an_entry() {
    for (size, expected) in [(1, 0), (3, 4), (5, 8)] {
        let mut cluster = quiet(size);
        for k in 0..100 {
            // As soon as the first answer is there, and before half a millisecond is over.
            let ticket = cluster.propose(n(1), &k.to_string()).unwrap();
            while cluster.outcome(n(1), ticket).is_empty() {
                cluster.step_once();
            }
        }
        let loaded = total(&cluster);
        cluster.run(ms(10));
        // The word that the last one is chosen goes alone, and is answered.
        let last = total(&cluster) - loaded;
        println!("{size} nodes: {loaded} messages for 100 entries, {last} after them");
        assert!(loaded <= expected * 100, "{loaded} messages");
        assert!(last <= 3 * (size - 1), "{last} messages");
        for id in cluster.ids() {
            assert_eq!(cluster.commands(id).len(), 100);
        }
    }
}

/// One proposal now and then: what is chosen goes alone, and is answered.
#[test]
fn an_idle_leader_of_three_needs_eight_messages_for_an_entry() {
    let mut cluster = quiet(3);
    for k in 0..100 {
        cluster.commit(n(1), &k.to_string());
        cluster.run(ms(10));
    }
    let idle = total(&cluster);
    println!("3 nodes: {idle} messages for 100 entries that come one by one");
    assert!(idle <= 800, "{idle} messages");
}

/// Through a follower: one message to the leader and its answer.
#[test]
fn a_forwarded_entry_costs_two_messages_more() {
    let mut cluster = quiet(3);
    for k in 0..100 {
        let ticket = cluster.propose(n(2), &k.to_string()).unwrap();
        while cluster.outcome(n(2), ticket).is_empty() {
            cluster.step_once();
        }
    }
    println!(
        "3 nodes: {:?} for 100 entries through a follower",
        cluster.sent
    );
    assert_eq!(cluster.count("Propose"), 100);
    assert_eq!(cluster.count("Proposed"), 100);
}

/// What gathers goes together.
#[test]
fn many_entries_at_once_cost_what_one_does() {
    let mut cluster = quiet(3);
    let now = cluster.now;
    for k in 0..64 {
        let command = k.to_string().into();
        synod_core::ReplicatedLog::propose(cluster.log(n(1)), now, command).unwrap();
    }
    cluster.run(ms(10));
    let all = total(&cluster);
    println!("3 nodes: {all} messages for 64 entries at once");
    assert!(all <= 8, "{all} messages");
    assert_eq!(cluster.count("Accept"), 2);
}

/// Reads that come together are confirmed together.
#[test]
fn reads_that_come_together_share_a_round() {
    let mut cluster = quiet(3);
    cluster.commit(n(1), "a");
    cluster.run(ms(10));
    cluster.sent.clear();
    let now = cluster.now;
    let level = synod_core::ReadLevel::Linearizable;
    let mut tickets = Vec::new();
    for _ in 0..50 {
        tickets.push(synod_core::ReplicatedLog::read(cluster.log(n(1)), now, level).unwrap());
    }
    cluster.run(ms(10));
    for ticket in tickets {
        assert_eq!(cluster.outcome(n(1), ticket), "read i1");
    }
    println!("3 nodes: {:?} for 50 reads at once", cluster.sent);
    assert!(total(&cluster) <= 4);
}

/// A group that does nothing costs its heartbeats and rounds of the election.
#[test]
fn an_idle_group_says_little() {
    let mut cluster = Cluster::new(3);
    cluster.led_by(n(1));
    cluster.run(ms(1000));
    cluster.sent.clear();
    cluster.run(ms(10_000));
    println!("3 idle nodes: {:?} in 10 s", cluster.sent);
    // Rounds take 100 to 125 ms, and each of three nodes asks two.
    assert!(
        (480..=606).contains(&cluster.count("Ask")),
        "{:?}",
        cluster.sent
    );
    assert_eq!(cluster.count("Ask"), cluster.count("Beat"));
    assert!(cluster.count("Accept of nothing") <= 402);
    assert_eq!(cluster.count("Prepare"), 0);
}

/// Thrifty: only a quorum is asked, and the others get what is chosen now and then. Bytes are of whole
/// messages, without what a transport puts around them.
#[test]
fn a_thrifty_leader_asks_no_more_than_a_quorum() {
    for (size, plain, thrifty) in [(3, 4.1, 2.2), (5, 8.1, 4.3)] {
        for (on, most) in [(false, plain), (true, thrifty)] {
            let mut cluster = Cluster::with(size, move |builder| {
                builder
                    .thrifty(on)
                    .election_round(ms(10_000))
                    .heartbeat_interval(ms(10_000))
            });
            cluster.led_by_in(n(1), ms(95_000));
            cluster.sent.clear();
            cluster.bytes.clear();
            for _ in 0..1_000 {
                let ticket = cluster.propose(n(1), &"x".repeat(256)).unwrap();
                while cluster.outcome(n(1), ticket).is_empty() {
                    cluster.step_once();
                }
            }
            // The others are given the rest.
            cluster.run(ms(10_000));
            for id in cluster.ids() {
                assert_eq!(cluster.commands(id).len(), 1_000);
            }
            let each = total(&cluster) as f64 / 1_000.0;
            let bytes: u64 = cluster.bytes.values().sum();
            println!(
                "{size} nodes, thrifty {on}: {each} messages, {bytes} bytes for 1,000 entries"
            );
            assert!(each <= most, "{each}");
        }
    }
}

/// A quorum read asks each other voter, and no leader: two messages for each, however many reads wait.
#[test]
fn quorum_reads_that_come_together_share_their_questions() {
    for (size, most) in [(3, 4), (5, 8)] {
        let mut cluster = Cluster::with(size, |builder| {
            builder
                .quorum_reads(true)
                .election_round(ms(10_000))
                .heartbeat_interval(ms(10_000))
        });
        cluster.led_by_in(n(1), ms(95_000));
        cluster.commit(n(1), "a");
        cluster.run(ms(10));
        cluster.sent.clear();
        let now = cluster.now;
        let level = synod_core::ReadLevel::Linearizable;
        let read = |log: &mut synod_paxos::log::MultiPaxos| {
            synod_core::ReplicatedLog::read(log, now, level)
        };
        let tickets: Vec<_> = (0..50).map(|_| read(cluster.log(n(2))).unwrap()).collect();
        cluster.run(ms(2));
        for ticket in tickets {
            assert_eq!(cluster.outcome(n(2), ticket), "read i1", "one round trip");
        }
        cluster.run(ms(10));
        println!(
            "{size} nodes: {:?} for 50 quorum reads at once",
            cluster.sent
        );
        assert_eq!(cluster.sent.values().sum::<u64>(), most);
    }
}
