//! A workload for the log, and what it should hold: every prefix of the records, as images.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use synod_core::{
    Batch, Entries, Entry, EntryKind, Generation, Lane, LogImage, LogIndex, LogLoad, LogLoaded,
    LogRecord, OldLog, Restored, Rng, SnapshotId, SnapshotMeta, Stamp, StorageError,
};
use synod_node::wal::sim_files::SimFiles;
use synod_node::wal::{Engine, OpenReport, Plant, Reader, WalConfig};

/// Small, so that a short workload fills several.
pub(crate) const SEGMENT: u64 = 4096;

pub(crate) fn config(plant: Option<Plant>) -> WalConfig {
    let builder = WalConfig::builder().segment_bytes(SEGMENT).tail_bytes(2000);
    let builder = match plant {
        Some(plant) => builder.plant(plant),
        None => builder,
    };
    builder.build().unwrap()
}

pub(crate) fn open(
    files: &SimFiles,
    plant: Option<Plant>,
) -> Result<(Engine, OpenReport), StorageError> {
    Engine::open(Arc::new(files.clone()), config(plant))
}

/// Batches that a machine might write, and the image after each record.
#[derive(Debug)]
pub(crate) struct Workload {
    pub(crate) batches: Vec<Batch<LogRecord>>,
    /// `images[n]` is after `n` records.
    pub(crate) images: Vec<LogImage>,
    /// What a log holds then.
    dumps: Vec<OnceCell<Dump>>,
}

impl Workload {
    pub(crate) fn random(seed: u64, count: usize) -> Self {
        Self::after(LogImage::new(), seed, count)
    }

    /// What a machine might write next to a log that holds `image`.
    pub(crate) fn after(image: LogImage, seed: u64, count: usize) -> Self {
        let mut rng = Rng::new(seed);
        let mut source = Source {
            slots: rng.chance(300_000),
            rng,
            origin: seed << 32,
        };
        let mut workload = Self {
            batches: Vec::new(),
            images: vec![image],
            dumps: Vec::new(),
        };
        for _ in 0..count {
            let batch = source.batch(&mut workload.images);
            workload.batches.push(batch);
        }
        workload.dumps = vec![OnceCell::new(); workload.images.len()];
        workload
    }

    /// These batches and no others.
    pub(crate) fn of(batches: Vec<Vec<LogRecord>>) -> Self {
        let mut images = vec![LogImage::new()];
        for record in batches.iter().flatten() {
            let mut image = images.last().unwrap().clone();
            image.apply(record.clone()).unwrap();
            images.push(image);
        }
        Self {
            batches: batches.into_iter().map(Batch::from_iter).collect(),
            dumps: vec![OnceCell::new(); images.len()],
            images,
        }
    }

    /// Writes all batches; says how many records were acknowledged, and how many attempted.
    pub(crate) fn run(&self, engine: &mut Engine) -> Progress {
        let mut progress = Progress {
            acknowledged: 0,
            attempted: 0,
            error: None,
        };
        for batch in &self.batches {
            progress.attempted += batch.len();
            if let Err(error) = engine.write(batch.clone()) {
                progress.error = Some(error);
                break;
            }
            progress.acknowledged = progress.attempted;
            if let Err(error) = engine.collect() {
                progress.error = Some(error);
                break;
            }
        }
        progress
    }

    /// What a log holds after `count` records.
    pub(crate) fn dump(&self, count: usize) -> &Dump {
        self.dumps[count].get_or_init(|| Dump::of_image(&self.images[count]))
    }

    /// What a log holds after all of them.
    pub(crate) fn last(&self) -> &Dump {
        self.dump(self.images.len() - 1)
    }
}

#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) acknowledged: usize,
    pub(crate) attempted: usize,
    pub(crate) error: Option<StorageError>,
}

/// Draws records that the contract allows.
struct Source {
    rng: Rng,
    /// Whether entries come out of order and over each other, as Multi-Paxos puts them.
    slots: bool,
    origin: u64,
}

