//! The suite for storages catches storages that are broken on purpose, each by the rule it breaks.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use synod_core::conform::{self, ReopenStorage, rule};
use synod_core::mem::MemStorage;
use synod_core::{
    Batch, Entries, Lane, LogImage, LogIndex, LogLoad, LogLoaded, LogRecord, OldLog, Restored,
    SnapshotMeta, Stamp, Storage, StorageError,
};

/// What is wrong with a storage.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    Amnesia,
    KeepsTheFirstState,
    Backwards,
    TruncatesOneTooFew,
    TruncatesNothing,
    PutKeepsOld,
    PutTruncates,
    RefusesGaps,
    ForgetsTheMark,
    CompactsNothing,
    IgnoresTheLimit,
    LimitLeavesNothing,
    SkipsTheFirst,
    LoadsOverGaps,
    NoMarkBefore,
    LoadsCompacted,
    LosesStaged,
    StagedAnswers,
    KeepsOldPieces,
    KeepsTheOldSnapshot,
    GoesBackASnapshot,
    ReplacesNothing,
    OneLane,
    NothingBehindGaps,
    SnapshotNeverEnds,
    LosesConfigs,
    KeepsTruncatedConfigs,
    TailHasAHole,
    CutsLargeRecords,
    ManyWritesWrap,
    TornInTheMiddle,
    TornRecord,
    Refuses,
}

#[derive(Clone, Default)]
struct Disk {
    image: LogImage,
    writes: usize,
    configs: Vec<(LogIndex, bytes::Bytes)>,
    staged_meta: Option<SnapshotMeta>,
}

#[derive(Clone)]
struct Faulty {
    disk: Arc<Mutex<Disk>>,
    fault: Fault,
}

impl Faulty {
    fn new(fault: Fault) -> Self {
        Self {
            disk: Arc::default(),
            fault,
        }
    }

    /// What the record does on this storage. What becomes of one that does not fit its broken
    /// state is its own affair.
    fn apply(&self, disk: &mut Disk, record: LogRecord) {
        let image = &mut disk.image;
        let last = image.last();
        let _ = match (self.fault, record) {
            (Fault::KeepsTheFirstState, LogRecord::State(_)) if image.state().is_some() => Ok(()),
            (Fault::TruncatesNothing, LogRecord::Truncate { .. }) => Ok(()),
            (Fault::TruncatesOneTooFew, LogRecord::Truncate { from }) if from < last => {
                image.apply(LogRecord::Truncate { from: from.next() })
            }
            (Fault::PutKeepsOld, LogRecord::Put(run)) if run.first() <= last => {
                image.apply(LogRecord::Put(run.after(last)))
            }
            (Fault::PutTruncates, LogRecord::Put(run)) => {
                image
                    .apply(LogRecord::Truncate { from: run.first() })
                    .unwrap();
                image.apply(LogRecord::Put(run))
            }
            (Fault::ForgetsTheMark, LogRecord::Compact { through, .. }) => {
                image.apply(LogRecord::Compact {
                    through,
                    stamp: Stamp::START,
                })
            }
            (Fault::CompactsNothing, LogRecord::Compact { .. }) => Ok(()),
            (
                Fault::KeepsOldPieces,
                LogRecord::Stage {
                    lane,
                    id,
                    offset: 0,
                    chunk,
                },
            ) if image
                .staged_in(lane)
                .is_some_and(|(staged, _)| staged == id) =>
            {
                let offset = image.staged_in(lane).unwrap().1;
                image.apply(LogRecord::Stage {
                    lane,
                    id,
                    offset,
                    chunk,
                })
            }
            (
                Fault::OneLane,
                LogRecord::Stage {
                    id, offset, chunk, ..
                },
            ) => image.apply(LogRecord::Stage {
                lane: Lane::Received,
                id,
                offset,
                chunk,
            }),
            (Fault::ReplacesNothing, LogRecord::Activate { meta, .. }) => {
                let log = OldLog::Keep;
                image.apply(LogRecord::Activate { meta, log })
            }
            (Fault::GoesBackASnapshot, LogRecord::Activate { meta, log })
                if image
                    .snapshot()
                    .is_some_and(|old| old.index() > meta.index()) =>
            {
                *image = LogImage::new();
                image
                    .apply(LogRecord::Stage {
                        lane: Lane::Received,
                        id: meta.id,
                        offset: 0,
                        chunk: vec![0; meta.size as usize].into(),
                    })
                    .unwrap();
                image.apply(LogRecord::Activate { meta, log })
            }
            (Fault::KeepsTheOldSnapshot, LogRecord::Activate { .. })
                if image.snapshot().is_some() =>
            {
                Ok(())
            }
            (Fault::CutsLargeRecords, LogRecord::State(state)) => {
                image.apply(LogRecord::State(state.slice(..state.len().min(1 << 15))))
            }
            (_, record) => image.apply(record),
        };
    }
}

