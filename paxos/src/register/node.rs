//! What a node is in every role: its durable state, its ballots, its links.

use alloc::string::String;
use alloc::vec::Vec;
use core::convert::Infallible;

use synod_core::{Envelope, FailStop, Generation, Ghost, Instant, LinkId, NodeId, Outbox, Ticket};

use crate::Ballot;
use crate::register::message::{Body, Message};
use crate::register::planted::planted;
use crate::register::record::{Record, Restored};
use crate::register::{Config, Configuration, Event, Key};

/// How many rounds are reserved at a time: one small record for 512 ballots.
const ROUNDS: u64 = 1024;

/// What a node does to itself once a write is durable.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Note {
    /// Rounds up to this may be used.
    Reserved(u64),
    /// Its own acceptor answers its own proposer, as any other under a configuration: the answer
    /// may have waited for the disk until the next one.
    Answer {
        /// Of which epoch.
        epoch: u64,
        /// The answer.
        body: Body,
    },
}

/// The parts of a node that acceptor and proposer share.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Node {
    pub(crate) config: Config,
    pub(crate) now: Instant,
    /// What a restart would read once all writes are durable.
    pub(crate) store: Restored,
    /// Whether its identity is durable.
    pub(crate) founded: bool,
    /// The last round that was used or seen.
    round: u64,
    /// Rounds up to this are durably reserved.
    sure: u64,
    /// Bytes of keys and values, and promises of registers that hold nothing.
    pub(crate) bytes: usize,
    pub(crate) promises: usize,
    links: Vec<(NodeId, LinkId)>,
    pub(crate) outbox: Outbox<Message, Record, Event, Infallible, Note>,
    strangers: Vec<(NodeId, Generation)>,
    tickets: Ghost<u64>,
    pub(crate) stopped: bool,
    pub(crate) dropped: Ghost<u64>,
}

impl Node {
    pub(crate) fn new(config: Config, store: Restored, now: Instant) -> Self {
        let rounds = store.rounds;
        let mut node = Self {
            config,
            now,
            founded: true,
            // All that are reserved may have been used: an earlier life does not say which.
            round: rounds,
            sure: rounds,
            bytes: 0,
            promises: 0,
            links: Vec::new(),
            outbox: Outbox::new(1),
            strangers: Vec::new(),
            tickets: Ghost(0),
            stopped: false,
            dropped: Ghost(0),
            store,
        };
        node.weigh();
        node
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.config.id
    }

    pub(crate) fn generation(&self) -> Generation {
        let identity = self.store.identity;
        identity.map_or(Generation(0), |(_, generation)| generation)
    }

    pub(crate) fn configuration(&self) -> Option<&Configuration> {
        self.store.configuration.as_deref()
    }

    pub(crate) fn epoch(&self) -> Option<u64> {
        self.configuration().map(Configuration::epoch)
    }

    pub(crate) fn is_acceptor(&self) -> bool {
        let me = self.id();
        self.configuration()
            .is_some_and(|configuration| configuration.member_since(me).is_some())
    }

    pub(crate) fn next_ticket(&mut self) -> Ticket {
        self.tickets.0 += 1;
        Ticket(self.tickets.0)
    }

    // Durable state.

    /// Writes a record, and does what it says to the state in memory.
    pub(crate) fn write(&mut self, record: Record) {
        let wide = matches!(record, Record::Configuration(_) | Record::Floor { .. });
        let key = match &record {
            Record::Promise { key, .. } | Record::Vote { key, .. } | Record::Purge { key, .. } => {
                Some(key.clone())
            }
            Record::Identity { .. }
            | Record::Rounds { .. }
            | Record::Known { .. }
            | Record::Configuration(_)
            | Record::Floor { .. } => None,
        };
        let before = key.as_ref().map_or((0, 0), |key| self.measure(key));
        if !self.forgets(&record) {
            self.outbox.write(record.clone());
        }
        self.store.apply(record);
        if wide {
            self.weigh();
        } else if let Some(key) = key {
            let after = self.measure(&key);
            self.bytes = self.bytes - before.0 + after.0;
            self.promises = self.promises - before.1 + after.1;
        }
    }

    /// Planted: this record does not reach the disk.
    fn forgets(&self, record: &Record) -> bool {
        match record {
            Record::Promise { .. } => planted!(self, PromiseNotPersisted),
            Record::Vote { .. } => planted!(self, VoteNotPersisted),
            Record::Rounds { .. } => planted!(self, BallotReused),
            Record::Identity { .. }
            | Record::Known { .. }
            | Record::Configuration(_)
            | Record::Purge { .. }
            | Record::Floor { .. } => false,
        }
    }

    /// The bytes of a register, and whether it is only a promise.
    fn measure(&self, key: &Key) -> (usize, usize) {
        match self.store.registers.get(key) {
            None => (0, 0),
            Some(register) => match &register.vote {
                None => (key.weight(), 1),
                Some(vote) => (key.weight() + vote.state.weight(), 0),
            },
        }
    }

    fn weigh(&mut self) {
        let sizes = self.store.registers.keys().map(|key| self.measure(key));
        (self.bytes, self.promises) =
            sizes.fold((0, 0), |sum, size| (sum.0 + size.0, sum.1 + size.1));
    }

    // Ballots.

