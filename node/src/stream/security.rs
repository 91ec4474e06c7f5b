//! What is known of the other end of a stream before it says a word of our protocol.

use alloc::boxed::Box;
use core::fmt;
use std::io;

use async_trait::async_trait;
use synod_core::NodeId;

use super::BoxStream;

/// Turns a raw stream into one whose other end is known: TLS, or nothing at all.
///
/// Runs under the handshake's time limit and counts against the limit of strangers.
#[async_trait]
pub trait Security: Send + Sync {
    /// Secures a stream that we have opened to `peer`.
    ///
    /// # Errors
    ///
    /// The other end is not acceptable, or the stream broke. The stream is closed.
    async fn connect(&self, peer: NodeId, stream: BoxStream) -> io::Result<Secured>;

    /// Secures a stream that a peer has opened.
    ///
    /// # Errors
    ///
    /// As for [`connect`](Self::connect).
    async fn accept(&self, stream: BoxStream) -> io::Result<Secured>;
}

/// A stream after its security handshake.
pub struct Secured {
    /// The stream to use from now on.
    pub stream: BoxStream,
    /// What the other end has proved.
    pub identity: Box<dyn Identity>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secured").finish_non_exhaustive()
    }
}

/// Which node ids the other end may use.
pub trait Identity: Send + Sync {
    /// Whether the other end has proved that it may speak as `node`.
    fn certifies(&self, node: NodeId) -> bool;
}

/// No security: whoever can reach the port may claim any node id, read everything and change
/// everything.
///
/// For loopback, tests, and networks whose every host is trusted. Across machines, use mutual TLS
/// (feature `tls`).
#[derive(Clone, Copy, Debug, Default)]
pub struct InsecurePlaintext;

#[async_trait]
impl Security for InsecurePlaintext {
    async fn connect(&self, _: NodeId, stream: BoxStream) -> io::Result<Secured> {
        self.accept(stream).await
    }

    async fn accept(&self, stream: BoxStream) -> io::Result<Secured> {
        Ok(Secured {
            stream,
            identity: Box::new(Self),
        })
    }
}

impl Identity for InsecurePlaintext {
    fn certifies(&self, _: NodeId) -> bool {
        true
    }
}
