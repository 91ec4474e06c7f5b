//! A cluster in virtual time: links with a fixed delay that keep their order, ways that are cut,
//! disks that a test can hold, crashes that keep a part of what was being written.
//!
//! After every step each machine checks itself, and the cluster checks that nobody hands out another
//! entry than anybody has handed out in that place, in order and without a gap.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Batch, Encode, Entry as LogEntry, EntryKind, Envelope, Instant, Lane, Link, LinkId, LoadId,
    LogEvent, LogImage, LogIndex, LogLoad, LogRecord, Machine, NodeId, OldLog, Output, ReadLevel,
    Rejected, ReplicatedLog, Role, Status, Ticket, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::log::planted::Bug;
use synod_paxos::log::{Body, Config, ConfigBuilder, Detail, Event, Message, MultiPaxos};

/// The longest that a round of the election may be drawn by default.
pub(crate) const LONGEST_ROUND: Duration = Duration::from_millis(125);

/// A message on its way, and whether it gets there.
pub(crate) type Filter = Rc<dyn Fn(&Envelope<Message>) -> bool>;

/// One node with its disk.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) log: MultiPaxos,
    pub(crate) image: LogImage,
    /// Writes that are handed out and not durable yet, in order.
    pub(crate) writing: Vec<(WriteId, Batch<LogRecord>)>,
    pub(crate) loads: Vec<(LoadId, LogLoad)>,
    pub(crate) events: Vec<Event>,
    /// The last entry that was handed out.
    handed: LogIndex,
    pub(crate) applied: Vec<(LogIndex, Bytes)>,
    pub(crate) up: bool,
    pub(crate) life: u64,
}

#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) now: Instant,
    pub(crate) delay: Duration,
    pub(crate) servers: BTreeMap<NodeId, Server>,
    network: VecDeque<(Instant, Envelope<Message>)>,
    /// Ways that lose everything: from, to.
    pub(crate) cut: Vec<(NodeId, NodeId)>,
    /// What else is lost: messages for which this is false, looked at when they arrive.
    pub(crate) passes: Option<Filter>,
    /// Nodes whose disks hold everything back.
    pub(crate) stuck: Vec<NodeId>,
    /// Nodes whose state machines apply nothing of what is handed out.
    pub(crate) idle: Vec<NodeId>,
    /// Whether a node may stop for good.
    pub(crate) may_stop: bool,
    /// How many messages of each kind were sent.
    pub(crate) sent: BTreeMap<&'static str, u64>,
    /// How many bytes, by their destination.
    pub(crate) bytes: BTreeMap<NodeId, u64>,
    /// What anybody has handed out.
    chosen: BTreeMap<LogIndex, LogEntry>,
    /// Phases 1 that have begun: when, and of which ballot.
    pub(crate) ballots: Vec<(Instant, Ballot)>,
    configure: Rc<dyn Fn(ConfigBuilder) -> ConfigBuilder>,
    founders: Vec<NodeId>,
}

/// With `SYNOD_PLANT`, breaks every node in one classic way: some test must fail then.
pub(crate) fn plant(builder: ConfigBuilder) -> ConfigBuilder {
    let name = std::env::var("SYNOD_PLANT").ok();
    let bugs = Bug::ALL.into_iter();
    match name.map(|name| (bugs.clone().find(|bug| format!("{bug:?}") == name), name)) {
        None => builder,
        Some((Some(bug), _)) => builder.danger_plant(bug),
        Some((None, name)) => panic!("SYNOD_PLANT={name} is none of {:?}", Bug::ALL),
    }
}

pub(crate) const fn n(id: u64) -> NodeId {
    NodeId(id)
}

