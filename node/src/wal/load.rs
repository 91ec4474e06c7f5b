//! Reading back what is durable, beside the writer.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use synod_core::frame::read_frame;
use synod_core::{
    Entries, Entry, LogIndex, LogLoad, LogLoaded, Restored, SnapshotId, Stamp, StorageError,
};

use super::catalog::{Span, Stretch};
use super::dir::{Dir, Handle, WalStats};
use super::format::advise;
use super::live::Live;
use super::segment::read_record;

/// Reads a log back while its [`Engine`](super::Engine) writes it. A clone reads the same log.
#[derive(Clone, Debug)]
pub struct Reader {
    live: Arc<Mutex<Live>>,
    dir: Dir,
    tail_bytes: usize,
}

/// Entries to read: a stretch and its file.
type Part = (Handle, Span, Stretch);

impl Reader {
    pub(super) const fn new(live: Arc<Mutex<Live>>, dir: Dir, tail_bytes: usize) -> Self {
        Self {
            live,
            dir,
            tail_bytes,
        }
    }

    /// Reads entries or a piece of the current snapshot; see
    /// [`Storage::load`](synod_core::Storage::load). Blocks.
    ///
    /// # Errors
    ///
    /// Any is final, for this reader, its clones and the engine.
    pub fn load(&self, load: &LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        let loaded = match *load {
            LogLoad::Entries {
                after,
                through,
                max_bytes,
            } => self.entries(after, through, max_bytes),
            LogLoad::Snapshot {
                id,
                offset,
                max_bytes,
            } => self.snapshot(id, offset, max_bytes),
        };
        loaded.map_err(|error| Live::fail(&self.live, error))
    }

    /// What a start needs; see [`Storage::restore`](synod_core::Storage::restore). Blocks.
    ///
    /// # Errors
    ///
    /// Any is final, for this reader, its clones and the engine.
    pub fn restored(&self) -> Result<Restored, StorageError> {
        let mut restored = self.live()?.restored();
        let tail = self.tail();
        restored.tail = tail.map_err(|error| Live::fail(&self.live, error))?;
        Ok(restored)
    }

    /// What the log has asked of its disk so far.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        self.dir.counters.stats()
    }

    fn live(&self) -> Result<MutexGuard<'_, Live>, StorageError> {
        Live::lock(&self.live)
    }

    fn snapshot(
        &self,
        id: SnapshotId,
        offset: u64,
        max_bytes: usize,
    ) -> Result<Option<LogLoaded>, StorageError> {
        let Some((meta, file)) = self.live()?.snapshot(id) else {
            return Ok(None);
        };
        let chunk = file.read(offset, max_bytes)?;
        Ok(chunk.map(|chunk| LogLoaded::Snapshot {
            meta,
            offset,
            chunk,
        }))
    }

    fn entries(
        &self,
        after: LogIndex,
        through: LogIndex,
        max_bytes: usize,
    ) -> Result<Option<LogLoaded>, StorageError> {
        let Some((before, parts)) = self.plan(after, through, max_bytes)? else {
            return Ok(None);
        };
        let mut gather = Gather {
            next: after.next(),
            through,
            left: max_bytes,
            full: false,
            group: Vec::new(),
            runs: Vec::new(),
        };
        for part in &parts {
            if gather.full {
                break;
            }
            read_part(part, |entries| gather.add(entries))?;
        }
        let runs = gather.finish();
        // Planned from the index, so something is there.
        debug_assert!(!runs.is_empty(), "a plan with entries reads entries");
        Ok(Some(LogLoaded::Entries { before, runs }))
    }

    /// Which stretches to read, and the mark of the entry before. Only as many as `max_bytes` may
    /// need.
    fn plan(
        &self,
        after: LogIndex,
        through: LogIndex,
        max_bytes: usize,
    ) -> Result<Option<(Stamp, Vec<Part>)>, StorageError> {
        let live = self.live()?;
        let catalog = &live.catalog;
        if after < catalog.compacted.0 || after >= through {
            return Ok(None);
        }
        let before = if after == catalog.compacted.0 {
            catalog.compacted.1
        } else {
            // Behind a gap there is none.
            catalog
                .stretch_at(after)
                .map_or(Stamp::START, |stretch| stretch.stamp)
        };
        let mut parts = Vec::new();
        let mut weight = 0;
        for stretch in catalog.stretches_from(after.next()) {
            if stretch.first > through || weight >= max_bytes && !parts.is_empty() {
                break;
            }
            parts.push(live.part(stretch));
            if stretch.first > after {
                weight += stretch.weight;
            }
        }
        Ok((!parts.is_empty()).then_some((before, parts)))
    }

    /// The last entries, as many as fit.
    fn tail(&self) -> Result<Vec<Entries>, StorageError> {
        let parts = self.live()?.parts_back(self.tail_bytes);
        let mut left = self.tail_bytes;
        let mut tail = Vec::new();
        for part in &parts {
            let mut runs = Vec::new();
            read_part(part, |entries| runs.push(entries))?;
            let Some(run) = Entries::join(&runs) else {
                continue;
            };
            let fits = fitting_end(&run, left);
            left -= fits.weight();
            let complete = fits.len() == run.len();
            if !fits.is_empty() {
                tail.push(fits);
            }
            if !complete {
                break;
            }
        }
        tail.reverse();
        Ok(tail)
    }
}

