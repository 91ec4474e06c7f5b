//! The log passes the suite that anyone can run against a storage.

use std::sync::Arc;

use futures::executor::block_on;
use synod_core::conform::{self, ReopenStorage};
use synod_core::{Batch, LogRecord, Rng, Storage, StorageError};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Wal, WalConfig};
use tempfile::TempDir;

/// Logs on a real disk.
struct OnDisk(Option<TempDir>);

impl OnDisk {
    fn open(&self) -> Result<Wal, StorageError> {
        let directory = self.0.as_ref().unwrap().path();
        Wal::open(directory, WalConfig::default()).map(|(wal, _)| wal)
    }
}

#[async_trait::async_trait]
impl ReopenStorage for OnDisk {
    type Storage = Wal;

    async fn fresh(&mut self) -> Result<Wal, StorageError> {
        self.0 = Some(tempfile::tempdir().unwrap());
        self.open()
    }

    async fn reopen(&mut self) -> Result<Wal, StorageError> {
        self.open()
    }
}

#[test]
fn a_log_on_disk_conforms() {
    let report = block_on(conform::storage(OnDisk(None), 1)).unwrap();
    assert_eq!(report.skipped, [conform::rule::TORN]);
}

/// Logs on simulated files, whose machine loses power between any two lives.
struct Simulated {
    files: SimFiles,
    rng: Rng,
}

impl Simulated {
    fn open(&self) -> Result<Wal, StorageError> {
        let config = WalConfig::builder().segment_bytes(16 << 10).build();
        Wal::open_on(Arc::new(self.files.clone()), config.unwrap()).map(|(wal, _)| wal)
    }
}

#[async_trait::async_trait]
impl ReopenStorage for Simulated {
    type Storage = Wal;

    async fn fresh(&mut self) -> Result<Wal, StorageError> {
        self.files = SimFiles::new(self.rng.next_u64());
        self.open()
    }

    async fn reopen(&mut self) -> Result<Wal, StorageError> {
        self.files = self.files.power_loss(&mut self.rng);
        self.open()
    }

    async fn crash(
        &mut self,
        storage: Wal,
        records: Batch<LogRecord>,
    ) -> Result<bool, StorageError> {
        let operation = self.files.operations() + self.rng.below(4);
        self.files.fault_at(operation, Fault::Crash);
        // May have come to its end before the crash.
        drop(storage.write(records).await);
        Ok(true)
    }
}

#[test]
fn a_log_that_loses_power_conforms() {
    for seed in 0..2 {
        let factory = Simulated {
            files: SimFiles::new(seed),
            rng: Rng::new(seed),
        };
        let report = block_on(conform::storage(factory, seed)).unwrap();
        assert_eq!(report.skipped, [""; 0]);
    }
}
