//! Classic bugs, one at a time, for checkers to find: only with the feature `planted`, never in a
//! build that somebody uses.

/// A way to break Raft.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// A vote is answered before it is durable, and not written at all.
    VoteNotPersisted,
    /// A new term is not written.
    TermNotPersisted,
    /// An entry of an earlier term is committed by counting (figure 8).
    CommitOldTermByCounting,
    /// One follower less than a majority suffices.
    MajorityMinusOne,
    /// A vote is granted whatever the candidate's log holds.
    VoteForStaleLog,
    /// The longer log wins a vote, whatever its last term.
    VoteByLengthOnly,
    /// Entries are appended without looking at what comes before them.
    AppendUnchecked,
    /// An old append truncates what follows it, although it matches.
    TruncateMatching,
    /// A follower takes the leader's commit index beyond what it has checked.
    CommitBeyondMatch,
    /// A read is answered without confirmation.
    ReadUnconfirmed,
    /// A read is answered before the leader has committed anything.
    ReadBeforeFirstCommit,
    /// A snapshot replaces a longer log that matches it.
    SnapshotOverMatchingLog,
    /// An append is acknowledged before it is durable.
    AckBeforeSync,
    /// The leader counts its own entries before they are durable.
    CountUnwritten,
    /// Entries are handed out a second time after a restart.
    HandOutTwice,
}

#[cfg(feature = "planted")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::VoteNotPersisted,
        Self::TermNotPersisted,
        Self::CommitOldTermByCounting,
        Self::MajorityMinusOne,
        Self::VoteForStaleLog,
        Self::VoteByLengthOnly,
        Self::AppendUnchecked,
        Self::TruncateMatching,
        Self::CommitBeyondMatch,
        Self::ReadUnconfirmed,
        Self::ReadBeforeFirstCommit,
        Self::SnapshotOverMatchingLog,
        Self::AckBeforeSync,
        Self::CountUnwritten,
        Self::HandOutTwice,
    ];
}

/// Whether this bug is planted in a node; `false` at compile time without the feature.
macro_rules! planted {
    ($node:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = $node.config.planted == Some(crate::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = false;
        planted
    }};
}

pub(crate) use planted;
