//! The stage of a story: a cluster in which nothing moves by itself, and everything that becomes
//! visible is told.

use std::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{
    Entries, EntryKind, Envelope, LogEvent, LogIndex, Machine, NodeId, ReplicatedLog, Role, Ticket,
};
use synod_raft::{Body, Detail, Event, Message, Term};

use crate::cluster::Cluster;
use crate::law::Law;
use crate::words::{self, Names};

/// What went wrong, without the place in the file.
pub(crate) type Done = Result<(), String>;

/// A request of a client: where it was put, and what its client has been told.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) at: NodeId,
    pub(crate) fate: String,
}

pub(crate) const UNANSWERED: &str = "unanswered";

#[derive(Clone)]
pub(crate) struct Stage {
    pub(crate) cluster: Cluster,
    pub(crate) names: Names,
    /// Ways on which everything that is sent from now on is lost.
    pub(crate) cut: Vec<(NodeId, NodeId)>,
    /// Messages that are late: only `late` delivers them.
    pub(crate) late: Vec<Envelope<Message>>,
    /// Nodes that tell their clients nothing for now.
    pub(crate) holding: Vec<NodeId>,
    pub(crate) held: Vec<(NodeId, String, String)>,
    pub(crate) requests: BTreeMap<String, Request>,
    pub(crate) tickets: BTreeMap<(NodeId, Ticket), String>,
    pub(crate) memory: BTreeMap<String, Box<Self>>,
    pub(crate) law: Law,
    /// Only events are told.
    pub(crate) quiet: bool,
    /// What has been told since the last look.
    pub(crate) told: Vec<String>,
    seen: BTreeMap<NodeId, usize>,
    states: BTreeMap<NodeId, (Term, Option<NodeId>)>,
}

impl Stage {
    pub(crate) fn new(cluster: Cluster, names: Vec<String>) -> Result<Self, String> {
        let mut stage = Self {
            cluster,
            names: Names(names),
            cut: Vec::new(),
            late: Vec::new(),
            holding: Vec::new(),
            held: Vec::new(),
            requests: BTreeMap::new(),
            tickets: BTreeMap::new(),
            memory: BTreeMap::new(),
            law: Law::default(),
            quiet: false,
            told: Vec::new(),
            seen: BTreeMap::new(),
            states: BTreeMap::new(),
        };
        stage.acquaint()?;
        Ok(stage)
    }

    /// Everybody hears of everybody, so that no story has to tell who remembers whose disk.
    pub(crate) fn acquaint(&mut self) -> Done {
        let ids = self.ids();
        ids.iter().try_for_each(|id| self.attend(*id))?;
        for &from in &ids {
            for &to in &ids {
                self.greet(from, to);
            }
        }
        ids.iter().try_for_each(|id| self.attend(*id))
    }

    fn greet(&mut self, from: NodeId, to: NodeId) {
        if from == to || !self.cluster.servers[&from].up || !self.cluster.servers[&to].up {
            return;
        }
        let known = self.cluster.servers[&to].raft.status().generation;
        self.say(from, to, Term::START, Body::Stranger { known });
    }

    /// Puts a message into a node's hands that no node has sent.
    pub(crate) fn say(&mut self, from: NodeId, to: NodeId, term: Term, body: Body) {
        let servers = &self.cluster.servers;
        let link = synod_core::LinkId(servers[&from].life.max(servers[&to].life) + 1);
        let generation = servers[&from].raft.status().generation;
        let message = Message {
            generation,
            term,
            body,
        };
        self.cluster.deliver(Envelope {
            from,
            to,
            link,
            message,
        });
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.cluster.servers.keys().copied().collect()
    }

    /// Tells something that is told in quiet stretches, too.
    pub(crate) fn tell(&mut self, what: String) {
        self.told.push(what);
    }

    fn murmur(&mut self, what: String) {
        if !self.quiet {
            self.told.push(what);
        }
    }

    /// Does what a node wants done, until it wants nothing more, and tells of it.
    pub(crate) fn attend(&mut self, id: NodeId) -> Done {
        loop {
            let sent = self.cluster.network.len();
            let writes = self.cluster.servers[&id].writing.len();
            self.cluster.pump(id);
            self.tell_events(id)?;
            self.tell_messages(sent);
            let server = &self.cluster.servers[&id];
            let is_stuck = self.cluster.stuck.contains(&id);
            let new = server.writing.len() > writes;
            let idle = server.writing.is_empty() && server.loads.is_empty();
            if is_stuck && new {
                self.tell_writes(id, "begins to store");
            }
            if idle || is_stuck || !server_is_up(&self.cluster, id) {
                break;
            }
            self.sync(id, "stores");
        }
        self.law.check_logs(&self.cluster, &self.names)
    }

