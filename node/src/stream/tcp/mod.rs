//! TCP on the runtimes that have it. Addresses are `host:port`; a name is resolved for each attempt.

#[cfg(feature = "async-io")]
mod async_io;
#[cfg(feature = "tokio")]
mod tokio;

#[cfg(feature = "async-io")]
pub use async_io::AsyncIoTcp;
#[cfg(feature = "tokio")]
pub use tokio::TokioTcp;