#[async_trait::async_trait]
impl Storage for Faulty {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        let disk = self.disk.lock().unwrap();
        let mut restored = disk.image.restored(usize::MAX);
        match self.fault {
            Fault::LosesStaged => restored.staged = None,
            Fault::LosesConfigs => restored.configs.clear(),
            Fault::KeepsTruncatedConfigs => restored.configs = disk.configs.clone(),
            Fault::TailHasAHole if restored.tail.len() > 2 => {
                restored.tail.remove(1);
            }
            _ => {}
        }
        Ok(restored)
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        let mut disk = self.disk.lock().unwrap();
        disk.writes += 1;
        if self.fault == Fault::Refuses && disk.writes > 5 {
            return Err(StorageError::Full {
                place: "a small disk".into(),
            });
        }
        if self.fault == Fault::ManyWritesWrap && disk.writes > 256 {
            disk.writes = 0;
            return Ok(());
        }
        let mut records: Vec<LogRecord> = records.into_iter().collect();
        if self.fault == Fault::Backwards {
            records.reverse();
        }
        for record in records {
            if let LogRecord::Put(run) = &record {
                let configs = run
                    .iter()
                    .filter(|(_, entry)| entry.kind == synod_core::EntryKind::Config);
                let configs: Vec<_> = configs.map(|(i, e)| (i, e.payload.clone())).collect();
                disk.configs.extend(configs);
                if self.fault == Fault::RefusesGaps && run.first() > disk.image.last().next() {
                    return Err(StorageError::Failed("a gap".into()));
                }
            }
            if let LogRecord::Stage { id, .. } = &record {
                let meta = SnapshotMeta {
                    id: *id,
                    stamp: Stamp::of(1),
                    config: "config".into(),
                    size: 12,
                };
                disk.staged_meta = Some(meta);
            }
            self.apply(&mut disk, record);
        }
        Ok(())
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        let disk = self.disk.lock().unwrap();
        let image = &disk.image;
        Ok(match load {
            LogLoad::Entries {
                after,
                through,
                max_bytes,
            } => self.load_entries(image, after, through, max_bytes),
            LogLoad::Snapshot { id, offset, .. } => {
                if self.fault == Fault::StagedAnswers
                    && image.snapshot().is_none()
                    && let Some(meta) = disk.staged_meta.clone().filter(|meta| meta.id == id)
                {
                    let chunk = "staged".into();
                    return Ok(Some(LogLoaded::Snapshot {
                        meta,
                        offset,
                        chunk,
                    }));
                }
                let mut answer = image.load(&load);
                if self.fault == Fault::SnapshotNeverEnds
                    && let Some(LogLoaded::Snapshot { chunk, .. }) = &mut answer
                    && chunk.is_empty()
                {
                    *chunk = "more".into();
                }
                answer
            }
        })
    }
}

impl Faulty {
    fn load_entries(
        &self,
        image: &LogImage,
        after: LogIndex,
        through: LogIndex,
        max_bytes: usize,
    ) -> Option<LogLoaded> {
        let load = |after, max_bytes| {
            image.load(&LogLoad::Entries {
                after,
                through,
                max_bytes,
            })
        };
        match self.fault {
            Fault::IgnoresTheLimit => load(after, usize::MAX),
            Fault::LimitLeavesNothing if max_bytes < 60 => {
                load(after, max_bytes).map(|_| LogLoaded::Entries {
                    before: image.stamp_at(after).unwrap_or(Stamp::START),
                    runs: Vec::new(),
                })
            }
            Fault::SkipsTheFirst => {
                load(after.next(), max_bytes).or_else(|| load(after, max_bytes))
            }
            Fault::LoadsOverGaps => {
                let entries = image
                    .iter()
                    .filter(|(index, ..)| (after.next()..=through).contains(index));
                let runs: Vec<Entries> = entries
                    .map(|(index, stamp, entry)| Entries::new(index, stamp, [entry.clone()]))
                    .collect();
                load(after, max_bytes)?;
                let before = image.stamp_at(after).unwrap_or(Stamp::START);
                Some(LogLoaded::Entries { before, runs })
            }
            Fault::NothingBehindGaps => {
                image.stamp_at(after)?;
                load(after, max_bytes)
            }
            Fault::LoadsCompacted if after < image.compacted().0 => {
                load(image.compacted().0, max_bytes)
            }
            Fault::NoMarkBefore => match load(after, max_bytes)? {
                LogLoaded::Entries { runs, .. } => Some(LogLoaded::Entries {
                    before: Stamp::START,
                    runs,
                }),
                other => Some(other),
            },
            _ => load(after, max_bytes),
        }
    }
}

/// Reopens a [`Faulty`] storage.
struct Factory {
    storage: Faulty,
    crashes: bool,
}

impl Factory {
    fn new(fault: Fault) -> Self {
        Self {
            storage: Faulty::new(fault),
            crashes: true,
        }
    }
}

#[async_trait::async_trait]
impl ReopenStorage for Factory {
    type Storage = Faulty;

    async fn fresh(&mut self) -> Result<Faulty, StorageError> {
        self.storage = Faulty::new(self.storage.fault);
        Ok(self.storage.clone())
    }

