//! One node of the explored cluster: the real machine, its disk, the write under way and the state
//! machine above it, as one value.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use bytes::Bytes;
use synod_core::{
    Batch, Committed, Entry, EntryKind, Envelope, Ghost, Instant, Link, LinkId, LogEvent, LogImage,
    LogIndex, LogRecord, Machine, NodeId, OldLog, Output, ReadLevel, ReplicatedLog, Role,
    SnapshotMeta, Stamp, Ticket, WriteId, mix,
};
use synod_raft::planted::Bug;
use synod_raft::{Config, Detail, Message, Raft};

/// Every link has this one incarnation for ever: messages may outlive the node that sent them, and
/// reach its next life. That is more than a transport may do.
const LINK: LinkId = LinkId(1);
const NOW: Instant = Instant::START;

/// What all nodes of a cluster have in common.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) nodes: u8,
    /// Whether a follower passes proposals on.
    pub(crate) forward: bool,
    /// The length of a piece of a snapshot, in bytes; a snapshot has one for each entry.
    pub(crate) piece: usize,
    /// How many entries before a snapshot stay in the log.
    pub(crate) retained: u64,
    pub(crate) plant: Option<Bug>,
}

impl Setup {
    pub(crate) fn ids(self) -> impl Iterator<Item = NodeId> {
        (1..=u64::from(self.nodes)).map(NodeId)
    }

    fn config(self, id: NodeId, life: u8) -> Config {
        let builder = Config::builder(id)
            .voters(self.ids())
            .seed(mix(id.0, u64::from(life)))
            .forward_proposals(self.forward)
            .retained_entries(self.retained)
            .snapshot_chunk_bytes(self.piece);
        let builder = match self.plant {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        builder.for_exploration().expect("the settings are valid")
    }
}

/// What is at a place of a log: the term, and what the entry says as one number.
pub(crate) type Mark = (u64, u64);

pub(crate) fn mark(stamp: Stamp, entry: &Entry) -> Mark {
    let what = match entry.kind {
        EntryKind::Blank => 0,
        EntryKind::Command | EntryKind::Named => {
            1 + u64::from(entry.payload.first().copied().unwrap_or(0))
        }
        EntryKind::Config => u64::MAX,
    };
    (stamp.number, what)
}

/// One node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Member {
    pub(crate) raft: Raft,
    /// What is durable.
    pub(crate) disk: LogImage,
    /// The write under way. Its number makes no difference, only the machine must get it back.
    pub(crate) writing: Option<(Ghost<WriteId>, Batch<LogRecord>)>,
    /// The last entry that the state machine has; it is in memory and starts anew with each life.
    applied: u64,
    /// Proposals of this life that are not settled: ticket and command.
    open: Vec<(u64, u8)>,
    /// The read that waits.
    pub(crate) reading: Option<u64>,
    /// How much was asked in this life: tickets are counted, and travel in messages.
    asked: [u8; 2],
    life: u8,
}

/// What is done to a node.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Input<'a> {
    Deliver(&'a Envelope<Message>),
    Tick,
    Propose(u8),
    Read,
    /// The write under way is durable.
    Finish,
    /// The node crashes, keeps this many records of the write under way, and starts again.
    Crash(usize),
    /// The link to a peer has come up again.
    Relink(NodeId),
    /// The application has taken a snapshot of all that it has applied.
    Snapshot,
}

/// What a step shows to the outside.
#[derive(Clone, Debug)]
pub(crate) enum Sight {
    /// These were handed out as committed from this place on.
    Handed(u64, Vec<Mark>),
    /// The state machine was replaced by a snapshot of this place, with these contents.
    Restored(u64, Bytes),
    /// The read is answered from this place on.
    Read(u64),
    /// This command did not and will not happen.
    Disowned(u8),
    /// Everything from this place on was dropped from the log.
    Dropped(u64, u64),
    /// The machine, or what it wrote, broke a rule that one node can break alone.
    Breach(&'static str, String),
}

/// What a step leads to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) member: Member,
    pub(crate) sends: Vec<Envelope<Message>>,
    pub(crate) sights: Vec<Sight>,
}

impl Member {
    /// A node with an empty disk whose first write is durable.
    pub(crate) fn found(setup: Setup, id: NodeId) -> Self {
        let disk = LogImage::new();
        let outcome = Self::start(setup, id, 0, disk).run(Input::Finish);
        outcome.member
    }

    fn start(setup: Setup, id: NodeId, life: u8, mut disk: LogImage) -> Outcome {
        disk.restart();
        let restored = disk.restored(usize::MAX);
        let raft = Raft::new(setup.config(id, life), restored, NOW);
        let mut raft = raft.expect("what was durable can be restored");
        for peer in setup.ids().filter(|peer| *peer != id) {
            raft.link(NOW, peer, Link::Up(LINK));
        }
        let member = Self {
            raft,
            disk,
            writing: None,
            applied: 0,
            open: Vec::new(),
            reading: None,
            asked: [0; 2],
            life,
        };
        let mut outcome = Outcome::of(member);
        outcome.drain();
        outcome
    }

