//! A checker that has never caught anything is not trusted: each planted bug is found within a
//! budget of fresh seeds.

use synod_raft::planted::Bug;
use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// Seeds in which each bug must be found.
const BUDGET: u64 = 500;

/// Finds each bug on the seeds of one base, and tells in how many: the first `BUDGET` of
/// `SYNOD_PLANTED_BASE`; with `SYNOD_BUG`, that bug alone.
#[test]
fn each_planted_bug_is_found() {
    let base = std::env::var("SYNOD_PLANTED_BASE").unwrap_or_else(|_| "planted".into());
    let only = std::env::var("SYNOD_BUG").ok();
    let bugs = Bug::ALL
        .into_iter()
        .filter(|bug| only.as_ref().is_none_or(|only| *only == format!("{bug:?}")));
    let mut missed = Vec::new();
    println!("| planted bug | seeds | virtual s | s | caught as |");
    println!("|---|---|---|---|---|");
    for bug in bugs {
        let cluster = Cluster { bug: Some(bug) };
        let summary = Campaign::new(&base, BUDGET).run(&Simulation::new(cluster, Kv));
        let Some((place, failure, _)) = &summary.failure else {
            println!("| {bug:?} | none of {} | | | |", summary.seeds);
            missed.push(bug);
            continue;
        };
        let (time, wall) = (summary.time + failure.at, summary.wall);
        println!(
            "| {bug:?} | {} | {:.0} | {:.1} | {} |",
            place + 1,
            time.as_secs_f64(),
            wall.as_secs_f64(),
            failure.breach.rule
        );
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// The same seeds find nothing in raft as it is.
#[test]
fn without_a_bug_the_same_seeds_pass() {
    let campaign = Campaign::new("planted", BUDGET);
    let summary = campaign.run(&Simulation::new(Cluster::default(), Kv));
    println!("{summary}");
    assert!(summary.failure.is_none(), "a seed broke raft, see above");
}
