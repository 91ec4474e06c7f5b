//! Priorities: who leads when all are there, and that they move a leader seldom and never hold one up.

use std::time::Duration;

use synod_core::{NodeId, Rng, Role};
use synod_paxos::log::{Body, ConfigBuilder};

use super::cluster::{Cluster, LONGEST_ROUND, ms, n};
use super::solo::{Solo, b};

/// Node `of` has this priority, all others 0.
fn prefers(of: u64, priority: u32) -> impl Fn(ConfigBuilder) -> ConfigBuilder + 'static {
    each(move |id| if id == n(of) { priority } else { 0 })
}

/// Each node has its own.
fn each(
    priority: impl Fn(NodeId) -> u32 + 'static,
) -> impl Fn(ConfigBuilder) -> ConfigBuilder + 'static {
    move |builder| {
        let id = builder.clone().build().unwrap().id();
        builder.priority(priority(id))
    }
}

#[test]
fn the_node_of_the_highest_priority_comes_to_lead() {
    for preferred in 1..=5 {
        let mut cluster = Cluster::with(5, prefers(preferred, 3));
        cluster.run(ms(3_000));
        assert_eq!(cluster.leader(), Some(n(preferred)));
        // And stays.
        let ballots = cluster.ballots.len();
        cluster.run(ms(10_000));
        assert_eq!(cluster.ballots.len(), ballots, "nobody else stands");
    }
}

#[test]
fn leadership_comes_back_to_it_when_it_does() {
    let mut cluster = Cluster::with(3, prefers(2, 1));
    cluster.run(ms(3_000));
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster.commit(n(2), "a");
    cluster.crash(n(2));
    let next = cluster.elect();
    cluster.commit(next, "b");
    cluster.restart(n(2));
    cluster.run(ms(600));
    assert_eq!(cluster.leader(), Some(next), "not before some rounds");
    cluster.run(ms(900));
    assert_eq!(cluster.leader(), Some(n(2)));
    cluster.commit(n(2), "c");
    assert_eq!(cluster.commands(n(2)), ["a", "b", "c"]);
}

/// One that lacks what is chosen does not get it, however high its priority.
#[test]
fn one_that_is_behind_is_not_handed_the_lead() {
    let mut cluster = Cluster::with(3, prefers(2, 1));
    cluster.run(ms(3_000));
    cluster.crash(n(2));
    let leader = cluster.elect();
    cluster.commit(leader, "a");
    cluster.restart(n(2));
    // It hears the leader, and gets no entries.
    cluster.lose_unless(|envelope| {
        let entries = match &envelope.message.body {
            Body::Accept(accept) => !accept.entries.is_empty(),
            Body::Page(_) => true,
            _ => false,
        };
        envelope.to != n(2) || !entries
    });
    let asked = cluster.count("TakeOver");
    cluster.run(ms(3_000));
    assert_eq!(cluster.leader(), Some(leader));
    assert_eq!(cluster.count("TakeOver"), asked, "it is not asked");
    cluster.heal();
    cluster.run(ms(3_000));
    assert_eq!(cluster.leader(), Some(n(2)));
}

/// One of a high priority that can never lead, since it hears the leader alone, takes the lead away ever
/// less often.
#[test]
fn an_heir_that_fails_is_asked_ever_less_often() {
    let mut cluster = Cluster::with(5, prefers(2, 1));
    for other in [3, 4, 5].map(n) {
        cluster.part(n(2), other);
    }
    for (a, b) in [(3, 4), (3, 5), (4, 5)] {
        // Nobody but node 1 hears a quorum.
        cluster.part(n(a), n(b));
    }
    cluster.run(ms(2_000));
    let mut counts = Vec::new();
    for _ in 0..4 {
        let start = cluster.now;
        cluster.run(ms(15_000));
        counts.push(cluster.ballots_since(start));
        let took = cluster.progress(8 * LONGEST_ROUND);
        assert!(took.is_some(), "{counts:?}");
    }
    println!("phases 1 in four times 15 s: {counts:?}");
    assert!(counts[0] > 2, "it is asked at all: {counts:?}");
    let later: usize = counts[1..].iter().sum();
    assert!(
        later <= counts[0],
        "less in 45 s than in the first 15: {counts:?}"
    );
}

/// A voter that could take over lets one of a higher priority go first, for one round.
#[test]
fn a_lower_priority_waits_for_one_round() {
    let stands_after = |own: u32, other: u32| {
        let mut solo = Solo::with(1, 3, move |builder| builder.priority(own));
        let start = solo.now;
        while solo.status().role != Role::Candidate {
            solo.wake();
            let rounds = solo.take().into_iter().filter_map(|(to, body)| match body {
                Body::Ask { round } if to == 3 => Some(round),
                _ => None,
            });
            for round in rounds.collect::<Vec<_>>() {
                let beat = Body::Beat {
                    round,
                    stands: b(0, 3),
                    follows: b(0, 0),
                    content: false,
                    priority: other,
                };
                solo.say(3, b(0, 3), beat);
            }
            assert!(solo.now.since(start) < ms(1_000));
        }
        solo.now.since(start)
    };
    let equal = stands_after(1, 1);
    assert_eq!(stands_after(2, 1), equal);
    let lower = stands_after(1, 2);
    let later = lower.checked_sub(equal).unwrap();
    assert!(later >= ms(100) && later <= LONGEST_ROUND, "{later:?}");
}

/// Whatever the priorities: the scenarios of partial connectivity (`elections.rs`) end as soon, but for
/// the one round that others are let go first.
#[test]
fn partial_connectivity_is_survived_with_any_priorities() {
    let mut worst = Duration::ZERO;
    for seed in 0..60 {
        let mut rng = Rng::new(seed);
        let of: Vec<u32> = (0..5).map(|_| rng.below(3) as u32).collect();
        let mut cluster = Cluster::with(5, each(move |id| of[id.0 as usize - 1]));
        let leader = cluster.elect();
        cluster.run(ms(3_000));
        let leader = cluster.leader().unwrap_or(leader);
        cluster.commit(leader, "a");
        cluster.run(ms(20));
        let mut ids = cluster.ids();
        ids.retain(|id| *id != leader);
        let hub = ids[rng.below(4) as usize];
        match seed % 3 {
            // Quorum loss: all hear the hub, and nobody else.
            0 => {
                for a in cluster.ids() {
                    for other in cluster.ids() {
                        if a < other && a != hub && other != hub {
                            cluster.part(a, other);
                        }
                    }
                }
            }
            // Constrained election: the hub is behind, and then the only one with a quorum.
            1 => {
                cluster.part(leader, hub);
                cluster.run(ms(20));
                cluster.commit(leader, "b");
                cluster.isolate(leader);
                for a in ids.clone() {
                    for other in ids.clone() {
                        if a < other && a != hub && other != hub {
                            cluster.part(a, other);
                        }
                    }
                }
            }
            // Chained: one does not hear the leader.
            _ => cluster.part(leader, hub),
        }
        let start = cluster.now;
        let took = cluster.progress(ms(3_000));
        let took = took.unwrap_or_else(|| panic!("seed {seed}: no progress"));
        worst = worst.max(took);
        assert!(took <= 5 * LONGEST_ROUND, "seed {seed}: {took:?}");
        cluster.run(ms(8_000));
        let changes = cluster.ballots_since(start);
        assert!(changes <= 24, "seed {seed}: {changes} phases 1 in 8 s");
    }
    println!("progress within {worst:?}");
}
