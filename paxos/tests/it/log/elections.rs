//! Elections under partial connectivity: the three scenarios of Omni-Paxos (EuroSys 2023, figure 1
//! and §5.2), two-way and one-way. After the cut something new must be chosen within four rounds of
//! the election, and then ballots must come to rest.

use std::time::Duration;

use synod_core::{NodeId, Role};

use super::cluster::{Cluster, LONGEST_ROUND, ms, n};

const LIMIT: Duration = LONGEST_ROUND.saturating_mul(4);

/// Which ways between two nodes are cut.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cut {
    None,
    Both,
    /// From the lower to the higher id.
    Up,
    /// From the higher to the lower id.
    Down,
}

const CUTS: [Cut; 3] = [Cut::Both, Cut::Up, Cut::Down];

fn cut(cluster: &mut Cluster, a: NodeId, b: NodeId, how: Cut) {
    let (low, high) = (a.min(b), a.max(b));
    match how {
        Cut::None => {}
        Cut::Both => cluster.part(a, b),
        Cut::Up => cluster.cut.push((low, high)),
        Cut::Down => cluster.cut.push((high, low)),
    }
}

/// What must hold after a cut that leaves somebody a quorum; says how long progress took.
fn recovers(cluster: &mut Cluster, story: &str) -> Duration {
    let took = cluster.progress(LIMIT);
    let took = took.unwrap_or_else(|| panic!("{story}: no progress within {LIMIT:?}"));
    cluster.run(LIMIT.saturating_sub(took));
    let rest = cluster.now;
    cluster.run(ms(3000));
    let ballots: Vec<_> = cluster
        .ballots
        .iter()
        .filter(|(at, _)| *at > rest)
        .collect();
    assert!(
        ballots.is_empty(),
        "{story}: ballots go on to rise: {ballots:?}"
    );
    assert!(
        cluster.progress(ms(20)).is_some(),
        "{story}: and progress goes on"
    );
    took
}

/// Five nodes with a leader, after a while.
fn five(leader: u64) -> Cluster {
    let mut cluster = Cluster::new(5);
    cluster.led_by(n(leader));
    cluster.commit(n(leader), "before");
    cluster.run(ms(250));
    cluster
}

/// All pairs of these.
fn pairs(nodes: &[u64]) -> Vec<(NodeId, NodeId)> {
    let mut pairs = Vec::new();
    for (k, a) in nodes.iter().enumerate() {
        pairs.extend(nodes[k + 1..].iter().map(|b| (n(*a), n(*b))));
    }
    pairs
}

/// Figure 1a: the leader is alive and reaches the hub alone, as everybody does. It has lost its
/// quorum; the hub has one.
#[test]
fn quorum_loss() {
    for (leader, hub) in [(1, 2), (5, 2), (2, 5), (3, 1), (4, 3)] {
        let before = five(leader);
        let others: Vec<u64> = (1..=5).filter(|id| *id != hub).collect();
        for how in CUTS {
            let mut cluster = before.clone();
            for (a, b) in pairs(&others) {
                cut(&mut cluster, a, b, how);
            }
            let story = format!("leader {leader}, hub {hub}, {how:?}");
            recovers(&mut cluster, &story);
            if how == Cut::Both {
                assert_eq!(cluster.leader(), Some(n(hub)), "{story}");
                let old = cluster.status(n(leader)).role;
                assert_ne!(
                    old,
                    Role::Leader,
                    "{story}: the old one knows that it is over"
                );
            }
        }
    }
}

/// The same with each way of cutting each of the six pairs apart or not: as long as the hub has all
/// its links, no other cut may keep it from going on.
#[test]
fn any_cut_around_a_hub_leaves_progress() {
    const HOW: [Cut; 4] = [Cut::Both, Cut::Up, Cut::Down, Cut::None];
    // The hub is node 2.
    let leader = 4;
    let before = five(leader);
    let all = pairs(&[1, 3, 4, 5]);
    let mut longest = Duration::ZERO;
    // Each way of cutting the leader's three pairs, and of the others a sample that meets them all.
    for code in 0..4_usize.pow(6) {
        if code % 7 != 0 {
            continue;
        }
        let mut cluster = before.clone();
        let mut rest = code;
        let mut story = format!("cut {code}:");
        for (a, b) in &all {
            let how = HOW[rest % 4];
            rest /= 4;
            cut(&mut cluster, *a, *b, how);
            story += &format!(" {a}-{b} {how:?}");
        }
        longest = longest.max(recovers(&mut cluster, &story));
    }
    assert!(longest > Duration::ZERO, "some cut takes a new leader");
}