    /// A ballot that nobody has used: the round is durably reserved before anything is sent with it,
    /// so that no later life uses it again.
    pub(crate) fn next_ballot(&mut self) -> Ballot {
        let last = Ballot {
            round: self.round,
            proposer: self.id(),
        };
        let ballot = last.next_classic(self.id());
        self.round = ballot.round;
        // Ahead of need, so that proposals seldom wait for it.
        if ballot.round + ROUNDS / 2 > self.store.rounds {
            let through = ballot.round + ROUNDS;
            self.write(Record::Rounds { through });
            self.outbox.note_after(Note::Reserved(through));
        }
        ballot
    }

    /// A peer knows of this round: the next ballot shall not conflict with it. Unless nobody can have
    /// got there: past it would lie the end of the rounds, and a disk that cannot be read.
    pub(crate) fn fast_forward(&mut self, ballot: Ballot) {
        if ballot.round <= Ballot::LAST_ROUND / 2 {
            self.round = self.round.max(ballot.round);
        }
    }

    pub(crate) fn reserved(&mut self, through: u64) {
        self.sure = self.sure.max(through);
    }

    // Links and messages.

    pub(crate) fn set_link(&mut self, peer: NodeId, link: Option<LinkId>) {
        self.links.retain(|(known, _)| *known != peer);
        self.outbox.purge(peer);
        if let Some(link) = link {
            let place = self.links.partition_point(|(known, _)| *known < peer);
            self.links.insert(place, (peer, link));
        }
    }

    pub(crate) fn link_to(&self, peer: NodeId) -> Option<LinkId> {
        self.links
            .iter()
            .find(|(node, _)| *node == peer)
            .map(|(_, link)| *link)
    }

    fn envelope(&self, to: NodeId, link: LinkId, body: Body) -> Envelope<Message> {
        let message = Message {
            generation: self.generation(),
            epoch: self.epoch(),
            body,
        };
        Envelope {
            from: self.id(),
            to,
            link,
            message,
        }
    }

    /// Sends once everything written so far is durable: the default, and what acceptors do.
    pub(crate) fn send(&mut self, to: NodeId, body: Body) {
        if let Some(link) = self.link_to(to) {
            let envelope = self.envelope(to, link, body);
            self.outbox.send_after(envelope);
        }
    }

    /// Sends without waiting for a write: each caller says why that is safe. Only the first write
    /// is always waited for: every message names this storage, and a node that has told its name and
    /// forgets it comes back as a stranger.
    pub(crate) fn send_now(&mut self, to: NodeId, body: Body) {
        if !self.founded {
            return self.send(to, body);
        }
        if let Some(link) = self.link_to(to) {
            let envelope = self.envelope(to, link, body);
            self.outbox.send_now(envelope);
        }
    }

    /// Sends what a proposer says with ballots up to `round`. That rests on no vote or promise of
    /// this node, only on the round being reserved: a proposer that crashes comes back with higher
    /// ones, and its own acceptor's answer is counted once it is durable.
    pub(crate) fn propose(&mut self, to: NodeId, round: u64, body: Body) {
        if round <= self.sure || planted!(self, BallotReused) {
            self.send_now(to, body);
        } else {
            self.send(to, body);
        }
    }

    pub(crate) fn tell(&mut self, event: Event) {
        self.outbox.event_now(event);
    }

    /// A message that makes no sense, or no more.
    pub(crate) fn drop_message(&mut self) {
        self.dropped.0 += 1;
    }

    /// What the protocol makes impossible: going on could break what was promised.
    pub(crate) fn fail_stop(&mut self, rule: &'static str, evidence: String) {
        if !self.stopped {
            self.stopped = true;
            self.tell(Event::Stopped(FailStop { rule, evidence }));
        }
    }

    /// Whether `generation` is the one that `from` has always had; learns it on first contact. It is
    /// kept for ever, of nodes that are no acceptors any more as well: their ballots are still
    /// about, and a new storage under an old name would use them again.
    pub(crate) fn recognise(&mut self, from: NodeId, generation: Generation) -> Recognised {
        match self.store.known.get(&from) {
            Some(&known) if known == generation => Recognised::Known,
            Some(&known) => {
                if !self.strangers.contains(&(from, generation)) {
                    self.strangers.retain(|(node, _)| *node != from);
                    self.strangers.push((from, generation));
                    self.tell(Event::Amnesia {
                        peer: from,
                        known,
                        seen: generation,
                    });
                }
                Recognised::Stranger(known)
            }
            None if self.store.known.len() >= self.config.limits.peers => Recognised::TooMany,
            None => {
                self.write(Record::Known {
                    peer: from,
                    generation,
                });
                Recognised::Known
            }
        }
    }

    /// Whether what is counted is what is there.
    pub(crate) fn check(&self) {
        let mut fresh = self.clone();
        fresh.weigh();
        assert_eq!((self.bytes, self.promises), (fresh.bytes, fresh.promises));
        for (key, register) in &self.store.registers {
            if let Some(vote) = &register.vote {
                assert!(
                    planted!(self, AcceptKeepsPromise) || register.promised >= vote.ballot,
                    "who accepts {key:?} in {} promises as much",
                    vote.ballot
                );
            }
        }
    }
}

/// Who it is that speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Recognised {
    /// The one that it says.
    Known,
    /// One with that name and another storage than this.
    Stranger(Generation),
    /// One more than there is room to remember.
    TooMany,
}
