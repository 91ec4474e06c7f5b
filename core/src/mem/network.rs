//! A network in memory whose links go up and down when they are told to.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use super::{lock, wait};
use crate::{Delivery, Envelope, Link, LinkId, NodeId, Transport, TransportError};

/// A network in memory. A clone is the same network; [`join`](Self::join) gives a node its
/// [`MemTransport`]. All nodes that have joined are linked, but for the links that were
/// [`cut`](Self::cut).
///
/// ```
/// use synod_core::{Delivery, Envelope, Link, NodeId, Transport, mem::MemNetwork};
///
/// # futures::executor::block_on(async {
/// let network = MemNetwork::new(16);
/// let (one, two) = (network.join(NodeId(1)), network.join(NodeId(2)));
/// let mut arrived = Vec::new();
/// one.recv(&mut arrived).await?;
/// let Some(Delivery::Link(to, Link::Up(link))) = arrived.pop() else { panic!("no link") };
///
/// one.send(&mut vec![Envelope { from: NodeId(1), to, link, message: "hello" }]).await;
/// two.recv(&mut arrived).await?;
/// assert!(matches!(&arrived[..], [Delivery::Link(..), Delivery::Message(e)] if e.message == "hello"));
/// # Ok::<(), synod_core::TransportError>(())
/// # }).unwrap();
/// ```
pub struct MemNetwork<M>(Arc<Mutex<Net<M>>>);

struct Net<M> {
    nodes: BTreeMap<NodeId, Port<M>>,
    /// The current incarnation of every link that is up, by its ends in order.
    links: BTreeMap<(NodeId, NodeId), LinkId>,
    /// The links that are cut, by their ends in order.
    cut: BTreeSet<(NodeId, NodeId)>,
    /// One-way ways on which everything is lost although the link seems up.
    mute: BTreeSet<(NodeId, NodeId)>,
    capacity: usize,
    incarnations: u64,
    lives: u64,
    dropped: u64,
}

struct Port<M> {
    life: u64,
    arrived: VecDeque<Delivery<M>>,
    waiting: BTreeMap<NodeId, usize>,
    wakers: Vec<Waker>,
}

impl<M> Clone for MemNetwork<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for MemNetwork<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let net = lock(&self.0);
        f.debug_struct("MemNetwork")
            .field("nodes", &net.nodes.keys())
            .field("links", &net.links)
            .field("dropped", &net.dropped)
            .finish_non_exhaustive()
    }
}

impl<M> MemNetwork<M> {
    /// A network that keeps up to `capacity` messages on their way on each link and direction. One
    /// more, and the link gets a new incarnation; what was on its way on the old one is lost.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Net {
            nodes: BTreeMap::new(),
            links: BTreeMap::new(),
            cut: BTreeSet::new(),
            mute: BTreeSet::new(),
            capacity,
            incarnations: 0,
            lives: 0,
            dropped: 0,
        })))
    }

    /// Connects a node. If it was connected, this is its next life: the transport of the one before
    /// has ended, and every link gets a new incarnation.
    #[must_use]
    pub fn join(&self, node: NodeId) -> MemTransport<M> {
        let mut net = lock(&self.0);
        net.leave(node);
        net.lives += 1;
        let life = net.lives;
        let port = Port {
            life,
            arrived: VecDeque::new(),
            waiting: BTreeMap::new(),
            wakers: Vec::new(),
        };
        let peers: Vec<NodeId> = net.nodes.keys().copied().collect();
        net.nodes.insert(node, port);
        for peer in peers {
            net.connect(node, peer);
        }
        MemTransport {
            network: self.clone(),
            node,
            life,
        }
    }

    /// Disconnects a node: its transport has ended, its peers see their links go down.
    pub fn leave(&self, node: NodeId) {
        lock(&self.0).leave(node);
    }

    /// Takes the link between two nodes down, with everything on it.
    pub fn cut(&self, one: NodeId, other: NodeId) {
        let mut net = lock(&self.0);
        net.cut.insert(ends(one, other));
        net.disconnect(one, other);
    }

    /// Brings the link between two nodes up again, as a new incarnation. Does nothing while it is
    /// up.
    pub fn mend(&self, one: NodeId, other: NodeId) {
        let mut net = lock(&self.0);
        net.cut.remove(&ends(one, other));
        if !net.links.contains_key(&ends(one, other)) {
            net.connect(one, other);
        }
    }

    /// Gives the link between two nodes a new incarnation, as when a connection breaks and is made
    /// again before anyone looks.
    pub fn renew(&self, one: NodeId, other: NodeId) {
        lock(&self.0).connect(one, other);
    }

    /// While `lost`, everything sent from `from` to `to` is lost although the link stays up, as
    /// behind a broken router.
    pub fn mute(&self, from: NodeId, to: NodeId, lost: bool) {
        let mut net = lock(&self.0);
        if lost {
            net.mute.insert((from, to));
        } else {
            net.mute.remove(&(from, to));
        }
    }

    /// How many messages were dropped when they were sent: on an old link or none, beyond the
    /// capacity, or muted.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.0).dropped
    }
}

