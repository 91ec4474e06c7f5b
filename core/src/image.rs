//! What a disk holds for one replicated log, as a plain value: the meaning of [`LogRecord`],
//! [`LogLoad`] and [`Restored`].
//!
//! The simulator's disks, the storage in memory and the reference that the write-ahead log is
//! tested against are this one type.

mod pieces;
mod slots;

use bytes::Bytes;

use crate::{
    Entries, Entry, Lane, LogIndex, LogLoad, LogLoaded, LogRecord, OldLog, Restored, SnapshotId,
    SnapshotMeta, Stamp,
};
use pieces::Pieces;
use slots::Slots;

/// What a disk holds for one replicated log. Two images are equal if they hold the same, however
/// it was cut into writes.
///
/// ```
/// use synod_core::{Entries, Entry, LogImage, LogIndex, LogRecord, Stamp};
///
/// let mut image = LogImage::new();
/// let entries = Entries::new(LogIndex(1), Stamp::of(1), [Entry::blank(), Entry::blank()]);
/// image.apply(LogRecord::Put(entries))?;
/// image.apply(LogRecord::Truncate { from: LogIndex(2) })?;
/// assert_eq!(image.restored(usize::MAX).last(), LogIndex(1));
/// # Ok::<(), synod_core::ImageError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LogImage {
    state: Option<Bytes>,
    snapshot: Option<(SnapshotMeta, Pieces)>,
    /// What is being taken, and what is being received.
    staged: [Option<(SnapshotId, Pieces)>; 2],
    compacted: (LogIndex, Stamp),
    slots: Slots,
}

impl LogImage {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes one record.
    ///
    /// # Errors
    ///
    /// [`ImageError`] if the record breaks a rule of the contract; the image is then unchanged.
    pub fn apply(&mut self, record: LogRecord) -> Result<(), ImageError> {
        match record {
            LogRecord::State(state) => self.state = Some(state),
            LogRecord::Put(entries) => return self.put(entries),
            LogRecord::Truncate { from } => {
                self.above_compacted("truncate", from)?;
                self.slots.truncate(from);
            }
            LogRecord::Stage {
                lane,
                id,
                offset,
                chunk,
            } => {
                return self.stage(lane, id, offset, chunk);
            }
            LogRecord::Activate { meta, log } => return self.activate(meta, log),
            LogRecord::Compact { through, stamp } => return self.compact(through, stamp),
        }
        Ok(())
    }

    fn put(&mut self, entries: Entries) -> Result<(), ImageError> {
        if !entries.is_empty() {
            self.above_compacted("put", entries.first())?;
        }
        self.slots.put(entries);
        Ok(())
    }

    fn stage(
        &mut self,
        lane: Lane,
        id: SnapshotId,
        offset: u64,
        chunk: Bytes,
    ) -> Result<(), ImageError> {
        let staged = &mut self.staged[slot(lane)];
        if offset == 0 {
            *staged = Some((id, Pieces::default()));
        }
        match staged {
            Some((staged, pieces)) if *staged == id && pieces.len() == offset => pieces.push(chunk),
            staged => {
                let staged = staged.as_ref().map(|(id, pieces)| (*id, pieces.len()));
                return Err(ImageError::StageGap { id, offset, staged });
            }
        }
        Ok(())
    }

