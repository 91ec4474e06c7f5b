//! The commands of the language, one arm each: the README beside this file describes them.

use bytes::Bytes;
use synod_core::{
    Change, Entries, Entry, Envelope, Lane, Link, LogImage, LogIndex, LogRecord, Machine, NodeId,
    OldLog, ReadLevel, Rejected, ReplicatedLog, Role, SessionToken, Ticket,
};
use synod_raft::{Append, Body, ConfigBuilder, Message, Round, Term};

use crate::cluster::{Cluster, ms};
use crate::stage::{Done, Request, Stage, UNANSWERED};
use crate::words;

/// How the nodes of a story are configured beyond the story's own words: plants a bug in them.
pub(crate) type Configure = fn(ConfigBuilder) -> ConfigBuilder;

/// Sets the stage: the first command of every story.
pub(crate) fn start(words: &[&str], configure: Configure) -> Result<Stage, String> {
    let (names, short) = match words {
        [names @ .., "with", "short", "logs"] => (names, true),
        names => (names, false),
    };
    if names.is_empty() {
        return Err("start whom?".into());
    }
    let size = names.len() as u64;
    let cluster = Cluster::with(size, move |builder| {
        let builder = configure(builder);
        if short {
            builder.retained_entries(0).snapshot_chunk_bytes(8)
        } else {
            builder
        }
    });
    Stage::new(cluster, names.iter().map(ToString::to_string).collect())
}

impl Stage {
    pub(crate) fn node(&self, name: &str) -> Result<NodeId, String> {
        match self.names.0.iter().position(|known| known == name) {
            Some(place) => Ok(NodeId(place as u64 + 1)),
            None => Err(format!("there is no node {name}")),
        }
    }

    fn nodes(&self, names: &[&str]) -> Result<Vec<NodeId>, String> {
        if names.is_empty() {
            return Err("which node?".into());
        }
        names.iter().map(|name| self.node(name)).collect()
    }

    /// A node that runs.
    fn running(&self, name: &str) -> Result<NodeId, String> {
        let id = self.node(name)?;
        if self.cluster.servers[&id].up {
            Ok(id)
        } else {
            Err(format!("{name} is down"))
        }
    }

