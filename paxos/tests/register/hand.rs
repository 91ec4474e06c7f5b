//! A few nodes, and messages that go where the test says.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Envelope, Generation, Instant, Link, LinkId, Machine, NodeId, Output, Ticket, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::register::{
    Body, CasPaxos, Change, Command, Condition, Config, ConfigBuilder, Event, Message, Record,
    Rejected, Restored, Versioned,
};

/// Nodes whose disks work at once, unless they are held.
pub(crate) struct Hand {
    pub(crate) nodes: BTreeMap<u64, CasPaxos>,
    pub(crate) disks: BTreeMap<u64, Restored>,
    pub(crate) now: Instant,
    /// Under way.
    pub(crate) mail: Vec<Envelope<Message>>,
    pub(crate) events: Vec<(u64, Event)>,
    /// Records written.
    pub(crate) written: usize,
    /// Nodes whose writes do not end.
    pub(crate) held: Vec<u64>,
    /// The writes of these, which were handed out and have not ended.
    begun: BTreeMap<u64, (WriteId, Vec<Record>)>,
    pub(crate) sent: usize,
}

pub(crate) fn config(id: u64, acceptors: &[u64]) -> ConfigBuilder {
    let builder = Config::builder(NodeId(id)).purge_delay(Duration::from_millis(500));
    builder.acceptors(acceptors.iter().map(|id| NodeId(*id)))
}

impl Hand {
    /// These nodes, all of them acceptors.
    pub(crate) fn new(ids: &[u64]) -> Self {
        Self::with(ids, |id| config(id, ids))
    }

    pub(crate) fn with(ids: &[u64], config: impl Fn(u64) -> ConfigBuilder) -> Self {
        let mut hand = Self {
            nodes: BTreeMap::new(),
            disks: BTreeMap::new(),
            now: Instant::START,
            mail: Vec::new(),
            events: Vec::new(),
            written: 0,
            held: Vec::new(),
            begun: BTreeMap::new(),
            sent: 0,
        };
        for &id in ids {
            hand.start(id, config(id).seed(id));
        }
        hand.mail.clear();
        hand.written = 0;
        hand.sent = 0;
        hand
    }

    /// Starts a node from its disk, and links it to all others.
    pub(crate) fn start(&mut self, id: u64, config: ConfigBuilder) {
        let disk = self.disks.entry(id).or_default().clone();
        let node = CasPaxos::new(config.build().unwrap(), disk, self.now).unwrap();
        self.nodes.insert(id, node);
        let all: Vec<u64> = self.nodes.keys().copied().collect();
        for other in all.into_iter().filter(|other| *other != id) {
            for (one, two) in [(id, other), (other, id)] {
                let up = Link::Up(LinkId(1));
                let now = self.now;
                self.nodes.get_mut(&one).unwrap().link(now, NodeId(two), up);
                self.drain(one);
            }
        }
    }

    pub(crate) fn drain(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        while let Some(output) = node.poll() {
            match output {
                Output::Send(envelope) => {
                    self.sent += 1;
                    self.mail.push(envelope);
                }
                Output::Persist(write, batch) => {
                    if self.held.contains(&id) {
                        self.begun.insert(id, (write, batch.into_iter().collect()));
                        continue;
                    }
                    self.written += batch.len();
                    let disk = self.disks.get_mut(&id).unwrap();
                    batch.into_iter().for_each(|record| disk.apply(record));
                    node.persisted(self.now, write);
                }
                Output::Load(_, never) => match never {},
                Output::Event(event) => self.events.push((id, event)),
            }
        }
        node.check();
    }

    /// The disk of a node that was held does its work.
    pub(crate) fn release(&mut self, id: u64) {
        self.held.retain(|held| *held != id);
        if let Some((write, batch)) = self.begun.remove(&id) {
            self.written += batch.len();
            let disk = self.disks.get_mut(&id).unwrap();
            batch.into_iter().for_each(|record| disk.apply(record));
            self.nodes.get_mut(&id).unwrap().persisted(self.now, write);
        }
        self.drain(id);
    }

    pub(crate) fn call(&mut self, id: u64, command: Command) -> Result<Option<Ticket>, Rejected> {
        let now = self.now;
        let reply = self.nodes.get_mut(&id).unwrap().call(now, command);
        self.drain(id);
        reply
    }

    pub(crate) fn change(&mut self, id: u64, key: &'static str, change: Change) -> Ticket {
        let key = Bytes::from_static(key.as_bytes());
        self.call(id, Command::Change { key, change })
            .unwrap()
            .unwrap()
    }

