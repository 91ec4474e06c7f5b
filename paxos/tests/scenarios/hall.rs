//! The stage of machines that go on: nodes, their network and disks in one hand, and what can be done
//! to them, whatever they are.

use std::collections::BTreeMap;

use synod_core::{Batch, Envelope, Instant, Link, LinkId, Machine, NodeId, Output, WriteId};

use crate::names::Names;

pub(crate) type Done = Result<(), String>;

type Message<P> = <P as Play>::Message;
type Record<P> = <P as Play>::Record;

/// A protocol on the stage.
pub(crate) trait Play: Clone + Sized {
    type Message: Clone;
    type Record: Clone;
    type Machine: Machine<Message = Self::Message, Record = Self::Record> + Clone;
    type Disk: Clone + Default;

    fn start(&self, id: NodeId, disk: &Self::Disk, now: Instant) -> Self::Machine;
    /// A node has crashed, and its application with it.
    fn crashed(&mut self, id: NodeId);
    fn check(machine: &Self::Machine);
    fn load(
        disk: &Self::Disk,
        load: &<Self::Machine as Machine>::Load,
    ) -> Option<<Self::Machine as Machine>::Loaded>;
    /// A record is durable; what is wrong with that.
    fn store(&mut self, id: NodeId, disk: &mut Self::Disk, record: Record<Self>) -> Done;

    /// Whether a message is of those that are neither told nor moved one by one.
    fn is_background(message: &Message<Self>) -> bool;
    fn tell_message(names: &Names, message: &Message<Self>) -> String;
    fn tell_record(names: &Names, record: &Record<Self>) -> Option<String>;
    /// What the application makes of it, and what of that is told.
    fn hear(
        hall: &mut Hall<Self>,
        id: NodeId,
        event: <Self::Machine as Machine>::Event,
    ) -> Option<String>;

    /// A command of this protocol alone; `None` if it is none.
    fn command(hall: &mut Hall<Self>, words: &[&str]) -> Option<Done>;
    /// What is claimed of a node: what is found, and what was expected.
    fn found(hall: &Hall<Self>, id: NodeId, words: &[&str]) -> Result<(String, String), String>;
    /// What must be true after every line.
    fn law(hall: &Hall<Self>) -> Done;
}

#[derive(Clone)]
pub(crate) struct Server<P: Play> {
    pub(crate) machine: P::Machine,
    pub(crate) disk: P::Disk,
    pub(crate) up: bool,
    stalled: bool,
    writing: Option<(WriteId, Batch<Record<P>>)>,
}

#[derive(Clone)]
pub(crate) struct Hall<P: Play> {
    pub(crate) play: P,
    pub(crate) names: Names,
    pub(crate) now: Instant,
    pub(crate) servers: BTreeMap<NodeId, Server<P>>,
    pub(crate) net: Vec<Envelope<Message<P>>>,
    /// Ways that lose everything: from, to.
    cut: Vec<(NodeId, NodeId)>,
    said: Vec<String>,
    quiet: bool,
    /// Time goes by for all, and nothing is held back.
    passing: bool,
    is_checked: bool,
    wrong: Option<String>,
    saved: Vec<(String, Self)>,
}

impl<P: Play> Hall<P> {
    pub(crate) fn new(play: P, words: &[&str], is_checked: bool) -> Result<Self, String> {
        let mut names = Names::default();
        let ids: Vec<_> = words
            .iter()
            .map(|word| NodeId(names.add_node(word)))
            .collect();
        let mut hall = Self {
            play,
            names,
            now: Instant::from_millis(1),
            servers: BTreeMap::new(),
            net: Vec::new(),
            cut: Vec::new(),
            said: Vec::new(),
            quiet: false,
            // They meet first: every storage is known to all.
            passing: true,
            is_checked,
            wrong: None,
            saved: Vec::new(),
        };
        for id in &ids {
            hall.servers
                .insert(*id, hall.started(*id, P::Disk::default()));
            hall.drain(*id);
        }
        for id in &ids {
            hall.link(*id);
        }
        hall.settle()?;
        hall.passing = false;
        hall.said.clear();
        Ok(hall)
    }

    fn started(&self, id: NodeId, disk: P::Disk) -> Server<P> {
        Server {
            machine: self.play.start(id, &disk, self.now),
            disk,
            up: true,
            stalled: false,
            writing: None,
        }
    }

    pub(crate) fn ids(&self) -> Vec<NodeId> {
        self.servers.keys().copied().collect()
    }

    /// The links of a node are as its state and its peers' say.
    fn link(&mut self, id: NodeId) {
        for peer in self.ids() {
            for (node, other) in [(id, peer), (peer, id)] {
                if node != other && self.servers[&node].up {
                    let up = self.servers[&other].up;
                    let link = if up { Link::Up(LinkId(1)) } else { Link::Down };
                    let now = self.now;
                    self.server(node).machine.link(now, other, link);
                    self.drain(node);
                }
            }
        }
    }

