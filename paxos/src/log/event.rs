//! What the application can learn about Multi-Paxos itself.

use alloc::vec::Vec;

use synod_core::{Generation, LogEvent, LogIndex, NodeId, SnapshotId};

use super::Epoch;
use crate::Ballot;

/// What a node of Multi-Paxos tells its application.
pub type Event = LogEvent<Detail>;

/// An event of Multi-Paxos' own.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Detail {
    /// This node begins phase 1 of a ballot of its own.
    Preparing {
        /// The ballot.
        ballot: Ballot,
        /// The last slot that it knows to be chosen, with all before it.
        after: LogIndex,
    },
    /// Phase 1 is over: this node leads, and proposes again what it has found.
    Recovered {
        /// The ballot.
        ballot: Ballot,
        /// Slots up to here hold what earlier ballots may have chosen.
        through: LogIndex,
        /// How many of them nobody had voted in: they are filled with blanks.
        blanks: u64,
    },
    /// This leader opens slots: from here on voters offer what they are asked to propose to all others
    /// themselves.
    FastOpened {
        /// The first of them.
        first: LogIndex,
    },
    /// In this open slot the fast ballot has chosen nothing, or nothing that is known: the leader
    /// has proposed what it may in its classic ballot.
    Collided {
        /// Which slot.
        index: LogIndex,
    },
    /// A configuration is in force: it was chosen.
    Membership {
        /// Where it is in the log.
        index: LogIndex,
        /// Which voters, counted from those that founded the cluster.
        epoch: Epoch,
        /// Who votes.
        voters: Vec<NodeId>,
        /// Who listens.
        learners: Vec<NodeId>,
    },
    /// This node is in no configuration any more, and a quorum of the voters knows its own: it is not
    /// needed and may be stopped.
    LeftOut {
        /// Where the configuration is in the log.
        index: LogIndex,
    },
    /// A peer has come back with another storage: its promises and votes do not count. Take it out
    /// of the cluster and let it join under a new id.
    Amnesia {
        /// The peer.
        peer: NodeId,
        /// The life of the storage that it had.
        known: Generation,
        /// The life of the one that it has.
        seen: Generation,
    },
    /// This node lacks what others have and asks one of them for it.
    Fetching {
        /// The last slot that it has, with all before it.
        after: LogIndex,
        /// Whom it asks.
        from: NodeId,
    },
    /// What this node had of the log was replaced by a snapshot; votes behind it stay.
    SnapshotInstalled {
        /// Which snapshot.
        id: SnapshotId,
    },
    /// Entries that a snapshot covers were dropped.
    Compacted {
        /// The last that is gone.
        through: LogIndex,
    },
}
