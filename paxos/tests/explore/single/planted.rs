//! An explorer that has never caught anything is not trusted: it finds each planted bug, and the
//! machine as it is passes the same search.

use synod_paxos::single::planted::Bug;

use super::Single;
use super::setups::{ONE_APART, Setup};
use crate::search::{limit, search};
use crate::world::World;

/// States in which each bug must be found; the table says how many it took.
const BUDGET: usize = 1_500_000;

/// Acceptor 1 has voted in 2.11 and promised 2.12, in which acceptors 2 and 3 chose another value.
const PROMISED_AFTER_A_VOTE: &str = "
    11 proposes
    12 proposes
    1 prepare 2.11
    2 prepare 2.11
    11 promise 2.11 1
    11 promise 2.11 2
    1 accept 2.11
    2 prepare 2.12
    3 prepare 2.12
    12 promise 2.12 2
    12 promise 2.12 3
    2 accept 2.12
    3 accept 2.12
    1 prepare 2.12
    2 accept 2.11
    11 refused 2.11 2
";

/// Acceptors 1 and 2 have chosen a value in 2.12, of which acceptor 1 had no word before.
const VOTED_UNASKED: &str = "
    11 proposes
    12 proposes
    2 prepare 2.11
    3 prepare 2.11
    11 promise 2.11 2
    11 promise 2.11 3
    2 prepare 2.12
    3 prepare 2.12
    12 promise 2.12 2
    12 promise 2.12 3
    1 accept 2.12
    2 accept 2.12
    2 accept 2.11
    11 refused 2.11 2
";

/// Restarts, and votes that are lost on their way.
fn lossy() -> Setup {
    let setup = Setup::crashing().blind(&[]);
    setup.named("3 acceptors, 1 round each, 1 crash, votes are lost")
}

/// Which bug shows where. One is not here: [`Bug::MinimalThreshold`] names two
/// values only where none was chosen, so that no state goes wrong; `tests/single/recovery.rs` finds it,
/// where the rule is checked whole.
fn table() -> Vec<(Bug, Setup)> {
    vec![
        (Bug::MajorityMinusOne, Setup::classic()),
        (
            Bug::FastQuorumRoundedDown,
            Setup::fast_of_five().opened("opened"),
        ),
        (
            Bug::VoteWithoutItsBallot,
            Setup::classic()
                .blind(&[11])
                .after(PROMISED_AFTER_A_VOTE)
                .named("after a late promise"),
        ),
        (Bug::PromiseNotPersisted, lossy()),
        (Bug::VoteNotPersisted, lossy()),
        (Bug::BallotUsedAgain, Setup::crashing()),
        (
            Bug::VoteIsNoPromise,
            Setup::classic()
                .blind(&[11])
                .after(VOTED_UNASKED)
                .named("after an unasked vote"),
        ),
        (Bug::OwnValueFirst, Setup::classic()),
        (
            Bug::FastVotesAsClassic,
            Setup::fast()
                .blind(&[11])
                .opened("after a fast choice")
                .after(ONE_APART),
        ),
        (Bug::CountTwice, Setup::classic()),
    ]
}

#[test]
fn each_planted_bug_is_found_and_the_machine_passes_the_same_search() {
    println!("| planted bug | setup | states reached | distinct | steps | s | caught as |");
    println!("|---|---|---|---|---|---|---|");
    let mut missed = Vec::new();
    for (bug, setup) in table() {
        let mut world = World::new(Single::new(setup.clone().with(Some(bug))));
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
        let mut world = World::new(Single::new(setup.clone()));
        let clean = search(&mut world, report.distinct);
        assert!(clean.failure.is_none(), "{}: {clean:?}", setup.name);
    }
    let missing =
        |bug: &Bug| *bug != Bug::MinimalThreshold && !table().iter().any(|(b, _)| b == bug);
    assert!(!Bug::ALL.iter().any(missing), "each bug has its row");
    assert!(missed.is_empty(), "not found: {missed:?}");
}
