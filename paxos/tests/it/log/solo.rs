//! One machine by itself: a test plays its peers and its disk.

use std::time::Duration;

use bytes::Bytes;
use synod_core::{
    Batch, Entries, Entry, Envelope, Generation, Instant, Lane, Link, LinkId, LoadId, LogEvent,
    LogImage, LogIndex, LogLoad, LogRecord, Machine, NodeId, OldLog, Output, ReplicatedLog, Role,
    Round, SnapshotMeta, Status, Ticket, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::log::{
    Accept, Body, Config, ConfigBuilder, Cover, Detail, Epoch, Event, Message, MultiPaxos, Page,
};

use super::cluster::{i, plant};

#[derive(Clone)]
pub(crate) struct Solo {
    pub(crate) log: MultiPaxos,
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

    /// Links with nodes 1 to 9 are up, and their storages are known.
    pub(crate) fn on(
        id: u64,
        voters: u64,
        image: LogImage,
        configure: impl Fn(ConfigBuilder) -> ConfigBuilder,
    ) -> Self {
        let builder = Config::builder(NodeId(id)).voters((1..=voters).map(NodeId));
        let config = plant(configure(builder)).build().unwrap();
        let now = Instant::from_millis(1);
        let mut log = MultiPaxos::new(config, image.restored(usize::MAX), now).unwrap();
        for peer in (1..=9).filter(|peer| *peer != id) {
            log.link(now, NodeId(peer), Link::Up(LinkId(1)));
        }
        let mut solo = Self {
            log,
            image,
            now,
            writing: Vec::new(),
            loads: Vec::new(),
            events: Vec::new(),
            sent: Vec::new(),
        };
        let known = solo.status().generation;
        for peer in (1..=9).filter(|peer| *peer != id) {
            solo.say(peer, Ballot::START, Body::Stranger { known });
        }
        solo.settle();
        solo.take();
        solo
    }

    /// Node 1 of three, leading an empty log.
    pub(crate) fn leading(configure: impl Fn(ConfigBuilder) -> ConfigBuilder) -> Self {
        let mut solo = Self::with(1, 3, configure);
        solo.stand(&[2, 3]);
        solo.say(2, solo.ballot(), promise(page(0, 0, 0, &[])));
        solo.settle();
        assert_eq!(solo.status().role, Role::Leader);
        solo.take();
        solo
    }

    /// Stands for election, as the others are there and hear nobody: asks them for promises.
    pub(crate) fn stand(&mut self, others: &[u64]) {
        for _ in 0..8 {
            if self.status().role == Role::Candidate {
                return self.settle();
            }
            self.wake();
            let rounds = self.take().into_iter().filter_map(|(to, body)| match body {
                Body::Ask { round } if others.contains(&to) => Some((to, round)),
                _ => None,
            });
            for (to, round) in rounds.collect::<Vec<_>>() {
                self.say(to, Ballot::START, beat(to, round));
            }
        }
        panic!("it does not stand for election");
    }

    pub(crate) fn status(&self) -> Status {
        self.log.status()
    }

    /// This node's ballot, if what it has promised is its own.
    pub(crate) fn ballot(&self) -> Ballot {
        let status = self.status();
        Ballot {
            round: status.era,
            proposer: status.node,
        }
    }

    /// A message of a peer that has promised `ballot`. Its disk keeps its life.
    pub(crate) fn say(&mut self, from: u64, ballot: Ballot, body: Body) {
        self.say_in(0, from, ballot, body);
    }

    /// A message of a peer that is in this epoch.
    pub(crate) fn say_in(&mut self, epoch: u64, from: u64, ballot: Ballot, body: Body) {
        let envelope = Envelope {
            from: NodeId(from),
            to: self.status().node,
            link: LinkId(1),
            message: Message {
                generation: Generation(from),
                ballot,
                epoch: Epoch(epoch),
                body,
            },
        };
        self.log.step(self.now, envelope);
        self.pump();
    }

    /// Collects what the machine wants; the disk does nothing.
    pub(crate) fn pump(&mut self) {
        self.log.check();
        while let Some(output) = self.log.poll() {
            self.log.check();
            match output {
                Output::Send(envelope) => self.sent.push((envelope.to, envelope.message)),
                Output::Persist(write, records) => self.writing.push((write, records)),
                Output::Load(load, what) => self.loads.push((load, what)),
                Output::Event(event) => {
                    if let LogEvent::Committed(committed) = &event {
                        self.log.applied(self.now, committed.last());
                    }
                    if let LogEvent::Restore(meta) = &event {
                        self.log.applied(self.now, meta.index());
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
        self.log.persisted(self.now, write);
        self.pump();
    }

    /// Lets the disk finish all that it has to write.
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
            self.log.loaded(self.now, load, answer);
            self.pump();
        }
    }

    /// Takes a snapshot as a driver does.
    pub(crate) fn snapshot(&mut self, meta: SnapshotMeta) {
        // None is taken of what an earlier one covers.
        if self
            .image
            .snapshot()
            .is_some_and(|current| current.index() >= meta.index())
        {
            return;
        }
        let log = OldLog::Keep;
        let activate = LogRecord::Activate {
            meta: meta.clone(),
            log,
        };
        let stage = LogRecord::Stage {
            lane: Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: Bytes::new(),
        };
        self.image.apply(stage).unwrap();
        self.image.apply(activate).unwrap();
        self.log.compact(self.now, meta);
        self.pump();
    }

    pub(crate) fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.log.tick(self.now);
        self.pump();
    }

    /// Waits for what the machine waits for, if anything.
    pub(crate) fn wake(&mut self) {
        if let Some(wake) = self.log.deadline() {
            self.now = self.now.max(wake.at);
            self.log.tick(self.now);
            self.pump();
        }
    }

    /// Forgets what was not durable and starts again, 10 ms later.
    pub(crate) fn restarted(&self, voters: u64) -> Self {
        let id = self.status().node.0;
        Self::on(id, voters, self.image.clone(), |builder| builder.seed(99))
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

    pub(crate) fn propose(&mut self, command: &str) -> Option<Ticket> {
        let command = Bytes::copy_from_slice(command.as_bytes());
        let ticket = self.log.propose(self.now, command).ok();
        self.pump();
        ticket
    }

    /// What was handed out, as text; a blank is an empty one.
    pub(crate) fn handed(&self) -> Vec<String> {
        let committed = self.events.iter().filter_map(|event| match event {
            LogEvent::Committed(committed) => Some(committed),
            _ => None,
        });
        let text = |command: &Bytes| String::from_utf8_lossy(command).into_owned();
        let entries = committed.flat_map(|c| c.iter().map(|(_, _, command, _)| text(command)));
        entries.collect()
    }

    pub(crate) fn stopped(&self) -> Option<&'static str> {
        self.events.iter().find_map(|event| match event {
            LogEvent::Stopped(why) => Some(why.rule),
            _ => None,
        })
    }

    pub(crate) fn details(&self) -> impl Iterator<Item = &Detail> {
        self.events.iter().filter_map(|event| match event {
            LogEvent::Detail(detail) => Some(detail),
            _ => None,
        })
    }
}

/// The ballot of `proposer` in `round`.
pub(crate) const fn b(round: u64, proposer: u64) -> Ballot {
    Ballot {
        round,
        proposer: NodeId(proposer),
    }
}

/// The answer of one that hears no leader.
pub(crate) const fn beat(of: u64, round: Round) -> Body {
    Body::Beat {
        round,
        stands: b(0, of),
        follows: Ballot::START,
        content: false,
        priority: 0,
    }
}

/// Entries of one ballot in these slots.
pub(crate) fn votes(first: u64, ballot: Ballot, commands: &[&str]) -> Entries {
    let entries = commands.iter().map(|command| match *command {
        "" => Entry::blank(),
        command => Entry::command(Bytes::copy_from_slice(command.as_bytes())),
    });
    Entries::new(LogIndex(first), ballot.stamp(), entries)
}

/// A page behind `after`, of one that knows everything up to `chosen` and holds nothing behind
/// `last`.
pub(crate) fn page(after: u64, chosen: u64, last: u64, runs: &[Entries]) -> Page {
    let through = runs.last().map_or(LogIndex(after), Entries::last);
    Page {
        after: LogIndex(after),
        through: if last <= through.0 { through } else { i(last) },
        runs: runs.to_vec(),
        chosen: LogIndex(chosen),
        last: LogIndex(last),
    }
}

pub(crate) const fn promise(page: Page) -> Body {
    Body::Promise(page)
}

/// Entries of the leader, who has chosen everything up to `chosen` and sends from `pushed` on.
pub(crate) fn accept(entries: Entries, chosen: u64, pushed: u64) -> Body {
    Body::Accept(Accept {
        entries,
        chosen: LogIndex(chosen),
        pushed: LogIndex(pushed),
        round: Round(0),
        fast: None,
    })
}

/// Everything up to `through` is held, and these stretches.
pub(crate) fn held(through: u64, beyond: &[(u64, u64)]) -> Cover {
    let mut cover = Cover::up_to(LogIndex(through));
    for (first, last) in beyond {
        cover.add(LogIndex(*first), LogIndex(*last));
    }
    cover
}

pub(crate) fn accepted(through: u64, beyond: &[(u64, u64)]) -> Body {
    Body::Accepted {
        held: held(through, beyond),
        round: Round(0),
    }
}

/// The entries sent to `to`, as slot and text.
pub(crate) fn accepts(sent: &[(u64, Body)], to: u64) -> Vec<(u64, String)> {
    let accepts = sent.iter().filter_map(|(peer, body)| match body {
        Body::Accept(accept) if *peer == to => Some(accept),
        _ => None,
    });
    let text = |entry: &Entry| String::from_utf8_lossy(&entry.payload).into_owned();
    let entries = accepts.flat_map(|accept| accept.entries.iter());
    entries
        .map(|(index, entry)| (index.0, text(entry)))
        .collect()
}
