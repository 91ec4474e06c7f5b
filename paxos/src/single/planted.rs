//! Classic bugs, one at a time, for checkers to find: only with the feature `planted`, never in a
//! build that somebody uses.

/// A way to break single-decree Paxos or Fast Paxos.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// One acceptor less than a quorum suffices, in each phase.
    MajorityMinusOne,
    /// Fast quorums are three quarters of the acceptors, rounded down.
    FastQuorumRoundedDown,
    /// A promise reports its vote with the promised ballot, not with the ballot of the vote.
    VoteWithoutItsBallot,
    /// A promise is answered before it is durable, and not written at all.
    PromiseNotPersisted,
    /// A vote is reported before it is durable, and not written at all.
    VoteNotPersisted,
    /// A proposer does not write which ballots it has used.
    BallotUsedAgain,
    /// A vote does not raise the promise.
    VoteIsNoPromise,
    /// A new ballot proposes its own value whatever the promises report.
    OwnValueFirst,
    /// The threshold for what may be chosen is that of the smallest phase-1 quorum, however many
    /// have replied.
    MinimalThreshold,
    /// Votes of a fast ballot are recovered as if they were of a classic one: the first value wins.
    FastVotesAsClassic,
    /// A learner counts the votes that it hears, not those who cast them.
    CountTwice,
}

#[cfg(feature = "planted")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::MajorityMinusOne,
        Self::FastQuorumRoundedDown,
        Self::VoteWithoutItsBallot,
        Self::PromiseNotPersisted,
        Self::VoteNotPersisted,
        Self::BallotUsedAgain,
        Self::VoteIsNoPromise,
        Self::OwnValueFirst,
        Self::MinimalThreshold,
        Self::FastVotesAsClassic,
        Self::CountTwice,
    ];
}

/// Whether this bug is planted in a configuration; `false` at compile time without the feature.
macro_rules! planted {
    ($config:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = $config.planted == Some($crate::single::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = {
            let _ = &$config;
            false
        };
        planted
    }};
}

pub(crate) use planted;
