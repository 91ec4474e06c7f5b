//! An in-memory log for the `raft` crate.

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::util::limit_size;
use raft::{Error, GetEntriesContext, RaftState, Result, Storage, StorageError};

/// Entries in a vector, entry 1 first; never compacted.
///
/// The crate's own `MemStorage` copies every entry that is appended and takes a lock at every call. This one moves
/// the entries in, and needs no lock, because the machine owns it.
#[derive(Debug)]
pub(super) struct VecStorage {
    state: RaftState,
    entries: Vec<Entry>,
}

impl VecStorage {
    /// An empty log for a cluster of `voters`.
    pub(super) fn new(voters: Vec<u64>) -> Self {
        let state = RaftState::new(HardState::default(), ConfState::from((voters, vec![])));
        Self {
            state,
            entries: Vec::new(),
        }
    }

    /// Appends `entries`, replacing what is there from the first one's index on.
    pub(super) fn append(&mut self, mut entries: Vec<Entry>) {
        let Some(first) = entries.first() else { return };
        self.entries.truncate(position(first.index));
        self.entries.append(&mut entries);
    }

    pub(super) fn set_hard_state(&mut self, state: HardState) {
        self.state.hard_state = state;
    }

    /// Entries `1..=through`.
    pub(super) fn through(&self, through: u64) -> &[Entry] {
        &self.entries[..position(through + 1)]
    }
}

fn position(index: u64) -> usize {
    usize::try_from(index - 1).expect("a log in memory is indexed by usize")
}

impl Storage for VecStorage {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(self.state.clone())
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        let max_size = max_size.into();
        // At most one entry: do not copy the others only to drop them.
        let high = if max_size == Some(0) {
            high.min(low + 1)
        } else {
            high
        };
        let mut entries = self.entries[position(low)..position(high)].to_vec();
        limit_size(&mut entries, max_size);
        Ok(entries)
    }

    fn term(&self, index: u64) -> Result<u64> {
        if index == 0 {
            return Ok(0);
        }
        let entry = self.entries.get(position(index));
        entry
            .map(|entry| entry.term)
            .ok_or(Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(1)
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.entries.len() as u64)
    }

    fn snapshot(&self, _request_index: u64, _to: u64) -> Result<Snapshot> {
        Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable))
    }
}
