//! One node of the explored decree: the machine, and its disk.

use synod_core::{Envelope, Generation, Instant, Link, LinkId, Machine, NodeId, Output};
use synod_paxos::single::{Config, Decree, Message, Record, Value};

/// The incarnation of every link: the same after a restart, so that old messages still arrive.
const LINK: LinkId = LinkId(1);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Member {
    pub(crate) decree: Decree,
    pub(crate) disk: Vec<Record>,
}

/// What a member is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Told<'a> {
    Message(&'a Envelope<Message>),
    Propose(&'a Value),
    Tick,
    Nothing,
}

impl Member {
    /// A node that knows its peers' storages: first contacts are another test's matter.
    pub(crate) fn found(config: &Config, peers: &[NodeId]) -> (Self, Vec<Envelope<Message>>) {
        let name = |node| Record::Storage {
            node,
            generation: Generation(node.0),
        };
        let others = peers.iter().filter(|id| **id != config.id());
        let known = others.clone().map(|node| Record::Known {
            node: *node,
            generation: Generation(node.0),
        });
        let disk: Vec<_> = [name(config.id())].into_iter().chain(known).collect();
        Self::start(config, peers, disk)
    }

    fn start(
        config: &Config,
        peers: &[NodeId],
        disk: Vec<Record>,
    ) -> (Self, Vec<Envelope<Message>>) {
        let decree = Decree::new(config.clone(), disk.clone(), Instant::START).unwrap();
        let mut member = Self { decree, disk };
        for peer in peers.iter().filter(|id| **id != config.id()) {
            member.decree.link(Instant::START, *peer, Link::Up(LINK));
        }
        let sent = member.drain(None).0;
        (member, sent)
    }

    /// Tells it something; what it sends to that.
    pub(crate) fn tell(&self, told: Told<'_>) -> (Self, Vec<Envelope<Message>>) {
        let mut next = self.clone();
        next.take(told);
        let sent = next.drain(None).0;
        (next, sent)
    }

    /// Tells it something, and lets it crash with so many of the records kept that it writes first;
    /// what it has sent before. `None` if it writes less.
    pub(crate) fn crash(
        &self,
        told: Told<'_>,
        kept: usize,
        config: &Config,
        peers: &[NodeId],
    ) -> Option<(Self, Vec<Envelope<Message>>)> {
        let mut dying = self.clone();
        dying.take(told);
        let (mut sent, torn) = dying.drain(Some(kept));
        if !torn && kept > 0 {
            return None;
        }
        let (next, more) = Self::start(config, peers, dying.disk);
        sent.extend(more);
        Some((next, sent))
    }

    fn take(&mut self, told: Told<'_>) {
        let now = Instant::START;
        match told {
            Told::Message(envelope) => self.decree.step(now, envelope.clone()),
            Told::Propose(value) => {
                self.decree.propose(now, value.clone()).unwrap();
            }
            Told::Tick => self.decree.tick(now),
            Told::Nothing => {}
        }
    }

    /// Does what it says. With `kept`, the first write ends in a crash after so many records: whether
    /// there was one that long.
    fn drain(&mut self, kept: Option<usize>) -> (Vec<Envelope<Message>>, bool) {
        let mut sent = Vec::new();
        while let Some(output) = self.decree.poll() {
            match output {
                Output::Send(envelope) => sent.push(envelope),
                Output::Persist(write, records) => {
                    if let Some(kept) = kept {
                        let torn = records.len() >= kept;
                        self.disk.extend(records.into_iter().take(kept));
                        self.compact();
                        return (sent, torn);
                    }
                    self.disk.extend(records);
                    self.decree.persisted(Instant::START, write);
                }
                Output::Load(_, never) => match never {},
                Output::Event(_) => {}
            }
        }
        self.compact();
        (sent, false)
    }

    /// Keeps the last record of each kind, as a storage may: states that differ in nothing else are
    /// the same.
    fn compact(&mut self) {
        let kind = |record: &Record| match record {
            Record::Storage { .. } => (0, 0),
            Record::Known { node, .. } => (1, node.0),
            Record::Ballot(_) => (2, 0),
            Record::Promised(_) => (3, 0),
            Record::Voted { .. } => (4, 0),
            Record::Chosen(_) => (5, 0),
            Record::Fenced { .. } => (6, 0),
        };
        let mut last = std::collections::BTreeMap::new();
        for record in self.disk.drain(..) {
            last.insert(kind(&record), record);
        }
        self.disk = last.into_values().collect();
    }
}
