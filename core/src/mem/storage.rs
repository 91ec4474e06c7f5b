//! A disk in memory that fails when it is told to.

use alloc::boxed::Box;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::{lock, wait};
use crate::{
    Batch, ImageError, LogImage, LogLoad, LogLoaded, LogRecord, Restored, Storage, StorageError,
};

/// A disk in memory for one replicated log.
///
/// A clone is the same open storage. [`restart`](Self::restart) opens the same disk anew, as a node
/// does that comes back after a crash: what was written is there, what was only on its way is
/// gone, and the handles of the life before answer with an error.
///
/// ```
/// use synod_core::{Batch, LogRecord, Storage, mem::MemStorage};
///
/// # futures::executor::block_on(async {
/// let disk = MemStorage::new();
/// disk.write(Batch::from(LogRecord::State("term 3".into()))).await?;
/// let again = disk.restart();
/// assert_eq!(again.restore().await?.state.as_deref(), Some(&b"term 3"[..]));
/// assert!(disk.restore().await.is_err(), "the life before is over");
/// # Ok::<(), synod_core::StorageError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct MemStorage {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

#[derive(Debug)]
struct Disk {
    durable: LogImage,
    tail_bytes: usize,
    life: u64,
    /// Why this life ended before the next began.
    failed: Option<StorageError>,
    fail_next: Option<(usize, StorageError)>,
    /// Whether writes wait to be let through.
    held: bool,
    waiting: Vec<LogRecord>,
    wakers: Vec<Waker>,
}

impl MemStorage {
    /// How much of the log [`Storage::restore`] hands back, in bytes, unless told otherwise.
    pub const TAIL_BYTES: usize = 1 << 20;

    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::on(LogImage::new())
    }

    /// A disk that holds `image`.
    #[must_use]
    pub fn on(image: LogImage) -> Self {
        Self {
            disk: Arc::new(Mutex::new(Disk {
                durable: image,
                tail_bytes: Self::TAIL_BYTES,
                life: 0,
                failed: None,
                fail_next: None,
                held: false,
                waiting: Vec::new(),
                wakers: Vec::new(),
            })),
            life: 0,
        }
    }

    /// Sets how much of the log [`Storage::restore`] hands back, in bytes.
    #[must_use]
    pub fn tail_bytes(self, bytes: usize) -> Self {
        lock(&self.disk).tail_bytes = bytes;
        self
    }

    /// What is durable now.
    #[must_use]
    pub fn image(&self) -> LogImage {
        lock(&self.disk).durable.clone()
    }

    /// Ends this life and opens the disk again. A write on its way is lost.
    #[must_use]
    pub fn restart(&self) -> Self {
        self.restart_torn(0)
    }

    /// As [`restart`](Self::restart), but the first `kept` records of the write on its way have
    /// made it to the disk.
    ///
    /// # Panics
    ///
    /// If those records break the contract: an assertion of whatever wrote them.
    #[must_use]
    pub fn restart_torn(&self, kept: usize) -> Self {
        let mut disk = lock(&self.disk);
        disk.keep(kept);
        disk.durable.restart();
        disk.life += 1;
        disk.failed = None;
        disk.fail_next = None;
        disk.held = false;
        disk.wake();
        Self {
            disk: Arc::clone(&self.disk),
            life: disk.life,
        }
    }

    /// Makes the next write fail with `error` after its first `kept` records. As with any storage,
    /// that ends this life: everything after it fails too.
    pub fn fail_next_write(&self, kept: usize, error: StorageError) {
        lock(&self.disk).fail_next = Some((kept, error));
    }

    /// From now on writes wait, as on a slow disk, until [`release`](Self::release) lets them
    /// through or [`restart`](Self::restart) loses them.
    pub fn hold(&self) {
        lock(&self.disk).held = true;
    }

    /// Lets writes through again, the waiting one first.
    pub fn release(&self) {
        let mut disk = lock(&self.disk);
        disk.held = false;
        disk.wake();
    }

    /// How many records wait to be let through.
    #[must_use]
    pub fn waiting(&self) -> usize {
        lock(&self.disk).waiting.len()
    }

    fn with<T>(&self, job: impl FnOnce(&mut Disk) -> T) -> Result<T, StorageError> {
        let mut disk = lock(&self.disk);
        disk.usable(self.life)?;
        Ok(job(&mut disk))
    }

    fn poll_written(&self, context: &Context<'_>) -> Poll<Result<(), StorageError>> {
        let mut disk = lock(&self.disk);
        if let Err(error) = disk.usable(self.life) {
            return Poll::Ready(Err(error));
        }
        if disk.held {
            wait(&mut disk.wakers, context);
            return Poll::Pending;
        }
        let written = match disk.fail_next.take() {
            Some((kept, error)) => {
                disk.keep(kept);
                Err(error)
            }
            None => disk.flush(),
        };
        disk.failed = written.as_ref().err().cloned();
        Poll::Ready(written)
    }
}

impl Disk {
    fn usable(&self, life: u64) -> Result<(), StorageError> {
        if self.life != life {
            return Err(StorageError::Failed("opened again since".into()));
        }
        match &self.failed {
            Some(error) => Err(StorageError::Failed(error.to_string())),
            None => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), StorageError> {
        for record in core::mem::take(&mut self.waiting) {
            self.durable.apply(record).map_err(|rule| refused(&rule))?;
        }
        Ok(())
    }

    /// What a torn write leaves: a prefix.
    fn keep(&mut self, kept: usize) {
        self.waiting.truncate(kept);
        self.flush().expect("a torn write is of valid records");
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

fn refused(rule: &ImageError) -> StorageError {
    StorageError::Io {
        operation: "write",
        place: "memory".into(),
        reason: rule.to_string(),
    }
}

impl Default for MemStorage {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Storage for MemStorage {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.with(|disk| disk.durable.restored(disk.tail_bytes))
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        self.with(|disk| disk.waiting.extend(records))?;
        poll_fn(|context| self.poll_written(context)).await
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.with(|disk| disk.durable.load(&load))
    }
}
