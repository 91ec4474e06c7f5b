//! Classic bugs, one at a time, for checkers to find: only with the feature `planted`, never in a
//! build that somebody uses.

/// A way to break CASPaxos.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// One acceptor less than a quorum suffices in phase 2.
    MajorityMinusOne,
    /// A promise is answered and not written.
    PromiseNotPersisted,
    /// A vote is answered and not written.
    VoteNotPersisted,
    /// Rounds are not reserved: a restart uses ballots again.
    BallotReused,
    /// After an accept of unknown outcome the same ballot carries another proposal.
    CacheKeptAfterUnknown,
    /// A read tells what it has found without a second phase.
    ReadUnfenced,
    /// Who accepts promises nothing.
    AcceptKeepsPromise,
    /// A tombstone is purged once a quorum has it.
    PurgeEarly,
    /// A purged register forgets what was promised.
    PurgeForgetsPromise,
    /// A node skips phase 1 on the strength of what another has proposed.
    OneRoundTripByOthers,
    /// A proposal of unknown outcome is made again without looking whether it took effect.
    RetryBlindly,
    /// A step counts as settled without a rescan.
    SettleWithoutRescan,
    /// Messages of other epochs count.
    EpochIgnored,
    /// The highest ballot counts, whatever the configuration of the vote.
    EpochsUnordered,
}

#[cfg(feature = "planted")]
impl Bug {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::MajorityMinusOne,
        Self::PromiseNotPersisted,
        Self::VoteNotPersisted,
        Self::BallotReused,
        Self::CacheKeptAfterUnknown,
        Self::ReadUnfenced,
        Self::AcceptKeepsPromise,
        Self::PurgeEarly,
        Self::PurgeForgetsPromise,
        Self::OneRoundTripByOthers,
        Self::RetryBlindly,
        Self::SettleWithoutRescan,
        Self::EpochIgnored,
        Self::EpochsUnordered,
    ];
}

/// Whether this bug is planted in a node; `false` at compile time without the feature.
macro_rules! planted {
    ($node:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = $node.config.planted == Some(crate::register::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = false;
        planted
    }};
}

pub(crate) use planted;