    async fn reopen(&mut self) -> Result<Faulty, StorageError> {
        let mut disk = self.storage.disk.lock().unwrap();
        if self.storage.fault == Fault::Amnesia {
            *disk = Disk::default();
        }
        drop(disk);
        Ok(self.storage.clone())
    }

    async fn crash(
        &mut self,
        storage: Faulty,
        records: Batch<LogRecord>,
    ) -> Result<bool, StorageError> {
        let records: Vec<LogRecord> = records.into_iter().collect();
        let mut disk = storage.disk.lock().unwrap();
        let kept = records.len() / 2;
        for (k, record) in records.into_iter().enumerate() {
            let record = match (storage.fault, record) {
                (Fault::TornInTheMiddle, _) if k < kept => continue,
                (Fault::TornInTheMiddle, record) => record,
                (Fault::TornRecord, LogRecord::Put(run)) if k == kept => {
                    LogRecord::Put(run.through(run.first()))
                }
                (_, _) if k >= kept => continue,
                (_, record) => record,
            };
            storage.apply(&mut disk, record);
        }
        Ok(self.crashes)
    }
}

fn caught(fault: Fault) -> &'static str {
    match block_on(conform::storage(Factory::new(fault), 7)) {
        Ok(_) => panic!("{fault:?} is not caught"),
        Err(violation) => violation.rule,
    }
}

#[test]
fn a_good_storage_passes() {
    let report = block_on(conform::storage(Factory::new(Fault::None), 7)).unwrap();
    assert_eq!(report.checked.len(), 17);
    assert_eq!(report.skipped, [""; 0]);
}

#[test]
fn every_broken_storage_is_caught_by_its_rule() {
    let faults = [
        (Fault::Amnesia, rule::DURABLE),
        (Fault::KeepsTheFirstState, rule::DURABLE),
        (Fault::Backwards, rule::ORDER),
        (Fault::TruncatesOneTooFew, rule::TRUNCATE),
        (Fault::TruncatesNothing, rule::TRUNCATE),
        (Fault::PutKeepsOld, rule::REPLACE),
        (Fault::PutTruncates, rule::REPLACE),
        (Fault::RefusesGaps, rule::SLOTS),
        (Fault::LoadsOverGaps, rule::SLOTS),
        (Fault::ForgetsTheMark, rule::COMPACT),
        (Fault::CompactsNothing, rule::COMPACT),
        (Fault::LoadsCompacted, rule::COMPACT),
        (Fault::IgnoresTheLimit, rule::LOAD),
        (Fault::LimitLeavesNothing, rule::LOAD),
        (Fault::LosesStaged, rule::STAGE),
        (Fault::StagedAnswers, rule::STAGE),
        (Fault::KeepsOldPieces, rule::STAGE),
        (Fault::KeepsTheOldSnapshot, rule::STAGE),
        (Fault::ReplacesNothing, rule::ACTIVATE),
        (Fault::GoesBackASnapshot, rule::STAGE),
        (Fault::OneLane, rule::STAGE),
        (Fault::NothingBehindGaps, rule::SLOTS),
        (Fault::LosesConfigs, rule::CONFIGS),
        (Fault::KeepsTruncatedConfigs, rule::CONFIGS),
        (Fault::CutsLargeRecords, rule::LARGE),
        (Fault::ManyWritesWrap, rule::MANY),
        (Fault::TornInTheMiddle, rule::TORN),
        (Fault::TornRecord, rule::TORN),
    ];
    for (fault, expected) in faults {
        assert_eq!(caught(fault), expected, "{fault:?}");
    }
}

/// These break several rules at once: the first check that meets one names it.
#[test]
fn what_breaks_everything_is_caught() {
    for fault in [
        Fault::SkipsTheFirst,
        Fault::NoMarkBefore,
        Fault::SnapshotNeverEnds,
        Fault::TailHasAHole,
        Fault::Refuses,
    ] {
        caught(fault);
    }
}

/// The storage in memory, torn in the midst of a write.
struct Memory(MemStorage, usize);

#[async_trait::async_trait]
impl ReopenStorage for Memory {
    type Storage = MemStorage;

    async fn fresh(&mut self) -> Result<MemStorage, StorageError> {
        self.0 = MemStorage::new();
        Ok(self.0.clone())
    }

    async fn reopen(&mut self) -> Result<MemStorage, StorageError> {
        self.0 = self.0.restart();
        Ok(self.0.clone())
    }

    async fn crash(
        &mut self,
        storage: MemStorage,
        records: Batch<LogRecord>,
    ) -> Result<bool, StorageError> {
        self.1 += 1;
        let error = StorageError::Failed("power".into());
        storage.fail_next_write(self.1 % (records.len() + 1), error);
        assert!(storage.write(records).await.is_err());
        Ok(true)
    }
}

#[test]
fn the_storage_in_memory_conforms() {
    for seed in 0..5 {
        let report = block_on(conform::storage(Memory(MemStorage::new(), 0), seed)).unwrap();
        assert!(report.checked.contains(&rule::TORN), "{report:?}");
    }
}