    pub(crate) fn server(&mut self, id: NodeId) -> &mut Server<P> {
        self.servers.get_mut(&id).unwrap()
    }

    pub(crate) fn up(&self, name: &str) -> Result<NodeId, String> {
        let id = self.names.node(name)?;
        let up = self.servers[&id].up;
        up.then_some(id).ok_or_else(|| format!("{name} is down"))
    }

    pub(crate) fn say(&mut self, line: String) {
        self.said.push(line);
    }

    /// A rule is broken: the line fails.
    pub(crate) fn fail(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    /// Lets a node say what it has to say.
    pub(crate) fn drain(&mut self, id: NodeId) {
        while let Some(output) = self.server(id).machine.poll() {
            match output {
                Output::Send(envelope) => self.send(envelope),
                Output::Persist(write, records) if self.servers[&id].stalled => {
                    self.server(id).writing = Some((write, records));
                }
                Output::Persist(write, records) => self.store(id, write, records, usize::MAX),
                Output::Load(load, what) => {
                    let answer = P::load(&self.servers[&id].disk, &what);
                    let now = self.now;
                    self.server(id).machine.loaded(now, load, answer);
                }
                Output::Event(event) => {
                    if let Some(line) = P::hear(self, id, event) {
                        let name = self.names.of(id).to_owned();
                        self.say(format!("{name} {line}"));
                    }
                }
            }
        }
        if self.is_checked {
            P::check(&self.servers[&id].machine);
        }
    }

    fn send(&mut self, envelope: Envelope<Message<P>>) {
        let background = P::is_background(&envelope.message);
        if !background && !self.quiet && !self.passing {
            let (from, to) = (self.names.of(envelope.from), self.names.of(envelope.to));
            let line = P::tell_message(&self.names, &envelope.message);
            self.said.push(format!("{from} -> {to}: {line}"));
        }
        if !background || self.passing {
            self.net.push(envelope);
        }
    }

    fn store(&mut self, id: NodeId, write: WriteId, records: Batch<Record<P>>, kept: usize) {
        let (all, mut told) = (records.len(), Vec::new());
        for record in records.into_iter().take(kept) {
            told.extend(P::tell_record(&self.names, &record));
            let server = self.servers.get_mut(&id).unwrap();
            if let Err(why) = self.play.store(id, &mut server.disk, record) {
                self.wrong.get_or_insert(why);
            }
        }
        if !told.is_empty() && !self.quiet && !self.passing {
            let name = self.names.of(id);
            self.said.push(format!("{name} stores {}", told.join("; ")));
        }
        if kept >= all {
            let now = self.now;
            self.server(id).machine.persisted(now, write);
        }
    }

    pub(crate) fn deliver(&mut self, envelope: Envelope<Message<P>>) {
        let (from, to, now) = (envelope.from, envelope.to, self.now);
        if self.servers[&to].up && !self.cut.contains(&(from, to)) {
            self.server(to).machine.step(now, envelope);
            self.drain(to);
        }
    }

    fn settle(&mut self) -> Done {
        for _ in 0..10_000 {
            if self.net.is_empty() {
                return Ok(());
            }
            for envelope in std::mem::take(&mut self.net) {
                self.deliver(envelope);
            }
        }
        Err("it never comes to rest".into())
    }

    pub(crate) fn tick(&mut self, id: NodeId) {
        let now = self.now;
        self.server(id).machine.tick(now);
        self.drain(id);
    }

    /// Time goes by for all; everything arrives at once where the way is not cut.
    fn pass(&mut self, ms: u64) -> Done {
        let end = self.now + core::time::Duration::from_millis(ms);
        self.passing = true;
        loop {
            self.settle()?;
            let up = self.servers.values().filter(|server| server.up);
            let next = up
                .filter_map(|server| server.machine.deadline())
                .map(|wake| wake.at);
            let Some(at) = next.min().filter(|at| *at <= end) else {
                break;
            };
            self.now = self.now.max(at);
            for id in self.ids() {
                if self.servers[&id].up {
                    self.tick(id);
                }
            }
        }
        self.now = end;
        self.passing = false;
        Ok(())
    }

    /// Does what a line says; what the machines say to that.
    pub(crate) fn act(&mut self, words: &[&str]) -> Result<Vec<String>, String> {
        self.said.clear();
        let (quiet, words) = match words {
            ["quietly", rest @ ..] => (true, rest),
            _ => (false, words),
        };
        self.quiet = quiet;
        match words {
            ["expect", rest @ ..] => self.expect(rest)?,
            ["remember", name] => {
                let saved = (name.to_string(), self.clone());
                self.saved.push(saved);
            }
            ["back", "to", name] => {
                let found = self.saved.iter().find(|(known, _)| known == name);
                let (_, hall) = found.ok_or_else(|| format!("{name} is not remembered"))?;
                let (saved, hall) = (self.saved.clone(), hall.clone());
                *self = Self { saved, ..hall };
                self.said.clear();
            }
            _ => self.command(words)?,
        }
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        P::law(self)?;
        Ok(std::mem::take(&mut self.said))
    }

    fn command(&mut self, words: &[&str]) -> Done {
        match words {
            ["deliver", rest @ ..] => self.each(rest, |hall, envelope| hall.deliver(envelope)),
            ["drop", rest @ ..] => self.each(rest, |_, _| {}),
            ["repeat", rest @ ..] => self.each(rest, |hall, envelope| {
                hall.net.push(envelope.clone());
                hall.deliver(envelope);
            }),
            ["settle"] => self.settle(),
            ["wake", node] => {
                let id = self.up(node)?;
                let wake = self.servers[&id].machine.deadline();
                let wake = wake.ok_or_else(|| format!("{node} waits for nothing"))?;
                self.now = self.now.max(wake.at);
                self.tick(id);
                Ok(())
            }
            ["pass", ms, "ms"] => {
                let ms = ms.parse().map_err(|_| format!("{ms} is no number"))?;
                self.pass(ms)
            }
            ["cut", from, "->", to] => {
                let way = (self.names.node(from)?, self.names.node(to)?);
                self.cut.push(way);
                Ok(())
            }
            ["cut", one, other] => {
                let (one, other) = (self.names.node(one)?, self.names.node(other)?);
                self.cut.extend([(one, other), (other, one)]);
                Ok(())
            }
            ["heal"] => {
                self.cut.clear();
                Ok(())
            }
            ["crash", node] => self.crash(node, 0),
            ["crash", node, "keeping", kept] => {
                let kept = kept.parse().map_err(|_| format!("{kept} is no number"))?;
                self.crash(node, kept)
            }
            ["restart", node] => {
                let id = self.names.node(node)?;
                if self.servers[&id].up {
                    return Err(format!("{node} is up"));
                }
                let disk = self.servers[&id].disk.clone();
                let server = self.started(id, disk);
                self.servers.insert(id, server);
                self.drain(id);
                self.link(id);
                Ok(())
            }
            ["stall", node] => {
                let id = self.up(node)?;
                self.server(id).stalled = true;
                Ok(())
            }
            ["sync", node] => {
                let id = self.up(node)?;
                let server = self.server(id);
                server.stalled = false;
                let written = server.writing.take();
                let (write, records) = written.ok_or_else(|| format!("{node} writes nothing"))?;
                self.store(id, write, records, usize::MAX);
                self.drain(id);
                Ok(())
            }
            _ => P::command(self, words).unwrap_or_else(|| Err("this is no command".into())),
        }
    }

    fn crash(&mut self, node: &str, kept: usize) -> Done {
        let id = self.up(node)?;
        if let Some((write, records)) = self.server(id).writing.take() {
            let kept = kept.min(records.len().saturating_sub(1));
            self.store(id, write, records, kept);
        }
        self.server(id).up = false;
        self.play.crashed(id);
        self.net.retain(|e| e.from != id && e.to != id);
        self.link(id);
        Ok(())
    }

    /// Does something to each message under way that fits.
    fn each(&mut self, words: &[&str], act: impl Fn(&mut Self, Envelope<Message<P>>)) -> Done {
        let [from, "->", to, kind @ ..] = words else {
            return Err("which messages?".into());
        };
        let node = |name: &str| match name {
            "*" => Ok(None),
            name => self.names.node(name).map(Some),
        };
        let (from, to, kind) = (node(from)?, node(to)?, kind.join(" "));
        let fits = |envelope: &Envelope<Message<P>>| {
            let said = P::tell_message(&self.names, &envelope.message);
            from.is_none_or(|id| id == envelope.from)
                && to.is_none_or(|id| id == envelope.to)
                && (said.starts_with(&format!("{kind} ")) || said == kind || kind.is_empty())
        };
        let (taken, rest) = self.net.iter().cloned().partition::<Vec<_>, _>(fits);
        self.net = rest;
        if taken.is_empty() {
            return Err("nothing like that is under way".into());
        }
        for envelope in taken {
            act(self, envelope);
        }
        Ok(())
    }

    /// What an author claims: checked always, and never rewritten.
    fn expect(&self, words: &[&str]) -> Done {
        let mut nodes = Vec::new();
        let mut rest = words;
        while let [first, tail @ ..] = rest
            && let Ok(id) = self.names.node(first)
        {
            nodes.push(id);
            rest = tail;
        }
        if nodes.is_empty() || rest.is_empty() {
            return Err("who is expected to do what?".into());
        }
        for id in nodes {
            let (found, wanted) = P::found(self, id, rest)?;
            if found != wanted {
                let name = self.names.of(id);
                let rest = rest.join(" ");
                return Err(format!("{name}: expected {rest}, found {found}"));
            }
        }
        Ok(())
    }
}