    fn activate(&mut self, meta: SnapshotMeta, log: OldLog) -> Result<(), ImageError> {
        let complete = |staged: &Option<(SnapshotId, Pieces)>| {
            staged
                .as_ref()
                .is_some_and(|(id, pieces)| *id == meta.id && pieces.len() == meta.size)
        };
        let Some(place) = self.staged.iter().position(complete) else {
            let staged = self.staged.iter().flatten().find(|(id, _)| *id == meta.id);
            let staged = staged.map(|(id, pieces)| (*id, pieces.len()));
            return Err(ImageError::NotStaged {
                id: meta.id,
                size: meta.size,
                staged,
            });
        };
        let current = self
            .snapshot()
            .map(SnapshotMeta::index)
            .max(Some(self.compacted.0));
        let newer = Some(meta.index()) > current;
        if !newer && log == OldLog::Replace {
            let compacted = self.compacted.0;
            return Err(ImageError::ActivateBehind {
                id: meta.id,
                compacted,
            });
        }
        let Some((_, pieces)) = self.staged[place].take() else {
            return Ok(());
        };
        if !newer {
            return Ok(());
        }
        if log == OldLog::Replace {
            self.slots = Slots::default();
            self.compacted = (meta.index(), meta.stamp);
        }
        self.snapshot = Some((meta, pieces));
        Ok(())
    }

    fn compact(&mut self, through: LogIndex, stamp: Stamp) -> Result<(), ImageError> {
        let covered = self.snapshot.as_ref().map(|(meta, _)| meta.index());
        if covered.is_none_or(|covered| covered < through) {
            return Err(ImageError::NotCovered {
                through,
                snapshot: covered,
            });
        }
        if through < self.compacted.0 || (through == self.compacted.0 && stamp != self.compacted.1)
        {
            return Err(ImageError::Recompacted {
                through,
                compacted: self.compacted.0,
            });
        }
        self.slots.compact(through);
        self.compacted = (through, stamp);
        Ok(())
    }

    const fn above_compacted(&self, what: &'static str, index: LogIndex) -> Result<(), ImageError> {
        if index.0 <= self.compacted.0.0 {
            return Err(ImageError::Compacted {
                what,
                index,
                compacted: self.compacted.0,
            });
        }
        Ok(())
    }

    /// What a start finds, with the last entries that weigh at most `tail_bytes` together.
    #[must_use]
    pub fn restored(&self, tail_bytes: usize) -> Restored {
        Restored {
            state: self.state.clone(),
            snapshot: self.snapshot().cloned(),
            staged: self.staged(),
            compacted: self.compacted,
            runs: self.slots.stretches(),
            configs: self.slots.configs(),
            tail: self.slots.tail(tail_bytes),
        }
    }

    /// Reads back. `None` if the first entry wanted is not there (compacted, truncated or never
    /// put), if the place before it is compacted away, or if the snapshot is not the current one.
    /// Entries end early at a gap or at the end of the log.
    #[must_use]
    pub fn load(&self, load: &LogLoad) -> Option<LogLoaded> {
        match *load {
            LogLoad::Entries {
                after,
                through,
                max_bytes,
            } if after >= self.compacted.0 => Some(LogLoaded::Entries {
                before: self.stamp_at(after).unwrap_or(Stamp::START),
                runs: self.slots.load(after, through, max_bytes)?,
            }),
            LogLoad::Entries { .. } => None,
            LogLoad::Snapshot {
                id,
                offset,
                max_bytes,
            } => {
                let (meta, pieces) = self.snapshot.as_ref().filter(|(meta, _)| meta.id == id)?;
                Some(LogLoaded::Snapshot {
                    meta: meta.clone(),
                    offset,
                    chunk: pieces.read(offset, max_bytes)?,
                })
            }
        }
    }

    /// The mark at `index`: that of the entry there, or the one kept when it was compacted.
    #[must_use]
    pub fn stamp_at(&self, index: LogIndex) -> Option<Stamp> {
        if index == self.compacted.0 {
            return Some(self.compacted.1);
        }
        Some(self.slots.get(index)?.0)
    }

    /// The entry at `index` and its mark.
    #[must_use]
    pub fn get(&self, index: LogIndex) -> Option<(Stamp, &Entry)> {
        self.slots.get(index)
    }

    /// All entries in order, with their places and marks.
    pub fn iter(&self) -> impl Iterator<Item = (LogIndex, Stamp, &Entry)> {
        self.slots.iter()
    }

