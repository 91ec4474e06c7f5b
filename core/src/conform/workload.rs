//! Random writes that keep the contract.

use alloc::vec::Vec;

use bytes::Bytes;

use crate::{
    Batch, Entries, Entry, EntryKind, Generation, Lane, LogImage, LogIndex, LogRecord, OldLog, Rng,
    SnapshotId, SnapshotMeta, Stamp,
};

/// Writes drawn from a seed: each is valid on the image that it is drawn for. For tests of a
/// storage, by the suite here or by crash tests of your own.
///
/// ```
/// use synod_core::{LogImage, conform::Workload};
///
/// let (mut workload, mut image) = (Workload::new(7), LogImage::new());
/// for _ in 0..100 {
///     for record in workload.next(&image) {
///         image.apply(record)?;
///     }
/// }
/// assert!(image.last() > image.compacted().0);
/// # Ok::<(), synod_core::ImageError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Workload {
    rng: Rng,
    term: u64,
}

impl Workload {
    /// The workload of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            term: 1,
        }
    }

    /// The next write for a disk that holds `image`: one to five records.
    pub fn next(&mut self, image: &LogImage) -> Batch<LogRecord> {
        let mut after = image.clone();
        let mut batch = Batch::new();
        for _ in 0..self.rng.within(1, 5) {
            let record = self.record(&after);
            after
                .apply(record.clone())
                .expect("a drawn record is valid on its image");
            batch.push(record);
        }
        batch
    }

    fn record(&mut self, image: &LogImage) -> LogRecord {
        match self.rng.below(20) {
            0..2 => LogRecord::State(self.payload(64)),
            2..10 => LogRecord::Put(self.run(image.last().next(), 8)),
            10..13 => self.put_anywhere(image),
            13 => self.truncate(image),
            14..18 => self.snapshot(image),
            _ => Self::compact(image),
        }
    }

    fn payload(&mut self, most: u64) -> Bytes {
        let len = self.rng.below(most + 1);
        (0..len).map(|_| self.rng.below(256) as u8).collect()
    }

    fn run(&mut self, first: LogIndex, most: u64) -> Entries {
        self.term += u64::from(self.rng.chance(200_000));
        let stamp = Stamp {
            number: self.term,
            node: self.rng.below(2),
        };
        let count = self.rng.within(1, most);
        let entries: Vec<Entry> = (0..count).map(|_| self.entry()).collect();
        Entries::new(first, stamp, entries)
    }

    fn entry(&mut self) -> Entry {
        let kind = match self.rng.below(10) {
            0 => EntryKind::Blank,
            1 => EntryKind::Config,
            2 => EntryKind::Named,
            _ => EntryKind::Command,
        };
        let payload = self.payload(200);
        Entry { kind, payload }
    }

    /// Over what is there, or behind a gap.
    fn put_anywhere(&mut self, image: &LogImage) -> LogRecord {
        let lowest = image.compacted().0.next();
        let room = image.last().since(image.compacted().0) + 3;
        let first = lowest.plus(self.rng.below(room));
        LogRecord::Put(self.run(first, 12))
    }

    fn truncate(&mut self, image: &LogImage) -> LogRecord {
        let kept = image.last().since(image.compacted().0);
        let kept = kept - self.rng.below(kept.min(10) + 1);
        LogRecord::Truncate {
            from: image.compacted().0.plus(kept + 1),
        }
    }

    /// Begins a snapshot, goes on with it, or makes it current.
    fn snapshot(&mut self, image: &LogImage) -> LogRecord {
        let lane = if self.rng.chance(500_000) {
            Lane::Taken
        } else {
            Lane::Received
        };
        match image.staged_in(lane) {
            Some((id, size)) if self.rng.chance(900_000) => {
                if self.rng.chance(400_000) {
                    self.activate(image, id, size)
                } else {
                    let chunk = self.payload(500);
                    LogRecord::Stage {
                        lane,
                        id,
                        offset: size,
                        chunk,
                    }
                }
            }
            _ => self.first_piece(image, lane),
        }
    }

    /// Also one that another has overtaken: it is dropped.
    fn activate(&mut self, image: &LogImage, id: SnapshotId, size: u64) -> LogRecord {
        let current = image.snapshot().map(SnapshotMeta::index);
        let newer = Some(id.index) > current.max(Some(image.compacted().0));
        let log = if newer && self.rng.chance(300_000) {
            OldLog::Replace
        } else {
            OldLog::Keep
        };
        let known = image.stamp_at(id.index);
        let meta = SnapshotMeta {
            id,
            stamp: known.unwrap_or_else(|| Stamp::of(self.term)),
            config: self.payload(20),
            size,
        };
        LogRecord::Activate { meta, log }
    }

    fn first_piece(&mut self, image: &LogImage, lane: Lane) -> LogRecord {
        let held = image.last().since(image.compacted().0);
        let ahead = if self.rng.chance(50_000) { 5 } else { 0 };
        let origin = match lane {
            Lane::Taken => Generation(1),
            Lane::Received => Generation(2),
        };
        let index = image.compacted().0.plus(self.rng.below(held + 1) + ahead);
        LogRecord::Stage {
            lane,
            id: SnapshotId { origin, index },
            offset: 0,
            chunk: self.payload(500),
        }
    }

    /// Up to the current snapshot, if there is one that covers more than is gone already.
    fn compact(image: &LogImage) -> LogRecord {
        match image.snapshot() {
            Some(meta) if meta.index() > image.compacted().0 => LogRecord::Compact {
                through: meta.index(),
                stamp: meta.stamp,
            },
            _ => LogRecord::State(Bytes::from_static(b"nothing to compact")),
        }
    }
}