impl Source {
    fn batch(&mut self, images: &mut Vec<LogImage>) -> Batch<LogRecord> {
        let mut batch = Batch::new();
        let count = 1 + self.rng.below(4);
        while (batch.len() as u64) < count {
            let mut image = images.last().unwrap().clone();
            let record = self.record(&image);
            if image.apply(record.clone()).is_ok() {
                images.push(image);
                batch.push(record);
            }
        }
        batch
    }

    fn record(&mut self, image: &LogImage) -> LogRecord {
        match self.rng.below(20) {
            0..2 => LogRecord::State(self.bytes(40)),
            2..4 => LogRecord::Truncate {
                from: LogIndex(image.last().0.saturating_sub(self.rng.below(4))),
            },
            4..8 => self.stage(image),
            8..11 => self.activate(image),
            11..13 => {
                let covered = image
                    .snapshot()
                    .map_or(LogIndex::START, SnapshotMeta::index);
                let stamp = image.stamp_at(covered).unwrap_or(Stamp::of(99));
                LogRecord::Compact {
                    through: covered,
                    stamp,
                }
            }
            _ => LogRecord::Put(self.entries(image)),
        }
    }

    fn entries(&mut self, image: &LogImage) -> Entries {
        let first = if self.slots {
            let from = image.compacted().0.0 + 1;
            LogIndex(self.rng.within(from, image.last().0 + 3))
        } else {
            image.last().next()
        };
        let stamp = Stamp::of(1 + self.rng.below(3));
        // Now and then more than a segment, which the log stores in parts.
        let count = match self.rng.below(40) {
            0 => self.rng.within(30, 45),
            _ => 1 + self.rng.below(5),
        };
        Entries::new(first, stamp, (0..count).map(|_| self.entry()))
    }

    fn entry(&mut self) -> Entry {
        let kind = match self.rng.below(8) {
            0 => EntryKind::Blank,
            1 => EntryKind::Config,
            _ => EntryKind::Command,
        };
        // Some are longer than a sector, some than a segment.
        let len = match self.rng.below(12) {
            0 => 1500,
            1 => 700,
            _ => 60,
        };
        Entry {
            kind,
            payload: self.bytes(len),
        }
    }

    fn lane(&mut self) -> Lane {
        match self.rng.chance(300_000) {
            true => Lane::Taken,
            false => Lane::Received,
        }
    }

    fn stage(&mut self, image: &LogImage) -> LogRecord {
        let chunk = self.bytes(900);
        let lane = self.lane();
        match image.staged_in(lane) {
            Some((id, offset)) if self.rng.below(5) > 0 => LogRecord::Stage {
                lane,
                id,
                offset,
                chunk,
            },
            _ => LogRecord::Stage {
                lane,
                id: self.snapshot_id(image),
                offset: 0,
                chunk,
            },
        }
    }

    /// A new one, or now and then the one that the other lane has.
    fn snapshot_id(&mut self, image: &LogImage) -> SnapshotId {
        let other = self.lane();
        if let Some((id, _)) = image.staged_in(other)
            && self.rng.below(5) == 0
        {
            return id;
        }
        self.origin += 1;
        let behind = self.rng.below(image.len().max(1));
        SnapshotId {
            origin: Generation(self.origin),
            index: LogIndex(image.last().0 - behind.min(image.last().0)),
        }
    }

    fn activate(&mut self, image: &LogImage) -> LogRecord {
        let lane = self.lane();
        let Some((id, size)) = image.staged_in(lane) else {
            return LogRecord::State(self.bytes(10));
        };
        LogRecord::Activate {
            meta: SnapshotMeta {
                id,
                stamp: Stamp::of(1),
                config: self.bytes(20),
                size,
            },
            log: match self.rng.below(6) {
                0 => OldLog::Replace,
                _ => OldLog::Keep,
            },
        }
    }

