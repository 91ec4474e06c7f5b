//! The machine: the roles of one node, and what passes between them.

use core::convert::Infallible;

use synod_core::{
    Envelope, Generation, Instant, Link, LoadId, Machine, NodeId, Output, Ticket, Wake, WriteId,
    mix,
};

use super::acceptor::Acceptor;
use super::learner::Learner;
use super::node::Node;
use super::proposer::{self, Proposer};
use super::record::Saved;
use super::{Body, Config, Event, Message, Record, Rejected, RestoreError, Value, Vote};
use crate::Ballot;

mod route;

/// What the application asks of a [`Decree`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// See [`Decree::propose`].
    Propose(Value),
    /// See [`Decree::learn`].
    Learn,
}

/// One node's part in one decree: any of the roles of proposer, acceptor and learner, as the
/// [`Config`] says.
///
/// Made by [`Decree::new`] from what its storage holds. A clone is an independent copy of the whole
/// state; two nodes that would behave alike are equal, which a model checker relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Decree {
    node: Node,
    proposer: Option<Proposer>,
    acceptor: Option<Acceptor>,
    /// A proposer has one, too: it learns what became of its ballots.
    learner: Option<Learner>,
}

impl Decree {
    /// A node that goes on from the records in its storage, in the order in which they were written.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if what is stored cannot be this node's. Nothing has been changed.
    pub fn new(
        config: Config,
        records: impl IntoIterator<Item = Record>,
        now: Instant,
    ) -> Result<Self, RestoreError> {
        let id = config.id;
        let stored = Saved::read(id, records)?;
        let fresh = stored.is_none();
        // As random as the seed: the same node with a new disk must not look like the old one.
        let generation = Generation(mix(mix(config.seed, 0x6469_736b), id.0));
        let saved = stored.unwrap_or_else(|| Saved::fresh(generation));
        let voted = saved.vote.as_ref().map(|vote| vote.ballot);
        let highest = saved.ballot.max(saved.promised);
        if voted > Some(saved.promised) || highest.round > Ballot::LAST_ROUND {
            return Err(RestoreError::Torn);
        }
        let learns = config.proposers.contains(&id) || config.learners.contains(&id);
        let mut decree = Self {
            proposer: config
                .proposers
                .contains(&id)
                .then(|| Proposer::new(&config, &saved, now)),
            acceptor: config.position(id).map(|_| Acceptor::new(&saved)),
            learner: learns.then(Learner::default),
            node: Node::new(config, &saved, now),
        };
        if fresh {
            // Before anything is said: every message names this storage, and a node that has told its
            // name and forgets it comes back as a stranger.
            let node = id;
            decree
                .node
                .outbox
                .write(Record::Storage { node, generation });
        }
        decree.resume();
        Ok(decree)
    }

    /// What a restart finds done, or still to do.
    fn resume(&mut self) {
        let is_over = self.node.chosen.is_some() || self.node.fenced.is_some();
        if is_over && let Some(proposer) = &mut self.proposer {
            proposer.stop();
        }
        if let Some(value) = self.node.chosen.clone() {
            return self.node.tell(Event::Chosen(value));
        }
        let vote = self.acceptor.as_ref().and_then(Acceptor::vote);
        if let (Some(learner), Some(_)) = (&mut self.learner, vote) {
            // It has voted and does not know what for: what was on its way is lost.
            learner.expect(&self.node);
        }
    }

    /// Asks that this value be chosen. The ticket is settled by [`Event::Won`] or [`Event::Lost`], at
    /// most once and only in this life of the node: after a restart, propose it again, under the same
    /// identity.
    ///
    /// # Errors
    ///
    /// [`Rejected`] with the value; nothing has changed.
    pub fn propose(&mut self, now: Instant, value: Value) -> Result<Ticket, Rejected> {
        self.node.see(now);
        let Some(proposer) = &mut self.proposer else {
            return Err(Rejected::NotProposer(value));
        };
        let node = &mut self.node;
        let (len, limit) = (value.payload.len(), node.config.max_value_bytes);
        if len > limit {
            return Err(Rejected::TooLong { value, len, limit });
        }
        if node.fenced.is_some() {
            return Err(Rejected::Fenced(value));
        }
        if let Some(chosen) = node.chosen.clone() {
            let ticket = proposer.ticket();
            proposer::settle(node, ticket, &value, &chosen);
            return Ok(ticket);
        }
        if !proposer.has_room(&node.config) {
            let limit = node.config.max_proposals;
            return Err(Rejected::Busy { value, limit });
        }
        let ticket = proposer.propose(node, value);
        self.settle();
        Ok(ticket)
    }

