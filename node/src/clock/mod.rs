//! The time of a runtime, for the driver and the transport.

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "async-io")]
pub use async_io::AsyncIoClock;
#[cfg(feature = "tokio")]
pub use tokio::TokioClock;
