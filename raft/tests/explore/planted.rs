//! An explorer that has never caught anything is not trusted: it finds each planted bug, and the
//! machine as it is passes the same search.

use synod_raft::planted::Bug;

use crate::search::{Limits, search};
use crate::starts::{BARE, Start};
use crate::world::Budget;

/// States in which each bug must be found; `TABLE` says how many it took.
const BUDGET: usize = 200_000;

/// Which bug shows from which start, under which budget.
const TABLE: [(Bug, Start, Budget); 15] = [
    (
        Bug::VoteNotPersisted,
        Start::BirthOfThree,
        Budget {
            crashes: 1,
            terms: 1,
            ..BARE
        },
    ),
    (
        Bug::TermNotPersisted,
        Start::Divergent,
        Budget { crashes: 1, ..BARE },
    ),
    (
        Bug::CommitOldTermByCounting,
        Start::Figure8,
        Budget { terms: 4, ..BARE },
    ),
    (
        Bug::MajorityMinusOne,
        Start::BirthOfThree,
        Budget { terms: 1, ..BARE },
    ),
    (Bug::VoteForStaleLog, Start::Behind, BARE),
    (Bug::VoteByLengthOnly, Start::Divergent, BARE),
    (
        Bug::AppendUnchecked,
        Start::TwoLeaders,
        Budget { beats: 1, ..BARE },
    ),
    (
        Bug::TruncateMatching,
        Start::Led,
        Budget {
            proposals: 1,
            copies: 1,
            ..BARE
        },
    ),
    (
        Bug::CommitBeyondMatch,
        Start::OtherTail,
        Budget { beats: 1, ..BARE },
    ),
    (
        Bug::ReadUnconfirmed,
        Start::TwoLeaders,
        Budget { reads: 1, ..BARE },
    ),
    (
        Bug::ReadBeforeFirstCommit,
        Start::Behind,
        Budget { reads: 1, ..BARE },
    ),
    (Bug::SnapshotOverMatchingLog, Start::LateSnapshot, BARE),
    (
        Bug::AckBeforeSync,
        Start::Led,
        Budget {
            proposals: 1,
            delays: 1,
            ..BARE
        },
    ),
    (
        Bug::CountUnwritten,
        Start::Led,
        Budget {
            proposals: 1,
            delays: 1,
            ..BARE
        },
    ),
    (
        Bug::HandOutTwice,
        Start::HalfSnapshot,
        Budget { crashes: 1, ..BARE },
    ),
];

#[test]
fn each_planted_bug_is_found_and_the_machine_passes_the_same_search() {
    let limits = Limits {
        states: BUDGET,
        ..Limits::from_env()
    };
    println!("| planted bug | start | states reached | distinct | steps | s | caught as |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (bug, start, budget) in TABLE {
        let (mut world, state) = start.make(Some(bug), budget);
        let report = search(&mut world, &state, limits);
        let Some((breach, steps)) = &report.failure else {
            missed.push((bug, start, report));
            continue;
        };
        println!(
            "| {bug:?} | {start:?} | {} | {} | {} | {:.2} | {} |",
            report.reached,
            report.distinct,
            steps.len() - 1,
            report.took.as_secs_f64(),
            breach.rule
        );
        let limits = Limits {
            states: 2 * report.distinct,
            ..limits
        };
        let (mut world, state) = start.make(None, budget);
        let report = search(&mut world, &state, limits);
        assert!(report.failure.is_none(), "{start:?}: {report:?}");
    }
    assert!(missed.is_empty(), "not found: {missed:#?}");
    let all = TABLE.map(|(bug, ..)| bug);
    assert_eq!(all, Bug::ALL, "each bug has its row");
}
