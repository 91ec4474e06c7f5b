//! Conformance suites: does a [`Storage`](crate::Storage) or a [`Transport`](crate::Transport) of
//! your own keep what the contract promises to machines?
//!
//! Implement [`ReopenStorage`] or [`Network`] for a factory of yours, and run [`storage`] or
//! [`transport`] under any executor, in a test. A violation names the rule and what showed it.
//!
//! ```
//! use synod_core::mem::MemStorage;
//! use synod_core::{StorageError, conform};
//!
//! struct Memory(MemStorage);
//!
//! #[async_trait::async_trait]
//! impl conform::ReopenStorage for Memory {
//!     type Storage = MemStorage;
//!
//!     async fn fresh(&mut self) -> Result<MemStorage, StorageError> {
//!         self.0 = MemStorage::new();
//!         Ok(self.0.clone())
//!     }
//!
//!     async fn reopen(&mut self) -> Result<MemStorage, StorageError> {
//!         self.0 = self.0.restart();
//!         Ok(self.0.clone())
//!     }
//! }
//!
//! let report = futures::executor::block_on(conform::storage(Memory(MemStorage::new()), 7))?;
//! assert_eq!(report.skipped, [conform::rule::TORN]);
//! # Ok::<(), conform::Violation>(())
//! ```

mod net_rig;
mod race;
mod storage;
mod storage_rig;
mod storage_rules;
mod transport;
mod workload;

use alloc::string::String;
use alloc::vec::Vec;

pub use storage::{ReopenStorage, storage};
pub use transport::{Network, transport};
pub use workload::Workload;

/// What a suite has checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Report {
    /// The rules that hold, in the order of their checks.
    pub checked: Vec<&'static str>,
    /// The rules that the factory gives no means to check.
    pub skipped: Vec<&'static str>,
}

/// A rule of the contract that does not hold.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("rule broken: {rule}: {what}")]
pub struct Violation {
    /// The rule, one of [`rule`](mod@rule).
    pub rule: &'static str,
    /// What showed it.
    pub what: String,
}

/// The rules that the suites check.
pub mod rule {
    /// An empty storage restores to nothing.
    pub const EMPTY: &str = "an empty storage restores to nothing";
    /// A write that has returned is there after the storage is opened again.
    pub const DURABLE: &str = "a write that has returned survives";
    /// The records of a write take effect in their order.
    pub const ORDER: &str = "records take effect in their order";
    /// A truncation drops every entry from there on, and nothing else.
    pub const TRUNCATE: &str = "a truncation drops what lies behind, and nothing else";
    /// A put replaces entries slot by slot and leaves those behind alone.
    pub const REPLACE: &str = "a put replaces slot by slot";
    /// Entries may be put in any order, and those behind a gap read back.
    pub const SLOTS: &str = "entries may be put in any order, with gaps";
    /// A compaction keeps the index and mark of the last entry that went.
    pub const COMPACT: &str = "a compaction keeps its last index and mark";
    /// A load of entries has no gap, the mark before it, at least one entry, and keeps its limit.
    pub const LOAD: &str = "a load has no gap, the mark before it and keeps its limit";
    /// A load answers while a write is under way.
    pub const BESIDE: &str = "a load may run beside a write";
    /// A staged snapshot counts for nothing before it is activated, and does not disturb one in the
    /// other lane. One that was being received survives and resumes.
    pub const STAGE: &str = "a staged snapshot resumes where it stopped";
    /// An activated snapshot is the current one and reads back in pieces, unless one that reaches
    /// as far was before it; if it replaces the log, the log is gone with the same record.
    pub const ACTIVATE: &str = "an activated snapshot is current and reads back";
    /// Configuration entries are found at a start.
    pub const CONFIGS: &str = "a start finds the configuration entries";
    /// The tail of a start is the end of the log.
    pub const TAIL: &str = "the tail of a start is the end of the log";
    /// Records of some megabytes are stored whole.
    pub const LARGE: &str = "large records are stored whole";
    /// Many small writes are all there.
    pub const MANY: &str = "many writes are all there";
    /// A write torn by a crash leaves a prefix of its records.
    pub const TORN: &str = "a torn write leaves a prefix of its records";
    /// Any workload leaves what the reference holds.
    pub const RANDOM: &str = "a random workload leaves what it should";

    /// A link between two running nodes comes up, with a new id each time.
    pub const UP: &str = "a link comes up, as a new incarnation each time";
    /// The link to a peer that is gone goes down.
    pub const DOWN: &str = "the link to a peer that is gone goes down";
    /// A connection that breaks while both ends run is made again, as a new incarnation.
    pub const BROKEN: &str = "a broken link comes up again, as a new incarnation";
    /// Messages on one link arrive in order.
    pub const IN_ORDER: &str = "messages arrive in order";
    /// No message arrives twice.
    pub const ONCE: &str = "messages arrive at most once";
    /// A few messages on a quiet link all arrive, unharmed.
    pub const WHOLE: &str = "messages arrive whole";
    /// What fits into the queue of a link is not lost.
    pub const ARRIVES: &str = "what fits arrives";
    /// A delivered envelope names its sender, its receiver and the current link.
    pub const NAMED: &str = "an envelope names sender, receiver and the current link";
    /// Of what was sent on one link, nothing is missing before the last that arrives. What does not
    /// fit ends the incarnation.
    pub const NO_GAPS: &str = "nothing is missing before what arrives on one link";
    /// What names another link than the current one is dropped.
    pub const OLD_LINK: &str = "nothing of an old incarnation arrives";
    /// A send takes every envelope and waits for no peer.
    pub const NEVER_WAITS: &str = "a send waits for no peer and leaves no envelope behind";
    /// A receive that is dropped while it waits loses nothing.
    pub const CANCEL: &str = "a dropped receive loses nothing";
}

fn violation(rule: &'static str, what: impl Into<String>) -> Violation {
    Violation {
        rule,
        what: what.into(),
    }
}