    fn bytes(&mut self, below: u64) -> Bytes {
        let len = self.rng.below(below);
        let word = self.rng.next_u64().to_le_bytes();
        word.into_iter().cycle().take(len as usize).collect()
    }
}

/// One entry with its place and mark.
pub(crate) type Placed = (LogIndex, Stamp, Entry);

/// Everything a log holds, in a form that does not depend on how it was cut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Dump {
    restored: Restored,
    tail: Vec<Placed>,
    /// What a load of each single place answers.
    loads: Vec<Option<(Stamp, Vec<Placed>)>>,
    snapshot: Option<Bytes>,
}

pub(crate) fn flat(runs: &[Entries]) -> Vec<Placed> {
    let run = |run: &Entries| {
        let stamp = run.stamp();
        let entries = run.iter();
        entries
            .map(|(index, entry)| (index, stamp, entry.clone()))
            .collect::<Vec<_>>()
    };
    runs.iter().flat_map(run).collect()
}

/// The answer to a load of entries, without how it was cut.
pub(crate) fn flat_answer(answer: Option<LogLoaded>) -> Option<(Stamp, Vec<Placed>)> {
    match answer? {
        LogLoaded::Entries { before, runs } => Some((before, flat(&runs))),
        LogLoaded::Snapshot { .. } => panic!("asked for entries"),
    }
}

fn single_loads(restored: &Restored) -> impl Iterator<Item = LogLoad> {
    let places = restored.compacted.0.0.saturating_sub(2)..=restored.last().0;
    places.map(|after| LogLoad::Entries {
        after: LogIndex(after),
        through: LogIndex(after + 1),
        max_bytes: 0,
    })
}

impl Dump {
    pub(crate) fn of_image(image: &LogImage) -> Self {
        let mut restored = image.restored(config(None).tail_bytes());
        let tail = flat(&restored.tail);
        restored.tail.clear();
        let loads = single_loads(&restored).map(|load| flat_answer(image.load(&load)));
        Self {
            tail,
            loads: loads.collect(),
            snapshot: image.snapshot_contents(),
            restored,
        }
    }

    pub(crate) fn of_log(reader: &Reader) -> Result<Self, StorageError> {
        let mut restored = reader.restored()?;
        let tail = flat(&restored.tail);
        restored.tail.clear();
        let loads = single_loads(&restored).map(|load| Ok(flat_answer(reader.load(&load)?)));
        let snapshot = match &restored.snapshot {
            Some(meta) => Some(read_snapshot(reader, meta)?),
            None => None,
        };
        Ok(Self {
            tail,
            loads: loads.collect::<Result<_, StorageError>>()?,
            snapshot,
            restored,
        })
    }
}

fn read_snapshot(reader: &Reader, meta: &SnapshotMeta) -> Result<Bytes, StorageError> {
    let mut contents = Vec::new();
    loop {
        let load = LogLoad::Snapshot {
            id: meta.id,
            offset: contents.len() as u64,
            max_bytes: 333,
        };
        let Some(LogLoaded::Snapshot { chunk, .. }) = reader.load(&load)? else {
            panic!("the current snapshot does not load");
        };
        if chunk.is_empty() {
            assert_eq!(contents.len() as u64, meta.size);
            return Ok(contents.into());
        }
        contents.extend_from_slice(&chunk);
    }
}

/// Which of the images the log holds, among those that `progress` allows. The latest that fits.
pub(crate) fn prefix(
    workload: &Workload,
    progress: &Progress,
    dump: &Dump,
) -> Result<usize, String> {
    let candidates = progress.acknowledged..=progress.attempted;
    let fits = |count: &usize| workload.dump(*count) == dump;
    candidates.clone().rev().find(fits).ok_or_else(|| {
        let fits = (0..workload.images.len()).rev().find(fits);
        format!("holds {fits:?} records, should hold {candidates:?}")
    })
}
