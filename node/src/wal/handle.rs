//! The log behind threads: one that writes and one that reads, so that whoever asks never waits
//! for the disk.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};

use futures::channel::oneshot;
use synod_core::{Batch, LogLoad, LogLoaded, LogRecord, Restored, Storage, StorageError};

use super::config::WalConfig;
use super::dir::WalStats;
use super::disk::Disk;
use super::engine::Engine;
use super::file::Files;
use super::format::record_size;
use super::load::Reader;
use super::report::OpenReport;
use super::turns::{Turn, Turns};

/// A write-ahead log on plain files: a [`LogStorage`](synod_core::LogStorage).
///
/// A clone is the same log. Writing happens on a thread of its own, in the order of the calls;
/// batches that wait at the same time are written together, with one sync. Reading happens on
/// another thread, beside it. The last clone that goes waits for what is being written; then the
/// directory can be opened again.
#[derive(Clone, Debug)]
pub struct Wal {
    threads: Arc<Threads>,
}

type Done<T> = oneshot::Sender<Result<T, StorageError>>;

struct Write {
    records: Batch<LogRecord>,
    turn: Turn,
    done: Done<()>,
}

enum Read {
    Load(LogLoad, Done<Option<LogLoaded>>),
    Restore(Done<Restored>),
}

/// The senders are dropped first, then the threads end.
struct Threads {
    writes: Option<Sender<Write>>,
    reads: Option<Sender<(Turn, Read)>>,
    write_turns: Turns,
    read_turns: Turns,
    joins: Vec<JoinHandle<()>>,
    reader: Reader,
}

impl Wal {
    /// Opens the log in the directory at `path`, which is made if it is not there; repairs what a
    /// crash left. Blocks until the whole log is read.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`].
    pub fn open(
        path: impl AsRef<Path>,
        config: WalConfig,
    ) -> Result<(Self, OpenReport), StorageError> {
        let path = path.as_ref();
        let disk = Disk::new(path).map_err(|error| StorageError::Io {
            operation: "create directory",
            place: path.display().to_string(),
            reason: error.to_string(),
        })?;
        Self::open_on(Arc::new(disk), config)
    }

    /// [`open`](Self::open) on other files than those of a disk: decorated ones that inject
    /// faults, simulated ones.
    ///
    /// # Errors
    ///
    /// As [`Engine::open`].
    pub fn open_on(
        files: Arc<dyn Files>,
        config: WalConfig,
    ) -> Result<(Self, OpenReport), StorageError> {
        let (engine, report) = Engine::open(files, config)?;
        let place = engine.place();
        let reader = engine.reader();
        let (writes, write_queue) = mpsc::channel();
        let (reads, read_queue) = mpsc::channel();
        let readers = reader.clone();
        let joins = [
            thread::Builder::new()
                .name("wal-write".into())
                .spawn(move || write_loop(engine, &write_queue)),
            thread::Builder::new()
                .name("wal-read".into())
                .spawn(move || read_loop(&readers, &read_queue)),
        ];
        let joins = joins.into_iter().collect::<Result<Vec<_>, _>>();
        let joins = joins.map_err(|error| StorageError::Io {
            operation: "start a thread for",
            place,
            reason: error.to_string(),
        })?;
        let threads = Threads {
            writes: Some(writes),
            reads: Some(reads),
            write_turns: Turns::new(JOBS, WRITES_BYTES),
            read_turns: Turns::new(JOBS, 0),
            joins,
            reader,
        };
        let wal = Self {
            threads: Arc::new(threads),
        };
        Ok((wal, report))
    }

    /// What the log has asked of its disk so far: syncs per batch, records per sync.
    #[must_use]
    pub fn stats(&self) -> WalStats {
        self.threads.reader.stats()
    }

    async fn read<T>(&self, ask: impl FnOnce(Done<T>) -> Read) -> Result<T, StorageError> {
        let turn = self.threads.read_turns.take(0).await;
        let (done, answer) = oneshot::channel();
        send(self.threads.reads.as_ref(), (turn, ask(done)));
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

#[async_trait::async_trait]
impl Storage for Wal {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.read(Read::Restore).await
    }

    /// Resolves when the records are durable. The write happens even if nobody waits for it, unless
    /// 1024 batches or 64 MiB were waiting when it was asked for: then it first waits for room.
    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        let bytes = records.iter().map(record_size).sum();
        let turn = self.threads.write_turns.take(bytes).await;
        let (done, answer) = oneshot::channel();
        let write = Write {
            records,
            turn,
            done,
        };
        send(self.threads.writes.as_ref(), write);
        answer.await.unwrap_or_else(|_| Err(ended()))
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.read(|done| Read::Load(load, done)).await
    }
}

/// If the thread is gone, the job is dropped and the one who waits for it learns that.
fn send<T>(queue: Option<&Sender<T>>, job: T) {
    if let Some(queue) = queue {
        let _ = queue.send(job);
    }
}

/// A thread ends before its queue is closed only by a panic.
fn ended() -> StorageError {
    StorageError::Failed("a thread of the log panicked".into())
}

/// How many batches are written together at most: those who wait for the first must not wait for
/// all that come meanwhile.
const TOGETHER: usize = 64;

/// At this many bytes, nothing more is written together with what is there.
const TOGETHER_BYTES: usize = 4 << 20;

/// How much waits to be written at most, in bytes, or one batch if that is more.
const WRITES_BYTES: usize = 64 << 20;

/// How many batches wait to be written at most, and how many reads to be done.
const JOBS: usize = 1024;

fn write_loop(mut engine: Engine, queue: &Receiver<Write>) {
    let mut waiting: Vec<Done<()>> = Vec::new();
    while let Ok(first) = queue.recv() {
        let (mut batches, mut bytes) = (Vec::with_capacity(1), 0);
        let mut next = Some(first);
        while let Some(Write {
            records,
            turn,
            done,
        }) = next
        {
            bytes += turn.bytes();
            batches.push(records);
            waiting.push(done);
            next = match batches.len() < TOGETHER && bytes < TOGETHER_BYTES {
                true => queue.try_recv().ok(),
                false => None,
            };
        }
        let written = engine.write_all(batches);
        for done in waiting.drain(..) {
            // Who has gone needs no answer.
            let _ = done.send(written.clone());
        }
        if written.is_ok() {
            // A failure here is what the next write reports.
            let _ = engine.collect();
        }
    }
}

fn read_loop(reader: &Reader, queue: &Receiver<(Turn, Read)>) {
    while let Ok((_turn, job)) = queue.recv() {
        match job {
            // Nobody waits for it any more.
            Read::Load(_, done) if done.is_canceled() => {}
            Read::Load(load, done) => _ = done.send(reader.load(&load)),
            Read::Restore(done) => _ = done.send(reader.restored()),
        }
    }
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Threads")
            .field("reader", &self.reader)
            .finish_non_exhaustive()
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.writes = None;
        self.reads = None;
        for thread in self.joins.drain(..) {
            // A panic was reported to whoever waited.
            let _ = thread.join();
        }
    }
}