    /// The term that the disk holds: no later life is in an earlier one.
    pub(crate) fn durable_term(&self, setup: Setup) -> u64 {
        let id = self.raft.status().node;
        let raft = Raft::new(setup.config(id, 0), self.disk.restored(usize::MAX), NOW);
        raft.expect("what is durable can be restored").status().era
    }

    /// What the disk will hold if the write under way gets there.
    pub(crate) fn shadow(&self) -> LogImage {
        let mut image = self.disk.clone();
        for record in self.writing.iter().flat_map(|(_, records)| records.iter()) {
            // A record that does not fit was reported when it was handed out.
            let _ = image.apply(record.clone());
        }
        image
    }

    /// The step that `input` makes. A panic is a breach like any other.
    pub(crate) fn step(&self, setup: Setup, input: Input<'_>) -> Outcome {
        let stepped = catch_unwind(AssertUnwindSafe(|| self.crash_or_run(setup, input)));
        stepped.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let mut outcome = Outcome::of(self.clone());
            outcome.breach("the machine does not panic", text.unwrap_or_default());
            outcome
        })
    }

    fn crash_or_run(&self, setup: Setup, input: Input<'_>) -> Outcome {
        let Input::Crash(kept) = input else {
            return Outcome::of(self.clone()).run(input);
        };
        let mut disk = self.disk.clone();
        let torn = self.writing.iter().flat_map(|(_, records)| records.iter());
        for record in torn.take(kept) {
            let _ = disk.apply(record.clone());
        }
        Self::start(setup, self.raft.status().node, self.life + 1, disk)
    }
}

impl Outcome {
    const fn of(member: Member) -> Self {
        Self {
            member,
            sends: Vec::new(),
            sights: Vec::new(),
        }
    }

    fn breach(&mut self, rule: &'static str, text: impl Into<String>) {
        self.sights.push(Sight::Breach(rule, text.into()));
    }

    fn run(mut self, input: Input<'_>) -> Self {
        let member = &mut self.member;
        match input {
            Input::Deliver(envelope) => member.raft.step(NOW, envelope.clone()),
            Input::Tick => member.raft.tick(NOW),
            Input::Propose(command) => {
                if let Ok(ticket) = member.raft.propose(NOW, vec![command].into()) {
                    member.asked[0] += 1;
                    member.open.push((ticket.0, command));
                }
            }
            Input::Read => {
                if let Ok(ticket) = member.raft.read(NOW, ReadLevel::Linearizable) {
                    member.asked[1] += 1;
                    member.reading = Some(ticket.0);
                }
            }
            Input::Finish => {
                if let Some((write, records)) = member.writing.take() {
                    for record in records {
                        let _ = member.disk.apply(record);
                    }
                    member.raft.persisted(NOW, write.0);
                }
            }
            Input::Relink(peer) => member.raft.link(NOW, peer, Link::Up(LINK)),
            Input::Snapshot => member.take_snapshot(),
            Input::Crash(_) => unreachable!("a crash is not given to the machine"),
        }
        self.drain();
        self.member.raft.check();
        self
    }

    /// Does what the machine says until it has nothing more to say.
    fn drain(&mut self) {
        while let Some(output) = self.member.raft.poll() {
            match output {
                Output::Send(envelope) => self.sends.push(envelope),
                Output::Persist(write, records) => {
                    self.look_at(&records);
                    self.member.writing = Some((Ghost(write), records));
                }
                Output::Load(load, what) => {
                    let answer = self.member.disk.load(&what);
                    self.member.raft.loaded(NOW, load, answer);
                }
                Output::Event(event) => self.hear(event),
            }
        }
    }

    /// Records keep the contract of the disk and the rules of figure 2.
    fn look_at(&mut self, records: &Batch<LogRecord>) {
        let status = self.member.raft.status();
        let leads = status.role == Role::Leader;
        let mut log = self.member.disk.clone();
        let mut records = records.iter().peekable();
        while let Some(record) = records.next() {
            match record {
                LogRecord::Put(entries) => {
                    let before = log.stamp_at(log.last()).unwrap_or_default();
                    if entries.first() != log.last().next() || before > entries.stamp() {
                        let text = format!("{entries:?} behind {} {before:?}", log.last());
                        self.breach("entries are appended, and terms rise (Raft §5.3)", text);
                    }
                }
                LogRecord::Truncate { from } => {
                    let dropped = log.stamp_at(*from);
                    let instead = match records.peek() {
                        Some(LogRecord::Put(new)) if new.first() == *from => Some(new.stamp()),
                        _ => None,
                    };
                    if leads || dropped.is_none() || instead.is_none() || dropped == instead {
                        let text = format!("drops {from} {dropped:?} and puts {instead:?}");
                        self.breach(
                            "only a follower drops entries, and for others in their place",
                            text,
                        );
                    }
                    let term = dropped.unwrap_or_default().number;
                    self.sights.push(Sight::Dropped(from.0, term));
                }
                LogRecord::Activate {
                    meta,
                    log: OldLog::Replace,
                } => {
                    let agrees = log.stamp_at(meta.index()) == Some(meta.stamp);
                    if leads || agrees && log.last() > meta.index() {
                        let text = format!("has {} and installs {}", log.last(), meta.id);
                        self.breach(
                            "a snapshot takes the place of no longer log that agrees (Raft §7)",
                            text,
                        );
                    }
                }
                LogRecord::State(_)
                | LogRecord::Stage { .. }
                | LogRecord::Activate { .. }
                | LogRecord::Compact { .. } => {}
            }
            if let Err(error) = log.apply(record.clone()) {
                self.breach("records keep the contract of the disk", error.to_string());
            }
        }
    }

