//! A storage of your own: a journal in one file.
//!
//! Run it with `cargo run -p synod-node --example custom_storage`. It puts the journal through the
//! conformance suite, then runs a node on it, crashes the node, and starts it again.

#![allow(
    clippy::print_stdout,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "an example has std and tells what it does"
)]

use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use synod_core::frame::{read_frame, write_frame};
use synod_core::mem::MemNetwork;
use synod_core::{
    Batch, Chunks, Clock, Decode, Encode, GroupId, LogImage, LogIndex, LogLoad, LogLoaded,
    LogRecord, MachineError, NodeId, ReadLevel, Restored, Role, StateMachine, Storage,
    StorageError, conform,
};
use synod_node::clock::TokioClock;
use synod_node::{Config, Handle, Node, NodeError, Parts};
use synod_raft::Raft;
use tokio::task::JoinHandle;

const LONGEST: usize = 64 << 20;

/// Every record ever written, one after the other, in frames with checksums; and what they amount
/// to, in memory. It never shrinks: that, and more careful repair, is what `wal` is for.
struct Journal(Arc<Mutex<Inner>>);

struct Inner {
    path: PathBuf,
    file: File,
    /// [`LogImage`] knows what each record means.
    image: LogImage,
    failed: Option<StorageError>,
}

impl Journal {
    fn open(path: &Path) -> Result<Self, StorageError> {
        let opened = Inner::open(path).map_err(|error| error_at(path, "open", &error));
        Ok(Self(Arc::new(Mutex::new(opened?))))
    }

    /// Disks are slow: whoever asks them waits on a thread that may block.
    async fn on_thread<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Inner) -> Result<T, StorageError> + Send + 'static,
    ) -> Result<T, StorageError> {
        let inner = Arc::clone(&self.0);
        let job = move || job(&mut inner.lock().unwrap_or_else(PoisonError::into_inner));
        let done = tokio::task::spawn_blocking(job).await;
        done.unwrap_or_else(|error| Err(StorageError::Failed(error.to_string())))
    }
}

#[async_trait::async_trait]
impl Storage for Journal {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.on_thread(|inner| Ok(inner.image.restored(1 << 20)))
            .await
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        self.on_thread(|inner| inner.write(records)).await
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.on_thread(move |inner| Ok(inner.image.load(&load)))
            .await
    }
}

impl Inner {
    fn open(path: &Path) -> io::Result<Self> {
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut rest = Bytes::from(bytes);
        let (mut image, mut good) = (LogImage::new(), 0);
        let length = rest.len();
        // The first frame that is not whole was torn by a crash: nobody was told that it is durable.
        while let Ok((_, body)) = read_frame(&mut rest, LONGEST) {
            let record = LogRecord::decode_all(body).map_err(io::Error::other)?;
            image.apply(record).map_err(io::Error::other)?;
            good = length - rest.len();
        }
        image.restart();
        file.set_len(good as u64)?;
        file.seek(SeekFrom::End(0))?;
        file.sync_all()?;
        Ok(Self {
            path: path.to_path_buf(),
            file,
            image,
            failed: None,
        })
    }

    fn write(&mut self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        // After a failure nobody knows what is on the disk: only a new start reads it again.
        if let Some(error) = &self.failed {
            return Err(StorageError::Failed(error.to_string()));
        }
        let done = self.file.write_all(&encode(&records));
        let done = done.and_then(|()| self.file.sync_data());
        if let Err(error) = done {
            let error = error_at(&self.path, "write", &error);
            self.failed = Some(error.clone());
            return Err(error);
        }
        for record in records {
            let applied = self.image.apply(record);
            applied.map_err(|rule| StorageError::Failed(rule.to_string()))?;
        }
        Ok(())
    }
}

fn encode(records: &Batch<LogRecord>) -> BytesMut {
    let mut out = BytesMut::new();
    for record in records.iter() {
        write_frame(GroupId(0), &mut out, |body| record.encode(body));
    }
    out
}

fn error_at(path: &Path, operation: &'static str, error: &io::Error) -> StorageError {
    StorageError::Io {
        operation,
        place: path.display().to_string(),
        reason: error.to_string(),
    }
}

/// What the conformance suite needs: fresh journals, old ones, and torn ones.
struct Factory {
    directory: PathBuf,
    made: u32,
    crashes: usize,
}

impl Factory {
    fn path(&self) -> PathBuf {
        self.directory.join(format!("journal-{}", self.made))
    }
}

#[async_trait::async_trait]
impl conform::ReopenStorage for Factory {
    type Storage = Journal;

    async fn fresh(&mut self) -> Result<Journal, StorageError> {
        self.made += 1;
        Journal::open(&self.path())
    }

    async fn reopen(&mut self) -> Result<Journal, StorageError> {
        Journal::open(&self.path())
    }

    async fn crash(
        &mut self,
        journal: Journal,
        records: Batch<LogRecord>,
    ) -> Result<bool, StorageError> {
        let bytes = encode(&records);
        self.crashes += 1;
        let torn = self.crashes * 37 % (bytes.len() + 1);
        let tear = move |inner: &mut Inner| {
            let torn = inner.file.write_all(&bytes[..torn]);
            torn.map_err(|error| error_at(&inner.path, "tear", &error))
        };
        journal.on_thread(tear).await.map(|()| true)
    }
}

/// A state machine that counts commands.
#[derive(Default)]
struct Count(u64);

impl StateMachine for Count {
    fn apply(&mut self, _: LogIndex, _: &Bytes) -> Bytes {
        self.0 += 1;
        self.0.to_bytes()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        self.0.to_bytes()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        Ok(Chunks::from(self.0.to_bytes()))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let count = u64::decode_all(snapshot.collect_bytes()?);
        self.0 = count.map_err(|error| MachineError::new(error.to_string()))?;
        Ok(())
    }
}

/// A cluster of one on the journal at `path`, once it leads.
async fn start(path: &Path) -> Result<(Handle, JoinHandle<Result<(), NodeError>>), Box<dyn Error>> {
    let id = NodeId(1);
    let config = synod_raft::Config::builder(id).voters([id]).build()?;
    let clock = TokioClock::new();
    let parts = Parts {
        storage: Journal::open(path)?,
        transport: MemNetwork::new(16).join(id),
        clock,
    };
    let opened = Node::open(parts, Count::default(), Config::default(), |restored| {
        let raft = Raft::new(config, restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    });
    let (node, handle) = opened.await?;
    let running = tokio::spawn(node.run());
    let soon = Duration::from_secs(10);
    handle.wait(|s| s.role == Role::Leader, soon).await?;
    Ok((handle, running))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let factory = Factory {
        directory: directory.path().to_path_buf(),
        made: 0,
        crashes: 0,
    };
    let report = conform::storage(factory, 7).await?;
    println!("the journal keeps {} rules:", report.checked.len());
    for rule in &report.checked {
        println!("- {rule}");
    }
    assert!(report.skipped.is_empty(), "{:?}", report.skipped);

    let path = directory.path().join("journal");
    let (node, running) = start(&path).await?;
    for outcome in node.propose_many(["a", "b", "c"].map(Bytes::from)).await {
        outcome?;
    }
    // Dropping a node's future is a crash.
    running.abort();
    assert!(running.await.is_err(), "the node was stopped in the middle");

    let (node, _running) = start(&path).await?;
    let count = node.read(Bytes::new(), ReadLevel::Linearizable).await?;
    assert_eq!(u64::decode_all(count.response)?, 3);
    println!("after a crash, a node on it still counts 3 commands");
    node.shutdown().await;
    Ok(())
}
