//! One machine by itself: a test plays its peers and its disk.

use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Batch, Entries, Entry, Envelope, Generation, Instant, Link, LinkId, LoadId, LogEvent, LogImage,
    LogIndex, LogLoad, LogRecord, Machine, NodeId, Output, ReplicatedLog, Role, Status, Ticket,
    WriteId,
};
use synod_raft::{
    Append, Body, Config, ConfigBuilder, Event, Message, Outcome, Position, Raft, Round, Term,
};

pub(crate) struct Solo {
    pub(crate) raft: Raft,
    pub(crate) image: LogImage,
    pub(crate) now: Instant,
    pub(crate) writing: Vec<(WriteId, Batch<LogRecord>)>,
    pub(crate) loads: Vec<(LoadId, LogLoad)>,
    pub(crate) events: Vec<Event>,
    sent: Vec<(NodeId, Message)>,
}

impl Solo {
    pub(crate) fn new(id: u64, voters: u64) -> Self {
        Self::with(id, voters, |builder| builder)
    }

    pub(crate) fn with(
        id: u64,
        voters: u64,
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Self {
        Self::on(id, voters, LogImage::new(), configure)
    }

    pub(crate) fn on(
        id: u64,
        voters: u64,
        image: LogImage,
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Self {
        let builder = Config::builder(NodeId(id)).voters((1..=voters).map(NodeId));
        let config = configure(builder).build().unwrap();
        let now = Instant::from_millis(1);
        let mut raft = Raft::new(config, image.restored(usize::MAX), now).unwrap();
        for peer in (1..=9).filter(|peer| *peer != id) {
            raft.link(now, NodeId(peer), Link::Up(LinkId(1)));
        }
        let mut solo = Self {
            raft,
            image,
            now,
            writing: Vec::new(),
            loads: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
        };
        // Everybody has been heard of, so that later answers wait for no record of that.
        let known = solo.status().generation;
        for peer in (1..=9).filter(|peer| *peer != id) {
            solo.say(peer, 0, Body::Stranger { known });
        }
        solo.settle();
        solo
    }

    /// A leader of three whose opening entry is committed at the first place.
    pub(crate) fn leading(configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let mut solo = Self::with(1, 3, configure);
        solo.win(&[2, 3]);
        for peer in [2, 3] {
            solo.say(peer, solo.term(), appended(solo.status().last.0, 0));
        }
        solo.take();
        solo
    }

    pub(crate) fn status(&self) -> Status {
        self.raft.status()
    }

    pub(crate) fn term(&self) -> u64 {
        self.status().era
    }

    pub(crate) fn role(&self) -> Role {
        self.status().role
    }

    /// A message of a peer. Its disk keeps its life.
    pub(crate) fn say(&mut self, from: u64, term: u64, body: Body) {
        let envelope = Envelope {
            from: NodeId(from),
            to: self.status().node,
            link: LinkId(1),
            message: Message {
                generation: Generation(from),
                term: Term(term),
                body,
            },
        };
        self.raft.step(self.now, envelope);
        self.pump();
    }

    /// Collects what the machine wants; the disk does nothing.
    pub(crate) fn pump(&mut self) {
        while let Some(output) = self.raft.poll() {
            self.raft.check();
            match output {
                Output::Send(envelope) => self.sent.push((envelope.to, envelope.message)),
                Output::Persist(write, records) => self.writing.push((write, records)),
                Output::Load(load, what) => self.loads.push((load, what)),
                Output::Event(event) => {
                    if let LogEvent::Committed(committed) = &event {
                        self.raft.applied(self.now, committed.last());
                    }
                    self.events.push(event);
                }
            }
        }
    }

    /// Finishes the first write under way.
    pub(crate) fn sync_one(&mut self) {
        let (write, records) = self.writing.remove(0);
        for record in records {
            self.image.apply(record).unwrap();
        }
        self.raft.persisted(self.now, write);
        self.pump();
    }

    /// Lets the disk finish all that it has.
    pub(crate) fn settle(&mut self) {
        self.pump();
        while !self.writing.is_empty() {
            self.sync_one();
        }
    }

    /// Answers what is to be read back.
    pub(crate) fn load(&mut self) {
        for (load, what) in std::mem::take(&mut self.loads) {
            let answer = self.image.load(&what);
            self.raft.loaded(self.now, load, answer);
            self.pump();
        }
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.raft.tick(self.now);
        self.pump();
    }

    /// Waits for what the machine waits for.
    pub(crate) fn wake(&mut self) {
        let at = self.raft.deadline().unwrap().at;
        self.now = self.now.max(at);
        self.raft.tick(self.now);
        self.pump();
    }

    /// As [`wake`](Self::wake), unless the machine waits for nothing.
    pub(crate) fn wake_if_any(&mut self) {
        if self.raft.deadline().is_some() {
            self.wake();
        }
    }

    /// What was sent since the last look.
    pub(crate) fn take(&mut self) -> Vec<(u64, Body)> {
        let sent = std::mem::take(&mut self.sent);
        sent.into_iter().map(|(to, m)| (to.0, m.body)).collect()
    }

    /// What was sent to one peer since the last look.
    pub(crate) fn take_to(&mut self, peer: u64) -> Vec<Body> {
        let sent = self.take().into_iter().filter(|(to, _)| *to == peer);
        sent.map(|(_, body)| body).collect()
    }

    pub(crate) fn take_messages(&mut self) -> Vec<(NodeId, Message)> {
        std::mem::take(&mut self.sent)
    }

    /// Wins an election with the votes of these.
    pub(crate) fn win(&mut self, voters: &[u64]) {
        self.campaign(voters);
        for &voter in voters {
            self.say(voter, self.term(), voted(false, self.term(), true));
        }
        self.settle();
        assert_eq!(self.role(), Role::Leader);
    }

    /// Stands for election: the pre-votes of these are there.
    pub(crate) fn campaign(&mut self, voters: &[u64]) {
        let term = self.term();
        self.wake();
        for &voter in voters {
            self.say(voter, term, voted(true, term + 1, true));
        }
        self.settle();
        assert_eq!(self.term(), term + 1);
    }

    pub(crate) fn propose(&mut self, command: &str) -> Option<Ticket> {
        let command = Bytes::copy_from_slice(command.as_bytes());
        let ticket = self.raft.propose(self.now, command).ok();
        self.pump();
        ticket
    }

    pub(crate) fn stopped(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            LogEvent::Stopped(why) => Some(why.rule),
            _ => None,
        })
    }
}