    fn hear(&mut self, event: LogEvent<Detail>) {
        match event {
            LogEvent::Committed(committed) => self.apply(&committed),
            LogEvent::Restore(meta) => {
                let contents = self.member.disk.snapshot_contents();
                self.member.applied = meta.index().0;
                self.member.raft.applied(NOW, meta.index());
                let contents = contents.unwrap_or_default();
                self.sights.push(Sight::Restored(meta.index().0, contents));
            }
            LogEvent::Read { ticket, index } => {
                if self.member.reading.take() != Some(ticket.0) {
                    self.breach("a ticket is settled at most once", format!("{ticket}"));
                }
                if index.0 > self.member.applied {
                    let text = format!("{index}, applied is {}", self.member.applied);
                    self.breach("a read comes after what it waits for", text);
                }
                self.sights.push(Sight::Read(index.0));
            }
            LogEvent::Displaced(ticket) | LogEvent::Refused(ticket, _) => {
                if let Some(command) = self.settle(ticket) {
                    self.sights.push(Sight::Disowned(command));
                }
            }
            LogEvent::Unknown(ticket) => {
                self.settle(ticket);
            }
            LogEvent::Stopped(stop) => {
                self.breach("no node stops where all keep the rules", stop.to_string());
            }
            LogEvent::Role(_) | LogEvent::Detail(_) => {}
        }
    }

    /// Whose ticket it was: the command of a proposal, `None` for a read.
    fn settle(&mut self, ticket: Ticket) -> Option<u8> {
        if self.member.reading == Some(ticket.0) {
            self.member.reading = None;
            return None;
        }
        let open = &mut self.member.open;
        let Some(place) = open.iter().position(|(open, _)| *open == ticket.0) else {
            self.breach("a ticket is settled at most once", format!("{ticket}"));
            return None;
        };
        Some(open.remove(place).1)
    }

    fn apply(&mut self, committed: &Committed) {
        let first = committed.entries.first();
        if first.0 != self.member.applied + 1 {
            let text = format!("{first}, applied is {}", self.member.applied);
            self.breach("what is handed out follows what was handed out", text);
        }
        let mut marks = Vec::new();
        for (index, _, command, ticket) in committed.iter() {
            if let Some(ticket) = ticket
                && self.settle(ticket) != command.first().copied()
            {
                self.breach(
                    "a ticket is settled with its own command",
                    ticket.to_string(),
                );
            }
            if let Some(entry) = committed.entries.get(index) {
                marks.push(mark(committed.entries.stamp(), entry));
            }
            let durable = self.member.disk.stamp_at(index);
            if durable != Some(committed.entries.stamp()) {
                let text = format!("{index}, on disk is {durable:?}");
                self.breach("what is handed out is durable here", text);
            }
        }
        self.sights.push(Sight::Handed(first.0, marks));
        self.member.applied = committed.last().0;
        self.member.raft.applied(NOW, committed.last());
    }
}

impl Member {
    /// The contents of a snapshot say what it covers, a byte for each entry, so that who restores it
    /// can be checked.
    fn take_snapshot(&mut self) {
        let applied = LogIndex(self.applied);
        let meta = self.raft.describe(applied).expect("it is committed");
        let contents: Bytes = (1..=applied.0)
            .filter_map(|index| self.disk.get(LogIndex(index)))
            .map(|(stamp, entry)| mark(stamp, entry).1 as u8)
            .collect();
        let meta = SnapshotMeta {
            size: contents.len() as u64,
            ..meta
        };
        let staged = self.disk.apply(LogRecord::Stage {
            lane: synod_core::Lane::Taken,
            id: meta.id,
            offset: 0,
            chunk: contents,
        });
        staged.expect("a snapshot can be staged");
        let activated = self.disk.apply(LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        });
        activated.expect("a snapshot can be activated");
        self.raft.compact(NOW, meta);
    }
}