    /// Plays one command.
    pub(crate) fn act(&mut self, words: &[&str]) -> Done {
        match words {
            ["quietly", rest @ ..] => {
                self.quiet = true;
                let done = self.act(rest);
                self.quiet = false;
                done
            }
            ["expect", rest @ ..] => self.expect(rest),
            ["show", names @ ..] => self.show(names),
            ["remember", name] => {
                let copy = Box::new(self.clone());
                self.memory.insert((*name).into(), copy);
                Ok(())
            }
            ["back", "to", name] => self.back_to(name),

            // Nodes.
            ["log", name, rest @ ..] => self.give_log(name, rest),
            ["join", name] => self.join(name),
            ["crash", name, "keeping", count] => self.tear(name, count),
            ["crash", names @ ..] => self.each(names, Self::crash),
            ["restart", names @ ..] => self.each(names, Self::restart),
            ["snapshot", name, "through", index] => self.snapshot(name, index),

            // Disks.
            ["stall", "disk", name] => {
                let id = self.running(name)?;
                self.cluster.stuck.push(id);
                Ok(())
            }
            ["sync", name] => {
                let id = self.running(name)?;
                if self.cluster.servers[&id].writing.is_empty() {
                    return Err(format!("{name} has nothing to store"));
                }
                self.sync(id, "has stored");
                self.attend(id)
            }
            ["free", "disk", name] => {
                let id = self.running(name)?;
                self.cluster.stuck.retain(|stuck| *stuck != id);
                self.attend(id)
            }

            // Time.
            ["timeout", name] => self.time_out(name),
            ["heartbeat", name] => {
                let id = self.running(name)?;
                if self.cluster.servers[&id].raft.status().role != Role::Leader {
                    return Err(format!("{name} does not lead"));
                }
                self.cluster.now = self.cluster.now + ms(50);
                self.tick(id)
            }
            ["wake", name] => {
                let id = self.running(name)?;
                self.wake(id)
            }
            ["elect", name, "with", voters @ ..] => self.elect(name, voters),
            ["run", time] => self.run(time),

            // The network.
            ["cut", names @ ..] => self.cut_off(names),
            ["heal"] => {
                self.cut.clear();
                Ok(())
            }
            ["deliver", from, "->", to, kind @ ..] => {
                let mail = self.take(from, to, kind)?;
                self.deliver_all(mail)
            }
            ["repeat", from, "->", to, kind @ ..] => {
                let mail = self.take(from, to, kind)?;
                self.cluster.network.extend(mail.iter().cloned());
                self.deliver_all(mail)
            }
            ["drop", from, "->", to, kind @ ..] => self.take(from, to, kind).map(drop),
            ["delay", from, "->", to, kind @ ..] => {
                let mail = self.take(from, to, kind)?;
                self.late.extend(mail);
                Ok(())
            }
            ["late", from, "->", to] => {
                let (from, to) = (self.node(from)?, self.node(to)?);
                let meant = |mail: &Envelope<Message>| mail.from == from && mail.to == to;
                let (mail, rest) = std::mem::take(&mut self.late).into_iter().partition(meant);
                self.late = rest;
                self.deliver_all(some(mail)?)
            }
            ["step"] => {
                let mail = std::mem::take(&mut self.cluster.network);
                self.deliver_all(some(mail)?)
            }
            ["settle"] => self.settle(|_| true),
            ["talk", one, other] => {
                let pair = [self.node(one)?, self.node(other)?];
                self.settle(move |mail| pair.contains(&mail.from) && pair.contains(&mail.to))
            }

            // Clients.
            ["propose", command, "at", name] => {
                let id = self.running(name)?;
                let ticket = self.cluster.propose(id, command);
                self.asked(command, id, ticket)
            }
            ["read", request, "at", name, level @ ..] => {
                let id = self.running(name)?;
                let level = match level {
                    [] => ReadLevel::Linearizable,
                    ["by", "lease"] => ReadLevel::Lease,
                    ["stale"] => ReadLevel::Stale,
                    ["from", index] => ReadLevel::Session(SessionToken(LogIndex(number(index)?))),
                    _ => return Err(format!("no such level: {}", level.join(" "))),
                };
                let ticket = self.cluster.read(id, level);
                self.asked(request, id, ticket)
            }
            [request, "adds", "learner", learner, "at", name] => {
                let change = Change::AddLearner(self.node(learner)?);
                self.reconfigure(request, change, name)
            }
            [request, "removes", "learner", learner, "at", name] => {
                let change = Change::RemoveLearner(self.node(learner)?);
                self.reconfigure(request, change, name)
            }
            [
                request,
                "transfers",
                "the",
                "leadership",
                "of",
                name,
                "to",
                to,
            ] => {
                let (id, to) = (self.running(name)?, self.node(to)?);
                let now = self.cluster.now;
                match self.cluster.raft(id.0).transfer(now, to) {
                    Ok(()) => Err("a transfer that is accepted needs a story".into()),
                    Err(rejected) => self.asked(request, id, Err(rejected)),
                }
            }
            ["hold", "answers", "of", name] => {
                let id = self.running(name)?;
                self.holding.push(id);
                Ok(())
            }
            ["answer", "for", name] => {
                let id = self.running(name)?;
                self.holding.retain(|holding| *holding != id);
                let (held, rest) = std::mem::take(&mut self.held)
                    .into_iter()
                    .partition::<Vec<_>, _>(|(at, _, _)| *at == id);
                self.held = rest;
                held.into_iter()
                    .try_for_each(|(_, request, fate)| self.answer(&request, fate))
            }
            _ => Err(format!("unknown command: {}", words.join(" "))),
        }
    }

    fn each(&mut self, names: &[&str], act: fn(&mut Self, NodeId) -> Done) -> Done {
        let ids = self.nodes(names)?;
        ids.into_iter().try_for_each(|id| act(self, id))
    }

