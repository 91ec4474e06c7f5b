//! Where byte streams come from.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;
use std::io;

use async_trait::async_trait;
use futures::io::{AsyncRead, AsyncWrite};
use synod_core::NodeId;

/// Bytes in both directions, in order: a TCP connection, TLS over one, a pipe in memory.
pub trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + ?Sized> ByteStream for T {}

/// Any byte stream.
pub type BoxStream = Box<dyn ByteStream>;

/// Dials peers and is dialled by them. The TCP networks of this crate are `TokioTcp` and
/// `AsyncIoTcp`; for another medium, implement this.
///
/// A network proves nothing about who is at the other end: see [`Security`](crate::stream::Security).
#[async_trait]
pub trait Network: Send + Sync {
    /// Opens a stream to the peer at `address`, whose form is the network's own (`host:port` for
    /// TCP). Called anew for each attempt, so that a name is resolved each time. May be dropped
    /// while it waits.
    ///
    /// # Errors
    ///
    /// Whatever the medium says; the transport tries again after its backoff.
    async fn connect(&self, peer: NodeId, address: &str) -> io::Result<BoxStream>;

    /// Waits for the next stream that a peer opens. It should take no longer than that: what needs
    /// the stranger's cooperation, as a TLS handshake does, belongs into
    /// [`Security`](crate::stream::Security), where one stranger cannot hold up the next.
    ///
    /// # Errors
    ///
    /// Whatever the medium says; the transport reports it and calls again a little later.
    async fn accept(&self) -> io::Result<Incoming>;
}

#[async_trait]
impl<T: Network + ?Sized> Network for Box<T> {
    async fn connect(&self, peer: NodeId, address: &str) -> io::Result<BoxStream> {
        (**self).connect(peer, address).await
    }

    async fn accept(&self) -> io::Result<Incoming> {
        (**self).accept().await
    }
}

#[async_trait]
impl<T: Network + ?Sized> Network for Arc<T> {
    async fn connect(&self, peer: NodeId, address: &str) -> io::Result<BoxStream> {
        (**self).connect(peer, address).await
    }

    async fn accept(&self) -> io::Result<Incoming> {
        (**self).accept().await
    }
}

/// A stream that a peer has opened.
pub struct Incoming {
    /// The stream.
    pub stream: BoxStream,
    /// Where it comes from, for events.
    pub remote: String,
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming")
            .field("remote", &self.remote)
            .finish_non_exhaustive()
    }
}
