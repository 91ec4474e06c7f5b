//! Why a configuration or a start is refused.

use alloc::string::String;
use core::time::Duration;

use synod_core::{DecodeError, LogIndex, NodeId};

use crate::Ballot;

/// A rule that a configuration breaks. Nothing has been started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Who is asked in a round of the election has to be heard of in it.
    #[error(
        "election_round ({round:?}) must be at least the heartbeat_interval ({heartbeat:?}), which must not be 0"
    )]
    HeartbeatTooSlow {
        /// The length of a round.
        round: Duration,
        /// The interval.
        heartbeat: Duration,
    },
    /// A lease has to outlast the time until it is renewed, and what clocks drift apart; and it has to
    /// end.
    #[error(
        "leader_lease ({lease:?}) must be longer than its max_drift ({max_drift:?}), which must not be 0, \
         and the heartbeat_interval ({heartbeat:?}) together, and not longer than {longest:?}"
    )]
    Lease {
        /// The length of a lease.
        lease: Duration,
        /// What clocks may drift apart.
        max_drift: Duration,
        /// The interval.
        heartbeat: Duration,
        /// The longest lease that there is.
        longest: Duration,
    },
    /// Fast rounds need quorums of their own.
    #[error("fast_rounds needs quorums with fast ones: PaxosPhases::with_fast")]
    NoFastQuorums,
    /// A limit of zero would let nothing through.
    #[error("{name} (0) must be at least 1")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// One limit must fit into another.
    #[error("{small} ({small_value}) must not be greater than {large} ({large_value})")]
    DoesNotFit {
        /// The setting that must be smaller.
        small: &'static str,
        /// Its value.
        small_value: usize,
        /// The setting that must be larger.
        large: &'static str,
        /// Its value.
        large_value: usize,
    },
    /// The voters are not quorum systems that Paxos can use.
    #[error("the voters are not usable: {0}")]
    Voters(String),
    /// A node is both voter and learner, or twice a learner.
    #[error("{node} is named twice among voters and learners")]
    Duplicate {
        /// The node.
        node: NodeId,
    },
    /// The node is not a member of the cluster that it is to found.
    #[error("{node} is neither a voter nor a learner of the cluster that it is to found")]
    NotAMember {
        /// The node.
        node: NodeId,
    },
}

/// Why a node cannot go on from what is on its disk. Nothing has been changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The stored protocol state cannot be read.
    #[error("the stored state of the multi-paxos node cannot be read: {0}")]
    State(DecodeError),
    /// A stored configuration cannot be read.
    #[error("the configuration stored at {index} cannot be read: {error}")]
    Config {
        /// Where it is.
        index: LogIndex,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// The storage belongs to another node.
    #[error("the storage belongs to {found}, this node is {node}")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Who wants to use it.
        node: NodeId,
    },
    /// There are entries or a snapshot, but no protocol state: the promise is lost.
    #[error(
        "there are votes up to {last} but no state: the promise is lost, this disk must not vote again"
    )]
    StateMissing {
        /// The last slot that holds one.
        last: LogIndex,
    },
    /// A slot that is known to be chosen holds nothing.
    #[error("everything up to {chosen} is chosen, but slot {missing} is empty")]
    Hole {
        /// The last slot that the stored state says to be chosen.
        chosen: LogIndex,
        /// The first that holds nothing.
        missing: LogIndex,
    },
    /// A vote is of a later ballot than was promised: an earlier promise is what was stored last.
    #[error("slot {index} holds a vote of {vote}, but only {promised} is promised")]
    VoteAhead {
        /// The slot.
        index: LogIndex,
        /// The ballot of the vote.
        vote: Ballot,
        /// What is promised.
        promised: Ballot,
    },
    /// What the log begins behind is in no snapshot: nothing could be restored or sent from there.
    #[error(
        "the stored log begins behind {compacted} and there is no snapshot of what came before"
    )]
    SnapshotMissing {
        /// The last entry that is compacted away.
        compacted: LogIndex,
    },
}
