//! The log itself, without threads: one call writes one batch and returns when it is durable.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use std::sync::Mutex;

use bytes::{Bytes, BytesMut};
use synod_core::{Batch, Entries, Lane, LogRecord, Restored, SnapshotId, StorageError};

use super::Plant;
use super::catalog::Span;
use super::config::WalConfig;
use super::dir::{Counters, Dir, WalStats};
use super::file::{Files, Held};
use super::format::{
    FileName, Number, RecordHead, SegmentHeader, Serial, Staged, Stored, slot, write_record,
};
use super::live::Live;
use super::load::Reader;
use super::recover::recover;
use super::report::OpenReport;
use super::rules::Rules;
use super::segment::Tail;
use super::snapshot::{Owner, SnapshotFile};
use super::watermark::Watermark;

/// What is encoded before it is written, in bytes: one record may make it more.
const BUFFER: usize = 1 << 20;

/// How much room for encoded records is kept from one batch to the next, in bytes.
const BUFFER_KEPT: usize = 2 * BUFFER;

/// A put of more than this is stored in parts, in bytes: whoever reads an entry back reads the
/// whole record that it is in.
const PART: u64 = 1 << 20;

/// A write-ahead log without threads, for who brings threads of their own, and for simulators.
/// [`Wal`](super::Wal) is this behind a thread.
///
/// ```
/// use std::sync::Arc;
/// use synod_core::{Entries, Entry, LogIndex, LogRecord, Stamp};
/// use synod_node::wal::{Disk, Engine, WalConfig};
///
/// # let directory = tempfile::tempdir()?;
/// let disk = Arc::new(Disk::new(directory.path())?);
/// let (mut engine, report) = Engine::open(disk, WalConfig::default())?;
/// assert!(report.created);
///
/// let entries = Entries::new(LogIndex(1), Stamp::of(1), [Entry::command("hello".into())]);
/// engine.write([LogRecord::Put(entries)].into_iter().collect())?; // durable now
/// engine.collect()?;
/// assert_eq!(engine.restored()?.last(), LogIndex(1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    pub(super) dir: Dir,
    pub(super) config: WalConfig,
    pub(super) owner: Owner,
    pub(super) live: Arc<Mutex<Live>>,
    pub(super) rules: Rules,
    pub(super) tail: Tail,
    /// The number of the next record.
    pub(super) next: Number,
    pub(super) watermark: Watermark,
    pub(super) staging: Staging,
    /// The last batch, as it was stored and where each record ends; empty between batches.
    pub(super) batch: Vec<(Stored, u64)>,
    /// Where that batch begins in its segment, in bytes.
    pub(super) begin: u64,
    pub(super) buffer: BytesMut,
    /// Only with [`Plant::AckBeforeSync`]: a batch that was acknowledged is not synced yet.
    pub(super) owed: bool,
    /// Kept as long as the engine is.
    pub(super) _lock: Held,
}

/// The snapshots that are being staged, and all that lie in the directory.
#[derive(Debug)]
pub(super) struct Staging {
    /// One for each lane, and how many bytes of it there are.
    pub(super) current: [Option<(SnapshotFile, u64)>; 2],
    /// Whether the lanes' files have contents that are not durable.
    pub(super) dirty: [bool; 2],
    /// Whether a file's name is not durable.
    pub(super) unnamed: bool,
    /// Activated by the batch that is being written.
    pub(super) activated: Option<Arc<SnapshotFile>>,
    pub(super) on_disk: BTreeSet<Serial>,
    /// The number of the next file.
    pub(super) next: Serial,
}

impl Engine {
    /// Opens the log in a directory, or begins one where there is none; repairs what a crash left.
    ///
    /// # Errors
    ///
    /// [`StorageError::InUse`] if it is open already, [`StorageError::Corrupt`] with file, offset
    /// and advice if it is damaged, [`StorageError::Version`] if a later version wrote it, and
    /// what the system says. Nothing that was acknowledged is lost by any of them.
    pub fn open(
        files: Arc<dyn Files>,
        config: WalConfig,
    ) -> Result<(Self, OpenReport), StorageError> {
        recover(Dir::new(files), config)
    }

    /// Makes records durable, in order. Call [`collect`](Self::collect) afterwards, when whoever
    /// waited knows.
    ///
    /// # Errors
    ///
    /// Any is final: every later call fails with [`StorageError::Failed`]. The records may or may
    /// not be there at the next start, as a prefix.
    pub fn write(&mut self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        self.write_all([records])
    }

    /// [`write`](Self::write) for several batches with one sync.
    ///
    /// # Errors
    ///
    /// As [`write`](Self::write).
    pub fn write_all(
        &mut self,
        batches: impl IntoIterator<Item = Batch<LogRecord>>,
    ) -> Result<(), StorageError> {
        drop(Live::lock(&self.live)?);
        let written = self.try_write(batches.into_iter().flatten());
        written.map_err(|error| Live::fail(&self.live, error))
    }

