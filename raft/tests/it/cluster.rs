//! A cluster in one hand: nothing moves unless a test says so.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Batch, EntryKind, Envelope, Instant, Link, LinkId, LoadId, LogEvent, LogImage, LogIndex,
    LogLoad, LogRecord, Machine, NodeId, Output, ReadLevel, Rejected, ReplicatedLog, Role, Ticket,
    WriteId,
};
use synod_raft::{Config, ConfigBuilder, Event, Message, Raft};

/// One node with its disk.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) raft: Raft,
    pub(crate) image: LogImage,
    /// Writes that are handed out and not durable yet, in order.
    pub(crate) writing: Vec<(WriteId, Batch<LogRecord>)>,
    pub(crate) loads: Vec<(LoadId, LogLoad)>,
    pub(crate) events: Vec<Event>,
    /// What was handed out for the state machine: index and command.
    pub(crate) applied: Vec<(LogIndex, Bytes)>,
    pub(crate) up: bool,
    pub(crate) life: u64,
}

/// A cluster whose disks are fast and whose network loses nothing unless a test says otherwise.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) servers: BTreeMap<NodeId, Server>,
    pub(crate) network: Vec<Envelope<Message>>,
    /// Ways that lose everything: from, to.
    pub(crate) cut: Vec<(NodeId, NodeId)>,
    /// Nodes whose disks are stuck: writes stay under way.
    pub(crate) stuck: Vec<NodeId>,
    pub(crate) messages: u64,
    configure: Rc<dyn Fn(ConfigBuilder) -> ConfigBuilder>,
    voters: Vec<NodeId>,
}

pub(crate) const fn n(id: u64) -> NodeId {
    NodeId(id)
}

