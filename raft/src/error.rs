//! Why a configuration or a start is refused.

use alloc::string::String;
use core::time::Duration;

use synod_core::{DecodeError, LogIndex, NodeId, SnapshotId};

/// A rule that a configuration breaks. Nothing has been started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The shorter bound of the election time-out must leave room for heartbeats to be late.
    #[error(
        "election_timeout_min ({min:?}) must be at least twice the heartbeat_interval ({heartbeat:?})"
    )]
    HeartbeatTooSlow {
        /// The shorter bound.
        min: Duration,
        /// The interval.
        heartbeat: Duration,
    },
    /// Time-outs must differ between nodes, or elections tie for ever (Raft §5.2).
    #[error("election_timeout_max ({max:?}) must be greater than election_timeout_min ({min:?})")]
    TimeoutsNotSpread {
        /// The shorter bound.
        min: Duration,
        /// The longer bound.
        max: Duration,
    },
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
    /// The voters are not a quorum system that Raft can use.
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
    #[error("the stored state of the raft node cannot be read: {0}")]
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
    /// There are entries or a snapshot, but no protocol state: term and vote are lost.
    #[error(
        "there is a log up to {last} but no state: term and vote are lost, this disk must not vote again"
    )]
    StateMissing {
        /// The last entry.
        last: LogIndex,
    },
    /// The stored log has a hole.
    #[error("the stored log ends at {before} and goes on at {after}")]
    Gap {
        /// The last entry before the hole.
        before: LogIndex,
        /// The first one after it.
        after: LogIndex,
    },
    /// What the log begins behind is in no snapshot: nothing could be restored or sent from there.
    #[error(
        "the stored log begins behind {compacted} and there is no snapshot of what came before"
    )]
    SnapshotMissing {
        /// The last entry that is compacted away.
        compacted: LogIndex,
    },
    /// The current snapshot does not belong to the stored log.
    #[error("snapshot {id} does not end at an entry of the stored log, which ends at {last}")]
    SnapshotElsewhere {
        /// The snapshot.
        id: SnapshotId,
        /// The last stored entry.
        last: LogIndex,
    },
}