    /// Deletes what has become obsolete: segments, snapshots. Needs no sync, a start copes with
    /// whatever is left over.
    ///
    /// # Errors
    ///
    /// Any is final.
    pub fn collect(&mut self) -> Result<(), StorageError> {
        let collected = self.try_collect();
        collected.map_err(|error| Live::fail(&self.live, error))
    }

    /// What a start needs. Reads the end of the log.
    ///
    /// # Errors
    ///
    /// Any is final.
    pub fn restored(&self) -> Result<Restored, StorageError> {
        self.reader().restored()
    }

    /// Reads this log, also from another thread and after this engine is gone.
    #[must_use]
    pub fn reader(&self) -> Reader {
        Reader::new(
            Arc::clone(&self.live),
            self.dir.clone(),
            self.config.tail_bytes(),
        )
    }

    /// What the log has asked of its disk so far.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        self.dir.counters.stats()
    }

    pub(super) fn place(&self) -> String {
        self.tail.file.place().to_string()
    }

    fn try_write(&mut self, records: impl Iterator<Item = LogRecord>) -> Result<(), StorageError> {
        for record in records {
            let admitted = self.rules.admit(&record);
            admitted.map_err(|reason| self.refused(reason))?;
            match record {
                LogRecord::Put(entries) => self.put(&entries),
                record => {
                    let stored = self.stage(record)?;
                    self.batch.push((stored, 0));
                }
            }
        }
        if self.batch.is_empty() {
            return Ok(());
        }
        // A record that says how much is staged must not become durable before that is.
        self.settle()?;
        if self.tail.end >= self.config.segment_bytes() && !self.tail.empty {
            self.roll()?;
        }
        self.append()?;
        self.commit()?;
        let last = Number(self.next.0 + self.batch.len() as u64 - 1);
        self.watermark.advance(last)?;
        self.next = last.next();
        self.apply()?;
        Counters::add(&self.dir.counters.records, self.batch.len() as u64);
        Counters::add(&self.dir.counters.batches, 1);
        self.batch.clear();
        Ok(())
    }

    fn refused(&self, reason: String) -> StorageError {
        StorageError::Io {
            operation: "write",
            place: self.place(),
            reason,
        }
    }

    /// Adds a put to the batch, in parts if it is long.
    fn put(&mut self, entries: &Entries) {
        let most = PART.min(self.config.segment_bytes());
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut part = entries.within(entries.first(), most);
        while part.last() < entries.last() {
            let next = entries.within(part.last().next(), most);
            self.batch.push((Stored::Part(part), 0));
            part = next;
        }
        self.batch.push((Stored::Log(LogRecord::Put(part)), 0));
    }

    /// Puts the bulk of a record where it belongs; what is left goes into the log.
    fn stage(&mut self, record: LogRecord) -> Result<Stored, StorageError> {
        match record {
            LogRecord::Stage {
                lane,
                id,
                offset,
                chunk,
            } => {
                let staged = self.stage_piece(lane, id, offset, &chunk)?;
                Ok(Stored::Staged(staged))
            }
            LogRecord::Activate { meta, log } => {
                self.settle()?;
                let complete = |staged: &&mut Option<(SnapshotFile, u64)>| {
                    let is =
                        |(file, len): &(SnapshotFile, u64)| file.id == meta.id && *len == meta.size;
                    staged.as_ref().is_some_and(is)
                };
                let complete = self.staging.current.iter_mut().find(complete);
                let complete = complete.and_then(Option::take);
                if self.rules.taken_over {
                    self.staging.activated = complete.map(|(file, _)| Arc::new(file));
                }
                Ok(Stored::Log(LogRecord::Activate { meta, log }))
            }
            other => Ok(Stored::Log(other)),
        }
    }

    fn stage_piece(
        &mut self,
        lane: Lane,
        id: SnapshotId,
        offset: u64,
        chunk: &Bytes,
    ) -> Result<Staged, StorageError> {
        let mut file = match self.staging.current[slot(lane)].take() {
            Some((file, _)) if offset > 0 => file,
            before => {
                // An earlier record of this batch may speak of the file that is given up.
                self.staging.current[slot(lane)] = before;
                self.settle()?;
                let serial = self.staging.next;
                self.staging.next = serial.next();
                let file = SnapshotFile::create(&self.dir, self.owner, serial, id)?;
                self.staging.on_disk.insert(serial);
                self.staging.unnamed = true;
                file
            }
        };
        file.append(chunk)?;
        self.staging.dirty[slot(lane)] = true;
        let staged = Staged {
            lane,
            serial: file.serial,
            id: file.id,
            len: offset + chunk.len() as u64,
        };
        self.staging.current[slot(lane)] = Some((file, staged.len));
        Ok(staged)
    }

    /// Makes durable what is staged.
    fn settle(&mut self) -> Result<(), StorageError> {
        for lane in 0..self.staging.current.len() {
            if mem::take(&mut self.staging.dirty[lane])
                && let Some((file, _)) = &self.staging.current[lane]
                && !self.config.planted(Plant::UnsyncedSnapshot)
            {
                file.sync()?;
            }
        }
        if mem::take(&mut self.staging.unnamed) && !self.config.planted(Plant::SkipDirSync) {
            self.dir.sync()?;
        }
        Ok(())
    }

    /// Begins the next segment. All of this one is durable: a batch never spans two.
    fn roll(&mut self) -> Result<(), StorageError> {
        self.tail.seal()?;
        let mut checkpoint = Live::lock(&self.live)?.catalog.checkpoint();
        if self.config.planted(Plant::BareCheckpoint) {
            checkpoint.state = None;
        }
        let header = SegmentHeader {
            log: self.owner.log,
            seq: self.tail.seq.next(),
            first: self.next,
            kept: self.next.previous(),
            salt: salt(&self.dir),
            checkpoint,
        };
        let bytes = header.to_bytes(self.config.group());
        self.tail = Tail::begin(&self.dir, &self.config, &header, &bytes)?;
        let mut live = Live::lock(&self.live)?;
        live.segments.insert(self.tail.seq, self.tail.file.clone());
        Ok(())
    }

    /// Writes the batch and notes where each record ends.
    fn append(&mut self) -> Result<(), StorageError> {
        if self.buffer.capacity() > BUFFER_KEPT {
            self.buffer = BytesMut::new();
        }
        self.buffer.clear();
        self.begin = self.tail.end;
        let mut head = RecordHead::first(self.next, self.tail.salt);
        for (stored, end) in &mut self.batch {
            if !self.buffer.is_empty() && self.buffer.len() + stored.size() > BUFFER {
                self.tail.append(&mut self.buffer)?;
                self.buffer.clear();
            }
            write_record(self.config.group(), head, stored, &mut self.buffer);
            head = head.following();
            *end = self.tail.end + self.buffer.len() as u64;
        }
        if self.config.planted(Plant::DeleteEarly) {
            self.apply()?;
            self.try_collect()?;
        }
        self.tail.append(&mut self.buffer)
    }

    /// The one sync of a batch. A failed one is final: the system may have dropped what it could
    /// not write and call the next sync a success (Rebello et al., ATC 2020).
    fn commit(&mut self) -> Result<(), StorageError> {
        if self.config.planted(Plant::SkipSync) {
            return Ok(());
        }
        if self.config.planted(Plant::AckBeforeSync) && !mem::replace(&mut self.owed, true) {
            return Ok(());
        }
        let synced = self.tail.file.sync();
        if self.config.planted(Plant::RetrySync) && synced.is_err() {
            return self.tail.file.sync();
        }
        synced
    }

    /// Lets readers see the batch.
    fn apply(&mut self) -> Result<(), StorageError> {
        let mut live = Live::lock(&self.live)?;
        let mut start = self.begin;
        for (stored, end) in &self.batch {
            let span = Span {
                seq: self.tail.seq,
                start,
                end: *end,
            };
            live.catalog.apply(stored, span);
            start = *end;
        }
        if let Some(file) = self.staging.activated.take() {
            live.snapshot = Some(file);
        }
        Ok(())
    }

    fn try_collect(&mut self) -> Result<(), StorageError> {
        loop {
            let mut live = Live::lock(&self.live)?;
            let oldest = live.segments.first_key_value().map(|(seq, _)| *seq);
            match oldest {
                Some(seq) if seq < self.tail.seq && !live.catalog.is_live(seq) => {
                    live.segments.remove(&seq);
                    drop(live);
                    self.dir.remove(&FileName::Segment(seq).to_string())?;
                }
                _ => break,
            }
        }
        let (current, staged) = {
            let live = Live::lock(&self.live)?;
            let catalog = &live.catalog;
            let current = catalog.snapshot.as_ref().map(|(serial, _)| *serial);
            let staged = catalog
                .staged
                .map(|staged| staged.map(|staged| staged.serial));
            (current, staged)
        };
        let kept = |serial: &Serial| current == Some(*serial) || staged.contains(&Some(*serial));
        for serial in self.staging.on_disk.extract_if(.., |serial| !kept(serial)) {
            self.dir.remove(&FileName::Snapshot(serial).to_string())?;
        }
        Ok(())
    }
}

/// A secret for a segment's records.
#[allow(
    clippy::cast_possible_truncation,
    reason = "any 32 of its bits will do"
)]
pub(super) fn salt(dir: &Dir) -> u32 {
    dir.random() as u32
}

impl Drop for Engine {
    /// A log that is closed in good order knows after any loss of power how far it went.
    fn drop(&mut self) {
        if Live::lock(&self.live).is_ok() {
            // Nothing depends on it: without it the log's own evidence counts.
            let _ = self.watermark.sync();
        }
    }
}
