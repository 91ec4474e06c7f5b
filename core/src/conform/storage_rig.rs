//! A storage beside the image that it should hold.

use alloc::format;
use alloc::vec::Vec;

use super::storage::ReopenStorage;
use super::{Violation, rule, violation};
use crate::{
    Batch, Entries, Entry, LogImage, LogIndex, LogLoad, LogLoaded, LogRecord, Restored, Stamp,
    Storage, StorageError,
};

/// The limit for loads that read everything back, in bytes.
const PIECE: usize = 4096;

/// The storage under test and what it should hold. Every check names the rule that it is for.
pub(super) struct Rig<F: ReopenStorage> {
    pub(super) factory: F,
    pub(super) image: LogImage,
    storage: Option<F::Storage>,
    pub(super) rule: &'static str,
}

impl<F: ReopenStorage> Rig<F> {
    pub(super) fn new(factory: F) -> Self {
        Self {
            factory,
            image: LogImage::new(),
            storage: None,
            rule: rule::EMPTY,
        }
    }

    pub(super) fn broken(&self, what: impl Into<alloc::string::String>) -> Violation {
        violation(self.rule, what)
    }

    fn worked<T>(&self, what: &str, result: Result<T, StorageError>) -> Result<T, Violation> {
        result.map_err(|error| self.broken(format!("{what} failed: {error}")))
    }

    /// An empty storage, for the checks of `rule`.
    pub(super) async fn fresh(&mut self, rule: &'static str) -> Result<(), Violation> {
        self.rule = rule;
        self.storage = None;
        self.image = LogImage::new();
        let opened = self.factory.fresh().await;
        self.storage = Some(self.worked("making an empty storage", opened)?);
        let restored = self.restore().await?;
        self.check_restored(&restored, &self.image)
    }

    /// Opens the storage again and checks everything that it holds.
    pub(super) async fn reopen(&mut self) -> Result<(), Violation> {
        let restored = self.open().await?;
        self.image.restart();
        self.check_restored(&restored, &self.image)?;
        self.check_contents(&self.image).await
    }

    pub(super) async fn open(&mut self) -> Result<Restored, Violation> {
        self.storage = None;
        let opened = self.factory.reopen().await;
        self.storage = Some(self.worked("opening again", opened)?);
        self.restore().await
    }

    async fn restore(&self) -> Result<Restored, Violation> {
        let restored = self.storage().restore().await;
        self.worked("restore", restored)
    }

    pub(super) fn storage(&self) -> &F::Storage {
        self.storage.as_ref().expect("opened by fresh or reopen")
    }

    pub(super) fn take_storage(&mut self) -> F::Storage {
        self.storage.take().expect("opened by fresh or reopen")
    }

    pub(super) async fn write(
        &mut self,
        records: impl IntoIterator<Item = LogRecord>,
    ) -> Result<(), Violation> {
        let batch: Batch<LogRecord> = records.into_iter().collect();
        self.note(&batch);
        let written = self.storage().write(batch).await;
        self.worked("write", written)
    }

    /// Applies a write to the image.
    pub(super) fn note(&mut self, batch: &Batch<LogRecord>) {
        for record in batch.iter() {
            self.image
                .apply(record.clone())
                .expect("the suite writes valid records");
        }
    }

    /// What a start finds must be what `image` says.
    pub(super) fn check_restored(
        &self,
        found: &Restored,
        image: &LogImage,
    ) -> Result<(), Violation> {
        let expected = image.restored(usize::MAX);
        let same = |what: &str, same: bool, found: &dyn core::fmt::Debug| {
            if same {
                return Ok(());
            }
            Err(self.broken(format!("after a start the {what} is {found:?}")))
        };
        same("state", found.state == expected.state, &found.state)?;
        let snapshot = found.snapshot == expected.snapshot;
        same("snapshot", snapshot, &found.snapshot)?;
        same(
            "staged snapshot",
            found.staged == expected.staged,
            &found.staged,
        )?;
        let compacted = found.compacted == expected.compacted;
        same("compacted place", compacted, &found.compacted)?;
        same("list of runs", found.runs == expected.runs, &found.runs)?;
        let configs = found.configs == expected.configs;
        same("list of configurations", configs, &found.configs)?;
        let tail = flat(&found.tail);
        let all = flat(&expected.tail);
        same("tail", all.ends_with(&tail), &found.tail)
    }

