//! Known good and bad histories of a register.

use crate::script::Script;

#[test]
fn nothing_happened() {
    assert_eq!(Script::default().order(), []);
}

#[test]
fn one_after_the_other() {
    let mut script = Script::default();
    let ops = [
        script.read(1, 0, 0..1),
        script.write(1, 5, 2..3),
        script.read(2, 5, 4..5),
        script.cas(1, [5, 6], true, 6..7),
        script.cas(2, [5, 7], false, 8..9),
        script.read(2, 6, 10..11),
    ];
    assert_eq!(script.order(), ops);
}

/// Herlihy & Wing 1990, figure 1 in spirit: overlapping operations may take effect in either order.
#[test]
fn concurrent_writes_may_be_seen_in_either_order() {
    for last in [1, 2] {
        let mut script = Script::default();
        script.write(1, 1, 0..10);
        script.write(2, 2, 0..10);
        script.read(3, last, 11..12);
        script.order();
    }
}

#[test]
fn concurrent_reads_see_old_then_new() {
    let mut script = Script::default();
    script.write(1, 1, 0..100);
    script.read(2, 0, 10..20);
    script.read(3, 1, 30..40);
    script.order();
}

/// New, then old: the new-old inversion that a quorum read without write-back allows.
#[test]
fn concurrent_reads_must_not_see_new_then_old() {
    let mut script = Script::default();
    script.write(1, 1, 0..100);
    let new = script.read(2, 1, 10..20);
    let old = script.read(3, 0, 30..40);
    assert_eq!(script.blamed(), [new, old]);
}

#[test]
fn a_stale_read_is_blamed_with_the_write_that_it_missed() {
    let mut script = Script::default();
    script.write(1, 1, 0..10);
    script.read(2, 1, 12..18);
    let missed = script.write(1, 2, 20..30);
    let stale = script.read(2, 1, 40..50);
    script.write(1, 3, 60..70);
    script.read(2, 3, 80..90);
    assert_eq!(script.blamed(), [missed, stale]);
    let verdict = script.verdict();
    let violation = verdict.violation().expect("just blamed");
    assert_eq!((violation.stuck, violation.since_start), (stale, false));
    assert_eq!(
        verdict.to_string(),
        "no (no order explains 2 operations on ())"
    );
}

#[test]
fn a_value_that_nobody_wrote_is_blamed_alone() {
    let mut script = Script::default();
    script.write(1, 1, 0..10);
    let phantom = script.read(2, 9, 5..15);
    script.write(1, 2, 20..30);
    assert_eq!(script.blamed(), [phantom]);
}

#[test]
fn a_value_from_the_future_is_blamed() {
    let mut script = Script::default();
    let early = script.read(2, 1, 0..10);
    script.write(1, 1, 20..30);
    assert_eq!(script.blamed(), [early]);
}

/// Two clients read 0 and both swap it successfully.
#[test]
fn a_lost_update_is_blamed() {
    let mut script = Script::default();
    let first = script.cas(1, [0, 1], true, 0..10);
    let second = script.cas(2, [0, 2], true, 5..15);
    assert_eq!(script.blamed(), [first, second]);
}

#[test]
fn a_swap_must_not_fail_on_the_expected_value() {
    let mut script = Script::default();
    let write = script.write(1, 1, 0..10);
    let refused = script.cas(2, [1, 2], false, 20..30);
    script.read(1, 1, 40..50);
    assert_eq!(script.blamed(), [write, refused]);
}

#[test]
fn an_unknown_write_may_never_happen() {
    let mut script = Script::default();
    let unknown = script.unknown_write(1, 1, 0);
    let read = script.read(2, 0, 100..110);
    let order = script.order();
    assert!(order.contains(&read) && !order.contains(&unknown));
}

#[test]
fn an_unknown_write_may_be_seen_much_later() {
    let mut script = Script::default();
    let unknown = script.unknown_write(1, 1, 0);
    let ops = [
        script.write(2, 2, 10..20),
        script.read(2, 2, 30..40),
        unknown,
        script.read(2, 1, 50..60),
    ];
    assert_eq!(script.order(), ops);
}

#[test]
fn an_unknown_write_cannot_vanish_after_it_was_seen() {
    let mut script = Script::default();
    script.unknown_write(1, 1, 0);
    let seen = script.read(2, 1, 10..20);
    let vanished = script.read(3, 0, 30..40);
    assert_eq!(script.blamed(), [seen, vanished]);
}

#[test]
fn an_unknown_write_does_not_happen_twice() {
    let mut script = Script::default();
    script.unknown_write(1, 1, 0);
    script.read(2, 1, 10..20);
    let over = script.write(2, 2, 30..40);
    let again = script.read(2, 1, 50..60);
    let blamed = script.blamed();
    assert!(
        blamed.contains(&over) && blamed.contains(&again),
        "{blamed:?}"
    );
}

#[test]
fn an_unknown_write_cannot_be_seen_before_it_was_asked_for() {
    let mut script = Script::default();
    let early = script.read(2, 1, 0..10);
    script.unknown_write(1, 1, 20);
    assert_eq!(script.blamed(), [early]);
}

#[test]
fn two_unknown_swaps_may_happen_one_after_the_other() {
    let mut script = Script::default();
    for values in [[1, 2], [0, 1]] {
        let op = synod_sim::linear::RegisterOp::Cas {
            key: (),
            expected: values[0],
            new: values[1],
        };
        script.asked(values[0], op, 0);
    }
    script.read(3, 2, 10..20);
    assert_eq!(script.order().len(), 3);
}

#[test]
fn a_failed_write_must_not_be_seen() {
    let mut script = Script::default();
    script.failed_write(1, 1, 0);
    let seen = script.read(2, 1, 10..20);
    assert_eq!(script.blamed(), [seen]);
}

#[test]
fn no_answer_yet_is_like_unknown() {
    let mut script = Script::default();
    let open = script.asked(1, crate::script::write_op(1), 0);
    let read = script.read(2, 1, 10..20);
    assert_eq!(script.order(), [open, read]);
}

/// What happened at one instant happened in the order of recording.
#[test]
fn one_instant_has_an_order() {
    let mut script = Script::default();
    let write = script.write(1, 1, 5..5);
    let read = script.read(2, 0, 5..5);
    assert_eq!(script.blamed(), [write, read]);

    let mut script = Script::default();
    script.read(2, 0, 5..5);
    script.write(1, 1, 5..5);
    script.order();
}

/// More than 64 at once, and more than 64 of unknown outcome: sets beyond one machine word.
#[test]
fn many_at_once() {
    for unknown in [false, true] {
        let mut script = Script::default();
        for value in 1..=150 {
            if unknown {
                script.unknown_write(value, value, value);
            } else {
                script.write(value, value, value..1_000);
            }
        }
        script.read(200, 77, 1_001..1_002);
        script.read(200, 78, 1_003..1_004);
        if unknown {
            script.order();
        } else {
            let blamed = script.blamed();
            assert!(blamed.len() <= 3, "{blamed:?}");
        }
    }
}
