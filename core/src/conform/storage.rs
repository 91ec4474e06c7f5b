//! The suite for storages.

use alloc::boxed::Box;

use super::storage_rig::Rig;
use super::{Report, Violation, rule, storage_rules as rules};
use crate::{Batch, LogRecord, LogStorage, StorageError};

/// Makes the storages that the suite tests.
#[async_trait::async_trait]
pub trait ReopenStorage: Send {
    /// The storage under test.
    type Storage: LogStorage;

    /// An empty storage. The suite has dropped the one before.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that; the suite ends.
    async fn fresh(&mut self) -> Result<Self::Storage, StorageError>;

    /// Opens again what [`fresh`](Self::fresh) has made, as after a crash of the process: the
    /// storage that was open has been dropped.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that; the suite ends.
    async fn reopen(&mut self) -> Result<Self::Storage, StorageError>;

    /// Begins to write `records` and crashes in the midst of it, somewhere else each time. `false`
    /// if this factory cannot do that: the rule is then skipped.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from that; the suite ends.
    async fn crash(
        &mut self,
        storage: Self::Storage,
        records: Batch<LogRecord>,
    ) -> Result<bool, StorageError> {
        let _ = (storage, records);
        Ok(false)
    }
}

/// Checks a storage against every rule, with random workloads drawn from `seed`.
///
/// It makes about 30 storages and 2,000 writes, of 20 MB together. It waits for nothing but the
/// storage, so any executor will do.
///
/// # Errors
///
/// The first rule that does not hold.
pub async fn storage<F: ReopenStorage>(factory: F, seed: u64) -> Result<Report, Violation> {
    let mut rig = Rig::new(factory);
    rules::empty(&mut rig).await?;
    rules::durable(&mut rig).await?;
    rules::order(&mut rig).await?;
    rules::truncate(&mut rig).await?;
    rules::replace(&mut rig).await?;
    rules::slots(&mut rig).await?;
    rules::compact(&mut rig).await?;
    rules::load(&mut rig).await?;
    rules::beside(&mut rig).await?;
    rules::stage(&mut rig).await?;
    rules::activate(&mut rig).await?;
    rules::configs(&mut rig).await?;
    rules::tail(&mut rig).await?;
    rules::large(&mut rig).await?;
    rules::many(&mut rig).await?;
    rules::random(&mut rig, seed).await?;
    let torn = rules::torn(&mut rig, seed).await?;
    let mut report = Report {
        checked: STORAGE_RULES.to_vec(),
        skipped: alloc::vec::Vec::new(),
    };
    if torn {
        report.checked.push(rule::TORN);
    } else {
        report.skipped.push(rule::TORN);
    }
    Ok(report)
}

const STORAGE_RULES: [&str; 16] = [
    rule::EMPTY,
    rule::DURABLE,
    rule::ORDER,
    rule::TRUNCATE,
    rule::REPLACE,
    rule::SLOTS,
    rule::COMPACT,
    rule::LOAD,
    rule::BESIDE,
    rule::STAGE,
    rule::ACTIVATE,
    rule::CONFIGS,
    rule::TAIL,
    rule::LARGE,
    rule::MANY,
    rule::RANDOM,
];
