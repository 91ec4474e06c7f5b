//! The machine: dispatch, and how a node starts.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::ToString;
use core::convert::Infallible;

use synod_core::{
    Envelope, Generation, Instant, Link, LoadId, Machine, NodeId, Output, Ticket, Wake, WriteId,
    mix,
};

use crate::register::event::{Command, Event, Rejected, Rejection};
use crate::register::job::{Job, Purpose, chosen_configuration};
use crate::register::message::{Body, Message, Phase};
use crate::register::node::{Node, Note, Recognised};
use crate::register::planted::planted;
use crate::register::proposer::{Finished, Proposer};
use crate::register::purge::Purges;
use crate::register::record::{Record, Restored};
use crate::register::rescan::Rescan;
use crate::register::types::State;
use crate::register::{Config, Configuration, Key, Refusal, RestoreError};

mod command;

/// One node of a cluster of registers, as a [`Machine`]: a proposer, and an acceptor if the
/// configuration in force names it.
///
/// Made by [`CasPaxos::new`] from what its storage holds. A clone is an independent copy of the whole
/// state; two nodes that would behave alike are equal, which a model checker relies on.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct CasPaxos {
    node: Node,
    proposer: Proposer,
    purges: Purges,
    rescan: Option<Rescan>,
}

impl CasPaxos {
    /// A node that goes on from what its storage holds. On an empty storage it founds the cluster that
    /// the settings name, or waits to be told of one; on any other the stored configuration counts.
    ///
    /// # Errors
    ///
    /// [`RestoreError`] if what is stored cannot be this node's. Nothing has been changed.
    pub fn new(config: Config, restored: Restored, now: Instant) -> Result<Self, RestoreError> {
        let is_fresh = restored == Restored::new();
        match restored.identity {
            Some((found, _)) if found != config.id => {
                let node = config.id;
                return Err(RestoreError::OtherNode { found, node });
            }
            None if !is_fresh => return Err(RestoreError::IdentityMissing),
            Some(_) | None => {}
        }
        let me = config.id;
        let used = restored.registers.values();
        let used = used.filter_map(|register| register.vote.as_ref());
        let used = used.filter(|vote| vote.ballot.proposer == me);
        let round = used.map(|vote| vote.ballot.round).max().unwrap_or(0);
        let mut node = Node::new(config, restored, now);
        let rounds = node.store.rounds;
        if round > rounds && !planted!(node, BallotReused) {
            return Err(RestoreError::RoundsMissing { round, rounds });
        }
        if is_fresh {
            Self::found(&mut node);
        }
        let mut machine = Self {
            proposer: Proposer::new(node.config.limits.caches),
            node,
            purges: Purges::default(),
            rescan: None,
        };
        machine.collect(|proposer| proposer == me);
        Ok(machine)
    }

    /// The first write of a new storage.
    fn found(node: &mut Node) {
        node.founded = false;
        // As random as the seed: the same node with a new disk must not look like the old one.
        let life = mix(mix(node.config.seed, 0x6469_736b), node.id().0);
        let identity = Record::Identity {
            node: node.id(),
            generation: Generation(life),
        };
        node.write(identity);
        if let Some(founding) = node.config.founding.clone() {
            node.write(Record::Configuration(Box::new(founding)));
        }
    }

    /// This node.
    #[must_use]
    pub const fn id(&self) -> NodeId {
        self.node.id()
    }

    /// The configuration in force here; `None` while the node waits for its first.
    #[must_use]
    pub fn configuration(&self) -> Option<&Configuration> {
        self.node.configuration()
    }

    /// What a restart reads once every write handed out is durable. What this acceptor holds of a
    /// register need not be chosen, and what is chosen need not be here.
    #[must_use]
    pub const fn storage(&self) -> &Restored {
        &self.node.store
    }

    /// How many messages were dropped because they made no sense, or no more.
    #[must_use]
    pub const fn dropped(&self) -> u64 {
        self.node.dropped.0
    }

    /// Changes of the application under way.
    #[must_use]
    pub const fn changes(&self) -> usize {
        self.proposer.count
    }

    /// Checks the invariants of this node alone.
    ///
    /// # Panics
    ///
    /// If one is broken: a bug of this crate.
    pub fn check(&self) {
        self.node.check();
        self.proposer.check(&self.node);
        self.purges.check();
    }

    // Configurations.

    /// Takes a configuration into force that was chosen.
    fn adopt(&mut self, configuration: Configuration) {
        if self.node.epoch() >= Some(configuration.epoch()) {
            return;
        }
        let configuration = Box::new(configuration);
        let before = self.node.configuration().map(|it| it.members().to_vec());
        let record = Record::Configuration(configuration.clone());
        self.node.write(record);
        self.node
            .outbox
            .event_after(Event::Configured(configuration.clone()));
        if let Some(rescan) = self.rescan.take() {
            let epoch = self.node.epoch().unwrap_or_default();
            rescan.end(&mut self.node, Refusal::Overtaken { epoch });
        }
        self.purges.reconfigure(&self.node);
        self.proposer.reconfigure(&mut self.node);
        // Those who are acceptors no more as well: they can forget what they hold.
        let me = self.node.id();
        let new = configuration.members().iter().map(|member| member.node);
        let old = before.iter().flatten().map(|member| member.node);
        let told: BTreeSet<NodeId> = old.chain(new).filter(|node| *node != me).collect();
        for node in told {
            let body = Body::Configuration(configuration.clone());
            self.node.send(node, body);
        }
    }