    /// How many entries it holds.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.slots.len()
    }

    /// Whether it holds no entries.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.slots.len() == 0
    }

    /// What its entries cost by [`Entry::weight`], in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.slots.weight()
    }

    /// The last entry; the last compacted one if there is none.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        self.slots.last().unwrap_or(self.compacted.0)
    }

    /// The last entry that was compacted away, and its mark.
    #[must_use]
    pub const fn compacted(&self) -> (LogIndex, Stamp) {
        self.compacted
    }

    /// The protocol's own state.
    #[must_use]
    pub const fn state(&self) -> Option<&Bytes> {
        self.state.as_ref()
    }

    /// The current snapshot.
    #[must_use]
    pub fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref().map(|(meta, _)| meta)
    }

    /// The contents of the current snapshot, copied into one piece.
    #[must_use]
    pub fn snapshot_contents(&self) -> Option<Bytes> {
        self.snapshot.as_ref().map(|(_, pieces)| pieces.whole())
    }

    /// The snapshot that is being received, and how many bytes of it are there.
    #[must_use]
    pub fn staged(&self) -> Option<(SnapshotId, u64)> {
        self.staged_in(Lane::Received)
    }

    /// The unfinished snapshot of a lane, and how many bytes of it are there.
    #[must_use]
    pub fn staged_in(&self, lane: Lane) -> Option<(SnapshotId, u64)> {
        let (id, pieces) = self.staged[slot(lane)].as_ref()?;
        Some((*id, pieces.len()))
    }

    /// What a start does to a disk: a snapshot that was being taken is forgotten, as the state
    /// machine that it was taken of is gone.
    pub fn restart(&mut self) {
        self.staged[slot(Lane::Taken)] = None;
    }
}

const fn slot(lane: Lane) -> usize {
    match lane {
        Lane::Taken => 0,
        Lane::Received => 1,
    }
}

/// A record that breaks a rule of the contract: a machine or driver is broken, or a storage replays
/// what was never written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// What was compacted away is not touched again.
    #[error("{what} at {index}, but everything up to {compacted} is compacted")]
    Compacted {
        /// The operation.
        what: &'static str,
        /// The first entry it is about.
        index: LogIndex,
        /// The last compacted entry.
        compacted: LogIndex,
    },
    /// Pieces of a snapshot come in order and without gaps, from offset 0 on.
    #[error("a piece of snapshot {id} at {offset} does not continue what is staged ({staged:?})")]
    StageGap {
        /// Whose piece.
        id: SnapshotId,
        /// Where it belongs, in bytes.
        offset: u64,
        /// What is staged, and how many bytes of it.
        staged: Option<(SnapshotId, u64)>,
    },
    /// Only a snapshot that is staged completely can become current; an empty one is staged as one
    /// empty piece.
    #[error("snapshot {id} of {size} bytes is not what is staged ({staged:?})")]
    NotStaged {
        /// Which snapshot.
        id: SnapshotId,
        /// Its size, in bytes.
        size: u64,
        /// What is staged, and how many bytes of it.
        staged: Option<(SnapshotId, u64)>,
    },
    /// A snapshot that replaces the log reaches further than the one before and than what is
    /// compacted.
    #[error("snapshot {id} cannot replace a log that is compacted through {compacted}")]
    ActivateBehind {
        /// Which snapshot.
        id: SnapshotId,
        /// The last compacted entry.
        compacted: LogIndex,
    },
    /// Nothing is compacted that the current snapshot does not cover.
    #[error("compaction through {through}, but the current snapshot covers {snapshot:?}")]
    NotCovered {
        /// The last entry that should go.
        through: LogIndex,
        /// What the current snapshot covers.
        snapshot: Option<LogIndex>,
    },
    /// Compaction does not go back, nor change the mark that it kept.
    #[error("compaction through {through}, but it has been compacted through {compacted}")]
    Recompacted {
        /// The last entry that should go.
        through: LogIndex,
        /// The last compacted entry.
        compacted: LogIndex,
    },
}
