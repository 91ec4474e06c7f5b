#![doc = include_str!("../README.md")]

extern crate alloc;

mod apply;
pub mod client;
pub mod clock;
pub mod driver;
pub mod handle;
mod log;
pub mod stream;
mod sync;
#[cfg(feature = "tls")]
pub mod tls;
#[cfg(feature = "tracing")]
mod trace;
pub mod wal;

pub use apply::ApplyOn;
pub use driver::{Driver, Limits, NodeError, Parts, Remote};
pub use handle::{
    Answered, Applied, CommittedError, Events, Handle, Metrics, NodeEvent, Observed, ProposeError,
    ReadError, SnapshotError, Stopped, TransferError, WaitError,
};
pub use log::{Config, ConfigBuilder, ConfigError, Node};