/// Figure 1b: the only node with a quorum has a log that is out of date. It must lead, having
/// fetched what it lacks.
#[test]
fn constrained_election() {
    for (leader, hub) in [(1, 2), (5, 3), (3, 5)] {
        let mut before = Cluster::new(5);
        before.led_by(n(leader));
        before.isolate(n(hub));
        for k in 0..20 {
            before.commit(n(leader), &format!("missed {k}"));
        }
        before.run(ms(50));
        for how in CUTS {
            let mut cluster = before.clone();
            cluster.heal();
            cluster.isolate(n(leader));
            let others: Vec<u64> = (1..=5).filter(|id| *id != hub && *id != leader).collect();
            for (a, b) in pairs(&others) {
                cut(&mut cluster, a, b, how);
            }
            let story = format!("leader {leader}, hub {hub}, {how:?}");
            recovers(&mut cluster, &story);
            let commands = cluster.commands(n(hub));
            let missed = commands.iter().filter(|c| c.starts_with("missed"));
            assert_eq!(missed.count(), 20, "{story}: the hub has what it lacked");
            if how == Cut::Both {
                assert_eq!(cluster.leader(), Some(n(hub)), "{story}");
            }
        }
    }
}

/// Figure 1c: A–B–C, and A does not see that C leads. C has its quorum, so nobody takes over: a
/// ballot of A would be followed by one of C, and so on without end.
#[test]
fn chained() {
    for (end, middle, leader) in [(1, 2, 3), (3, 2, 1), (1, 3, 2), (2, 1, 3), (3, 1, 2)] {
        let mut before = Cluster::new(3);
        before.led_by(n(leader));
        before.run(ms(250));
        for how in CUTS {
            let mut cluster = before.clone();
            cut(&mut cluster, n(end), n(leader), how);
            let (start, story) = (cluster.now, format!("{end}–{middle}–{leader}, {how:?}"));
            let took = recovers(&mut cluster, &story);
            assert_eq!(cluster.leader(), Some(n(leader)), "{story}");
            assert_eq!(cluster.ballots_since(start), 0, "{story}");
            assert!(took <= ms(3), "{story}: {took:?}, and nothing to wait for");
        }
    }
}

/// A chain of five, led from any place: only the three in its middle have a quorum.
#[test]
fn a_chain_of_five_is_led_from_its_middle() {
    for leader in 1..=5 {
        let before = five(leader);
        for how in CUTS {
            let mut cluster = before.clone();
            for (a, b) in pairs(&[1, 2, 3, 4, 5]) {
                if a.0.abs_diff(b.0) > 1 {
                    cut(&mut cluster, a, b, how);
                }
            }
            let story = format!("led by {leader}, {how:?}");
            recovers(&mut cluster, &story);
            if how == Cut::Both {
                let leader = cluster.leader().unwrap();
                assert!(
                    (2..=4).contains(&leader.0),
                    "{story}: {leader} has no quorum"
                );
            }
        }
    }
}

/// Three nodes, and every way of cutting them apart that leaves one of them linked with another in
/// both directions: these two are a quorum.
#[test]
fn any_two_of_three_that_hear_each_other_go_on() {
    const HOW: [Cut; 4] = [Cut::None, Cut::Both, Cut::Up, Cut::Down];
    for leader in 1..=3 {
        let mut before = Cluster::new(3);
        before.led_by(n(leader));
        before.run(ms(250));
        for code in 0..64 {
            let ways = [HOW[code % 4], HOW[code / 4 % 4], HOW[code / 16]];
            if !ways.contains(&Cut::None) {
                continue;
            }
            let mut cluster = before.clone();
            for ((a, b), how) in pairs(&[1, 2, 3]).into_iter().zip(ways) {
                cut(&mut cluster, a, b, how);
            }
            recovers(
                &mut cluster,
                &format!("led by {leader}: 1-2, 1-3, 2-3 {ways:?}"),
            );
        }
    }
}

/// Who dies is replaced within four rounds, too.
#[test]
fn a_leader_that_dies_is_replaced() {
    for size in [3, 5] {
        for leader in 1..=size {
            let mut cluster = Cluster::new(size);
            cluster.led_by(n(leader));
            cluster.run(ms(250));
            cluster.crash(n(leader));
            recovers(&mut cluster, &format!("{leader} of {size}"));
        }
    }
}

/// The same while nothing says that it is gone.
#[test]
fn a_leader_that_falls_silent_is_replaced() {
    for size in [3, 5] {
        for leader in 1..=size {
            let mut cluster = Cluster::new(size);
            cluster.led_by(n(leader));
            cluster.run(ms(250));
            cluster.isolate(n(leader));
            recovers(&mut cluster, &format!("{leader} of {size}"));
            let start = cluster.now;
            cluster.heal();
            cluster.run(ms(1000));
            assert_eq!(cluster.ballots_since(start), 0, "its return upsets nobody");
        }
    }
}
