//! A write-ahead log on plain files.
//!
//! [`Wal`] keeps what a replicated log must not lose: it implements
//! [`LogStorage`](synod_core::LogStorage). Records go to segments, each with a checksum and a
//! number; a batch costs one write and one sync, on a thread of its own. What a crash tears is cut
//! and reported, what a disk damages stops the start with file, offset and advice.
//!
//! ```
//! use synod_core::{Entries, Entry, LogIndex, LogRecord, Stamp, Storage};
//! use synod_node::wal::{Wal, WalConfig};
//!
//! # futures::executor::block_on(async {
//! # let directory = tempfile::tempdir()?;
//! # let path = directory.path();
//! let (wal, report) = Wal::open(path, WalConfig::default())?;
//! assert!(report.created && report.repaired.is_none());
//!
//! let entries = Entries::new(LogIndex(1), Stamp::of(1), [Entry::command("hello".into())]);
//! let batch = [LogRecord::State("term 1".into()), LogRecord::Put(entries)];
//! wal.write(batch.into_iter().collect()).await?; // durable now
//! drop(wal);
//!
//! let (wal, _) = Wal::open(path, WalConfig::default())?;
//! assert_eq!(wal.restore().await?.last(), LogIndex(1));
//! # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
//! ```
//!
//! # What it promises
//!
//! - A write that returned is there after any crash. One that did not may be there as a prefix of
//!   its records.
//! - A failed write, sync or read is final: nothing is tried again, every later call answers
//!   [`StorageError::Failed`](synod_core::StorageError::Failed). The next start reads what is on
//!   the disk, and writes once more what it cannot prove durable.
//! - No bad byte is taken for a good one: every record, header and piece of a snapshot carries a
//!   checksum, and record numbers have no gaps.
//! - One process at a time: a second one is refused
//!   ([`StorageError::InUse`](synod_core::StorageError::InUse)).
//! - A start reads the log piece by piece; it holds the index, the configurations and at most
//!   [`WalConfig::tail_bytes`] of entries.
//!
//! What it holds in memory is bounded: see the table at [`WalConfigBuilder`].
//!
//! # The directory
//!
//! | file | holds |
//! |---|---|
//! | `log-….wal` | a segment: header with a checkpoint, records, zeros up to the room filled ahead |
//! | `log-new.tmp` | a segment that is not yet whole |
//! | `snapshot-….dat` | a snapshot, staged or current: the log says which |
//! | `durable` | the number of the last record that is known durable |
//! | `lock` | held by the process that uses the directory |
//!
//! The lock is one of the system (`flock` on Unix), not the file: it goes with its process, and a
//! file that is left over means nothing. A network file system may not pass it on to other
//! machines: keep a log on a disk of its own machine. Outside of Unix a directory cannot be synced,
//! and how durable names are is the file system's to say.
//!
//! Each segment begins with a checkpoint: the protocol's state, the compaction mark, the current
//! and the staged snapshot, and the places of the live entries in older segments. So the oldest
//! segments can go, one by one and at any moment, once no entry in them is live: whatever removals
//! a crash undoes, a start reads the newest segments that follow each other and knows from the
//! first checkpoint whether any entry is missing. A segment gets its name when its header is
//! durable, and the next one begins only when it is durable itself; each life of the process begins
//! a segment of its own.
//!
//! # Torn or damaged
//!
//! A crash may leave any mixture of old and new sectors of the last batch, so bad bytes at the end
//! of the newest segment need not be damage, even with whole records behind them; and bad bytes in
//! what was acknowledged are damage, even at the very end. The rule:
//!
//! - Anywhere but in the newest segment, a bad or missing record is damage.
//! - In the newest one the first bad record is damage if it is *proven* that it had been durable:
//!   by the file `durable`, which is written (not synced) after each sync, or by a whole record
//!   further on that was written when it was durable already. Each record says what was durable
//!   when it was written, and carries a secret of its segment, so that no payload can pose as one.
//! - Otherwise nobody was told about it: it is cut, with all that follows, and reported as
//!   [`OpenReport::repaired`].
//! - A whole record out of its order is damage; so is a bad header, or a missing file.
//!
//! So a copy of the directory that was made while somebody wrote to it may be refused: its parts
//! are of different ages. Copy it when nobody uses it, or all at once, as a file system's snapshot.
//!
//! What remains open: if the power fails *and* the disk damages a record of the very last
//! batches, `durable` may be too old to prove it. Then the record is cut as if torn.
//!
//! # Simulation and faults
//!
//! [`Engine`] is the log without threads, and everything goes through [`Files`] and [`File`]:
//! a simulator runs the real code over files of its own and crashes it at any operation.

mod catalog;
mod config;
mod dir;
mod disk;
mod engine;
mod file;
mod format;
mod handle;
mod live;
mod load;
mod plant;
mod recover;
mod replay;
mod report;
mod rules;
mod scan;
mod segment;
#[cfg(feature = "test-files")]
pub mod sim_files;
mod snapshot;
mod turns;
mod verdict;
mod watermark;

pub use config::{WalConfig, WalConfigBuilder, WalConfigError};
pub use dir::WalStats;
pub use disk::Disk;
pub use engine::Engine;
pub use file::{File, Files, Held};
pub use handle::Wal;
pub use load::Reader;
#[cfg(feature = "test-files")]
pub use plant::Plant;
#[cfg(not(feature = "test-files"))]
use plant::Plant;
pub use report::{OpenReport, Repair};