/// The end of `run` that weighs at most `bytes`.
fn fitting_end(run: &Entries, bytes: usize) -> Entries {
    let mut total = 0;
    let fits = run.as_slice().iter().rev().take_while(|entry: &&Entry| {
        total += entry.weight();
        total <= bytes
    });
    let count = fits.count() as u64;
    run.after(LogIndex(run.last().0 - count))
}

/// Reads the entries of a stretch, in order, without copying their payloads.
fn read_part(
    (file, span, stretch): &Part,
    mut take: impl FnMut(Entries),
) -> Result<(), StorageError> {
    let len = usize::try_from(span.end - span.start).unwrap_or(usize::MAX);
    let mut input: Bytes = file.read(span.start, len)?.freeze();
    let mut next = stretch.first;
    while !input.is_empty() && next <= stretch.last {
        let at = span.end - input.len() as u64;
        let limit = input.len();
        let record = read_frame(&mut input, limit).and_then(|(_, body)| read_record(body));
        let (_, stored) = record.map_err(|error| {
            let what = format!("a record was damaged since the start ({error})");
            file.corrupt(at, advise(what))
        })?;
        if let Some(entries) = stored.into_entries() {
            let wanted = entries.after(next.previous()).through(stretch.last);
            if !wanted.is_empty() {
                next = wanted.last().next();
                take(wanted);
            }
        }
    }
    if next <= stretch.last {
        let what = format!("entry {next} is not where it was");
        return Err(file.corrupt(span.start, advise(what)));
    }
    Ok(())
}

/// Entries that were asked for, as they are read.
struct Gather {
    next: LogIndex,
    through: LogIndex,
    /// How much may still come, in bytes.
    left: usize,
    full: bool,
    /// Adjacent entries of one stamp that become one run.
    group: Vec<Entries>,
    runs: Vec<Entries>,
}

impl Gather {
    fn add(&mut self, entries: Entries) {
        let wanted = entries.through(self.through);
        if self.full || !wanted.contains(self.next) {
            return;
        }
        let part = wanted.within(self.next, self.left);
        let first = self.group.is_empty() && self.runs.is_empty();
        if part.weight() > self.left && !first {
            self.full = true;
            return;
        }
        self.full = part.last() < wanted.last();
        self.next = part.last().next();
        self.left = self.left.saturating_sub(part.weight());
        if self
            .group
            .last()
            .is_some_and(|end| end.stamp() != part.stamp())
        {
            self.close();
        }
        self.group.push(part);
    }

    fn close(&mut self) {
        match Entries::join(&self.group) {
            Some(run) => self.runs.push(run),
            None => self.runs.append(&mut self.group),
        }
        self.group.clear();
    }

    fn finish(mut self) -> Vec<Entries> {
        if !self.group.is_empty() {
            self.close();
        }
        self.runs
    }
}
