//! What a replicated log proves of unknown operations.

use synod_sim::history::{ClientId, Contradiction, Instant};
use synod_sim::linear::RegisterOp;

use crate::script::{Op, Script, at};

const fn is_write(op: &Op) -> bool {
    !matches!(op, RegisterOp::Read { .. })
}

#[test]
fn a_bounded_write_is_there_from_then_on() {
    let mut script = Script::default();
    let write = script.unknown_write(1, 1, 0);
    script.read(2, 0, 5..10);
    let missed = script.read(2, 0, 30..40);
    script.order();
    assert_eq!(script.history.bound(write, at(20)), Ok(()));
    assert_eq!(script.blamed(), [write, missed]);
    assert!(
        script
            .history
            .get(write)
            .precedes(script.history.get(missed))
    );
}

#[test]
fn a_bound_may_be_looser_than_the_answer_and_the_tightest_holds() {
    let mut script = Script::default();
    let write = script.write(1, 1, 0..50);
    for (bound, holds) in [(90, 90), (40, 40), (70, 40)] {
        assert_eq!(script.history.bound(write, at(bound)), Ok(()));
        assert_eq!(script.history.get(write).bound(), Some(at(holds)));
    }
    script.read(2, 0, 41..45);
    assert_eq!(script.blamed().len(), 2);
}

#[test]
fn a_write_that_is_in_the_log_at_some_time_must_happen() {
    let mut script = Script::default();
    let write = script.unknown_write(1, 1, 0);
    assert_eq!(script.history.bound(write, Instant::MAX), Ok(()));
    let read = script.read(2, 0, 100..110);
    assert_eq!(script.order(), [read, write]);
}

#[test]
fn what_never_happened_cannot_be_seen() {
    let mut script = Script::default();
    let write = script.unknown_write(1, 1, 0);
    let seen = script.read(2, 1, 10..20);
    script.order();
    assert_eq!(script.history.never(write), Ok(()));
    assert_eq!(script.blamed(), [seen]);
}

#[test]
fn contradictions_are_failures_of_their_own() {
    let mut script = Script::default();
    let known = script.write(1, 1, 10..20);
    let failed = script.failed_write(2, 2, 10);
    let client = ClientId(1);
    assert_eq!(
        script.history.never(known),
        Err(Contradiction::Lost { op: known, client })
    );
    let client = ClientId(2);
    let resurrected = Contradiction::Resurrected { op: failed, client };
    assert_eq!(script.history.bound(failed, at(30)), Err(resurrected));
    let early = Contradiction::TooEarly {
        op: known,
        invoked: at(10),
        not_after: at(9),
    };
    assert_eq!(
        early.to_string(),
        "op0 was invoked at 10ns, but the log proves an effect by 9ns"
    );
    assert_eq!(script.history.bound(known, at(9)), Err(early));
    assert_eq!(script.history.never(failed), Ok(()));
}

#[test]
fn the_log_bounds_what_it_has_and_drops_what_it_has_not() {
    let mut script = Script::default();
    let there = script.unknown_write(1, 1, 0);
    let not_there = script.unknown_write(2, 2, 0);
    let last = script.unknown_write(3, 3, 0);
    let known = script.write(4, 4, 10..20);
    let read = script.read(5, 4, 30..40);
    assert_eq!(
        script.history.bound_by_log(&[there, known, last], is_write),
        Ok(())
    );
    assert_eq!(script.history.get(there).bound(), Some(at(20)));
    assert_eq!(script.history.get(last).bound(), Some(Instant::MAX));
    let order = script.order();
    assert_eq!((order[0], order.len()), (there, 4), "{order:?}");
    assert!(order.ends_with(&[known, read]) || order.ends_with(&[known, read, last]));
    assert!(!order.contains(&not_there));
}

/// Without the log this is fine: the unknown write may come between the reads.
#[test]
fn the_order_of_the_log_counts() {
    let mut script = Script::default();
    let unknown = script.unknown_write(1, 1, 0);
    let known = script.write(2, 2, 10..20);
    script.read(3, 2, 30..40);
    let late = script.read(3, 1, 50..60);
    script.order();
    assert_eq!(
        script.history.bound_by_log(&[unknown, known], is_write),
        Ok(())
    );
    assert!(script.blamed().contains(&late));
}

#[test]
fn a_log_against_the_history_is_refused() {
    let mut script = Script::default();
    let first = script.write(1, 1, 0..10);
    let second = script.write(2, 2, 20..30);
    let failed = script.failed_write(3, 3, 0);
    let by_log = |log: &[_]| script.history.clone().bound_by_log(log, is_write);
    assert_eq!(by_log(&[first, second]), Ok(()));
    let lost = Contradiction::Lost {
        op: second,
        client: ClientId(2),
    };
    assert_eq!(by_log(&[first]), Err(lost));
    assert_eq!(
        by_log(&[first, second, first]),
        Err(Contradiction::Twice { op: first })
    );
    let resurrected = Contradiction::Resurrected {
        op: failed,
        client: ClientId(3),
    };
    assert_eq!(by_log(&[first, second, failed]), Err(resurrected));
    let backwards = Contradiction::TooEarly {
        op: second,
        invoked: at(20),
        not_after: at(10),
    };
    assert_eq!(by_log(&[second, first]), Err(backwards));
}
