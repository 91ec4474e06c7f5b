//! The file layer with errors that name operation and place, and with counters.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};
use std::io;

use bytes::BytesMut;
use synod_core::StorageError;

use super::file::{File, Files, Held};

/// What a log has asked of its disk so far in this life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct WalStats {
    /// Records written; each part of a long put counts.
    pub records: u64,
    /// Writes that went to the log together: each costs one sync.
    pub batches: u64,
    /// Syncs of file contents, those of snapshots and of new segments included.
    pub syncs: u64,
    /// Bytes written to files, zeros included that were written ahead.
    pub bytes: u64,
    /// Segments begun.
    pub segments: u64,
}

/// The live figures behind [`WalStats`].
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) records: AtomicU64,
    pub(super) batches: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) segments: AtomicU64,
}

impl Counters {
    pub(super) fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> WalStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WalStats {
            records: read(&self.records),
            batches: read(&self.batches),
            syncs: read(&self.syncs),
            bytes: read(&self.bytes),
            segments: read(&self.segments),
        }
    }
}

/// The directory of a log.
#[derive(Clone, Debug)]
pub(super) struct Dir {
    files: Arc<dyn Files>,
    pub(super) counters: Arc<Counters>,
}

impl Dir {
    pub(super) fn new(files: Arc<dyn Files>) -> Self {
        Self {
            files,
            counters: Arc::default(),
        }
    }

    pub(super) fn place(&self, name: &str) -> String {
        self.files.place(name)
    }

    pub(super) fn list(&self) -> Result<Vec<String>, StorageError> {
        self.files.list().map_err(|e| self.failed("list", "", &e))
    }

    pub(super) fn create(&self, name: &str) -> Result<Handle, StorageError> {
        let file = self.files.create(name);
        file.map(|file| self.handle(name, file))
            .map_err(|e| self.failed("create", name, &e))
    }

    pub(super) fn open(&self, name: &str) -> Result<Handle, StorageError> {
        let file = self.files.open(name);
        file.map(|file| self.handle(name, file))
            .map_err(|e| self.failed("open", name, &e))
    }

    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let renamed = self.files.rename(from, to);
        renamed.map_err(|e| self.failed("rename", from, &e))
    }

    /// Removes a file if it is there: a removal before a crash may or may not have happened.
    pub(super) fn remove(&self, name: &str) -> Result<(), StorageError> {
        match self.files.remove(name) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.failed("remove", name, &error))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        let synced = self.files.sync_dir();
        synced.map_err(|e| self.failed("sync directory", "", &e))
    }

    pub(super) fn lock(&self, name: &str) -> Result<Held, StorageError> {
        let held = self.files.lock(name);
        held.map_err(|e| self.failed("lock", name, &e))?
            .ok_or_else(|| StorageError::InUse {
                place: self.place(name),
            })
    }

    pub(super) fn random(&self) -> u64 {
        self.files.random()
    }

    fn handle(&self, name: &str, file: Arc<dyn File>) -> Handle {
        Handle {
            file,
            place: self.place(name).into(),
            counters: Arc::clone(&self.counters),
        }
    }

    fn failed(&self, operation: &'static str, name: &str, error: &io::Error) -> StorageError {
        failure(operation, &self.place(name), error)
    }
}

/// An open file of the log.
#[derive(Clone, Debug)]
pub(super) struct Handle {
    file: Arc<dyn File>,
    place: Arc<str>,
    counters: Arc<Counters>,
}

impl Handle {
    pub(super) fn size(&self) -> Result<u64, StorageError> {
        self.file.size().map_err(|e| self.failed("measure", &e))
    }

    /// The `len` bytes at `offset`, or as many as the file has.
    pub(super) fn read(&self, offset: u64, len: usize) -> Result<BytesMut, StorageError> {
        let mut buffer = BytesMut::zeroed(len);
        let read = self.file.read_at(&mut buffer, offset);
        buffer.truncate(read.map_err(|e| self.failed("read", &e))?);
        Ok(buffer)
    }

    pub(super) fn write(&self, bytes: &[u8], offset: u64) -> Result<(), StorageError> {
        Counters::add(&self.counters.bytes, bytes.len() as u64);
        let written = self.file.write_at(bytes, offset);
        written.map_err(|e| self.failed("write", &e))
    }

    pub(super) fn set_len(&self, len: u64) -> Result<(), StorageError> {
        self.file.set_len(len).map_err(|e| self.failed("cut", &e))
    }

    pub(super) fn sync(&self) -> Result<(), StorageError> {
        Counters::add(&self.counters.syncs, 1);
        self.file.sync_data().map_err(|e| self.failed("sync", &e))
    }

    /// The error for contents that no write of ours explains.
    pub(super) fn corrupt(&self, offset: u64, what: impl Into<String>) -> StorageError {
        StorageError::Corrupt {
            place: self.place.to_string(),
            offset,
            what: what.into(),
        }
    }

    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The same file under the name it was renamed to.
    pub(super) fn renamed(&self, place: String) -> Self {
        Self {
            place: place.into(),
            ..self.clone()
        }
    }

    fn failed(&self, operation: &'static str, error: &io::Error) -> StorageError {
        failure(operation, &self.place, error)
    }
}

fn failure(operation: &'static str, place: &str, error: &io::Error) -> StorageError {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    let place = place.to_string();
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => StorageError::Full { place },
        _ => StorageError::Io {
            operation,
            place,
            reason: error.to_string(),
        },
    }
}
