//! Classic bugs, one at a time, for checkers to find: only with the feature `planted`, never in a
//! build that somebody uses.

/// A way to break Multi-Paxos.
#[cfg(feature = "planted")]
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Bug {
    /// One acceptor less than a majority suffices.
    MajorityMinusOne,
    /// A promise is not written.
    PromiseNotPersisted,
    /// A vote is answered before it is durable.
    VoteNotPersisted,
    /// Votes are reported with the promised ballot instead of the one that they were cast in.
    VoteWithoutBallot,
    /// A proposer that starts again uses its last ballot again.
    BallotReused,
    /// A new leader leaves slots that nobody voted in as they are.
    GapNotFilled,
    /// A new leader begins at the end instead of proposing again what it has found.
    SuffixNotProposed,
    /// A new leader takes the first vote that it hears of, not the one of the highest ballot.
    FirstVoteWins,
    /// A follower takes what the leader says to be chosen for what it holds itself.
    ChosenWithoutBallot,
    /// Votes behind a snapshot are dropped with what it covers.
    SnapshotDropsVotes,
    /// A read is answered without confirmation.
    ReadUnconfirmed,
    /// A read is answered before the leader knows what earlier ballots have chosen.
    ReadBeforeRecovery,
    /// A quorum read is answered at what the reader knows to be chosen instead of at the last slot that
    /// the quorum has voted in.
    QuorumReadDoesNotWait,
    /// A quorum read asks one voter less than a majority.
    QuorumReadFromTooFew,
    /// A lease is counted from when the answer comes instead of when it was asked for.
    LeaseFromAnswer,
    /// Who has granted a lease lets others prepare nevertheless.
    GrantNotKept,
    /// Who restarts does not wait for what it may have granted.
    GrantForgotten,
    /// The leader counts its own votes before they are durable.
    CountUnwritten,
    /// Entries are handed out a second time after a restart.
    HandOutTwice,
    /// A fast quorum is three quarters rounded down.
    FastQuorumFloor,
    /// Recovery counts by the threshold of the smallest quorum, however many have replied.
    LeastThreshold,
    /// Votes of fast and classic ballots are compared as ballots are.
    PlainOrder,
    /// An acceptor votes for what is offered after it has accepted what the leader proposed.
    FastVoteAfterClassic,
    /// A learner counts a voter as often as it hears of its vote.
    VoterCountedTwice,
    /// A fast vote is told before it is durable.
    FastVoteUnwritten,
    /// What is offered in a slot is offered in another when another leader is there.
    OfferMoves,
    /// A leader proposes behind its stop-sign.
    ProposesBehindStop,
    /// An acceptor votes behind a stop-sign that it does not know to be chosen.
    AcceptsUnchosenStop,
    /// A stop-sign that phase 1 finds ends the configuration, whatever was voted for behind it later.
    VoidStopCounts,
    /// The next configuration begins when its stop-sign is accepted.
    NextOnAccepted,
    /// Who accepts in a higher ballot than it has promised goes on to take part in lower ones.
    AcceptKeepsPromise,
    /// What is chosen is compacted before the state machine has it, and beyond the snapshot.
    TrimUnapplied,
    /// A new leader forgets what it knows to be chosen.
    ChosenGoesBack,
}

#[cfg(feature = "planted")]
impl Bug {
    /// Those of fast rounds.
    pub const FAST: [Self; 7] = [
        Self::FastQuorumFloor,
        Self::LeastThreshold,
        Self::PlainOrder,
        Self::FastVoteAfterClassic,
        Self::VoterCountedTwice,
        Self::FastVoteUnwritten,
        Self::OfferMoves,
    ];

    /// All others.
    pub const ALL: [Self; 26] = [
        Self::MajorityMinusOne,
        Self::PromiseNotPersisted,
        Self::VoteNotPersisted,
        Self::VoteWithoutBallot,
        Self::BallotReused,
        Self::GapNotFilled,
        Self::SuffixNotProposed,
        Self::FirstVoteWins,
        Self::ChosenWithoutBallot,
        Self::SnapshotDropsVotes,
        Self::ReadUnconfirmed,
        Self::ReadBeforeRecovery,
        Self::QuorumReadDoesNotWait,
        Self::QuorumReadFromTooFew,
        Self::LeaseFromAnswer,
        Self::GrantNotKept,
        Self::GrantForgotten,
        Self::CountUnwritten,
        Self::HandOutTwice,
        Self::ProposesBehindStop,
        Self::AcceptsUnchosenStop,
        Self::VoidStopCounts,
        Self::NextOnAccepted,
        Self::AcceptKeepsPromise,
        Self::TrimUnapplied,
        Self::ChosenGoesBack,
    ];
}

/// Whether this bug is planted in a node; `false` at compile time without the feature.
macro_rules! planted {
    ($node:expr, $bug:ident) => {{
        #[cfg(feature = "planted")]
        let planted = $node.config.planted == Some(crate::log::planted::Bug::$bug);
        #[cfg(not(feature = "planted"))]
        let planted = {
            let _ = &$node;
            false
        };
        planted
    }};
}

pub(crate) use planted;
