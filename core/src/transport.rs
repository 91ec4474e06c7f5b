//! How a driver reaches its peers.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::{Envelope, Link, NodeId};

/// A network, as a driver sees it.
///
/// Within one link incarnation messages arrive in order, at most once and without a gap before the
/// last that arrives, and nothing of an old incarnation arrives after [`Delivery::Link`] has
/// announced the new one; between incarnations anything may be lost. So what does not fit into a
/// peer's queue ends the incarnation. The id of a link is local to its end: a receiving transport
/// stamps envelopes with its own. The conformance suite of this crate checks an implementation.
#[async_trait::async_trait]
pub trait Transport<M: Send>: Send + Sync {
    /// Takes every envelope out of `batch` and sends it on the link that it names; what is not for
    /// the current incarnation is dropped. Never waits for a peer: if its queue is full, the link
    /// goes down and comes up anew.
    async fn send(&self, batch: &mut Vec<Envelope<M>>);

    /// Waits until something has arrived and appends all that has to `into`. May be dropped while
    /// it waits, and loses nothing by it.
    ///
    /// # Errors
    ///
    /// [`TransportError`]: no message will ever arrive again; the driver ends.
    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError>;
}

#[async_trait::async_trait]
impl<M: Send + 'static, T: Transport<M> + ?Sized> Transport<M> for Box<T> {
    async fn send(&self, batch: &mut Vec<Envelope<M>>) {
        (**self).send(batch).await;
    }

    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError> {
        (**self).recv(into).await
    }
}

#[async_trait::async_trait]
impl<M: Send + 'static, T: Transport<M> + ?Sized> Transport<M> for Arc<T> {
    async fn send(&self, batch: &mut Vec<Envelope<M>>) {
        (**self).send(batch).await;
    }

    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError> {
        (**self).recv(into).await
    }
}

/// What arrives from a transport.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery<M> {
    /// The link to a peer has a new incarnation or is gone.
    Link(NodeId, Link),
    /// A message of the link's current incarnation.
    Message(Envelope<M>),
}

/// Why a transport has ended.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the transport has ended: {0}")]
pub struct TransportError(pub String);