pub(crate) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Cluster {
    pub(crate) fn new(size: u64) -> Self {
        Self::with(size, |builder| builder)
    }

    pub(crate) fn with(
        size: u64,
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder + 'static,
    ) -> Self {
        let voters: Vec<NodeId> = (1..=size).map(NodeId).collect();
        let mut cluster = Self {
            now: Instant::from_millis(1),
            servers: BTreeMap::new(),
            network: Vec::new(),
            cut: Vec::new(),
            stuck: Vec::new(),
            messages: 0,
            configure: Rc::new(configure),
            voters: voters.clone(),
        };
        for id in voters {
            cluster.start(id, LogImage::new(), 0);
        }
        cluster.connect();
        cluster
    }

    pub(crate) fn config(&self, id: NodeId, life: u64) -> Config {
        let mut builder = Config::builder(id).seed(id.0 * 1000 + life);
        if self.voters.contains(&id) {
            builder = builder.voters(self.voters.iter().copied());
        }
        (self.configure)(builder).build().unwrap()
    }

    /// Starts a node on what `image` holds.
    pub(crate) fn start(&mut self, id: NodeId, image: LogImage, life: u64) {
        let config = self.config(id, life);
        let raft = Raft::new(config, image.restored(usize::MAX), self.now).unwrap();
        let server = Server {
            raft,
            image,
            writing: Vec::new(),
            loads: Vec::new(),
            events: Vec::new(),
            applied: Vec::new(),
            up: true,
            life,
        };
        self.servers.insert(id, server);
    }

    /// Brings up all links between nodes that run.
    pub(crate) fn connect(&mut self) {
        let ids: Vec<NodeId> = self.servers.keys().copied().collect();
        for &a in &ids {
            for &b in &ids {
                if a != b && self.servers[&b].up {
                    self.link(a, b);
                }
            }
        }
    }

    fn link(&mut self, at: NodeId, peer: NodeId) {
        let link = LinkId(self.servers[&at].life.max(self.servers[&peer].life) + 1);
        let now = self.now;
        let server = self.servers.get_mut(&at).unwrap();
        if server.up {
            server.raft.link(now, peer, Link::Up(link));
        }
    }

    pub(crate) fn server(&mut self, id: u64) -> &mut Server {
        self.servers.get_mut(&NodeId(id)).unwrap()
    }

    pub(crate) fn raft(&mut self, id: u64) -> &mut Raft {
        &mut self.server(id).raft
    }

    /// Collects what a node wants done, and does what its surroundings do at once.
    pub(crate) fn pump(&mut self, id: NodeId) {
        let server = self.servers.get_mut(&id).unwrap();
        while server.up
            && let Some(output) = server.raft.poll()
        {
            server.raft.check();
            match output {
                Output::Send(envelope) => {
                    self.messages += 1;
                    self.network.push(envelope);
                }
                Output::Persist(write, records) => server.writing.push((write, records)),
                Output::Load(load, what) => server.loads.push((load, what)),
                Output::Event(event) => {
                    if let LogEvent::Committed(committed) = &event {
                        let commands = committed.iter().filter(|c| c.1 != EntryKind::Config);
                        for (index, _, command, _) in commands {
                            server.applied.push((index, command.clone()));
                        }
                        server.raft.applied(self.now, committed.last());
                    }
                    server.events.push(event);
                }
            }
        }
    }

    /// Finishes what a node's disk has under way.
    pub(crate) fn sync(&mut self, id: NodeId) -> bool {
        let server = self.servers.get_mut(&id).unwrap();
        let mut any = false;
        for (write, records) in std::mem::take(&mut server.writing) {
            for record in records {
                server.image.apply(record).unwrap();
            }
            server.raft.persisted(self.now, write);
            any = true;
        }
        for (load, what) in std::mem::take(&mut server.loads) {
            let answer = server.image.load(&what);
            server.raft.loaded(self.now, load, answer);
            any = true;
        }
        any
    }

    /// Delivers one message.
    pub(crate) fn deliver(&mut self, envelope: Envelope<Message>) {
        let (from, to) = (envelope.from, envelope.to);
        let now = self.now;
        if self.cut.contains(&(from, to)) {
            return;
        }
        if let Some(server) = self.servers.get_mut(&to)
            && server.up
        {
            server.raft.step(now, envelope);
            server.raft.check();
        }
    }

    /// Lets everything run until nothing moves without time going by.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10_000 {
            let ids: Vec<NodeId> = self.servers.keys().copied().collect();
            let mut moved = false;
            for id in ids {
                self.pump(id);
                if !self.stuck.contains(&id) && self.servers[&id].up {
                    moved |= self.sync(id);
                    self.pump(id);
                }
            }
            for envelope in std::mem::take(&mut self.network) {
                moved = true;
                self.deliver(envelope);
            }
            if !moved {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets time go by in small steps.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            self.now = self.now + ms(1);
            self.tick();
            self.settle();
        }
    }

    /// Ticks whoever is due.
    pub(crate) fn tick(&mut self) {
        let now = self.now;
        for server in self.servers.values_mut().filter(|server| server.up) {
            if server.raft.deadline().is_some_and(|wake| wake.at <= now) {
                server.raft.tick(now);
                server.raft.check();
            }
        }
    }

    /// Lets time go by until there is a leader that a quorum follows.
    pub(crate) fn elect(&mut self) -> NodeId {
        for _ in 0..10_000 {
            self.run(ms(1));
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader");
    }

    /// The node that leads the highest term and has committed in it.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let up = self.servers.iter().filter(|(_, server)| server.up);
        up.filter(|(_, server)| server.raft.status().role == Role::Leader)
            .max_by_key(|(_, server)| server.raft.status().era)
            .map(|(id, _)| *id)
    }

    pub(crate) fn propose(&mut self, id: NodeId, command: &str) -> Result<Ticket, Rejected> {
        let now = self.now;
        let command = Bytes::copy_from_slice(command.as_bytes());
        self.servers
            .get_mut(&id)
            .unwrap()
            .raft
            .propose(now, command)
    }

    pub(crate) fn read(&mut self, id: NodeId, level: ReadLevel) -> Result<Ticket, Rejected> {
        let now = self.now;
        self.servers.get_mut(&id).unwrap().raft.read(now, level)
    }

    /// Cuts a node off in both directions, without its links going down.
    pub(crate) fn isolate(&mut self, id: NodeId) {
        for other in self.servers.keys().copied().filter(|other| *other != id) {
            self.cut.push((id, other));
            self.cut.push((other, id));
        }
    }

    /// Joins everything again.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
    }

    /// Ends a node: what was not durable is gone.
    pub(crate) fn crash(&mut self, id: NodeId) {
        let now = self.now;
        self.servers.get_mut(&id).unwrap().up = false;
        self.network
            .retain(|envelope| envelope.from != id && envelope.to != id);
        for (_, server) in self.servers.iter_mut().filter(|(other, _)| **other != id) {
            if server.up {
                server.raft.link(now, id, Link::Down);
            }
        }
    }

    /// Starts a node again from what was durable.
    pub(crate) fn restart(&mut self, id: NodeId) {
        let server = self.servers.remove(&id).unwrap();
        self.start(id, server.image, server.life + 1);
        let others: Vec<NodeId> = self.servers.keys().copied().collect();
        for other in others {
            if other != id && self.servers[&other].up {
                self.link(id, other);
                self.link(other, id);
            }
        }
    }

    /// The commands that a node has handed out.
    pub(crate) fn commands(&self, id: u64) -> Vec<String> {
        let server = &self.servers[&NodeId(id)];
        let text = |command: &Bytes| String::from_utf8_lossy(command).into_owned();
        server
            .applied
            .iter()
            .map(|(_, command)| text(command))
            .filter(|c| !c.is_empty())
            .collect()
    }

    /// What became of a ticket at a node, as text.
    pub(crate) fn outcome(&self, id: NodeId, ticket: Ticket) -> Vec<String> {
        let mut found = Vec::new();
        for event in &self.servers[&id].events {
            match event {
                LogEvent::Committed(committed) => {
                    let hit = committed.iter().find(|(_, _, _, t)| *t == Some(ticket));
                    found.extend(hit.map(|(index, ..)| format!("committed {index}")));
                }
                LogEvent::Displaced(t) if *t == ticket => found.push("displaced".into()),
                LogEvent::Unknown(t) if *t == ticket => found.push("unknown".into()),
                LogEvent::Refused(t, why) if *t == ticket => found.push(format!("refused: {why}")),
                LogEvent::Read { ticket: t, index } if *t == ticket => {
                    found.push(format!("read {index}"));
                }
                _ => {}
            }
        }
        found
    }
}