pub(crate) const fn i(index: u64) -> LogIndex {
    LogIndex(index)
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Cluster {
    /// Voters 1 to `size`.
    pub(crate) fn new(size: u64) -> Self {
        Self::with(size, |builder| builder)
    }

    pub(crate) fn with(
        size: u64,
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder + 'static,
    ) -> Self {
        let ids: Vec<u64> = (1..=size).collect();
        Self::of(&ids, configure)
    }

    /// Nodes that found a cluster: voters, unless `configure` says otherwise.
    pub(crate) fn of(
        ids: &[u64],
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder + 'static,
    ) -> Self {
        let founders: Vec<NodeId> = ids.iter().map(|id| NodeId(*id)).collect();
        let mut cluster = Self {
            now: Instant::from_millis(1),
            delay: ms(1),
            servers: BTreeMap::new(),
            network: VecDeque::new(),
            cut: Vec::new(),
            passes: None,
            stuck: Vec::new(),
            idle: Vec::new(),
            may_stop: false,
            sent: BTreeMap::new(),
            bytes: BTreeMap::new(),
            chosen: BTreeMap::new(),
            ballots: Vec::new(),
            configure: Rc::new(configure),
            founders: founders.clone(),
        };
        for id in founders {
            cluster.start(id, LogImage::new(), 0);
        }
        cluster
    }

    fn config(&self, id: NodeId, life: u64) -> Config {
        let mut builder = Config::builder(id).seed(id.0.wrapping_mul(1000) + life);
        if self.founders.contains(&id) {
            builder = builder.voters(self.founders.iter().copied());
            builder = (self.configure)(builder);
        }
        plant(builder).build().unwrap()
    }

    /// Starts a node on what `image` holds, and brings its links up.
    pub(crate) fn start(&mut self, id: NodeId, mut image: LogImage, life: u64) {
        image.restart();
        let config = self.config(id, life);
        let log = MultiPaxos::new(config, image.restored(usize::MAX), self.now).unwrap();
        log.check();
        let server = Server {
            log,
            image,
            writing: Vec::new(),
            loads: Vec::new(),
            events: Vec::new(),
            handed: LogIndex::START,
            applied: Vec::new(),
            up: true,
            life,
        };
        self.servers.insert(id, server);
        for other in self.ids() {
            if other != id && self.server(other).up {
                self.link(id, other);
                self.link(other, id);
            }
        }
        self.pump();
    }

    /// Adds a node that knows nobody and has an empty disk.
    pub(crate) fn join(&mut self, id: u64) {
        self.start(NodeId(id), LogImage::new(), 0);
    }

    fn link(&mut self, at: NodeId, peer: NodeId) {
        let link = LinkId(self.servers[&at].life + self.servers[&peer].life + 1);
        let now = self.now;
        self.log(at).link(now, peer, Link::Up(link));
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    pub(crate) fn server(&mut self, id: NodeId) -> &mut Server {
        self.servers.get_mut(&id).unwrap()
    }

    pub(crate) fn log(&mut self, id: NodeId) -> &mut MultiPaxos {
        &mut self.server(id).log
    }

    pub(crate) fn status(&self, id: NodeId) -> Status {
        self.servers[&id].log.status()
    }

    // What a driver does.

    /// Does what the nodes want done at this moment.
    pub(crate) fn pump(&mut self) {
        loop {
            let mut moved = false;
            for id in self.ids() {
                self.poll(id);
                if self.servers[&id].up && !self.stuck.contains(&id) {
                    moved |= self.sync(id);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn poll(&mut self, id: NodeId) {
        let (now, delay) = (self.now, self.delay);
        let server = self.servers.get_mut(&id).unwrap();
        while server.up
            && let Some(output) = server.log.poll()
        {
            server.log.check();
            match output {
                Output::Send(envelope) => {
                    *self.sent.entry(kind(&envelope.message.body)).or_default() += 1;
                    *self.bytes.entry(envelope.to).or_default() +=
                        envelope.message.to_bytes().len() as u64;
                    self.network.push_back((now + delay, envelope));
                }
                Output::Persist(write, records) => server.writing.push((write, records)),
                Output::Load(load, what) => server.loads.push((load, what)),
                Output::Event(event) => {
                    let stopped = matches!(event, LogEvent::Stopped(_));
                    assert!(self.may_stop || !stopped, "{id}: {event:?}");
                    server.hear(&event, &mut self.chosen);
                    if let LogEvent::Detail(Detail::Preparing { ballot, .. }) = &event {
                        self.ballots.push((now, *ballot));
                    }
                    server.events.push(event);
                    if !self.idle.contains(&id) {
                        server.log.applied(now, server.handed);
                    }
                }
            }
        }
    }

    /// Finishes what a node's disk has under way.
    pub(crate) fn sync(&mut self, id: NodeId) -> bool {
        let now = self.now;
        let server = self.server(id);
        let mut any = false;
        for (write, records) in std::mem::take(&mut server.writing) {
            for record in records {
                server.image.apply(record).unwrap();
            }
            server.log.persisted(now, write);
            server.log.check();
            any = true;
        }
        for (load, what) in std::mem::take(&mut server.loads) {
            let answer = server.image.load(&what);
            server.log.loaded(now, load, answer);
            server.log.check();
            any = true;
        }
        any
    }

    fn deliver(&mut self, envelope: Envelope<Message>) {
        let now = self.now;
        let way = (envelope.from, envelope.to);
        let lost = self.cut.contains(&way)
            || self
                .passes
                .as_ref()
                .is_some_and(|passes| !passes(&envelope));
        if let Some(server) = self.servers.get_mut(&envelope.to)
            && server.up
            && !lost
        {
            server.log.step(now, envelope);
            server.log.check();
        }
    }

    /// When something happens next: a message arrives, or somebody's time is up.
    fn next(&self) -> Option<Instant> {
        let arrival = self.network.front().map(|(at, _)| *at);
        let up = self.servers.values().filter(|server| server.up);
        let wakes = up
            .filter_map(|server| server.log.deadline())
            .map(|wake| wake.at);
        wakes.chain(arrival).min()
    }

    /// Goes on to `end`.
    pub(crate) fn run_until(&mut self, end: Instant) {
        self.pump();
        while let Some(at) = self.next().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.step();
        }
        self.now = end;
        self.pump();
    }

    /// What is due now.
    fn step(&mut self) {
        let now = self.now;
        while self.network.front().is_some_and(|(at, _)| *at <= now) {
            let (_, envelope) = self.network.pop_front().unwrap();
            self.deliver(envelope);
            self.pump();
        }
        for server in self.servers.values_mut().filter(|server| server.up) {
            if server.log.deadline().is_some_and(|wake| wake.at <= now) {
                server.log.tick(now);
                server.log.check();
                let next = server.log.deadline();
                assert!(
                    next.is_none_or(|wake| wake.at > now),
                    "a tick moves {next:?} on"
                );
            }
        }
        self.pump();
    }

    pub(crate) fn run(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    // What a test does.

    /// Goes on until there is a leader that knows all that was chosen before it.
    pub(crate) fn elect(&mut self) -> NodeId {
        for _ in 0..3_000 {
            self.run(ms(1));
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("no leader")
    }

    /// Makes `id` the leader, with everybody content.
    pub(crate) fn led_by(&mut self, id: NodeId) {
        self.led_by_in(id, ms(300));
    }

    /// As [`led_by`](Self::led_by), with rounds of the election of any length.
    pub(crate) fn led_by_in(&mut self, id: NodeId, settles: Duration) {
        while self.leader().is_none() {
            let next = self.next().expect("an election");
            self.run_until(next);
        }
        self.run(settles);
        let leader = self.leader().unwrap();
        if leader != id {
            let now = self.now;
            self.log(leader).transfer(now, id).unwrap();
            self.run(settles);
        }
        assert_eq!(self.leader(), Some(id));
    }

    /// Goes on to the next thing that happens.
    pub(crate) fn step_once(&mut self) {
        let next = self.next().expect("something happens");
        self.run_until(next);
    }

    /// The node that leads the highest ballot.
    pub(crate) fn leader(&self) -> Option<NodeId> {
        let up = self.servers.iter().filter(|(_, server)| server.up);
        let leads = up.filter(|(_, server)| server.log.status().role == Role::Leader);
        let highest = leads.max_by_key(|(_, server)| server.log.status().era);
        highest.map(|(id, _)| *id)
    }

    pub(crate) fn propose(&mut self, id: NodeId, command: &str) -> Result<Ticket, Rejected> {
        let now = self.now;
        let command = Bytes::copy_from_slice(command.as_bytes());
        let ticket = self.log(id).propose(now, command);
        self.pump();
        ticket
    }

    pub(crate) fn read(&mut self, id: NodeId, level: ReadLevel) -> Result<Ticket, Rejected> {
        let now = self.now;
        let ticket = self.log(id).read(now, level);
        self.pump();
        ticket
    }

    /// Proposes at `leader` and goes on until that is chosen.
    pub(crate) fn commit(&mut self, leader: NodeId, command: &str) -> LogIndex {
        let ticket = self.propose(leader, command).unwrap();
        for _ in 0..1_000 {
            if let Some(index) = self.committed(leader, ticket) {
                return index;
            }
            self.run(ms(1));
        }
        panic!(
            "{command} is not chosen: {:?}",
            self.outcome(leader, ticket)
        )
    }

    fn committed(&self, id: NodeId, ticket: Ticket) -> Option<LogIndex> {
        self.servers[&id]
            .events
            .iter()
            .find_map(|event| match event {
                LogEvent::Committed(committed) => committed
                    .iter()
                    .find(|(.., of)| *of == Some(ticket))
                    .map(|(index, ..)| index),
                _ => None,
            })
    }

    /// How long it takes until something that is proposed from now on is chosen: a client tries
    /// every node that leads, again and again.
    pub(crate) fn progress(&mut self, limit: Duration) -> Option<Duration> {
        let (start, mut asked) = (self.now, BTreeMap::new());
        while self.now <= start + limit {
            for id in self.ids() {
                let status = self.status(id);
                if !self.servers[&id].up || status.role != Role::Leader {
                    continue;
                }
                if let Entry::Vacant(slot) = asked.entry((id, status.era)) {
                    let text = format!("{id} in {} at {:?}", status.era, self.now);
                    if let Ok(ticket) = self.propose(id, &text) {
                        slot.insert(ticket);
                    }
                }
            }
            let done = |((id, _), ticket): (&(NodeId, u64), &Ticket)| self.committed(*id, *ticket);
            if asked.iter().any(|asked| done(asked).is_some()) {
                return Some(self.now.since(start));
            }
            self.run(ms(1));
        }
        None
    }

    /// How many phases 1 have begun since.
    pub(crate) fn ballots_since(&self, start: Instant) -> usize {
        self.ballots.iter().filter(|(at, _)| *at > start).count()
    }

    /// Cuts both ways between two nodes.
    pub(crate) fn part(&mut self, a: NodeId, b: NodeId) {
        self.cut.extend([(a, b), (b, a)]);
    }

    /// Cuts a node off from all others, without its links going down.
    pub(crate) fn isolate(&mut self, id: NodeId) {
        for other in self.ids().into_iter().filter(|other| *other != id) {
            self.part(id, other);
        }
    }

    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.passes = None;
    }

    /// Loses every message for which `passes` is false.
    pub(crate) fn lose_unless(&mut self, passes: impl Fn(&Envelope<Message>) -> bool + 'static) {
        self.passes = Some(Rc::new(passes));
    }

    /// Ends a node: what was not durable is gone.
    pub(crate) fn crash(&mut self, id: NodeId) {
        self.crash_keeping(id, 0);
    }

    /// Ends a node of whose writes under way the first `records` have reached the disk.
    pub(crate) fn crash_keeping(&mut self, id: NodeId, records: usize) {
        let now = self.now;
        let server = self.server(id);
        let under_way = std::mem::take(&mut server.writing);
        for record in under_way
            .into_iter()
            .flat_map(|(_, batch)| batch)
            .take(records)
        {
            server.image.apply(record).unwrap();
        }
        server.up = false;
        self.network
            .retain(|(_, envelope)| envelope.from != id && envelope.to != id);
        for other in self.ids() {
            if other != id && self.servers[&other].up {
                self.log(other).link(now, id, Link::Down);
            }
        }
        self.pump();
    }

    /// Starts a node again from what was durable.
    pub(crate) fn restart(&mut self, id: NodeId) {
        let server = self.servers.remove(&id).unwrap();
        self.start(id, server.image, server.life + 1);
    }

    /// Takes a snapshot as a driver does.
    pub(crate) fn snapshot(&mut self, id: NodeId, at: LogIndex, contents: &'static [u8]) {
        let now = self.now;
        let server = self.server(id);
        let mut meta = server.log.describe(at).unwrap();
        meta.size = contents.len() as u64;
        let stage = LogRecord::Stage {
            lane: Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: contents.into(),
        };
        let activate = LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        };
        server.image.apply(stage).unwrap();
        server.image.apply(activate).unwrap();
        server.log.compact(now, meta);
        self.pump();
    }

    /// The commands that a node has handed out in this life.
    pub(crate) fn commands(&self, id: NodeId) -> Vec<String> {
        let text = |command: &Bytes| String::from_utf8_lossy(command).into_owned();
        let applied = self.servers[&id].applied.iter();
        applied.map(|(_, command)| text(command)).collect()
    }

    /// What became of a ticket at a node, as text: once at most.
    pub(crate) fn outcome(&self, id: NodeId, ticket: Ticket) -> String {
        outcome(&self.servers[&id].events, ticket)
    }

    /// How many messages of a kind were sent.
    pub(crate) fn count(&self, kind: &str) -> u64 {
        self.sent.get(kind).copied().unwrap_or(0)
    }
}

impl Server {
    /// Checks and keeps what is handed out.
    fn hear(&mut self, event: &Event, chosen: &mut BTreeMap<LogIndex, LogEntry>) {
        match event {
            LogEvent::Committed(committed) => {
                for (index, entry) in committed.entries.iter() {
                    assert_eq!(index, self.handed.next(), "handed out in order");
                    self.handed = index;
                    let known = chosen.entry(index).or_insert_with(|| entry.clone());
                    assert_eq!(known, entry, "one entry at {index}");
                    if entry.kind == EntryKind::Command {
                        self.applied.push((index, entry.payload.clone()));
                    }
                }
            }
            LogEvent::Restore(meta) => {
                assert!(meta.index() >= self.handed, "a snapshot goes forwards");
                self.handed = meta.index();
            }
            _ => {}
        }
    }

    pub(crate) fn details(&self) -> impl Iterator<Item = &Detail> {
        self.events.iter().filter_map(|event| match event {
            LogEvent::Detail(detail) => Some(detail),
            _ => None,
        })
    }
}

/// What became of a ticket, as text; nothing yet is an empty one.
pub(crate) fn outcome(events: &[Event], ticket: Ticket) -> String {
    let mut found = Vec::new();
    for event in events {
        match event {
            LogEvent::Committed(committed) => {
                let hit = committed.iter().find(|(.., of)| *of == Some(ticket));
                found.extend(hit.map(|(index, ..)| format!("committed {index}")));
            }
            LogEvent::Displaced(of) if *of == ticket => found.push("displaced".into()),
            LogEvent::Unknown(of) if *of == ticket => found.push("unknown".into()),
            LogEvent::Refused(of, why) if *of == ticket => found.push(format!("refused: {why}")),
            LogEvent::Read { ticket: of, index } if *of == ticket => {
                found.push(format!("read {index}"));
            }
            _ => {}
        }
    }
    assert!(found.len() <= 1, "a ticket resolves once: {found:?}");
    found.pop().unwrap_or_default()
}

pub(crate) fn kind(body: &Body) -> &'static str {
    match body {
        Body::Ask { .. } => "Ask",
        Body::Beat { .. } => "Beat",
        Body::TakeOver => "TakeOver",
        Body::Prepare { .. } => "Prepare",
        Body::Promise(_) => "Promise",
        Body::Nack => "Nack",
        Body::Accept(accept) if accept.entries.is_empty() => "Accept of nothing",
        Body::Accept(_) => "Accept",
        Body::Accepted { .. } => "Accepted",
        Body::Fetch { .. } => "Fetch",
        Body::Page(_) => "Page",
        Body::Piece(_) => "Piece",
        Body::Propose { .. } => "Propose",
        Body::Proposed { .. } => "Proposed",
        Body::Read { .. } => "Read",
        Body::ReadAt { .. } => "ReadAt",
        Body::Offer(_) => "Offer",
        Body::Voted(_) => "Voted",
        Body::QuorumRead { .. } => "QuorumRead",
        Body::QuorumReadAt { .. } => "QuorumReadAt",
        Body::Fill { .. } => "Fill",
        Body::Lease { .. } => "Lease",
        Body::Granted { .. } => "Granted",
        Body::Stranger { .. } => "Stranger",
    }
}
