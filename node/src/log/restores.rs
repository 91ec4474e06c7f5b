//! Snapshots on their way from the storage to the state machine.

use alloc::collections::VecDeque;

use bytes::Bytes;
use synod_core::{LogLoad, SnapshotMeta};

use crate::apply::{AHEAD, Feeder};

struct Restore {
    /// Names its loads, so that an answer that comes late is not taken for another's.
    serial: u64,
    meta: SnapshotMeta,
    feeder: Feeder,
    offset: u64,
    /// Pieces that the state machine has not taken yet.
    ahead: usize,
    loading: bool,
    read: bool,
}

/// Restores in order; the first is the one that the state machine works on.
#[derive(Default)]
pub(super) struct Restores {
    queue: VecDeque<Restore>,
    serial: u64,
}

impl Restores {
    pub(super) fn push(&mut self, meta: SnapshotMeta, feeder: Feeder) {
        self.serial += 1;
        self.queue.push_back(Restore {
            serial: self.serial,
            meta,
            feeder,
            offset: 0,
            ahead: 0,
            loading: false,
            read: false,
        });
    }

    /// What to read next, if there is room for it.
    pub(super) fn next_load(&mut self, max_bytes: usize) -> Option<(u64, LogLoad)> {
        let restore = self.queue.front_mut()?;
        if restore.loading || restore.read || restore.ahead >= AHEAD {
            return None;
        }
        restore.loading = true;
        let load = LogLoad::Snapshot {
            id: restore.meta.id,
            offset: restore.offset,
            max_bytes,
        };
        Some((restore.serial, load))
    }

    /// A piece has been read; `None` if the snapshot is not there any more.
    pub(super) fn loaded(&mut self, serial: u64, chunk: Option<Bytes>) {
        let Some(restore) = self.queue.front_mut().filter(|r| r.serial == serial) else {
            return;
        };
        restore.loading = false;
        let Some(chunk) = chunk else {
            restore.read = true;
            restore.feeder.supersede();
            return;
        };
        restore.offset += chunk.len() as u64;
        restore.ahead += 1;
        restore.read = chunk.is_empty();
        restore.feeder.push(chunk);
    }

    /// The state machine has taken a piece.
    pub(super) fn taken(&mut self) {
        if let Some(restore) = self.queue.front_mut() {
            restore.ahead = restore.ahead.saturating_sub(1);
        }
    }

    /// The first one is over.
    pub(super) fn ended(&mut self) {
        self.queue.pop_front();
    }
}
