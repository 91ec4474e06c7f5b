//! A node with a classic bug, for tests to find: the environment names one that `synod_raft` or
//! `synod_paxos` knows, or [`IGNORE_FAILED_WRITES`]. Only with the feature `planted`.

use synod_core::{
    Batch, LogLoad, LogLoaded, LogRecord, LogStorage, Restored, Storage, StorageError,
};
use synod_node::wal::Wal;

/// What is read from the environment.
const VARIABLE: &str = "SYNOD_KV_PLANTED";

/// A write that has failed counts as durable.
const IGNORE_FAILED_WRITES: &str = "IgnoreFailedWrites";

fn named() -> Option<String> {
    std::env::var(VARIABLE).ok()
}

/// The bug that is named, if one of `all` is.
fn find<B: Copy + std::fmt::Debug>(all: &[B]) -> Result<Option<B>, String> {
    match named() {
        None => Ok(None),
        Some(name) if name == IGNORE_FAILED_WRITES => Ok(None),
        Some(name) => {
            let bug = all.iter().find(|bug| format!("{bug:?}") == name);
            let bug = bug.ok_or_else(|| format!("{VARIABLE} ({name}) is no bug"))?;
            Ok(Some(*bug))
        }
    }
}

/// Plants a bug in Raft, if it is one of those.
pub(crate) fn raft(config: synod_raft::ConfigBuilder) -> Result<synod_raft::ConfigBuilder, String> {
    let bug = find(&synod_raft::planted::Bug::ALL)?;
    Ok(match bug {
        Some(bug) => config.danger_plant(bug),
        None => config,
    })
}

/// Plants a bug in Multi-Paxos, if it is one of those.
pub(crate) fn multi_paxos(
    config: synod_paxos::log::ConfigBuilder,
) -> Result<synod_paxos::log::ConfigBuilder, String> {
    use synod_paxos::log::planted::Bug;
    let all: Vec<Bug> = Bug::ALL.into_iter().chain(Bug::FAST).collect();
    let bug = find(&all)?;
    Ok(match bug {
        Some(bug) => config.danger_plant(bug),
        None => config,
    })
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
