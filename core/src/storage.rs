//! Where a driver keeps what must survive.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use crate::{Batch, LogLoad, LogLoaded, LogRecord, Restored};

/// A disk, as a driver sees it. One driver uses a storage at a time; it has at most one write under
/// way, and reads may run beside it.
///
/// Implementing it: `write` must not return before the records are durable, must keep their order,
/// and may tear a write only between records, keeping a prefix. The conformance suite of this crate
/// checks an implementation.
#[async_trait::async_trait]
pub trait Storage: Send + Sync {
    /// What is stored.
    type Record: Send;
    /// What can be read back.
    type Load: Send;
    /// The answer.
    type Loaded: Send;
    /// What a start finds.
    type Restored: Send;

    /// Reads what a start needs. Called once, before anything else.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: the node does not start.
    async fn restore(&self) -> Result<Self::Restored, StorageError>;

    /// Makes these records durable, in order.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: any is final, the driver ends. What was being written may or may not be
    /// there at the next start, as a prefix.
    async fn write(&self, records: Batch<Self::Record>) -> Result<(), StorageError>;

    /// Reads back what is durable; `None` if that has been compacted or replaced.
    ///
    /// # Errors
    ///
    /// [`StorageError`]: any is final, the driver ends.
    async fn load(&self, load: Self::Load) -> Result<Option<Self::Loaded>, StorageError>;
}

/// A storage for replicated logs.
pub trait LogStorage:
    Storage<Record = LogRecord, Load = LogLoad, Loaded = LogLoaded, Restored = Restored>
{
}

impl<S> LogStorage for S where
    S: Storage<Record = LogRecord, Load = LogLoad, Loaded = LogLoaded, Restored = Restored>
        + ?Sized
{
}

macro_rules! forward_storage {
    ($pointer:ident) => {
        #[async_trait::async_trait]
        impl<S: Storage + ?Sized> Storage for $pointer<S> {
            type Record = S::Record;
            type Load = S::Load;
            type Loaded = S::Loaded;
            type Restored = S::Restored;

            async fn restore(&self) -> Result<S::Restored, StorageError> {
                (**self).restore().await
            }

            async fn write(&self, records: Batch<S::Record>) -> Result<(), StorageError> {
                (**self).write(records).await
            }

            async fn load(&self, load: S::Load) -> Result<Option<S::Loaded>, StorageError> {
                (**self).load(load).await
            }
        }
    };
}

forward_storage!(Box);
forward_storage!(Arc);

/// What a disk can do to a node. Each of these ends it; it starts again from what was durable.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The operating system refused an operation.
    #[error("{operation} failed on {place}: {reason}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// The file or directory.
        place: String,
        /// What the system said.
        reason: String,
    },
    /// There is no room left. Nothing acknowledged is lost.
    #[error("no space left while writing {place}: free some, then start again")]
    Full {
        /// The file or directory.
        place: String,
    },
    /// The storage holds what was never written, in a place that no torn write explains.
    #[error("{place} is damaged at byte {offset}: {what}")]
    Corrupt {
        /// The file.
        place: String,
        /// Where in it.
        offset: u64,
        /// What is wrong, and what to do.
        what: String,
    },
    /// Another process uses this storage.
    #[error("{place} is in use by another process")]
    InUse {
        /// The file or directory.
        place: String,
    },
    /// The storage was written by a version that this one does not know.
    #[error("{place} has format version {found}, this build reads {supported}")]
    Version {
        /// The file.
        place: String,
        /// What it says.
        found: u8,
        /// What is known.
        supported: u8,
    },
    /// The storage has failed before and is not used again in this life.
    #[error("the storage has failed before: {0}")]
    Failed(String),
}