    /// Asks to be told what was chosen, as soon as something is: the node asks others if it hears
    /// nothing by itself, until it knows.
    ///
    /// # Errors
    ///
    /// [`Rejected::NotLearner`]; nothing has changed.
    pub fn learn(&mut self, now: Instant) -> Result<(), Rejected> {
        self.node.see(now);
        let learner = self.learner.as_mut().ok_or(Rejected::NotLearner)?;
        learner.expect(&self.node);
        Ok(())
    }

    /// What was chosen, as far as this node knows.
    #[must_use]
    pub const fn chosen(&self) -> Option<&Value> {
        self.node.chosen.as_ref()
    }

    /// What the acceptor of this node has promised; `None` if it has no acceptor.
    #[must_use]
    pub fn promised(&self) -> Option<Ballot> {
        self.acceptor.as_ref().map(Acceptor::promised)
    }

    /// The last vote of the acceptor of this node.
    #[must_use]
    pub fn vote(&self) -> Option<&Vote> {
        self.acceptor.as_ref().and_then(Acceptor::vote)
    }

    /// The ballot that the proposer of this node is in.
    #[must_use]
    pub fn ballot(&self) -> Option<Ballot> {
        self.proposer.as_ref().and_then(Proposer::ballot)
    }

    /// What the proposer of this node is doing, in a word, for logs and traces.
    #[must_use]
    pub fn phase(&self) -> Option<&'static str> {
        self.proposer.as_ref().map(Proposer::phase)
    }

    /// How many messages were dropped because they made no sense, or no more.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.node.dropped.0
    }

    /// Checks the invariants of this node alone.
    ///
    /// # Panics
    ///
    /// If one is broken: a bug of this crate.
    pub fn check(&self) {
        if let Some(acceptor) = &self.acceptor {
            acceptor.check();
        }
        if let Some(proposer) = &self.proposer {
            proposer.check();
            assert!(
                self.node.chosen.is_none() || proposer.ballot().is_none(),
                "a proposer that knows what was chosen proposes nothing"
            );
        }
        assert!(
            self.node.requests.is_empty(),
            "what one role asks of another is done at once"
        );
    }
}

impl Machine for Decree {
    type Command = Command;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = Message;
    type Record = Record;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = Event;

    fn call(&mut self, now: Instant, command: Command) -> Self::Reply {
        match command {
            Command::Propose(value) => self.propose(now, value).map(Some),
            Command::Learn => self.learn(now).map(|()| None),
        }
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        let node = &mut self.node;
        node.see(now);
        let Envelope {
            from,
            to,
            link,
            message,
        } = envelope;
        let meant = to == node.id() && node.link_to(from) == Some(link);
        if !meant || !node.config.is_member(from) || !message.is_plausible() {
            return node.drop_message();
        }
        // Not answered in kind: two that are strangers to each other would go on without end.
        let answered = !matches!(message.body, Body::Stranger { .. });
        if !node.recognise(from, message.generation, answered) {
            return node.drop_message();
        }
        self.on_message(from, message.body);
        self.settle();
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        let node = &mut self.node;
        node.see(now);
        node.links.retain(|(known, _)| *known != peer);
        node.outbox.purge(peer);
        if let Link::Up(id) = link {
            let place = node.links.partition_point(|(known, _)| *known < peer);
            node.links.insert(place, (peer, id));
        }
        if let Some(proposer) = &mut self.proposer
            && node.chosen.is_none()
            && node.fenced.is_none()
        {
            match link {
                Link::Up(_) => proposer.relink(node, peer),
                Link::Down => proposer.unlink(node),
            }
        }
        self.tell_again(peer, matches!(link, Link::Up(_)));
        self.settle();
    }

    fn tick(&mut self, now: Instant) {
        self.node.see(now);
        if let Some(proposer) = &mut self.proposer {
            proposer.tick(&mut self.node);
        }
        if let Some(learner) = &mut self.learner
            && learner.tick(&mut self.node)
        {
            self.complete();
        }
        self.settle();
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.node.see(now);
        self.node.outbox.persisted(write);
        self.settle();
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            Some(never) => match never {},
            // Nothing was asked for.
            None => self.node.drop_message(),
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Record, Event, Infallible>> {
        self.node.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        let asks = self.learner.as_ref().and_then(|learner| learner.deadline);
        let asks = asks.map(|at| Wake {
            at,
            why: "a learner that hears too little",
        });
        let proposes = self.proposer.as_ref().and_then(Proposer::deadline);
        Wake::earlier(proposes, asks)
    }
}