    fn show(&mut self, names: &[&str]) -> Done {
        let ids = if names.is_empty() {
            self.ids()
        } else {
            self.nodes(names)?
        };
        let width = self.names.0.iter().map(String::len).max().unwrap_or(0);
        for id in ids {
            let server = &self.cluster.servers[&id];
            let status = server.raft.status();
            let role = if server.up {
                status.role.to_string()
            } else {
                "down".into()
            };
            let (era, committed) = (status.era, status.committed.0);
            let line = format!(
                "{:width$} | {role:9} | term {era} | commit {committed} | {}",
                self.names.of(id),
                self.row(id)
            );
            self.tell(line);
        }
        Ok(())
    }

    fn back_to(&mut self, name: &str) -> Done {
        let Some(past) = self.memory.get(name) else {
            return Err(format!("nothing is remembered as {name}"));
        };
        let past = (**past).clone();
        let memory = std::mem::take(&mut self.memory);
        *self = past;
        self.memory = memory;
        Ok(())
    }

    // Nodes.

    /// Puts a log on a node's disk by playing the leaders that it would be from, and starts the node
    /// from there.
    fn give_log(&mut self, name: &str, words: &[&str]) -> Done {
        let id = self.node(name)?;
        let (cells, term) = match words {
            [cells @ .., "in", "term", term] => (cells, Some(number(term)?)),
            cells => (cells, None),
        };
        let from = self.ids().into_iter().find(|other| *other != id);
        let from = from.ok_or("a log needs somebody to come from")?;
        self.quiet = true;
        let told = self.told.len();
        let (mut index, mut before) = (LogIndex::START, Term::START);
        for cell in cells {
            let (number_of_term, payload) = match cell.split_once(':') {
                Some((term, payload)) => (term, Entry::command(payload.to_owned().into())),
                None => (*cell, Entry::blank()),
            };
            let of = Term(number(number_of_term)?);
            let entries = Entries::new(index.next(), of.stamp(), [payload]);
            let append = Append {
                before,
                entries,
                commit: LogIndex::START,
                round: Round(0),
            };
            self.say(from, id, of, Body::Append(append));
            self.attend(id)?;
            (index, before) = (index.next(), of);
        }
        if let Some(term) = term {
            let entries = Entries::empty(index.next(), Term(term).stamp());
            let append = Append {
                before,
                entries,
                commit: LogIndex::START,
                round: Round(0),
            };
            self.say(from, id, Term(term), Body::Append(append));
            self.attend(id)?;
        }
        self.crash(id)?;
        self.restart(id)?;
        self.cluster.network.clear();
        self.told.truncate(told);
        self.quiet = false;
        let row = self.row(id);
        if row == cells.join(" ") {
            return Ok(());
        }
        Err(format!("{name} holds {row}"))
    }

    fn join(&mut self, name: &str) -> Done {
        if self.node(name).is_ok() {
            return Err(format!("{name} is there already"));
        }
        self.names.0.push(name.into());
        let id = self.node(name)?;
        self.cluster.start(id, LogImage::new(), 0);
        for other in self.ids().into_iter().filter(|other| *other != id) {
            let link = Link::Up(synod_core::LinkId(self.cluster.servers[&other].life + 1));
            let now = self.cluster.now;
            for (at, peer) in [(id, other), (other, id)] {
                if self.cluster.servers[&at].up && self.cluster.servers[&peer].up {
                    self.cluster.raft(at.0).link(now, peer, link);
                }
            }
        }
        self.acquaint()
    }

    /// A crash in the middle of what the disk has under way: so many records of it are durable.
    fn tear(&mut self, name: &str, count: &str) -> Done {
        let id = self.running(name)?;
        let count: usize = count
            .parse()
            .map_err(|_| format!("{count} is no number of records"))?;
        let server = self.cluster.server(id.0);
        let writing = std::mem::take(&mut server.writing);
        let mut records = writing.into_iter().flat_map(|(_, records)| records);
        for kept in 0..count {
            let Some(record) = records.next() else {
                return Err(format!("{name} stores {kept} records, not {count}"));
            };
            server.image.apply(record).unwrap();
        }
        if records.next().is_none() {
            return Err(format!("all that {name} stores is kept: nothing is torn"));
        }
        self.crash(id)
    }