    pub(crate) fn write(&mut self, id: u64, key: &'static str, value: &'static str) -> Ticket {
        self.change(id, key, write(value, Condition::Always))
    }

    pub(crate) fn read(&mut self, id: u64, key: &'static str) -> Ticket {
        self.change(id, key, Change::Read)
    }

    /// Hands over those messages under way that `which` says; how many.
    pub(crate) fn deliver(&mut self, which: impl Fn(&Envelope<Message>) -> bool) -> usize {
        let mail = std::mem::take(&mut self.mail);
        let (now, rest): (Vec<_>, Vec<_>) = mail.into_iter().partition(which);
        self.mail = rest;
        let count = now.len();
        now.into_iter().for_each(|envelope| self.step(envelope));
        count
    }

    pub(crate) fn step(&mut self, envelope: Envelope<Message>) {
        let (to, now) = (envelope.to.0, self.now);
        if let Some(node) = self.nodes.get_mut(&to) {
            node.step(now, envelope);
            self.drain(to);
        }
    }

    /// Hands everything over until nothing is under way: how many rounds of messages that takes.
    pub(crate) fn settle(&mut self) -> usize {
        let mut rounds = 0;
        while !self.mail.is_empty() {
            self.deliver(|_| true);
            rounds += 1;
            assert!(rounds < 1000, "it never ends");
        }
        rounds
    }

    /// As `settle`, between these nodes only; everything else is lost.
    pub(crate) fn settle_among(&mut self, ids: &[u64]) {
        loop {
            let inside =
                |it: &Envelope<Message>| ids.contains(&it.from.0) && ids.contains(&it.to.0);
            if self.deliver(inside) == 0 {
                self.mail.clear();
                return;
            }
        }
    }

    /// Time goes by, and nothing is lost; every timer fires when it is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let end = self.now + Duration::from_millis(ms);
        self.settle();
        while self.now < end {
            self.now = (self.now + Duration::from_millis(5)).min(end);
            self.tick();
            self.settle();
        }
    }

    /// Lets timers fire.
    pub(crate) fn tick(&mut self) {
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let now = self.now;
            self.nodes.get_mut(&id).unwrap().tick(now);
            self.drain(id);
        }
    }

    pub(crate) fn later(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.tick();
    }

    /// What came of a ticket.
    pub(crate) fn outcome(&self, id: u64, ticket: Ticket) -> Option<&Event> {
        let mut found = self.events.iter().filter(|(node, event)| {
            *node == id
                && matches!(event,
                    Event::Done { ticket: it, .. }
                    | Event::Refused { ticket: it, .. }
                    | Event::Unknown { ticket: it }
                    | Event::Stepped { ticket: it, .. } if *it == ticket)
        });
        let first = found.next();
        assert!(found.next().is_none(), "{ticket} is settled twice");
        first.map(|(_, event)| event)
    }

    /// The content that a change or read was told.
    pub(crate) fn value(&self, id: u64, ticket: Ticket) -> Option<String> {
        match self.outcome(id, ticket) {
            Some(Event::Done { current, .. }) => current.as_ref().map(text),
            other => panic!("{ticket} is not done: {other:?}"),
        }
    }

    /// A message to a node, as if `from` had sent it.
    pub(crate) fn forge(&mut self, from: u64, to: u64, body: Body) -> Vec<Body> {
        let generation = self
            .nodes
            .get(&from)
            .map_or(Generation(from), |node| node.storage().identity.unwrap().1);
        let epoch = self.nodes[&to].configuration().map(|it| it.epoch());
        let message = Message {
            generation,
            epoch,
            body,
        };
        let before = self.mail.len();
        self.step(Envelope {
            from: NodeId(from),
            to: NodeId(to),
            link: LinkId(1),
            message,
        });
        let answers = self.mail.split_off(before);
        answers.into_iter().map(|it| it.message.body).collect()
    }
}

pub(crate) fn write(value: &'static str, when: Condition) -> Change {
    let value = Bytes::from_static(value.as_bytes());
    Change::Write { value, when }
}

pub(crate) fn text(versioned: &Versioned) -> String {
    String::from_utf8(versioned.value.to_vec()).unwrap()
}

pub(crate) const fn ballot(round: u64, proposer: u64) -> Ballot {
    Ballot {
        round,
        proposer: NodeId(proposer),
    }
}