    /// Whether a message of this epoch counts; tells or asks if one of the two is behind.
    fn is_of_this_epoch(&mut self, from: NodeId, epoch: Option<u64>) -> bool {
        let mine = self.node.epoch();
        if epoch == mine || planted!(self.node, EpochIgnored) {
            return mine.is_some();
        }
        // Both rest on no write: the configuration was chosen, whatever this disk does.
        if epoch > mine {
            self.node.send_now(from, Body::Behind);
        } else if let Some(configuration) = self.node.configuration().cloned() {
            let body = Body::Configuration(Box::new(configuration));
            self.node.send_now(from, body);
        }
        false
    }

    // Messages.

    fn on_message(&mut self, from: NodeId, epoch: Option<u64>, body: Body) {
        match body {
            Body::Stranger { known } => {
                if known != self.node.generation() {
                    let evidence = from.to_string() + " knows another storage of this node";
                    let rule = "a node that has lost its storage does not vote under its old name";
                    self.node.fail_stop(rule, evidence);
                }
                return;
            }
            Body::Configuration(configuration) => return self.adopt(*configuration),
            Body::Behind => {
                self.is_of_this_epoch(from, epoch);
                return;
            }
            Body::Prepare { .. }
            | Body::Promised { .. }
            | Body::Accept(_)
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Purge { .. }
            | Body::Purged { .. }
            | Body::List { .. }
            | Body::Keys(_) => {}
        }
        if self.is_of_this_epoch(from, epoch) {
            self.on_body(from, body);
        } else {
            self.node.drop_message();
        }
    }

    /// What acceptors are asked and answer, under one configuration.
    fn on_body(&mut self, from: NodeId, body: Body) {
        let node = &mut self.node;
        match body {
            Body::Prepare { .. } | Body::Accept(_) | Body::Purge { .. } | Body::List { .. } => {
                self.on_request(from, body);
            }
            Body::Promised {
                key,
                ballot,
                asked,
                held,
            } => {
                self.proposer
                    .on_promised(node, from, key, (ballot, asked), held);
            }
            Body::Accepted { key, ballot } => {
                self.purges.on_accepted(node, from, &key, ballot);
                self.proposer.on_accepted(node, from, key, ballot);
            }
            Body::Refused {
                key,
                phase,
                ballot,
                why,
            } => {
                if phase == Phase::Two {
                    self.purges.on_refused(node, &key, ballot);
                }
                self.proposer
                    .on_refused(node, from, (key, phase, ballot), why);
            }
            Body::Purged { key, ballot } => self.purges.on_purged(node, from, &key, ballot),
            Body::Keys(page) => {
                if let Some(rescan) = &mut self.rescan {
                    rescan.on_keys(node, &mut self.proposer, from, *page);
                }
            }
            Body::Behind | Body::Configuration(_) | Body::Stranger { .. } => {}
        }
    }

    fn on_request(&mut self, from: NodeId, body: Body) {
        let node = &mut self.node;
        let Some(epoch) = node.epoch().filter(|_| node.is_acceptor()) else {
            return node.drop_message();
        };
        #[cfg(feature = "planted")]
        if planted!(node, OneRoundTripByOthers)
            && let Body::Accept(accept) = &body
        {
            self.steal(accept);
        }
        let node = &mut self.node;
        match node.answer(body, epoch) {
            Some(answer) => node.send(from, answer),
            None => node.drop_message(),
        }
    }

    /// Planted: what another has proposed is taken for a cache of this node's.
    #[cfg(feature = "planted")]
    fn steal(&mut self, accept: &crate::register::message::Accept) {
        self.node.fast_forward(accept.next);
        let Some(configuration) = self.node.configuration() else {
            return;
        };
        let promised = configuration.phases().phase1().all();
        let cache = crate::register::cache::Cache {
            next: self.node.next_ballot(),
            state: accept.state.clone(),
            ballot: accept.ballot,
            asked: 0,
            promised,
        };
        self.proposer.caches.put(accept.key.clone(), cache);
    }

    /// Does what follows from what was done: until nothing does.
    fn settle(&mut self) {
        self.drain();
        if self.rescan.as_ref().is_some_and(Rescan::is_closing) {
            self.rescan = None;
        }
    }

    fn drain(&mut self) {
        loop {
            if let Some(finished) = self.proposer.next_finished() {
                self.on_finished(finished);
            } else if let Some(note) = self.node.outbox.next_note() {
                match note {
                    Note::Reserved(through) => self.node.reserved(through),
                    // Not of an earlier epoch: a list from before it knows nothing of what was
                    // chosen there since (`tests/register/steps.rs`,
                    // `a_list_of_an_earlier_epoch_settles_nothing`).
                    Note::Answer { epoch, body } if self.node.epoch() == Some(epoch) => {
                        self.on_body(self.node.id(), body);
                    }
                    Note::Answer { .. } => {}
                }
            } else {
                return;
            }
        }
    }

