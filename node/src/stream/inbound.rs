//! What has arrived and waits for the driver: bounded per peer.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::mem;
use core::task::{Context, Poll, Waker};
use std::sync::Mutex;

use futures::task::AtomicWaker;
use synod_core::{Delivery, Envelope, Link, LinkId, NodeId, TransportError};

use super::lock::lock;

/// How often the link to one peer may change before the driver has taken note of any. Beyond that,
/// all that waits from this peer is dropped, which is loss between incarnations: a peer that comes
/// and goes must not fill the queue of a driver that is busy.
const CHANGES: usize = 8;

#[derive(Debug)]
pub(crate) struct Inbound<M> {
    max_bytes: usize,
    max_frames: usize,
    state: Mutex<State<M>>,
    driver: AtomicWaker,
}

#[derive(Debug)]
struct State<M> {
    queue: Vec<Delivery<M>>,
    peers: BTreeMap<NodeId, Pending>,
    /// Rises when the driver takes the queue: what is counted for an older round is gone.
    round: u64,
    /// Whether some peer has no link and can be forgotten once the queue is taken.
    sweep: bool,
    /// Whether some connection waits for room.
    waiting: bool,
    ended: Option<TransportError>,
}

/// What the queue holds of one peer.
#[derive(Debug)]
struct Pending {
    link: Option<LinkId>,
    round: u64,
    bytes: usize,
    frames: usize,
    changes: usize,
    /// The connection, if it waits for room.
    reader: Option<Waker>,
}

impl<M> Inbound<M> {
    pub(crate) fn new(max_bytes: usize, max_frames: usize) -> Self {
        Self {
            max_bytes,
            max_frames,
            state: Mutex::new(State {
                queue: Vec::new(),
                peers: BTreeMap::new(),
                round: 0,
                sweep: false,
                waiting: false,
                ended: None,
            }),
            driver: AtomicWaker::new(),
        }
    }

    /// Announces a new incarnation. From here on nothing of an older one gets in.
    pub(crate) fn up(&self, peer: NodeId, link: LinkId) {
        let mut state = lock(&self.state);
        state.change(peer, Link::Up(link)).link = Some(link);
        drop(state);
        self.driver.wake();
    }

    /// Announces that `link` is gone, unless a newer one has taken its place.
    pub(crate) fn down(&self, peer: NodeId, link: LinkId) {
        let mut state = lock(&self.state);
        if state.peers.get(&peer).is_some_and(|p| p.link == Some(link)) {
            state.change(peer, Link::Down).link = None;
            state.sweep = true;
            drop(state);
            self.driver.wake();
        }
    }

    /// Queues messages that arrived on `link`, which took `bytes` on the wire; whether that is still
    /// the current one. Leaves `messages` empty.
    pub(crate) fn push(
        &self,
        (own, peer, link): (NodeId, NodeId, LinkId),
        messages: &mut Vec<M>,
        bytes: usize,
    ) -> bool {
        let mut guard = lock(&self.state);
        let state = &mut *guard;
        let round = state.round;
        let Some(pending) = state.peers.get_mut(&peer).filter(|p| p.link == Some(link)) else {
            messages.clear();
            return false;
        };
        pending.refresh(round);
        pending.bytes += bytes;
        pending.frames += messages.len();
        state.queue.extend(messages.drain(..).map(|message| {
            Delivery::Message(Envelope {
                from: peer,
                to: own,
                link,
                message,
            })
        }));
        drop(guard);
        self.driver.wake();
        true
    }

    /// Waits until there is room for more from `peer`.
    pub(crate) fn poll_room(&self, peer: NodeId, cx: &Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        let round = state.round;
        let Some(pending) = state.peers.get_mut(&peer) else {
            return Poll::Ready(());
        };
        pending.refresh(round);
        if pending.bytes < self.max_bytes && pending.frames < self.max_frames {
            return Poll::Ready(());
        }
        pending.reader = Some(cx.waker().clone());
        state.waiting = true;
        Poll::Pending
    }

    /// Waits until something is there and moves all of it to the end of `into`.
    pub(crate) fn poll_take(
        &self,
        into: &mut Vec<Delivery<M>>,
        cx: &Context<'_>,
    ) -> Poll<Result<(), TransportError>> {
        let mut state = lock(&self.state);
        if state.queue.is_empty() {
            if let Some(ended) = &state.ended {
                return Poll::Ready(Err(ended.clone()));
            }
            self.driver.register(cx.waker());
            return Poll::Pending;
        }
        if into.is_empty() {
            mem::swap(&mut state.queue, into);
        } else {
            into.append(&mut state.queue);
        }
        state.next_round();
        Poll::Ready(Ok(()))
    }

    /// Nothing will arrive any more.
    pub(crate) fn end(&self, why: &str) {
        lock(&self.state)
            .ended
            .get_or_insert_with(|| TransportError(why.into()));
        self.driver.wake();
    }
}

impl<M> State<M> {
    fn change(&mut self, peer: NodeId, link: Link) -> &mut Pending {
        let round = self.round;
        let pending = self.peers.entry(peer).or_insert(Pending {
            link: None,
            round,
            bytes: 0,
            frames: 0,
            changes: 0,
            reader: None,
        });
        pending.refresh(round);
        if pending.changes == CHANGES {
            pending.clear();
            self.queue.retain(|delivery| match delivery {
                Delivery::Link(of, _) => *of != peer,
                Delivery::Message(envelope) => envelope.from != peer,
            });
        }
        pending.changes += 1;
        self.queue.push(Delivery::Link(peer, link));
        pending
    }

    fn next_round(&mut self) {
        self.round += 1;
        if mem::take(&mut self.waiting) {
            let readers = self.peers.values_mut().filter_map(|p| p.reader.take());
            readers.for_each(Waker::wake);
        }
        if mem::take(&mut self.sweep) {
            self.peers.retain(|_, pending| pending.link.is_some());
        }
    }
}

impl Pending {
    fn refresh(&mut self, round: u64) {
        if self.round != round {
            self.round = round;
            self.clear();
        }
    }

    const fn clear(&mut self) {
        self.bytes = 0;
        self.frames = 0;
        self.changes = 0;
    }
}

#[cfg(test)]
#[path = "inbound_tests.rs"]
mod tests;