    /// Reads everything back that can be read and compares it with `image`.
    pub(super) async fn check_contents(&self, image: &LogImage) -> Result<(), Violation> {
        for (first, last) in stretches(image) {
            let mut after = first.previous();
            while after < last {
                after = self.check_load(image, after, last, PIECE).await?;
            }
        }
        self.check_snapshot(image).await
    }

    /// Loads entries and compares; the last entry that came.
    pub(super) async fn check_load(
        &self,
        image: &LogImage,
        after: LogIndex,
        through: LogIndex,
        max_bytes: usize,
    ) -> Result<LogIndex, Violation> {
        let load = LogLoad::Entries {
            after,
            through,
            max_bytes,
        };
        let all = image.load(&LogLoad::Entries {
            after,
            through,
            max_bytes: usize::MAX,
        });
        let answer = self.storage().load(load.clone()).await;
        match (self.worked("load", answer)?, all) {
            (None, None) => Ok(after),
            (
                Some(LogLoaded::Entries { before, runs }),
                Some(LogLoaded::Entries {
                    before: mark,
                    runs: all,
                }),
            ) => {
                let (found, all) = (flat(&runs), flat(&all));
                let weight: usize = found.iter().map(|(_, _, entry)| entry.weight()).sum();
                let fits = weight <= max_bytes || found.len() == 1;
                if before != mark {
                    return Err(
                        self.broken(format!("{load:?} has {before:?} before, not {mark:?}"))
                    );
                }
                if found.is_empty() || !all.starts_with(&found) {
                    return Err(self.broken(format!("{load:?} answers with {runs:?}")));
                }
                if !fits {
                    return Err(self.broken(format!("{load:?} answers with {weight} bytes")));
                }
                Ok(after.plus(found.len() as u64))
            }
            (found, _) => Err(self.broken(format!("{load:?} answers with {found:?}"))),
        }
    }

    /// Reads the current snapshot in pieces and compares.
    async fn check_snapshot(&self, image: &LogImage) -> Result<(), Violation> {
        let (Some(meta), Some(contents)) = (image.snapshot(), image.snapshot_contents()) else {
            return Ok(());
        };
        let mut offset = 0;
        loop {
            let load = LogLoad::Snapshot {
                id: meta.id,
                offset: offset as u64,
                max_bytes: PIECE,
            };
            let answer = self.storage().load(load.clone()).await;
            let Some(LogLoaded::Snapshot {
                meta: found, chunk, ..
            }) = self.worked("load", answer)?
            else {
                return Err(self.broken(format!("{load:?} finds no snapshot")));
            };
            if found != *meta || chunk.len() > PIECE {
                let len = chunk.len();
                return Err(self.broken(format!("{load:?} answers with {len} bytes of {found:?}")));
            }
            if !contents[offset..].starts_with(&chunk) {
                return Err(self.broken(format!("{load:?} answers with other bytes")));
            }
            if chunk.is_empty() {
                break;
            }
            offset += chunk.len();
        }
        if offset < contents.len() {
            return Err(self.broken(format!("the snapshot ends at {offset}, not at its size")));
        }
        Ok(())
    }
}

/// The stretches without a gap, whatever their marks.
fn stretches(image: &LogImage) -> Vec<(LogIndex, LogIndex)> {
    let mut stretches: Vec<(LogIndex, LogIndex)> = Vec::new();
    for run in image.restored(0).runs {
        match stretches.last_mut() {
            Some((_, last)) if last.next() == run.first => *last = run.last,
            _ => stretches.push((run.first, run.last)),
        }
    }
    stretches
}

fn flat(runs: &[Entries]) -> Vec<(LogIndex, Stamp, &Entry)> {
    runs.iter()
        .flat_map(|run| run.iter().map(|(index, entry)| (index, run.stamp(), entry)))
        .collect()
}
