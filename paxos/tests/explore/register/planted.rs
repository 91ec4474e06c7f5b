//! An explorer that has never caught anything is not trusted: it finds each planted bug that its
//! bounds can show, and the machine as it is passes the same search.

use synod_paxos::register::planted::Bug;

use super::Register;
use super::setups::{Setup, TWO_WRITES};
use crate::search::{limit, search};
use crate::world::World;

/// States in which each bug must be found; the table says how many it took.
const BUDGET: usize = 200_000;

/// Which bug shows where.
fn table() -> Vec<(Bug, Setup)> {
    vec![
        (Bug::MajorityMinusOne, TWO_WRITES),
        (Bug::PromiseNotPersisted, Setup::crashing()),
        (Bug::VoteNotPersisted, Setup::crashing()),
        (Bug::BallotReused, Setup::crashing()),
        (Bug::CacheKeptAfterUnknown, Setup::expiring()),
        (Bug::ReadUnfenced, Setup::reading()),
        (Bug::AcceptKeepsPromise, Setup::written()),
        (Bug::OneRoundTripByOthers, Setup::written()),
        (Bug::RetryBlindly, Setup::creating()),
        (Bug::PurgeEarly, Setup::purging()),
        (Bug::PurgeForgetsPromise, Setup::purging()),
    ]
}

/// Bugs that show only where acceptors change, which they do not here.
const ELSEWHERE: &[Bug] = &[
    Bug::SettleWithoutRescan,
    Bug::EpochIgnored,
    Bug::EpochsUnordered,
];

#[test]
fn each_planted_bug_is_found_and_the_machine_passes_the_same_search() {
    println!("| planted bug | setup | states reached | distinct | steps | s | caught as |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (bug, setup) in table() {
        let mut world = World::new(Register::new(setup.clone().with(Some(bug))));
        let report = search(&mut world, limit(BUDGET));
        let Some((breach, steps)) = &report.failure else {
            println!("{bug:?}: missed {}", report.row(setup.name));
            missed.push(bug);
            continue;
        };
        println!(
            "| {bug:?} | {} | {} | {} | {} | {:.2} | {} |",
            setup.name,
            report.reached,
            report.distinct,
            steps.len(),
            report.took.as_secs_f64(),
            breach.0
        );
        assert!(!breach.0.contains("panics"), "{bug:?} breaks a rule");
        let mut world = World::new(Register::new(setup.clone()));
        let clean = search(&mut world, report.distinct);
        assert!(clean.failure.is_none(), "{}: {clean:?}", setup.name);
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    let placed = |bug: &Bug| ELSEWHERE.contains(bug) || table().iter().any(|(b, _)| b == bug);
    assert!(Bug::ALL.iter().all(placed), "each bug has its row");
}