/// A position: index and term.
pub(crate) fn at(index: u64, term: u64) -> Position {
    Position {
        term: Term(term),
        index: LogIndex(index),
    }
}

pub(crate) fn vote(pre: bool, last: Position) -> Body {
    Body::Vote { pre, last }
}

pub(crate) fn voted(pre: bool, candidacy: u64, granted: bool) -> Body {
    Body::Voted {
        pre,
        candidacy: Term(candidacy),
        granted,
    }
}

pub(crate) fn appended(matched: u64, round: u64) -> Body {
    Body::Appended {
        matched: LogIndex(matched),
        round: Round(round),
    }
}

/// `count` entries of `term` behind `before`.
pub(crate) fn append(before: Position, term: u64, count: u64, commit: u64) -> Body {
    let entries = (0..count).map(|k| Entry::command(format!("{term}.{k}").into()));
    Body::Append(Append {
        before: before.term,
        entries: Entries::new(before.index.next(), Term(term).stamp(), entries),
        commit: LogIndex(commit),
        round: Round(0),
    })
}

/// The appends among messages to `to`: before, number of entries, commit.
pub(crate) fn appends(sent: &[(u64, Body)], to: u64) -> Vec<(u64, usize, u64)> {
    let of = |(peer, body): &(u64, Body)| match body {
        Body::Append(a) if *peer == to => {
            Some((a.entries.first().previous().0, a.entries.len(), a.commit.0))
        }
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

/// What was acknowledged.
pub(crate) fn acks(sent: &[(u64, Body)]) -> Vec<u64> {
    let of = |(_, body): &(u64, Body)| match body {
        Body::Appended { matched, .. } => Some(matched.0),
        _ => None,
    };
    sent.iter().filter_map(of).collect()
}

pub(crate) fn proposed(life: u64, first: Ticket, count: u32, outcome: Outcome) -> Body {
    Body::Proposed {
        life,
        first,
        count,
        outcome,
    }
}