fn ends(one: NodeId, other: NodeId) -> (NodeId, NodeId) {
    (one.min(other), one.max(other))
}

impl<M> Net<M> {
    fn leave(&mut self, node: NodeId) {
        let peers: Vec<NodeId> = self.nodes.keys().copied().collect();
        for peer in peers {
            self.disconnect(node, peer);
        }
        if let Some(mut port) = self.nodes.remove(&node) {
            port.wake();
        }
    }

    /// A new incarnation, if both ends are there and the link is not cut.
    fn connect(&mut self, one: NodeId, other: NodeId) {
        let there = |node| self.nodes.contains_key(&node);
        if one == other || !there(one) || !there(other) || self.cut.contains(&ends(one, other)) {
            return;
        }
        self.incarnations += 1;
        let link = LinkId(self.incarnations);
        self.links.insert(ends(one, other), link);
        self.announce(one, other, Link::Up(link));
    }

    fn disconnect(&mut self, one: NodeId, other: NodeId) {
        if self.links.remove(&ends(one, other)).is_some() {
            self.announce(one, other, Link::Down);
        }
    }

    fn announce(&mut self, one: NodeId, other: NodeId, link: Link) {
        for (node, peer) in [(one, other), (other, one)] {
            if let Some(port) = self.nodes.get_mut(&node) {
                port.announce(peer, link);
            }
        }
    }

    fn send(&mut self, envelope: Envelope<M>) {
        let (from, to) = (envelope.from, envelope.to);
        let current = self.links.get(&ends(from, to)) == Some(&envelope.link);
        let muted = self.mute.contains(&(from, to));
        let capacity = self.capacity;
        match self.nodes.get_mut(&to) {
            Some(port) if current && !muted => {
                if port.has_room(from, capacity) {
                    port.push(envelope);
                } else {
                    self.dropped += 1;
                    self.connect(from, to);
                }
            }
            _ => self.dropped += 1,
        }
    }
}

impl<M> Port<M> {
    /// Nothing of an older incarnation is delivered behind the news of this one, so it is taken
    /// out; the queue stays bounded however often a link flaps.
    fn announce(&mut self, peer: NodeId, link: Link) {
        self.arrived.retain(|delivery| match delivery {
            Delivery::Link(node, _) => *node != peer,
            Delivery::Message(envelope) => envelope.from != peer,
        });
        self.waiting.remove(&peer);
        self.arrived.push_back(Delivery::Link(peer, link));
        self.wake();
    }

    fn has_room(&self, from: NodeId, capacity: usize) -> bool {
        self.waiting.get(&from).copied().unwrap_or(0) < capacity
    }

    fn push(&mut self, envelope: Envelope<M>) {
        *self.waiting.entry(envelope.from).or_insert(0) += 1;
        self.arrived.push_back(Delivery::Message(envelope));
        self.wake();
    }

    fn wake(&mut self) {
        self.wakers.drain(..).for_each(Waker::wake);
    }
}

/// One node's end of a [`MemNetwork`]. When it is dropped, the node has left.
pub struct MemTransport<M> {
    network: MemNetwork<M>,
    node: NodeId,
    life: u64,
}

impl<M> MemTransport<M> {
    /// The node it belongs to.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    fn poll_recv(
        &self,
        context: &Context<'_>,
        into: &mut Vec<Delivery<M>>,
    ) -> Poll<Result<(), TransportError>> {
        let mut net = lock(&self.network.0);
        let port = net.nodes.get_mut(&self.node);
        let Some(port) = port.filter(|port| port.life == self.life) else {
            let why = format!("{} has left the network", self.node);
            return Poll::Ready(Err(TransportError(why)));
        };
        if port.arrived.is_empty() {
            wait(&mut port.wakers, context);
            return Poll::Pending;
        }
        into.extend(port.arrived.drain(..));
        port.waiting.clear();
        Poll::Ready(Ok(()))
    }
}

impl<M> fmt::Debug for MemTransport<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemTransport")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl<M> Drop for MemTransport<M> {
    fn drop(&mut self) {
        let mut net = lock(&self.network.0);
        if net.nodes.get(&self.node).map(|port| port.life) == Some(self.life) {
            net.leave(self.node);
        }
    }
}

#[async_trait::async_trait]
impl<M: Send> Transport<M> for MemTransport<M> {
    async fn send(&self, batch: &mut Vec<Envelope<M>>) {
        let mut net = lock(&self.network.0);
        let alive = net.nodes.get(&self.node).map(|port| port.life) == Some(self.life);
        for envelope in batch.drain(..) {
            if alive && envelope.from == self.node {
                net.send(envelope);
            } else {
                net.dropped += 1;
            }
        }
    }

    async fn recv(&self, into: &mut Vec<Delivery<M>>) -> Result<(), TransportError> {
        poll_fn(|context| self.poll_recv(context, into)).await
    }
}
