//! What a node is in every role: its storage, its links, and what waits for a write.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::convert::Infallible;

use synod_core::{Envelope, Generation, Ghost, Instant, LinkId, NodeId, Outbox};

use super::acceptor::Answer;
use super::record::Saved;
use super::{Body, Config, Event, Message, Record, Value};

/// What an acceptor says to the other roles of its node, once it is durable.
pub(crate) type Note = Answer;

/// The parts of a node that do not depend on its roles.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    pub(crate) generation: Generation,
    /// The lives of its peers' storages, from when it first heard of them; ascending by node.
    pub(crate) known: Vec<(NodeId, Generation)>,
    /// This storage has taken the place of another one.
    pub(crate) fenced: Option<Generation>,
    pub(crate) chosen: Option<Value>,
    pub(crate) links: Vec<(NodeId, LinkId)>,
    pub(crate) outbox: Outbox<Message, Record, Event, Infallible, Note>,
    /// What the proposer asks the acceptor of its own node: empty between inputs.
    pub(crate) requests: VecDeque<Body>,
    /// Peers whose storage is not the one that it was, and the life that was seen.
    strangers: Vec<(NodeId, Generation)>,
    pub(crate) dropped: Ghost<u64>,
}

impl Node {
    pub(crate) fn new(config: Config, saved: &Saved, now: Instant) -> Self {
        Self {
            now,
            generation: saved.generation,
            known: saved.known.clone(),
            fenced: saved.fenced,
            chosen: saved.chosen.clone(),
            links: Vec::new(),
            outbox: Outbox::new(1),
            requests: VecDeque::new(),
            strangers: Vec::new(),
            dropped: Ghost(0),
            config,
        }
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn see(&mut self, now: Instant) {
        self.now = self.now.max(now);
    }

    pub(crate) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        let link = self.links.iter().find(|(node, _)| *node == peer);
        link.map(|(_, link)| *link)
    }

    /// Whether a message would leave for this node, or need not leave.
    pub(crate) fn reaches(&self, node: NodeId) -> bool {
        node == self.id() || self.link_to(node).is_some()
    }

    fn envelope(&self, to: NodeId, body: Body) -> Option<Envelope<Message>> {
        let link = self.link_to(to)?;
        let message = Message {
            generation: self.generation,
            body,
        };
        Some(Envelope {
            from: self.id(),
            to,
            link,
            message,
        })
    }

    /// Sends once everything written so far is durable: the default. To an unlinked peer nothing is
    /// sent: its link will come up, or a timer asks again.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        if let Some(envelope) = self.envelope(to, body) {
            self.outbox.send_after(envelope);
        }
    }

    /// Asks an acceptor, the one of this node among them.
    pub(crate) fn request(&mut self, acceptor: NodeId, body: Body) {
        if acceptor == self.id() {
            self.requests.push_back(body);
        } else {
            self.send(acceptor, body);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outbox.event_now(event);
    }

    /// A message that makes no sense, or no more.
    pub(crate) fn drop_message(&mut self) {
        self.dropped.0 += 1;
    }

    /// Whether `generation` is the one that `from` has always had; learns it on first contact. One
    /// that has another is told so if that is to be `answered`.
    pub(crate) fn recognise(&mut self, from: NodeId, seen: Generation, answered: bool) -> bool {
        match self.known.binary_search_by_key(&from, |(node, _)| *node) {
            Ok(place) => {
                let known = self.known[place].1;
                if known != seen {
                    self.meet_stranger(from, known, seen);
                    if answered {
                        self.send(from, Body::Stranger { known });
                    }
                }
                known == seen
            }
            Err(place) => {
                self.known.insert(place, (from, seen));
                // What is said to it from now on waits for this write: who has told it anything will
                // not take another storage for it after a restart.
                self.outbox.write(Record::Known {
                    node: from,
                    generation: seen,
                });
                true
            }
        }
    }

    fn meet_stranger(&mut self, peer: NodeId, known: Generation, seen: Generation) {
        if !self.strangers.contains(&(peer, seen)) {
            self.strangers.retain(|(node, _)| *node != peer);
            self.strangers.push((peer, seen));
            self.tell(Event::Amnesia { peer, known, seen });
        }
    }
}
