//! Taking snapshots: when, and the way of the pieces into the storage.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll};

use bytes::Bytes;
use synod_core::{Batch, Chunks, Lane, LogIndex, LogRecord, MachineError, OldLog, SnapshotMeta};

use super::Config;
use crate::apply::Pieces;
use crate::handle::SnapshotError;
use crate::handle::slot::Promise;

enum Taking {
    Idle,
    /// The state machine was asked to freeze its state.
    Freezing,
    /// Pieces are written one by one.
    Storing(Storing),
}

struct Storing {
    meta: SnapshotMeta,
    pieces: Pieces,
    /// What is to be written next.
    next: Option<LogRecord>,
    /// Whether a record of ours is under way.
    writing: bool,
    /// Whether a piece has been staged.
    begun: bool,
    /// Whether there are no more pieces.
    ended: bool,
    /// Whether the last record is on its way.
    complete: bool,
}

/// A promise of somebody who waits for a snapshot.
pub(super) type Asker = Promise<Result<SnapshotMeta, SnapshotError>>;

/// The policy and the one snapshot that is under way.
pub(super) struct Snapshots {
    every_entries: Option<u64>,
    every_bytes: Option<u64>,
    piece_bytes: usize,
    name: String,
    taking: Taking,
    askers: Vec<Asker>,
    /// What has been committed since the last snapshot was begun.
    entries: u64,
    bytes: u64,
    /// One was put off; asked again when this much has been committed.
    again_at: (u64, u64),
}

/// How many times as much as the policy says may be committed before a snapshot takes the place of
/// one that a peer is being sent.
const PATIENCE: u64 = 3;

/// How a snapshot ended.
pub(super) enum Ended {
    Failed(SnapshotError),
    Taken(SnapshotMeta),
}

impl Snapshots {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            every_entries: config.snapshot_every_entries,
            every_bytes: config.snapshot_every_bytes,
            piece_bytes: config.piece_bytes,
            name: alloc::format!("{}-snapshot", config.name),
            taking: Taking::Idle,
            askers: Vec::new(),
            entries: 0,
            bytes: 0,
            again_at: (0, 0),
        }
    }

    /// Entries that the storage holds beyond its snapshot at the start.
    pub(super) const fn begin_with(&mut self, entries: u64) {
        self.entries = entries;
    }

    /// Counts what has been committed.
    pub(super) const fn count(&mut self, entries: u64, bytes: u64) {
        self.entries += entries;
        self.bytes += bytes;
    }

    pub(super) fn ask(&mut self, asker: Asker) {
        self.askers.push(asker);
    }

    /// Whether to ask the state machine, which has applied `applied`, to freeze now. Then
    /// [`frozen`](Self::frozen) must follow. `sending` says whether a peer is being sent the last
    /// snapshot: a new one would make it begin again, and if the log grows faster than a snapshot
    /// travels, for ever.
    pub(super) fn is_due(&mut self, applied: LogIndex, sending: impl FnOnce() -> bool) -> bool {
        if !matches!(self.taking, Taking::Idle) || applied == LogIndex::START {
            return false;
        }
        if self.askers.is_empty() {
            let patient = self.reaches(PATIENCE);
            let asked = self.entries < self.again_at.0 && self.bytes < self.again_at.1;
            if !self.reaches(1) || (asked && !patient) {
                return false;
            }
            if !patient && sending() {
                let later = |now: u64, every: Option<u64>| {
                    every.map_or(u64::MAX, |n| now.saturating_add(n.div_ceil(8)))
                };
                self.again_at = (
                    later(self.entries, self.every_entries),
                    later(self.bytes, self.every_bytes),
                );
                return false;
            }
        }
        self.taking = Taking::Freezing;
        self.entries = 0;
        self.bytes = 0;
        self.again_at = (0, 0);
        true
    }

    /// Whether `times` as much has been committed as the policy says.
    fn reaches(&self, times: u64) -> bool {
        let reached = |count: u64, every: Option<u64>| {
            every.is_some_and(|n| count >= n.saturating_mul(times))
        };
        reached(self.entries, self.every_entries) || reached(self.bytes, self.every_bytes)
    }

    /// Why those who asked cannot have a snapshot now, if that is so.
    pub(super) fn obstacle(&self, applied: LogIndex) -> Option<SnapshotError> {
        match self.taking {
            Taking::Idle if self.askers.is_empty() => None,
            Taking::Idle if applied == LogIndex::START => Some(SnapshotError::Nothing),
            _ => None,
        }
    }

    /// The state is frozen; `meta` is what the log calls it.
    pub(super) fn frozen(
        &mut self,
        chunks: Result<Chunks, MachineError>,
        meta: Option<SnapshotMeta>,
    ) -> Option<Ended> {
        self.taking = Taking::Idle;
        let Some(meta) = meta else {
            return Some(Ended::Failed(SnapshotError::Superseded));
        };
        let pieces = chunks.and_then(|chunks| Pieces::start(&self.name, chunks, self.piece_bytes));
        match pieces {
            Ok(pieces) => {
                self.taking = Taking::Storing(Storing::new(meta, pieces));
                None
            }
            Err(error) => Some(Ended::Failed(error.into())),
        }
    }

    /// Takes the next piece if there is one and the last has been written.
    pub(super) fn poll(&mut self, cx: &Context<'_>) -> Option<Ended> {
        let Taking::Storing(storing) = &mut self.taking else {
            return None;
        };
        let error = storing.poll(cx)?;
        self.taking = Taking::Idle;
        Some(Ended::Failed(error.into()))
    }

    /// Whether a record is ready to be written.
    pub(super) const fn has_record(&self) -> bool {
        matches!(&self.taking, Taking::Storing(storing) if storing.next.is_some())
    }

    /// Sees what the machine is about to write: a snapshot of another node that reaches as far as
    /// ours makes ours useless.
    pub(super) fn observe(&mut self, records: &Batch<LogRecord>) -> Option<Ended> {
        let Taking::Storing(storing) = &self.taking else {
            return None;
        };
        let index = storing.meta.index();
        let is_further = |record: &LogRecord| matches!(record, LogRecord::Activate { meta, .. } if meta.index() >= index);
        if !records.iter().any(is_further) {
            return None;
        }
        self.taking = Taking::Idle;
        Some(Ended::Failed(SnapshotError::Superseded))
    }

    /// Adds our record, if there is one; whether there was.
    pub(super) fn add_record(&mut self, records: &mut Batch<LogRecord>) -> bool {
        let Taking::Storing(storing) = &mut self.taking else {
            return false;
        };
        let Some(record) = storing.next.take() else {
            return false;
        };
        records.push(record);
        storing.writing = true;
        true
    }

    /// Our record is durable.
    pub(super) fn written(&mut self) -> Option<Ended> {
        let Taking::Storing(storing) = &mut self.taking else {
            return None;
        };
        storing.writing = false;
        if !storing.complete || storing.next.is_some() {
            return None;
        }
        let meta = storing.meta.clone();
        self.taking = Taking::Idle;
        Some(Ended::Taken(meta))
    }

    /// Those who wait for the snapshot that has ended.
    pub(super) fn take_askers(&mut self) -> Vec<Asker> {
        mem::take(&mut self.askers)
    }
}

