//! What the application can learn about Raft itself.

use alloc::vec::Vec;

use synod_core::{Generation, LogEvent, LogIndex, NodeId, SnapshotId};

use crate::Term;

/// What a Raft node tells its application.
pub type Event = LogEvent<Detail>;

/// An event of Raft's own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Detail {
    /// This node stands for election, or asks whether it should.
    Election {
        /// The term that it wants to lead.
        term: Term,
        /// Whether it only asks.
        pre: bool,
    },
    /// A configuration is in force: appended, or back after a newer one was rolled back.
    Membership {
        /// Where it is in the log.
        index: LogIndex,
        /// Who votes.
        voters: Vec<NodeId>,
        /// Who listens.
        learners: Vec<NodeId>,
    },
    /// A peer has come back with another storage: its votes and acknowledgements do not count. Take
    /// it out of the cluster and let it join under a new id.
    Amnesia {
        /// The peer.
        peer: NodeId,
        /// The life of the storage that it had.
        known: Generation,
        /// The life of the one that it has.
        seen: Generation,
    },
    /// A follower is so far behind that it is sent a snapshot.
    SnapshotOffered {
        /// The follower.
        to: NodeId,
        /// Which snapshot.
        id: SnapshotId,
    },
    /// This node's log was replaced by a snapshot.
    SnapshotInstalled {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// Entries were dropped because the leader has others in their place.
    Truncated {
        /// The first that is gone.
        from: LogIndex,
        /// The last that is gone.
        through: LogIndex,
    },
    /// Entries that a snapshot covers were dropped.
    Compacted {
        /// The last that is gone.
        through: LogIndex,
    },
}