    fn crash(&mut self, id: NodeId) -> Done {
        if !self.cluster.servers[&id].up {
            return Err(format!("{} is down already", self.names.of(id)));
        }
        self.cluster.crash(id);
        self.late.retain(|mail| mail.from != id && mail.to != id);
        self.cluster.stuck.retain(|stuck| *stuck != id);
        self.holding.retain(|holding| *holding != id);
        self.abandon(id)?;
        self.others(id)
    }

    fn restart(&mut self, id: NodeId) -> Done {
        if self.cluster.servers[&id].up {
            return Err(format!("{} runs", self.names.of(id)));
        }
        self.cluster.restart(id);
        self.restarted(id);
        self.acquaint()
    }

    /// The others do what a change of the links made them want.
    fn others(&mut self, id: NodeId) -> Done {
        let others = self.ids().into_iter().filter(|other| *other != id);
        let up: Vec<_> = others
            .filter(|other| self.cluster.servers[other].up)
            .collect();
        up.into_iter().try_for_each(|other| self.attend(other))
    }

    /// Takes a snapshot as a driver does: the commands applied so far, with their places.
    fn snapshot(&mut self, name: &str, index: &str) -> Done {
        let id = self.running(name)?;
        let now = self.cluster.now;
        let index = LogIndex(number(index)?);
        let server = self.cluster.server(id.0);
        let mut meta = server
            .raft
            .describe(index)
            .ok_or("that is not committed there")?;
        let covered = server.applied.iter().filter(|(at, _)| *at <= index);
        let contents: Vec<String> = covered
            .filter(|(_, command)| !command.is_empty())
            .map(|(at, command)| format!("{}:{}", at.0, words::text(command)))
            .collect();
        let chunk = Bytes::from(contents.join(" "));
        meta.size = chunk.len() as u64;
        let stage = LogRecord::Stage {
            lane: Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk,
        };
        let activate = LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        };
        for record in [stage, activate] {
            server
                .image
                .apply(record)
                .map_err(|error| error.to_string())?;
        }
        server.raft.compact(now, meta);
        self.attend(id)
    }

    // Time.

    /// A node waits as long as it takes until it stands for election.
    fn time_out(&mut self, name: &str) -> Done {
        let id = self.running(name)?;
        for _ in 0..100 {
            let status = self.cluster.servers[&id].raft.status();
            if status.role == Role::Leader {
                return Err(format!("{name} leads"));
            }
            let events = self.cluster.servers[&id].events.len();
            self.wake(id)?;
            let server = &self.cluster.servers[&id];
            let asks = |event: &synod_raft::Event| {
                use synod_core::LogEvent::Detail;
                matches!(event, Detail(synod_raft::Detail::Election { .. }))
            };
            if server.events[events..].iter().any(asks) {
                return Ok(());
            }
        }
        Err(format!("{name} does not stand for election"))
    }

    fn wake(&mut self, id: NodeId) -> Done {
        let Some(wake) = self.cluster.servers[&id].raft.deadline() else {
            return Err(format!("{} waits for nothing", self.names.of(id)));
        };
        self.cluster.now = self.cluster.now.max(wake.at);
        self.tick(id)
    }

    /// A node times out and is elected by these alone: of what it asks, the others get nothing.
    fn elect(&mut self, name: &str, voters: &[&str]) -> Done {
        let id = self.running(name)?;
        let voters = self.nodes(voters)?;
        self.time_out(name)?;
        for _ in 0..10 {
            let is_vote = |mail: &Envelope<Message>| {
                let heard = (mail.from == id && voters.contains(&mail.to))
                    || (mail.to == id && voters.contains(&mail.from));
                heard && words::kind(&mail.message).contains("vote")
            };
            let mail = self.pick(is_vote);
            if mail.is_empty() {
                break;
            }
            self.deliver_all(mail)?;
        }
        let is_vote = |mail: &Envelope<Message>| {
            mail.from == id && words::kind(&mail.message).contains("vote")
        };
        drop(self.pick(is_vote));
        if self.cluster.servers[&id].raft.status().role == Role::Leader {
            return Ok(());
        }
        Err(format!("{name} is not elected"))
    }

    /// Time goes by for all, in steps of a millisecond, with a network that takes no time.
    fn run(&mut self, time: &str) -> Done {
        let time = time.strip_suffix("ms").ok_or("a time has the unit ms")?;
        for _ in 0..number(time)? {
            self.cluster.now = self.cluster.now + ms(1);
            let now = self.cluster.now;
            for id in self.ids() {
                let server = &self.cluster.servers[&id];
                if server.up && server.raft.deadline().is_some_and(|wake| wake.at <= now) {
                    self.tick(id)?;
                }
            }
            self.settle(|_| true)?;
        }
        Ok(())
    }

    // The network.

    fn cut_off(&mut self, names: &[&str]) -> Done {
        let group = self.nodes(names)?;
        for id in self.ids() {
            for &member in &group {
                if !group.contains(&id) {
                    self.cut.extend([(id, member), (member, id)]);
                }
            }
        }
        Ok(())
    }

    fn pick(&mut self, which: impl Fn(&Envelope<Message>) -> bool) -> Vec<Envelope<Message>> {
        let network = std::mem::take(&mut self.cluster.network);
        let (mail, rest) = network.into_iter().partition(which);
        self.cluster.network = rest;
        mail
    }

    /// Takes what is meant out of the network; there must be something.
    fn take(
        &mut self,
        from: &str,
        to: &str,
        kind: &[&str],
    ) -> Result<Vec<Envelope<Message>>, String> {
        let one = |name: &str| match name {
            "*" => Ok(None),
            name => self.node(name).map(Some),
        };
        let (from, to) = (one(from)?, one(to)?);
        let kind = match kind {
            [] => None,
            [kind] => Some((*kind).to_owned()),
            _ => return Err("one kind of message at a time".into()),
        };
        some(self.pick(|mail| {
            from.is_none_or(|from| from == mail.from)
                && to.is_none_or(|to| to == mail.to)
                && kind
                    .as_ref()
                    .is_none_or(|kind| *kind == words::kind(&mail.message))
        }))
    }

    fn deliver_all(&mut self, mail: Vec<Envelope<Message>>) -> Done {
        for envelope in mail {
            let to = envelope.to;
            self.cluster.deliver(envelope);
            if self.cluster.servers[&to].up {
                self.attend(to)?;
            }
        }
        Ok(())
    }

    /// Delivers these until there are none.
    fn settle(&mut self, which: impl Fn(&Envelope<Message>) -> bool) -> Done {
        for _ in 0..10_000 {
            let mail = self.pick(&which);
            if mail.is_empty() {
                return Ok(());
            }
            self.deliver_all(mail)?;
        }
        Err("this does not come to rest".into())
    }

    // Clients.

    fn reconfigure(&mut self, request: &str, change: Change, name: &str) -> Done {
        let id = self.running(name)?;
        let now = self.cluster.now;
        let ticket = self.cluster.raft(id.0).reconfigure(now, change);
        self.asked(request, id, ticket)
    }

    /// A client has asked for something.
    fn asked(&mut self, request: &str, at: NodeId, ticket: Result<Ticket, Rejected>) -> Done {
        let fate = UNANSWERED.to_owned();
        let again = self.requests.insert(request.into(), Request { at, fate });
        if again.is_some() || self.node(request).is_ok() {
            return Err(format!("{request} is a name already"));
        }
        match ticket {
            Ok(ticket) => {
                self.tickets.insert((at, ticket), request.into());
            }
            Err(rejected) => self.answer(request, format!("refused ({})", rejected.refusal))?,
        }
        self.attend(at)
    }
}

fn some<T>(mail: Vec<T>) -> Result<Vec<T>, String> {
    if mail.is_empty() {
        return Err("no such message is under way".into());
    }
    Ok(mail)
}

fn number(word: &str) -> Result<u64, String> {
    word.parse().map_err(|_| format!("{word} is no number"))
}