impl Storing {
    fn new(mut meta: SnapshotMeta, pieces: Pieces) -> Self {
        meta.size = 0;
        Self {
            meta,
            pieces,
            next: None,
            writing: false,
            begun: false,
            ended: false,
            complete: false,
        }
    }

    fn poll(&mut self, cx: &Context<'_>) -> Option<MachineError> {
        if self.writing || self.next.is_some() || self.complete {
            return None;
        }
        if !self.ended {
            match self.pieces.poll(cx) {
                Poll::Pending => return None,
                Poll::Ready(Err(error)) => return Some(error),
                Poll::Ready(Ok(Some(chunk))) => {
                    self.stage(chunk);
                    return None;
                }
                Poll::Ready(Ok(None)) => self.ended = true,
            }
        }
        if self.begun {
            self.complete = true;
            self.next = Some(LogRecord::Activate {
                meta: self.meta.clone(),
                log: OldLog::Keep,
            });
        } else {
            // An empty snapshot is staged as one empty piece.
            self.stage(Bytes::new());
        }
        None
    }

    fn stage(&mut self, chunk: Bytes) {
        let offset = self.meta.size;
        self.meta.size += chunk.len() as u64;
        self.begun = true;
        self.next = Some(LogRecord::Stage {
            lane: Lane::Taken,
            id: self.meta.id,
            offset,
            chunk,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshots() -> Snapshots {
        let config = Config::builder()
            .snapshot_every_entries(80)
            .snapshot_every_bytes(1 << 20);
        Snapshots::new(&config.build().expect("these settings are valid"))
    }

    #[test]
    fn a_snapshot_is_put_off_while_a_peer_is_sent_the_last_one() {
        let mut snapshots = snapshots();
        snapshots.count(79, 0);
        assert!(!snapshots.is_due(LogIndex(79), || unreachable!("not due")));
        snapshots.count(1, 0);
        let mut asked = 0;
        for entries in 80..240 {
            let due = snapshots.is_due(LogIndex(entries), || {
                asked += 1;
                true
            });
            assert!(!due, "put off");
            snapshots.count(1, 1);
        }
        assert_eq!(asked, 16, "not asked at each turn");
        assert!(
            snapshots.is_due(LogIndex(240), || unreachable!("too late to ask")),
            "the log does not grow for ever"
        );
    }

    #[test]
    fn a_snapshot_that_was_put_off_is_taken_when_the_peer_has_the_last_one() {
        let mut snapshots = snapshots();
        snapshots.count(80, 0);
        assert!(!snapshots.is_due(LogIndex(80), || true));
        snapshots.count(10, 0);
        assert!(snapshots.is_due(LogIndex(90), || false));
    }

    #[test]
    fn bytes_count_as_entries_do() {
        let mut snapshots = snapshots();
        snapshots.count(1, 1 << 20);
        assert!(!snapshots.is_due(LogIndex(1), || true));
        snapshots.count(1, 1 << 17);
        assert!(snapshots.is_due(LogIndex(2), || false));
    }
}