    /// A node's disk finishes what it has.
    pub(crate) fn sync(&mut self, id: NodeId, verb: &str) {
        self.tell_writes(id, verb);
        self.cluster.sync(id);
    }

    fn tell_writes(&mut self, id: NodeId, verb: &str) {
        let told = self.states.entry(id).or_default();
        let mut fresh = *told;
        let writing = &self.cluster.servers[&id].writing;
        let records = writing.iter().flat_map(|(_, records)| records.iter());
        let parts = self.names.records(records, &mut fresh);
        if verb != "begins to store" {
            *told = fresh;
        }
        if !parts.is_empty() {
            let text = format!("{} {verb} {}", self.names.of(id), parts.join("; "));
            self.murmur(text);
        }
    }

    fn tell_messages(&mut self, sent: usize) {
        for envelope in self.cluster.network.split_off(sent) {
            let lost = self.cut.contains(&(envelope.from, envelope.to));
            let text = self.names.message(&envelope);
            self.murmur(if lost { format!("{text} (lost)") } else { text });
            if !lost {
                self.cluster.network.push(envelope);
            }
        }
    }

    fn tell_events(&mut self, id: NodeId) -> Done {
        let seen = self.seen.entry(id).or_default();
        let events: Vec<Event> = self.cluster.servers[&id].events[*seen..].to_vec();
        *seen += events.len();
        for (place, event) in events.iter().enumerate() {
            if let LogEvent::Restore(_) = event {
                self.restore(id, &events[place + 1..]);
            }
            self.tell_event(id, event.clone())?;
        }
        Ok(())
    }

    fn tell_event(&mut self, id: NodeId, event: Event) -> Done {
        let name = self.names.of(id);
        match event {
            LogEvent::Role(change) => {
                if change.role == Role::Leader {
                    self.law.leads(id, change.era, &self.cluster, &self.names)?;
                }
                let leader = change.leader.filter(|leader| *leader != id);
                let of = leader.map_or(String::new(), |l| format!(" of {}", self.names.of(l)));
                let (role, era, why) = (change.role, change.era, change.why);
                if role != Role::Candidate {
                    self.tell(format!("{name}: {role}{of} in term {era} ({why})"));
                }
            }
            LogEvent::Committed(committed) => {
                self.law.committed(id, &committed, &self.names)?;
                self.tell_committed(&format!("{name}: committed"), &committed.entries);
                for (index, _, _, ticket) in committed.iter() {
                    if let Some(ticket) = ticket {
                        self.resolve(id, ticket, format!("done at {}", index.0))?;
                    }
                }
            }
            LogEvent::Read { ticket, index } => {
                self.resolve(id, ticket, format!("answered at {}", index.0))?;
            }
            LogEvent::Displaced(ticket) => self.resolve(id, ticket, "displaced".into())?,
            LogEvent::Refused(ticket, why) => {
                self.resolve(id, ticket, format!("refused ({why})"))?;
            }
            LogEvent::Unknown(ticket) => self.resolve(id, ticket, "unknown".into())?,
            LogEvent::Restore(meta) => {
                self.tell(format!(
                    "{name}: its state machine restarts from the snapshot through {}",
                    meta.index().0
                ));
            }
            LogEvent::Stopped(stop) => self.tell(format!("{name}: stopped: {}", stop.rule)),
            LogEvent::Detail(detail) => self.tell_detail(&name, detail),
        }
        Ok(())
    }

    /// In how many pieces a node hands out what is committed is no part of any story.
    fn tell_committed(&mut self, start: &str, entries: &Entries) {
        let entries = words::entries(entries);
        match self.told.last_mut() {
            Some(last) if last.starts_with(start) => {
                last.push(' ');
                last.push_str(&entries);
            }
            _ => self.tell(format!("{start} {entries}")),
        }
    }

