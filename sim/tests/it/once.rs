//! Exactly once.

use synod_sim::history::{ClientId, History, Instant};
use synod_sim::linear::once::{CounterVerdict, Effects, check_counter, check_once};

#[derive(Clone, Copy)]
enum Told {
    Done,
    Nothing,
    Failed,
}

fn history<Op: Copy>(ops: &[(Op, Told)]) -> History<Op, ()> {
    let mut history = History::new();
    for &(op, told) in ops {
        let id = history.invoke(ClientId(1), op, Instant::ZERO);
        match told {
            Told::Done => history.complete(id, (), Instant::ZERO),
            Told::Nothing => history.unknown(id),
            Told::Failed => history.fail(id),
        }
    }
    history
}

#[test]
fn each_kind_of_wrong_is_told_apart() {
    use Told::{Done, Failed, Nothing};
    let asked = history(&[
        ("fine", Done),
        ("lost", Done),
        ("twice", Done),
        ("surfaced", Nothing),
        ("absent", Nothing),
        ("surfaced twice", Nothing),
        ("refused", Failed),
        ("resurrected", Failed),
    ]);
    let found = [
        "surfaced",
        "twice",
        "fine",
        "twice",
        "stranger",
        "resurrected",
    ];
    let found = found.into_iter().chain(["surfaced twice"; 3]);
    let effects = check_once(&asked, |op| Some(*op), found);
    let expected = Effects {
        acknowledged: 3,
        surfaced: 2,
        lost: vec!["lost"],
        duplicated: vec!["surfaced twice", "twice"],
        resurrected: vec!["resurrected"],
        strangers: vec!["stranger"],
    };
    assert_eq!(effects, expected);
    assert!(!effects.is_exactly_once());
    let line = "acknowledged=3 lost=1 duplicated=2 resurrected=1 strangers=1";
    assert_eq!(effects.to_string(), line);
}

/// A retry of the same is one effect, as sure as the surest attempt.
#[test]
fn retries_count_once() {
    use Told::{Done, Failed, Nothing};
    let asked = history(&[("a", Nothing), ("a", Done), ("b", Failed), ("b", Nothing)]);
    let check = |found: &[_]| check_once(&asked, |op| Some(*op), found.iter().copied());
    assert!(check(&["a"]).is_exactly_once() && check(&["a", "b"]).is_exactly_once());
    assert_eq!(check(&["b"]).lost, ["a"]);
    assert_eq!(check(&["a", "a"]).duplicated, ["a"]);
}

#[test]
fn a_counter_has_what_was_acknowledged_and_some_of_the_rest() {
    use Told::{Done, Failed, Nothing};
    let asked = history(&[
        (5, Done),
        (-2, Done),
        (10, Nothing),
        (100, Nothing),
        (7, Failed),
    ]);
    let check = |found| check_counter(&asked, |by| Some(*by), 1, found);
    for right in [4, 14, 104, 114] {
        assert_eq!(check(right), CounterVerdict::Explained, "{right}");
    }
    for wrong in [-1, 5, 9, 11, 24, 121] {
        let found = wrong.into();
        let verdict = CounterVerdict::Wrong {
            acknowledged: 4,
            found,
        };
        assert_eq!(check(wrong), verdict, "{wrong}");
    }
}

#[test]
fn too_many_sums_are_not_decided() {
    let powers: Vec<_> = (0..21).map(|bit| (1_i64 << bit, Told::Nothing)).collect();
    let verdict = check_counter(&history(&powers), |by| Some(*by), 0, -1);
    assert_eq!(verdict, CounterVerdict::Unknown);
    let alike = [(1_i64, Told::Nothing); 500];
    let check = |found| check_counter(&history(&alike), |by| Some(*by), 0, found);
    assert_eq!(check(500), CounterVerdict::Explained);
    assert_ne!(check(501), CounterVerdict::Explained);
}
