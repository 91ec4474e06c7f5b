//! Test a storage of your own under a thousand crashes: `cargo run --example own_storage`; run it
//! with `lazy` to see what happens if it says that something is durable too early.

#![allow(clippy::print_stdout)] // an example talks

use synod_core::mem::MemStorage;
use synod_core::{
    Batch, LogImage, LogLoad, LogLoaded, LogRecord, NodeId, Restored, Rng, Storage, StorageError,
};
use synod_raft::{Config, Raft};
use synod_sim::{Campaign, Device, Kv, LogSubject, Reopened, Simulation, Start, Subject, at_once};

/// The storage: here one in memory, around which you write your own. A lazy one keeps the protocol's
/// state (Raft's vote) in a cache.
struct Own {
    inner: MemStorage,
    lazy: bool,
}

#[async_trait::async_trait]
impl Storage for Own {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    async fn restore(&self) -> Result<Restored, StorageError> {
        self.inner.restore().await
    }

    async fn write(&self, records: Batch<LogRecord>) -> Result<(), StorageError> {
        let cached = |record: &LogRecord| self.lazy && matches!(record, LogRecord::State(_));
        let synced = records.into_iter().filter(|record| !cached(record));
        self.inner.write(synced.collect()).await
    }

    async fn load(&self, load: LogLoad) -> Result<Option<LogLoaded>, StorageError> {
        self.inner.load(load).await
    }
}

// What is needed to test it begins here.

struct OnOwnStorage {
    lazy: bool,
}

impl Subject for OnOwnStorage {
    type Machine = Raft;
    type Disk = LogImage;

    fn start(&self, start: Start<'_>) -> Raft {
        let config = Config::builder(start.id).voters(start.voters.iter().copied());
        let config = config.seed(start.seed).build().expect("valid settings");
        Raft::new(config, start.restored, start.now).expect("the disk is readable")
    }

    fn device(&self, _: NodeId, _: u64) -> Option<Box<dyn Device>> {
        let lazy = self.lazy;
        let inner = MemStorage::new;
        Some(Box::new(Reopened::new(
            move |before: Option<Own>, mut left: Batch<_>, rng: &mut Rng| {
                // After a crash: what was being written may be there in part.
                left.truncate(rng.below(left.len() as u64 + 1) as usize);
                let inner = before.map_or_else(inner, |before| {
                    at_once(before.write(left)).expect("memory does not fail");
                    before.inner.restart()
                });
                Own { inner, lazy }
            },
        )))
    }
}

impl LogSubject for OnOwnStorage {}

fn main() {
    let lazy = std::env::args().any(|arg| arg == "lazy");
    let summary =
        Campaign::from_env("own storage", 30).run(&Simulation::new(OnOwnStorage { lazy }, Kv));
    println!("{summary}");
    assert_eq!(summary.failure.is_some(), lazy);
}