    fn tell_detail(&mut self, name: &str, detail: Detail) {
        let text = match detail {
            Detail::Election { term, pre: true } => {
                format!("asks whether it would win term {}", term.0)
            }
            Detail::Election { term, pre: false } => {
                format!("stands for election in term {}", term.0)
            }
            Detail::Membership {
                index,
                voters,
                learners,
            } => format!(
                "configuration of {}: voters {}; learners {}",
                index.0,
                self.names.list(&voters),
                self.names.list(&learners)
            ),
            Detail::Amnesia { peer, .. } => {
                format!("{} has another disk than before", self.names.of(peer))
            }
            Detail::SnapshotOffered { to, id } => format!(
                "{} is so far behind that it gets the snapshot through {}",
                self.names.of(to),
                id.index.0
            ),
            Detail::SnapshotInstalled { id } => {
                format!("the snapshot through {} is in place", id.index.0)
            }
            Detail::Truncated { from, through } => {
                format!("drops {}..{} of its log", from.0, through.0)
            }
            Detail::Compacted { through } => format!("forgets its log through {}", through.0),
            other => format!("{other:?}"),
        };
        self.tell(format!("{name}: {text}"));
    }

    /// A client hears of what became of its request, unless the node keeps its answers back.
    fn resolve(&mut self, id: NodeId, ticket: Ticket, fate: String) -> Done {
        let Some(request) = self.tickets.remove(&(id, ticket)) else {
            return Err(format!(
                "{} resolves {ticket} again or without reason: {fate}",
                self.names.of(id)
            ));
        };
        if self.holding.contains(&id) {
            self.held.push((id, request, fate));
            return Ok(());
        }
        self.answer(&request, fate)
    }

    /// A client hears of what became of its request: once, and for good.
    pub(crate) fn answer(&mut self, request: &str, fate: String) -> Done {
        let known = self.requests.get_mut(request).ok_or("no such request")?;
        if known.fate != UNANSWERED {
            return Err(format!("{request} was {}, and now is {fate}", known.fate));
        }
        known.fate.clone_from(&fate);
        self.tell(format!("client of {request}: {fate}"));
        Ok(())
    }

    /// The clients of a node that is gone hear nothing more from it.
    pub(crate) fn abandon(&mut self, id: NodeId) -> Done {
        self.held.retain(|(at, _, _)| *at != id);
        self.tickets.retain(|(at, _), _| *at != id);
        let open = |request: &Request| request.at == id && request.fate == UNANSWERED;
        let mut waiting: Vec<String> = Vec::new();
        for (name, request) in &self.requests {
            if open(request) {
                waiting.push(name.clone());
            }
        }
        for name in waiting {
            self.answer(&name, "unknown".into())?;
        }
        Ok(())
    }

    /// A state machine becomes what the snapshot on its node's disk holds; what was handed out after
    /// that comes on top, whatever it is.
    fn restore(&mut self, id: NodeId, later: &[Event]) {
        let now = self.cluster.now;
        let server = self.cluster.server(id.0);
        let contents = words::text(&server.image.snapshot_contents().unwrap());
        let command = |part: &str| {
            let (index, command) = part.split_once(':').unwrap();
            let command = Bytes::copy_from_slice(command.as_bytes());
            (LogIndex(index.parse().unwrap()), command)
        };
        server.applied = contents.split_whitespace().map(command).collect();
        for event in later {
            if let LogEvent::Committed(committed) = event {
                let commands = committed.iter().filter(|c| c.1 == EntryKind::Command);
                let commands = commands.map(|(index, _, command, _)| (index, command.clone()));
                server.applied.extend(commands);
            }
        }
        let index = server.image.snapshot().unwrap().index();
        server.raft.applied(now, index);
    }

    /// Forgets what was told of a node: it starts anew.
    pub(crate) fn restarted(&mut self, id: NodeId) {
        self.seen.insert(id, 0);
        let state = self.cluster.servers[&id].image.state();
        let state = state.map(words::term_and_vote).unwrap_or_default();
        self.states.insert(id, state);
    }

    /// What a node has on its disk, as a row.
    pub(crate) fn row(&self, id: NodeId) -> String {
        let image = &self.cluster.servers[&id].image;
        words::row(image.compacted(), image.iter())
    }

    /// The commands that a node's state machine has applied.
    pub(crate) fn applied(&self, id: NodeId) -> String {
        let commands = self.cluster.commands(id.0);
        if commands.is_empty() {
            "nothing".into()
        } else {
            commands.join(" ")
        }
    }

    /// Ticks a node.
    pub(crate) fn tick(&mut self, id: NodeId) -> Done {
        let now = self.cluster.now;
        let server = self.cluster.server(id.0);
        server.raft.tick(now);
        server.raft.check();
        self.attend(id)
    }
}

fn server_is_up(cluster: &Cluster, id: NodeId) -> bool {
    cluster.servers[&id].up
}