    fn on_finished(&mut self, finished: Finished) {
        let node = &mut self.node;
        match finished {
            Finished::Empty(key) => self.purges.enqueue(node, key),
            Finished::Buried {
                proposal, accepted, ..
            } => self.purges.buried(node, *proposal, accepted),
            Finished::NotBuried { key, again } => self.purges.not_buried(node, key, again),
            Finished::Rewritten(key) => {
                if let Some(rescan) = &mut self.rescan {
                    rescan.rewritten(node, &mut self.proposer, &key);
                }
            }
            Finished::NotRewritten(key) => {
                if let Some(rescan) = self.rescan.take_if(|rescan| rescan.awaits(&key)) {
                    rescan.end(node, Refusal::Full);
                }
            }
            Finished::Configured(state) => self.on_configured(&state),
            Finished::Stepped(ticket) => self.on_stepped(ticket),
        }
    }

    /// A content of the register of the configuration is chosen.
    fn on_configured(&mut self, state: &State) {
        match chosen_configuration(state) {
            Some(configuration) => self.adopt(configuration),
            None if state.value.is_none() => {}
            None => {
                let evidence = alloc::format!("the content made in {}", state.version);
                let rule = "the configuration in its register is readable";
                self.node.fail_stop(rule, evidence);
            }
        }
    }

    fn on_stepped(&mut self, ticket: Ticket) {
        let epoch = self.node.epoch().unwrap_or_default();
        let event = Event::Stepped { ticket, epoch };
        self.node.outbox.event_after(event);
    }

    /// Takes up the tombstones that this node holds, of some proposers.
    fn collect(&mut self, whose: impl Fn(NodeId) -> bool) {
        for (key, register) in &self.node.store.registers {
            if *key != Key::Configuration
                && let Some(vote) = &register.vote
                && vote.state.value.is_none()
                && whose(vote.ballot.proposer)
            {
                self.purges.enqueue(&self.node, key.clone());
            }
        }
    }
}

impl Machine for CasPaxos {
    type Command = Command;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = Message;
    type Record = Record;
    type Load = Infallible;
    type Loaded = Infallible;
    type Event = Event;

    fn call(&mut self, now: Instant, command: Command) -> Self::Reply {
        self.node.now = self.node.now.max(now);
        let result = self.on_command(command);
        self.settle();
        result
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        self.node.now = self.node.now.max(now);
        let Envelope {
            from,
            to,
            link,
            message,
        } = envelope;
        let node = &mut self.node;
        let meant = to == node.id() && from != to && node.link_to(from) == Some(link);
        if node.stopped || !meant || !message.is_plausible(from) {
            return node.drop_message();
        }
        match node.recognise(from, message.generation) {
            Recognised::Known => self.on_message(from, message.epoch, message.body),
            Recognised::TooMany => node.drop_message(),
            Recognised::Stranger(known) => {
                // Not answered in kind: two that are strangers to each other would go on without
                // end. Rests on nothing that is not durable: it repeats what the peer once said.
                if !matches!(message.body, Body::Stranger { .. }) {
                    node.send_now(from, Body::Stranger { known });
                }
                node.drop_message();
            }
        }
        self.settle();
    }

    fn link(&mut self, now: Instant, peer: NodeId, link: Link) {
        self.node.now = self.node.now.max(now);
        match link {
            Link::Up(id) => {
                self.node.set_link(peer, Some(id));
                self.proposer.relink(&self.node);
            }
            Link::Down => self.node.set_link(peer, None),
        }
    }

    fn tick(&mut self, now: Instant) {
        self.node.now = self.node.now.max(now);
        if self.node.stopped {
            return;
        }
        self.proposer.tick(&mut self.node);
        self.purges.tick(&mut self.node, &mut self.proposer);
        if let Some(rescan) = &mut self.rescan {
            rescan.tick(&mut self.node);
        }
        self.settle();
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.node.now = self.node.now.max(now);
        self.node.outbox.persisted(write);
        self.node.founded = true;
        self.settle();
    }

    fn loaded(&mut self, _: Instant, _: LoadId, answer: Option<Infallible>) {
        match answer {
            None => {}
            Some(never) => match never {},
        }
    }

    fn poll(&mut self) -> Option<Output<Message, Record, Event, Infallible>> {
        if self.node.stopped && !self.node.outbox.has_ready() {
            // Nothing new is written or sent. What was ready was true.
            return None;
        }
        self.node.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        if self.node.stopped {
            return None;
        }
        let wake = |at: Option<Instant>, why| at.map(|at| Wake { at, why });
        let round = wake(self.proposer.deadline(), "a round or a change");
        let purge = wake(self.purges.deadline(), "a tombstone");
        let rescan = self.rescan.as_ref().and_then(Rescan::deadline);
        Wake::earlier(Wake::earlier(round, purge), wake(rescan, "a rescan"))
    }
}
