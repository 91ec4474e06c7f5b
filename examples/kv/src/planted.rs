//! A node with a classic bug, for tests to find: the environment names one that `synod_raft` knows,
//! or [`IGNORE_FAILED_WRITES`]. Only with the feature `planted`.

use synod_core::{
    Batch, LogLoad, LogLoaded, LogRecord, LogStorage, Restored, Storage, StorageError,
};
use synod_node::wal::Wal;
use synod_raft::ConfigBuilder;
use synod_raft::planted::Bug;

/// What is read from the environment.
const VARIABLE: &str = "SYNOD_KV_PLANTED";

/// A write that has failed counts as durable.
const IGNORE_FAILED_WRITES: &str = "IgnoreFailedWrites";

fn named() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// Plants a bug in the protocol, if it is one of those.
pub(crate) fn raft(config: ConfigBuilder) -> Result<ConfigBuilder, String> {
    match named() {
        None => Ok(config),
        Some(name) if name == IGNORE_FAILED_WRITES => Ok(config),
        Some(name) => {
            let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
            let bug = bug.ok_or_else(|| format!("{VARIABLE} ({name}) is no bug"))?;
            Ok(config.danger_plant(bug))
        }
    }
}

/// Plants a bug in the storage, if it is that.
pub(crate) fn storage(wal: Wal) -> Box<dyn LogStorage> {
    match named() {
        Some(name) if name == IGNORE_FAILED_WRITES => Box::new(Ignoring(wal)),
        Some(_) | None => Box::new(wal),
    }
}

struct Ignoring(Wal);

#[async_trait::async_trait]
impl Storage for Ignoring {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.0.restore().await
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        let _planted = self.0.write(records).await;
        Ok(())
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.0.load(load).await
    }
}
