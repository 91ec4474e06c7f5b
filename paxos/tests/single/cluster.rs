//! A decree of several nodes with their disks and their network in one hand.

use std::collections::BTreeMap;
use std::time::Duration;

use synod_core::{Envelope, Instant, Link, LinkId, Machine, NodeId, Output, Ticket};
use synod_paxos::Ballot;
use synod_paxos::single::{
    Body, Config, ConfigBuilder, Decree, Event, Message, Record, Rejected, Value, ValueId,
};
use synod_quorum::PaxosPhases;

pub(crate) const fn n(id: u64) -> NodeId {
    NodeId(id)
}

pub(crate) fn nodes(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

pub(crate) const fn ballot(round: u64, proposer: u64) -> Ballot {
    Ballot {
        round,
        proposer: NodeId(proposer),
    }
}

/// The value of a client that proposes only one: its text is its name.
pub(crate) fn value(client: u64) -> Value {
    Value::new(client, 1, format!("value of {client}").into())
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) decree: Decree,
    pub(crate) disk: Vec<Record>,
    pub(crate) events: Vec<Event>,
    pub(crate) up: bool,
    pub(crate) is_checked: bool,
    /// Writes are not durable for now.
    pub(crate) stalled: bool,
    pub(crate) writing: Option<(synod_core::WriteId, Vec<Record>)>,
}

impl Server {
    /// The machine's own invariants, unless a bug is planted that breaks them.
    fn check(&self) {
        if self.is_checked {
            self.decree.check();
        }
    }
}

/// What a machine has said or done.
#[derive(Clone)]
pub(crate) enum Said {
    Sent(Envelope<Message>),
    Stored(NodeId, Vec<Record>),
    Told(NodeId, Event),
}

#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) servers: BTreeMap<NodeId, Server>,
    pub(crate) net: Vec<Envelope<Message>>,
    /// Every message that was ever sent.
    pub(crate) sent: Vec<Envelope<Message>>,
    /// Everything that was said since somebody has looked.
    pub(crate) said: Vec<Said>,
    /// Pairs that have no link.
    pub(crate) cut: Vec<(NodeId, NodeId)>,
    /// The incarnation of each link.
    links: BTreeMap<(NodeId, NodeId), LinkId>,
}

fn pair(a: NodeId, b: NodeId) -> (NodeId, NodeId) {
    (a.min(b), a.max(b))
}

impl Cluster {
    /// Nodes with these settings, all linked.
    pub(crate) fn new(ids: &[u64], configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let mut cluster = Self::unlinked(ids, configure);
        cluster.link_all();
        cluster
    }

