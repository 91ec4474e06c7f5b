//! Planted bugs: each breaks the checker in one way, in tests only, to show that the tests would
//! notice. Outside tests [`planted`] is the constant `false`.

/// A way to break the checker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// Judges the first key only.
    FirstKeyOnly,
    /// Takes operations that certainly failed for possible ones.
    FailedIsPossible,
    /// Takes unknown operations for ones that never happened.
    UnknownNever,
    /// Takes unknown operations for ones that happened at once.
    UnknownAtOnce,
    /// Forgets that the log proves that an operation happened.
    BoundForgotten,
    /// Gives an operation that the log bounds the whole future instead.
    BoundTooLate,
    /// Takes an answer for unknown.
    AnswerIgnored,
    /// Linearizes operations that were invoked after the next answer.
    RealTimeIgnored,
    /// Lets a partial order of the same operations pass for seen, whatever the state.
    MemoWithoutState,
    /// Lets a partial order with the same state pass for seen, whatever was linearized early.
    MemoWithoutSet,
    /// Lets a partial order with more unknown operations used up cover one with fewer.
    CoverReversed,
    /// Keeps the later state when it backtracks.
    StateNotRestored,
    /// Keeps operations linearized when it backtracks.
    OpsNotRestored,
    /// Forgets which operations had been linearized early when it backtracks.
    SetNotRestored,
    /// Keeps an operation in the early set after the front has passed it.
    SlotNotFreed,
    /// Linearizes at once whatever happens to change nothing in the present state.
    AbsorbsWrites,
    /// Never uses the second of two equal unknown operations.
    TwinForgotten,
    /// Calls the history linearizable when the step limit is reached.
    LimitIsOk,
    /// Uses at most one unknown operation in a row.
    OneUnknown,
    /// Forgets that a state which is left can come again.
    SourcesForgotten,
    /// Takes a write at once although what it wrote is still needed after that.
    BlockTooEarly,
    /// Takes a write at once although the present state is still needed.
    BlockOverNeeded,
    /// Takes all operations for fully specified.
    PlainForgotten,
    /// Takes for the end of the window what the search, which looks ahead, got stuck at.
    EndTooEarly,
    /// Cuts the window of a violation one operation too short.
    WindowTooShort,
    /// Does not cut the window at all.
    WindowNotCut,
}

#[cfg(test)]
std::thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}

/// Whether `bug` is planted on this thread.
#[cfg(test)]
pub(super) fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Whether `bug` is planted: never, outside tests.
#[cfg(not(test))]
pub(super) const fn planted(_: Bug) -> bool {
    false
}

/// Runs `work` with `bug` planted on this thread.
#[cfg(test)]
pub(super) fn with<T>(bug: Bug, work: impl FnOnce() -> T) -> T {
    struct Cleared;
    impl Drop for Cleared {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }
    PLANTED.set(Some(bug));
    let _cleared = Cleared;
    work()
}
