//! A checker that has never caught anything is not trusted, and neither are its tests: each planted
//! bug is caught by the comparison with the brute force.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use super::cases::Registers;
use super::random::{SMALL, sweep};
use crate::linear::KvMap;
use crate::linear::plant::{Bug, with};

/// Whether the comparison fails within this many cases.
fn is_caught(bug: Bug) -> bool {
    let registers = || sweep(&Registers::new(0), 1, 20_000, SMALL).is_err();
    let maps = || sweep(&KvMap, 2, 20_000, SMALL).is_err();
    let caught = catch_unwind(AssertUnwindSafe(|| with(bug, || registers() || maps())));
    caught.unwrap_or(true)
}

macro_rules! each_is_caught {
    ($($name:ident: $bug:ident;)*) => {
        $(#[test]
        fn $name() {
            assert!(is_caught(Bug::$bug), "{:?} was not caught", Bug::$bug);
        })*
    };
}

each_is_caught! {
    judging_the_first_key_only: FirstKeyOnly;
    taking_failed_for_possible: FailedIsPossible;
    taking_unknown_for_never: UnknownNever;
    taking_unknown_for_done_at_once: UnknownAtOnce;
    forgetting_a_bound: BoundForgotten;
    taking_a_bound_too_late: BoundTooLate;
    ignoring_answers: AnswerIgnored;
    ignoring_real_time: RealTimeIgnored;
    remembering_without_the_state: MemoWithoutState;
    remembering_without_the_set: MemoWithoutSet;
    covering_the_wrong_way_round: CoverReversed;
    not_restoring_the_state: StateNotRestored;
    not_restoring_operations: OpsNotRestored;
    not_restoring_the_set: SetNotRestored;
    not_freeing_a_slot: SlotNotFreed;
    absorbing_writes: AbsorbsWrites;
    forgetting_a_twin: TwinForgotten;
    taking_the_limit_for_ok: LimitIsOk;
    using_one_unknown_only: OneUnknown;
    forgetting_sources: SourcesForgotten;
    taking_a_block_too_early: BlockTooEarly;
    taking_a_block_over_a_needed_state: BlockOverNeeded;
    taking_all_for_plain: PlainForgotten;
    ending_the_window_too_early: EndTooEarly;
    cutting_the_window_too_short: WindowTooShort;
    not_cutting_the_window: WindowNotCut;
}
