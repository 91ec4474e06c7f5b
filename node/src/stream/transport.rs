//! The transport's handle.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use async_trait::async_trait;
use futures::future::BoxFuture;
use synod_core::{
    Clock, Decode, Delivery, Encode, Envelope, LinkId, NodeId, Transport, TransportError,
};

use super::lock::lock;
use super::outbound::Pushed;
use super::shared::Shared;
use super::supervisor::{EndGuard, supervise};
use super::{LinkEnd, Network, Refusal, Security, StreamConfig, StreamStats};

/// A transport over byte streams.
///
/// Cloning is cheap: give one clone to the driver and keep another to change the address book. When
/// the last clone is gone, the transport closes as by [`close`](Self::close). At most one clone may
/// wait in [`recv`](Transport::recv) at a time.
pub struct StreamTransport<M> {
    handle: Arc<Handle<M>>,
}

struct Handle<M> {
    shared: Arc<Shared<M>>,
}

/// Drives all connections of a [`StreamTransport`]: without it nothing is dialled, accepted, read or
/// written. Spawn it, or poll it beside the driver; it ends when the transport is closed.
///
/// It is a future of its own, not a part of [`recv`](Transport::recv), so that connections go on
/// while the driver is busy with its machine.
#[must_use = "nothing is sent or received unless this future is polled"]
pub struct Connections(BoxFuture<'static, ()>);

impl<M: Encode + Decode + Send + 'static> StreamTransport<M> {
    /// A transport, and the future that drives its connections.
    pub fn new(
        config: StreamConfig,
        clock: Arc<dyn Clock>,
        network: impl Network + 'static,
        security: impl Security + 'static,
    ) -> (Self, Connections) {
        let (network, security) = (Arc::new(network), Arc::new(security));
        let shared = Arc::new(Shared::new(config, clock, network, security));
        let end = EndGuard(Arc::clone(&shared));
        let connections = Connections(Box::pin(supervise(Arc::clone(&shared), end)));
        let handle = Arc::new(Handle { shared });
        (Self { handle }, connections)
    }
}

impl<M> StreamTransport<M> {
    /// Enters a peer into the address book, or changes its address. A link that is up stays; the
    /// new address counts from the next attempt on, which is made at once if there is no link.
    ///
    /// # Errors
    ///
    /// [`Refusal::Full`] if there is no room for another peer, [`Refusal::OwnId`] for this node
    /// itself; nothing has changed then.
    pub fn set_peer(&self, peer: NodeId, address: impl Into<String>) -> Result<(), Refusal> {
        let shared = &self.handle.shared;
        if peer == shared.config.node {
            return Err(Refusal::OwnId(peer));
        }
        lock(&shared.table).set(peer, address.into())?;
        shared.supervisor.wake();
        Ok(())
    }

    /// Takes a peer out of the address book and ends its link. Unless unknown peers are accepted, it
    /// is refused from now on.
    pub fn remove_peer(&self, peer: NodeId) {
        let link = lock(&self.handle.shared.table).remove(peer);
        if let Some(link) = link {
            link.out.end(LinkEnd::Reset);
        }
    }

    /// Ends every link; those to peers in the address book are made anew. For when new certificates
    /// shall count for old connections too.
    pub fn reset_links(&self) {
        let table = lock(&self.handle.shared.table);
        table.links().for_each(|link| link.out.end(LinkEnd::Reset));
    }

    /// The links that are up, by peer.
    #[must_use]
    pub fn links(&self) -> Vec<(NodeId, LinkId)> {
        let table = lock(&self.handle.shared.table);
        table.links().map(|link| (link.peer, link.id)).collect()
    }

    /// What was counted so far.
    #[must_use]
    pub fn stats(&self) -> StreamStats {
        self.handle.shared.stats.snapshot()
    }

    /// Takes no further messages, delivers what was sent before for a short time
    /// ([`linger`](super::StreamConfigBuilder::linger)), then ends all links; [`Connections`] and
    /// [`recv`](Transport::recv) end after that.
    pub fn close(&self) {
        self.handle.shared.close();
    }
}

#[async_trait]
impl<M: Encode + Decode + Send + 'static> Transport<M> for StreamTransport<M> {
    async fn send(&self, batch: &mut Vec<Envelope<M>>) {
        let shared = &self.handle.shared;
        let mut woken: Vec<Arc<super::table::LinkState>> = Vec::new();
        let table = lock(&shared.table);
        for envelope in batch.drain(..) {
            let link = table.link(envelope.to).filter(|l| l.id == envelope.link);
            match link.map(|link| (link, link.out.push(&envelope.message))) {
                Some((link, Pushed::Queued { wake: true })) => woken.push(Arc::clone(link)),
                Some((_, Pushed::Queued { wake: false })) => {}
                Some((_, Pushed::Ended { dropped })) => shared.stats.overflowed.add(dropped),
                Some((_, Pushed::Stale)) | None => shared.stats.stale.add(1),
            }
        }
        drop(table);
        // Only now, so that one write takes the whole batch.
        woken.iter().for_each(|link| link.out.wake());
    }

    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError> {
        poll_fn(|cx| self.handle.shared.inbound.poll_take(into, cx)).await
    }
}

impl<M> Clone for StreamTransport<M> {
    fn clone(&self) -> Self {
        Self {
            handle: Arc::clone(&self.handle),
        }
    }
}

impl<M> fmt::Debug for StreamTransport<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamTransport")
            .field("config", &self.handle.shared.config)
            .field("links", &self.links())
            .finish_non_exhaustive()
    }
}

impl<M> Drop for Handle<M> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Future for Connections {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connections")
    }
}
