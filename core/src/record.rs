//! What a replicated log keeps on disk: one record type for all protocols, so that one storage, one
//! write-ahead log and one simulated disk serve them all.

use alloc::vec::Vec;
use core::fmt;

use bytes::Bytes;

use crate::{Entries, LogIndex, Stamp};

/// One thing to make durable. Records are written in order, and every prefix of that order is safe
/// to crash after: the machine sees to it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum LogRecord {
    /// The protocol's own state (Raft: term and vote; Paxos: promise), replacing the one before.
    State(Bytes),
    /// Entries at their places, replacing what was there. Raft and ZAB only ever put the next ones
    /// and truncate before they replace; Multi-Paxos puts slots in any order.
    Put(Entries),
    /// Drops every entry from here on.
    Truncate {
        /// The first entry that is gone.
        from: LogIndex,
    },
    /// A piece of a snapshot that is being taken or received. It counts for nothing until
    /// [`Activate`](Self::Activate). A piece at offset 0 starts its lane afresh.
    Stage {
        /// Who writes it: a storage keeps one unfinished snapshot for each.
        lane: Lane,
        /// Which snapshot.
        id: SnapshotId,
        /// Where the piece belongs, in bytes. Pieces arrive in order and without gaps.
        offset: u64,
        /// The piece.
        chunk: Bytes,
    },
    /// The snapshot staged under this id, in whichever lane, is complete and the current one; the
    /// one before may be deleted. If the current one reaches as far already, only the staged one is
    /// dropped.
    Activate {
        /// What it is.
        meta: SnapshotMeta,
        /// What becomes of the stored log.
        log: OldLog,
    },
    /// Entries up to and with `through` are not needed any more; a snapshot that covers them is
    /// durable.
    Compact {
        /// The last entry that may go.
        through: LogIndex,
        /// The mark of that entry, kept: it is what the next one is checked against.
        stamp: Stamp,
    },
}

/// Who writes a snapshot. The driver takes one of the state machine while the machine receives one
/// from its leader; neither may disturb the other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Lane {
    /// The driver, of this node's own state machine.
    Taken,
    /// The protocol, from a peer.
    Received,
}

/// What becomes of the stored log when a snapshot is activated. One record does both, so that no
/// crash leaves a snapshot beside a log that does not belong to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OldLog {
    /// It stays: the snapshot covers a part of it.
    Keep,
    /// All of it goes, as if compacted through the snapshot's last entry.
    Replace,
}

/// Which snapshot: two snapshots of the same index taken by different nodes may differ in bytes, so
/// pieces of one never complete another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotId {
    /// The storage it was taken on.
    pub origin: crate::Generation,
    /// The last entry that it covers.
    pub index: LogIndex,
}

impl fmt::Display for SnapshotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.origin)
    }
}

/// What a snapshot is, without its contents.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SnapshotMeta {
    /// Which one.
    pub id: SnapshotId,
    /// The mark of the last entry that it covers (its index is in [`id`](Self::id)). It means
    /// something to the protocol only: in Multi-Paxos two nodes mark the same entry differently.
    pub stamp: Stamp,
    /// The protocol's encoding of the configuration in force at that entry.
    pub config: Bytes,
    /// The length of its contents, in bytes.
    pub size: u64,
}

impl SnapshotMeta {
    /// The last entry that it covers.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.id.index
    }
}

/// What a replicated log reads back when it needs it again.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogLoad {
    /// Entries behind `after`, up to and with `through`, of at most `max_bytes` by
    /// [`Entry::weight`](crate::Entry::weight) but at least one, up to the first gap. There is no
    /// answer if `after` lies before the compacted place, or the first entry wanted is not there.
    Entries {
        /// The entry before the first one wanted.
        after: LogIndex,
        /// The last one wanted.
        through: LogIndex,
        /// The limit.
        max_bytes: usize,
    },
    /// A piece of the current snapshot, if it still is `id`.
    Snapshot {
        /// Which snapshot.
        id: SnapshotId,
        /// From where, in bytes.
        offset: u64,
        /// The limit.
        max_bytes: usize,
    },
}

/// The answer to a [`LogLoad`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum LogLoaded {
    /// Entries without a gap, in runs of one stamp each.
    Entries {
        /// The mark of the entry before the first; [`Stamp::START`] if that is the place before the
        /// log or a gap (no entry carries it).
        before: Stamp,
        /// The entries.
        runs: Vec<Entries>,
    },
    /// A piece of a snapshot.
    Snapshot {
        /// Which snapshot.
        meta: SnapshotMeta,
        /// From where, in bytes.
        offset: u64,
        /// The piece; empty at the end.
        chunk: Bytes,
    },
}

/// A stretch of the stored log with one stamp and no gap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Run {
    /// The first entry.
    pub first: LogIndex,
    /// The last entry.
    pub last: LogIndex,
    /// The mark that all of them carry.
    pub stamp: Stamp,
}

/// What a replicated log finds on disk when it starts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Restored {
    /// The last [`LogRecord::State`]; `None` on an empty storage.
    pub state: Option<Bytes>,
    /// The current snapshot.
    pub snapshot: Option<SnapshotMeta>,
    /// How far a snapshot being received has got, so that it resumes: its id and the bytes that are
    /// there. One that was being taken is forgotten.
    pub staged: Option<(SnapshotId, u64)>,
    /// The last entry that was compacted away and its mark; the start if none was.
    pub compacted: (LogIndex, Stamp),
    /// The stored log as stretches, in order.
    pub runs: Vec<Run>,
    /// The configuration entries in the stored log, in order.
    pub configs: Vec<(LogIndex, Bytes)>,
    /// The last entries of the stored log, as many as the storage thinks fit for memory, without a
    /// gap to its end where the protocol writes none.
    pub tail: Vec<Entries>,
}

impl Restored {
    /// The last entry of the stored log; the last compacted one if there is none.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.runs.last().map_or(self.compacted.0, |run| run.last)
    }
}
