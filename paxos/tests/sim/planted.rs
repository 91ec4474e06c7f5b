//! A checker that has never caught anything is not trusted: each planted bug is found within a
//! budget of fresh seeds. Multi-Paxos as it is passes the same seeds: `seeds::no_seed_breaks_multi_paxos` and
//! `seeds::no_seed_breaks_fast_paxos` draw at least as many from the same base.

use core::time::Duration;

use synod_paxos::log::planted::Bug;
use synod_sim::{Campaign, Effort, Kv, Simulation};

use crate::cluster::Cluster;
use crate::seeds;

/// Seeds in which each bug must be found.
const BUDGET: u64 = 500;

/// What needs a schedule of several crashes and lost messages that seeds hardly ever draw: a story of its
/// own finds each, see `each_broken_rule_breaks_its_story` in `paxos/tests/it/log/changes.rs`.
const BY_STORY: [Bug; 3] = [
    Bug::ProposesBehindStop,
    Bug::AcceptsUnchosenStop,
    Bug::VoidStopCounts,
];

fn plant(bug: Bug) -> Simulation<Cluster, Kv> {
    let fast = Bug::FAST.contains(&bug);
    Simulation::new(
        Cluster {
            bug: Some(bug),
            fast,
        },
        Kv,
    )
}

/// What a leader that is cut off finds out by itself within two rounds of the election, long before its
/// lease would be over: that hides these from nearly all seeds. Tests with their schedules find them
/// (`tests/it/log/leases.rs`).
const BY_NAME: [Bug; 3] = [Bug::LeaseFromAnswer, Bug::GrantNotKept, Bug::GrantForgotten];

/// Finds each bug on fresh seeds, and tells in how many: with `SYNOD_BUG`, that bug alone, or `all`; with
/// `SYNOD_BASES`, on so many bases, and tells the median and the worst. Without `SYNOD_BUG` every other
/// bug has its turn: which ones, the base says, in continuous integration the commit.
#[test]
fn each_planted_bug_is_found() {
    let only = std::env::var("SYNOD_BUG").ok();
    let bases = std::env::var("SYNOD_BASES").ok();
    let bases = bases.and_then(|bases| bases.parse().ok()).unwrap_or(1);
    let bugs = Bug::ALL.into_iter().chain(Bug::FAST);
    let turn = seeds::base().bytes().map(usize::from).sum::<usize>();
    let bugs = bugs.enumerate().filter(|(k, bug)| match only.as_deref() {
        None if (k + turn) % 2 == 1 => false,
        None | Some("all") => !BY_NAME.contains(bug) && !BY_STORY.contains(bug),
        Some(only) => only == format!("{bug:?}"),
    });
    let bugs = bugs.map(|(_, bug)| bug);
    let mut missed = Vec::new();
    println!("| planted bug | seeds: median, worst | virtual s | s | caught as |");
    println!("|---|---|---|---|---|");
    for bug in bugs {
        let mut found = Vec::new();
        for k in 0..bases {
            let base = format!(
                "{}{}",
                seeds::base(),
                if k == 0 { String::new() } else { k.to_string() }
            );
            let campaign = Campaign::new(&base, BUDGET).shrink(None);
            let summary = campaign.run(&plant(bug));
            match summary.failure {
                None => missed.push((bug, base)),
                Some((place, failure, _)) => {
                    let time = summary.time + failure.at;
                    let cost = (time.as_secs_f64(), summary.wall.as_secs_f64());
                    // That threshold names two values only where none can have been chosen: no log is
                    // broken by it, but the rule's own promise to name one, which the code asserts.
                    let own = bug == Bug::LeastThreshold;
                    let seen = own || failure.breach.rule != "nothing panics";
                    assert!(seen, "{bug:?} breaks a rule: {:?}", failure.breach);
                    found.push((place + 1, cost, failure.breach.rule));
                }
            }
        }
        found.sort_by_key(|(seeds, ..)| *seeds);
        let mut rules: Vec<_> = found.iter().map(|(.., rule)| *rule).collect();
        rules.sort_unstable();
        rules.dedup();
        if let (Some(median), Some(worst)) = (found.get(found.len() / 2), found.last()) {
            println!(
                "| {bug:?} | {}, {} | {:.0}, {:.0} | {:.1}, {:.1} | {} |",
                median.0,
                worst.0,
                median.1.0,
                worst.1.0,
                median.1.1,
                worst.1.1,
                rules.join("; ")
            );
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// A failure is made small: the same rule breaks, by far less. Not every failing seed lets go of much
/// within this effort, since whatever is left out changes all that follows: one of a few does.
#[test]
fn a_failure_shrinks_to_what_it_needs() {
    for bug in [
        Bug::MajorityMinusOne,
        Bug::FirstVoteWins,
        Bug::ReadUnconfirmed,
    ] {
        let simulation = plant(bug);
        let small = (0..FEW).any(|k| shrinks(&simulation, &format!("{}{k}", seeds::base())));
        assert!(small, "{bug:?} stays large on each of {FEW} seeds");
    }
}

/// How many failing seeds may stay large.
const FEW: u64 = 5;

/// Finds a failure, makes it small and repeats that; says whether it is.
fn shrinks(simulation: &Simulation<Cluster, Kv>, base: &str) -> bool {
    let campaign = Campaign::new(base, BUDGET).shrink(None);
    let (_, failure, _) = campaign.run(simulation).failure.expect("it is found");
    let seed = failure.plan.seed;
    let effort = Effort {
        runs: 200,
        time: Duration::from_secs(30),
    };
    let shrunk = simulation.shrink(seed, effort).expect("the seed fails");
    let (faults, asked) = shrunk.left();
    println!(
        "{}: {faults} of {} faults and {asked} of {} operations, {} runs",
        failure.breach.rule, shrunk.before.0, shrunk.before.1, shrunk.runs
    );
    let again = simulation.replay(seed, &shrunk.schedule, 0);
    let again = again.expect_err("what is left still breaks it");
    assert_eq!(again.breach.rule, failure.breach.rule);
    let before = shrunk.before.0 + shrunk.before.1;
    (faults + asked) * 4 <= before || faults + asked <= 20
}
