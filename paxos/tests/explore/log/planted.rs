//! An explorer that has never caught anything is not trusted: it finds each planted bug that its
//! bounds can show, and the machine as it is passes the same search.

use synod_paxos::log::planted::Bug;

use super::Log;
use super::setups::{BIRTH, Setup};
use crate::search::{limit, search};
use crate::world::World;

/// States in which each bug must be found; the table says how many it took.
const BUDGET: usize = 200_000;

/// Which bug shows where.
fn table() -> Vec<(Bug, Setup)> {
    vec![
        (Bug::MajorityMinusOne, BIRTH),
        (Bug::PromiseNotPersisted, Setup::crashing()),
        (Bug::VoteNotPersisted, Setup::promised()),
        (Bug::VoteWithoutBallot, Setup::two_values_unheard()),
        (Bug::BallotReused, Setup::slow()),
        (Bug::SuffixNotProposed, Setup::chosen_with_3()),
        (Bug::FirstVoteWins, Setup::two_values()),
        (Bug::ChosenWithoutBallot, Setup::two_values()),
        (Bug::ReadUnconfirmed, Setup::two_leaders()),
        (Bug::ReadBeforeRecovery, Setup::taken_over()),
        (Bug::CountUnwritten, Setup::slow()),
        (Bug::AcceptKeepsPromise, Setup::unasked()),
        (Bug::ChosenGoesBack, Setup::chosen_with_3()),
    ]
}

/// Bugs that show only where the exploration does not go: snapshots, what never ends, reads by quorum and by lease, and
/// other voters.
const ELSEWHERE: &[Bug] = &[
    Bug::GapNotFilled,
    Bug::SnapshotDropsVotes,
    Bug::HandOutTwice,
    Bug::TrimUnapplied,
    Bug::QuorumReadDoesNotWait,
    Bug::QuorumReadFromTooFew,
    Bug::LeaseFromAnswer,
    Bug::GrantNotKept,
    Bug::GrantForgotten,
    Bug::ProposesBehindStop,
    Bug::AcceptsUnchosenStop,
    Bug::VoidStopCounts,
    Bug::NextOnAccepted,
];

#[test]
fn each_planted_bug_is_found_and_the_machine_passes_the_same_search() {
    println!("| planted bug | setup | states reached | distinct | steps | s | caught as |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (bug, setup) in table() {
        let mut world = World::new(Log::new(setup.clone().with(Some(bug))));
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
        let mut world = World::new(Log::new(setup.clone()));
        let clean = search(&mut world, report.distinct);
        assert!(clean.failure.is_none(), "{}: {clean:?}", setup.name);
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    let placed = |bug: &Bug| ELSEWHERE.contains(bug) || table().iter().any(|(b, _)| b == bug);
    assert!(Bug::ALL.iter().all(placed), "each bug has its row");
}