    pub(crate) fn unlinked(
        ids: &[u64],
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Self {
        let mut cluster = Self {
            now: Instant::from_millis(1),
            servers: BTreeMap::new(),
            net: Vec::new(),
            sent: Vec::new(),
            said: Vec::new(),
            cut: Vec::new(),
            links: BTreeMap::new(),
        };
        for id in ids {
            let config = configure(Config::builder(n(*id))).build().unwrap();
            let server = Server {
                decree: Decree::new(config.clone(), [], cluster.now).unwrap(),
                config,
                disk: Vec::new(),
                events: Vec::new(),
                up: true,
                is_checked: true,
                stalled: false,
                writing: None,
            };
            cluster.servers.insert(n(*id), server);
            cluster.drain(n(*id));
        }
        cluster
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    pub(crate) fn link_all(&mut self) {
        let ids = self.ids();
        for (place, a) in ids.iter().enumerate() {
            for b in &ids[place + 1..] {
                self.relink(*a, *b);
            }
        }
    }

    /// The link between two nodes comes up, with what was sent on the old one still under way:
    /// Paxos must not rest on its being lost.
    pub(crate) fn relink(&mut self, a: NodeId, b: NodeId) {
        let before = self.links.get(&pair(a, b)).map_or(0, |link| link.0);
        let link = LinkId(before + 1);
        self.links.insert(pair(a, b), link);
        for (node, peer) in [(a, b), (b, a)] {
            let now = self.now;
            let down = self.is_cut(a, b) || !self.servers[&peer].up;
            if self.servers[&node].up {
                let server = self.servers.get_mut(&node).unwrap();
                let state = if down { Link::Down } else { Link::Up(link) };
                server.decree.link(now, peer, state);
                server.check();
                self.drain(node);
            }
        }
    }

    pub(crate) fn is_cut(&self, a: NodeId, b: NodeId) -> bool {
        self.cut.contains(&(a, b)) || self.cut.contains(&(b, a))
    }

    /// Lets a node say what it has to say.
    pub(crate) fn drain(&mut self, id: NodeId) {
        let now = self.now;
        let server = self.servers.get_mut(&id).unwrap();
        while let Some(output) = server.decree.poll() {
            match output {
                Output::Send(envelope) => {
                    self.said.push(Said::Sent(envelope.clone()));
                    self.sent.push(envelope.clone());
                    self.net.push(envelope);
                }
                Output::Persist(write, records) if server.stalled => {
                    server.writing = Some((write, records.into_iter().collect()));
                }
                Output::Persist(write, records) => {
                    let records: Vec<_> = records.into_iter().collect();
                    self.said.push(Said::Stored(id, records.clone()));
                    server.disk.extend(records);
                    server.decree.persisted(now, write);
                }
                Output::Load(_, never) => match never {},
                Output::Event(event) => {
                    self.said.push(Said::Told(id, event.clone()));
                    server.events.push(event);
                }
            }
        }
    }

    /// The write under way is durable.
    pub(crate) fn sync(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let server = self.servers.get_mut(&id).unwrap();
        let Some((write, records)) = server.writing.take() else {
            return false;
        };
        self.said.push(Said::Stored(id, records.clone()));
        server.disk.extend(records);
        server.decree.persisted(now, write);
        self.drain(id);
        true
    }

    /// Writes take no time again.
    pub(crate) fn free(&mut self, id: NodeId) {
        self.servers.get_mut(&id).unwrap().stalled = false;
        self.sync(id);
    }

    pub(crate) fn propose(&mut self, id: u64, value: Value) -> Result<Ticket, Rejected> {
        let now = self.now;
        let ticket = self.server(id).decree.propose(now, value);
        self.drain(n(id));
        ticket
    }

    pub(crate) fn learn(&mut self, id: u64) {
        let now = self.now;
        self.server(id).decree.learn(now).unwrap();
        self.drain(n(id));
    }

    pub(crate) fn server(&mut self, id: u64) -> &mut Server {
        self.servers.get_mut(&n(id)).unwrap()
    }

    pub(crate) fn decree(&self, id: u64) -> &Decree {
        &self.servers[&n(id)].decree
    }

    pub(crate) fn tick(&mut self, id: NodeId) {
        let now = self.now;
        let server = self.servers.get_mut(&id).unwrap();
        if server.up {
            server.decree.tick(now);
            server.check();
            self.drain(id);
        }
    }

    /// A message arrives, if both ends are up and linked.
    pub(crate) fn deliver(&mut self, envelope: Envelope<Message>) {
        let (from, to, now) = (envelope.from, envelope.to, self.now);
        if self.is_cut(from, to) || !self.servers[&to].up {
            return;
        }
        let Some(link) = self.links.get(&pair(from, to)).copied() else {
            return;
        };
        let server = self.servers.get_mut(&to).unwrap();
        server.decree.step(now, Envelope { link, ..envelope });
        server.check();
        self.drain(to);
    }

    /// Delivers the first message under way that fits.
    pub(crate) fn pass(&mut self, fits: impl Fn(&Envelope<Message>) -> bool) -> bool {
        let Some(place) = self.net.iter().position(fits) else {
            return false;
        };
        let envelope = self.net.remove(place);
        self.deliver(envelope);
        true
    }

    /// Delivers everything that is under way from one node to another.
    pub(crate) fn pass_between(&mut self, from: u64, to: u64) {
        while self.pass(|e| e.from == n(from) && e.to == n(to)) {}
    }

    /// Loses what fits.
    pub(crate) fn lose(&mut self, fits: impl Fn(&Envelope<Message>) -> bool) {
        self.net.retain(|envelope| !fits(envelope));
    }

    /// Delivers everything that is under way now, and nothing that is sent to it: one message delay.
    pub(crate) fn round(&mut self) {
        for envelope in std::mem::take(&mut self.net) {
            self.deliver(envelope);
        }
    }

    /// Delivers until nothing is under way.
    pub(crate) fn settle(&mut self) {
        while !self.net.is_empty() {
            self.round();
        }
    }

    /// Lets time go by until the next timer, and fires it. False if there is none.
    pub(crate) fn wait(&mut self) -> bool {
        let up = self.servers.values().filter(|server| server.up);
        let Some(at) = up.filter_map(|s| s.decree.deadline()).map(|w| w.at).min() else {
            return false;
        };
        self.now = self.now.max(at);
        for id in self.ids() {
            self.tick(id);
        }
        true
    }

    /// Lets time go by for one node until its next timer.
    pub(crate) fn wake(&mut self, id: u64) {
        let at = self.decree(id).deadline().unwrap().at;
        self.now = self.now.max(at);
        self.tick(n(id));
    }

    /// Delivers and waits until all of these know what was chosen, for at most so long.
    pub(crate) fn run_until_learned(&mut self, ids: &[u64], limit: Duration) -> Value {
        let end = self.now + limit;
        loop {
            self.settle();
            if ids.iter().all(|id| self.decree(*id).chosen().is_some()) {
                return self.decree(ids[0]).chosen().unwrap().clone();
            }
            assert!(self.wait() && self.now <= end, "nothing is learned in time");
        }
    }

    /// A node dies with so many records of its write under way durable, and what it was sent or sends
    /// is lost or not, as the network likes.
    pub(crate) fn crash(&mut self, id: u64, kept: usize) {
        let server = self.server(id);
        server.up = false;
        if let Some((_, records)) = server.writing.take() {
            server.disk.extend(records.into_iter().take(kept));
        }
        server.stalled = false;
        for peer in self.ids() {
            if peer != n(id) {
                self.relink(peer, n(id));
            }
        }
    }

    pub(crate) fn restart(&mut self, id: u64) {
        let now = self.now;
        let server = self.server(id);
        let disk = server.disk.clone();
        server.decree = Decree::new(server.config.clone(), disk, now).unwrap();
        server.up = true;
        self.drain(n(id));
        for peer in self.ids() {
            if peer != n(id) {
                self.relink(peer, n(id));
            }
        }
    }

    pub(crate) fn count_sent(&self, fits: impl Fn(&Body) -> bool) -> usize {
        self.sent.iter().filter(|e| fits(&e.message.body)).count()
    }

    /// What is chosen by all votes that were ever reported or are on a disk.
    pub(crate) fn truth(&self, phases: &PaxosPhases) -> Vec<ValueId> {
        let mut votes: BTreeMap<(Ballot, ValueId), Vec<NodeId>> = BTreeMap::new();
        let said = self.sent.iter().filter_map(|e| match &e.message.body {
            Body::Accepted { vote, .. } => Some((e.from, vote)),
            _ => None,
        });
        let kept = self.servers.iter().flat_map(|(id, server)| {
            server.disk.iter().filter_map(|record| match record {
                Record::Voted { vote, .. } => Some((*id, vote)),
                _ => None,
            })
        });
        for (from, vote) in said.chain(kept) {
            let voters = votes.entry((vote.ballot, vote.value.id)).or_default();
            voters.push(from);
        }
        let mut chosen = Vec::new();
        for ((ballot, id), voters) in votes {
            let quorum = if ballot.is_fast() {
                phases.fast().unwrap()
            } else {
                phases.phase2()
            };
            if quorum.is_quorum(quorum.set(voters)) && !chosen.contains(&id) {
                chosen.push(id);
            }
        }
        chosen
    }
}
