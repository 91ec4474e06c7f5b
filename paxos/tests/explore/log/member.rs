//! One node of the explored cluster: the real machine, its disk, the write under way and the state
//! machine above it, as one value.

use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use synod_core::{
    Batch, Committed, Entry, EntryKind, Envelope, Generation, Ghost, Instant, Link, LinkId,
    LogEvent, LogImage, LogRecord, Machine, NodeId, Output, ReadLevel, ReplicatedLog, Role, Round,
    Ticket, WriteId,
};
use synod_paxos::Ballot;
use synod_paxos::log::{Body, Config, Epoch, Event, Message, MultiPaxos};

/// The incarnation of every link: the same after a restart, so that old messages still arrive.
const LINK: LinkId = LinkId(1);
const NOW: Instant = Instant::START;

/// What an entry says: a command by its number, a blank as 0.
pub(super) fn what(entry: &Entry) -> u8 {
    match entry.kind {
        EntryKind::Blank => 0,
        EntryKind::Command => entry.payload[0],
        EntryKind::Config | EntryKind::Named => u8::MAX,
    }
}

/// What can be done to a node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Deed {
    /// Rounds of the election end in which another voter says that nobody leads.
    Stand,
    /// A round of the election ends in which its quorum follows it, and a heartbeat is due.
    Beat,
    /// It is asked to propose this command.
    Propose(u8),
    /// It is asked to read.
    Read,
    /// Its next write is not durable at once.
    Slow,
    /// The write under way is durable.
    Finish,
}

/// What a step shows to the outside, besides messages.
#[derive(Clone, Debug)]
pub(super) enum Sight {
    /// A vote is durable.
    Voted(u64, Ballot, u8),
    /// These were handed out as committed from this slot on.
    Handed(u64, Vec<u8>),
    /// The read is answered from this slot on.
    Read(u64),
    /// This command did not and will not happen.
    Disowned(u8),
    /// A rule that one node can break alone.
    Trouble(String),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Member {
    log: MultiPaxos,
    pub(super) disk: LogImage,
    /// The write under way. Its number makes no difference, only the machine must get it back.
    pub(super) writing: Option<(Ghost<WriteId>, Batch<LogRecord>)>,
    pub(super) slow: bool,
    /// The last slot that the state machine has; it is in memory and starts anew with each life.
    pub(super) applied: u64,
    /// Proposals of this life that are not settled.
    open: Vec<(Ghost<u64>, u8)>,
    pub(super) reading: Option<Ghost<u64>>,
    /// The round of the election that it has last asked in.
    round: Round,
    // What its status says.
    pub(super) leads: bool,
    pub(super) era: u64,
    pub(super) committed: u64,
}

/// What is the same for all lives of a node.
#[derive(Clone, Debug)]
pub(super) struct Home {
    pub(super) config: Config,
    pub(super) peers: Vec<(NodeId, Generation)>,
    /// Whether a bug is planted, which may break what a machine says of itself.
    pub(super) planted: bool,
}

/// What a step leads to.
pub(super) struct Told {
    pub(super) member: Member,
    pub(super) sent: Vec<Envelope<Message>>,
    pub(super) sights: Vec<Sight>,
    /// So many records are kept of the first write, and then it crashes.
    kept: Option<usize>,
    torn: bool,
}

/// The life of a storage that is founded with these settings.
pub(super) fn generation_of(config: &Config) -> Generation {
    let log = MultiPaxos::new(config.clone(), LogImage::new().restored(0), NOW).unwrap();
    log.status().generation
}

impl Home {
    /// A node that knows its peers' storages: first contacts are another test's matter.
    pub(super) fn found(&self) -> Told {
        let mut told = self.start(LogImage::new());
        for (peer, _) in &self.peers {
            let ask = Body::Ask { round: Round(0) };
            told.step(&self.envelope(*peer, ask));
        }
        told.sent.clear();
        told.member.look();
        told
    }

    fn start(&self, mut disk: LogImage) -> Told {
        disk.restart();
        let log = MultiPaxos::new(self.config.clone(), disk.restored(usize::MAX), NOW).unwrap();
        let mut told = Told::of(Member {
            log,
            disk,
            writing: None,
            slow: false,
            applied: 0,
            open: Vec::new(),
            reading: None,
            round: Round(0),
            leads: false,
            era: 0,
            committed: 0,
        });
        for (peer, _) in &self.peers {
            told.member.log.link(NOW, *peer, Link::Up(LINK));
        }
        told.drain();
        told.member.look();
        told
    }

    /// A word of the election. It promises nothing, so anybody may say anything at any time.
    fn envelope(&self, from: NodeId, body: Body) -> Envelope<Message> {
        let known = self.peers.iter().find(|(peer, _)| *peer == from).unwrap();
        Envelope {
            from,
            to: self.config.id(),
            link: LINK,
            message: Message {
                generation: known.1,
                ballot: Ballot::START,
                epoch: Epoch(0),
                body,
            },
        }
    }

    /// What one says of itself in a round.
    fn beat(
        &self,
        from: NodeId,
        round: Round,
        follows: Ballot,
        content: bool,
    ) -> Envelope<Message> {
        let stands = Ballot {
            round: 0,
            proposer: from,
        };
        let beat = Body::Beat {
            round,
            stands,
            follows,
            content,
            priority: 0,
        };
        self.envelope(from, beat)
    }

    /// Does something with a node; a panic is a breach like any other.
    pub(super) fn run(&self, member: &Member, given: &Do<'_>, kept: Option<usize>) -> Option<Told> {
        let mut told = Told::of(member.clone());
        told.kept = kept;
        let ran = catch_unwind(AssertUnwindSafe(|| {
            told.give(self, given);
            if !self.planted {
                told.member.log.check();
            }
            let crashed = kept.is_some() || matches!(given, Do::Crash(_));
            if !crashed {
                told.member.look();
                return Some(told);
            }
            if kept.is_some() && !told.torn {
                return None;
            }
            let mut next = self.start(told.member.disk.clone());
            told.sent.append(&mut next.sent);
            told.sights.append(&mut next.sights);
            next.sent = told.sent;
            next.sights = told.sights;
            Some(next)
        }));
        ran.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            let mut told = Told::of(member.clone());
            told.trouble(format!("the machine panics: {}", text.unwrap_or_default()));
            Some(told)
        })
    }
}

/// What is done to a node.
pub(super) enum Do<'a> {
    Message(&'a Envelope<Message>),
    Deed(Deed),
    /// It crashes, and keeps so many records of what it was writing.
    Crash(usize),
}

impl Member {
    /// Notes what its status says.
    fn look(&mut self) {
        let status = self.log.status();
        self.leads = status.role == Role::Leader;
        self.era = status.era;
        self.committed = status.committed.0;
    }

    /// Whether so many records of a write can be kept.
    pub(super) fn may_keep(&self, kept: usize) -> bool {
        let under_way = self.writing.as_ref().map_or(0, |(_, batch)| batch.len());
        kept <= under_way
    }
}

impl Told {
    const fn of(member: Member) -> Self {
        Self {
            member,
            sent: Vec::new(),
            sights: Vec::new(),
            kept: None,
            torn: false,
        }
    }

    fn trouble(&mut self, what: String) {
        self.sights.push(Sight::Trouble(what));
    }

    fn give(&mut self, home: &Home, given: &Do<'_>) {
        let member = &mut self.member;
        match given {
            Do::Message(envelope) => return self.step(envelope),
            Do::Deed(Deed::Stand) => return self.stand(home),
            Do::Deed(Deed::Beat) => return self.beat(home),
            Do::Deed(Deed::Propose(command)) => {
                match member.log.propose(NOW, vec![*command].into()) {
                    Ok(ticket) => member.open.push((Ghost(ticket.0), *command)),
                    Err(_) => self.sights.push(Sight::Disowned(*command)),
                }
            }
            Do::Deed(Deed::Read) => {
                if let Ok(ticket) = member.log.read(NOW, ReadLevel::Linearizable) {
                    member.reading = Some(Ghost(ticket.0));
                }
            }
            Do::Deed(Deed::Slow) => member.slow = true,
            Do::Deed(Deed::Finish) => {
                member.slow = false;
                if let Some((write, records)) = member.writing.take() {
                    self.store(records.into_iter());
                    self.member.log.persisted(NOW, write.0);
                }
            }
            Do::Crash(kept) => {
                if let Some((_, records)) = member.writing.take() {
                    self.store(records.into_iter().take(*kept));
                }
                return;
            }
        }
        self.drain();
    }

    fn step(&mut self, envelope: &Envelope<Message>) {
        self.member.log.step(NOW, envelope.clone());
        self.drain();
    }

    fn tick(&mut self) {
        self.member.log.tick(NOW);
        self.drain();
    }

    /// At most one round in which it still gives another ballot time, one in which it learns that
    /// nobody follows it, and the one in which it takes over.
    fn stand(&mut self, home: &Home) {
        let before = self.member.log.status().era;
        let (peer, _) = home.peers[0];
        let nobody = Ballot {
            round: 1 << 40,
            proposer: peer,
        };
        for turn in 0..4 {
            if turn > 0 {
                self.step(&home.beat(peer, self.member.round, nobody, false));
            }
            self.tick();
            let status = self.member.log.status();
            if self.torn || status.era > before {
                return;
            }
        }
        self.trouble("who hears of no leader does not stand".into());
    }

    fn beat(&mut self, home: &Home) {
        for (peer, _) in &home.peers {
            self.step(&home.beat(*peer, self.member.round, Ballot::START, true));
        }
        self.tick();
    }

    /// These records are durable.
    fn store(&mut self, records: impl Iterator<Item = LogRecord>) {
        for record in records {
            if let LogRecord::Put(entries) = &record {
                for (slot, entry) in entries.iter() {
                    let ballot = Ballot::from(entries.stamp());
                    self.sights.push(Sight::Voted(slot.0, ballot, what(entry)));
                }
            }
            if let Err(error) = self.member.disk.apply(record) {
                self.trouble(format!("records break the contract of the disk: {error}"));
            }
        }
    }

    /// Does what the machine says until it has nothing more to say.
    fn drain(&mut self) {
        while let Some(output) = (!self.torn).then(|| self.member.log.poll()).flatten() {
            match output {
                Output::Send(envelope) => self.send(envelope),
                Output::Persist(_, records) if self.kept.is_some() => {
                    let kept = self.kept.take().unwrap_or(0);
                    // A write that gets there whole is no torn one, and what it lets go may get
                    // lost.
                    self.torn = kept < records.len();
                    self.kept = Some(kept);
                    self.store(records.into_iter().take(kept));
                    if !self.torn {
                        return;
                    }
                }
                Output::Persist(write, records) if self.member.slow => {
                    self.member.writing = Some((Ghost(write), records));
                }
                Output::Persist(write, records) => {
                    self.store(records.into_iter());
                    self.member.log.persisted(NOW, write);
                }
                Output::Load(load, what) => {
                    let answer = self.member.disk.load(&what);
                    self.member.log.loaded(NOW, load, answer);
                }
                Output::Event(event) => self.hear(event),
            }
        }
    }

    /// Words of the election are not sent: each node hears what it needs to stand or to lead on when it
    /// is to do so.
    fn send(&mut self, envelope: Envelope<Message>) {
        match &envelope.message.body {
            Body::Ask { round } => self.member.round = *round,
            Body::Beat { .. } => {}
            Body::TakeOver
            | Body::Prepare { .. }
            | Body::Promise(_)
            | Body::Nack
            | Body::Accept(_)
            | Body::Accepted { .. }
            | Body::Fetch { .. }
            | Body::Page(_)
            | Body::Piece(_)
            | Body::Propose { .. }
            | Body::Proposed { .. }
            | Body::Read { .. }
            | Body::ReadAt { .. }
            | Body::Offer(_)
            | Body::Voted(_)
            | Body::QuorumRead { .. }
            | Body::QuorumReadAt { .. }
            | Body::Fill { .. }
            | Body::Lease { .. }
            | Body::Granted { .. }
            | Body::Stranger { .. } => self.sent.push(envelope),
        }
    }

    fn hear(&mut self, event: Event) {
        match event {
            LogEvent::Committed(committed) => self.apply(&committed),
            LogEvent::Read { ticket, index } => {
                if self.member.reading.take().map(|read| read.0) != Some(ticket.0) {
                    self.trouble(format!("{ticket} is settled twice"));
                }
                if index.0 > self.member.applied {
                    self.trouble(format!("a read at {index} comes before what it waits for"));
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
            LogEvent::Stopped(stop) => self.trouble(format!("a node stops: {stop}")),
            LogEvent::Restore(meta) => self.trouble(format!("no snapshot was taken: {meta:?}")),
            LogEvent::Role(_) | LogEvent::Detail(_) => {}
        }
    }

    /// Whose ticket it was: the command of a proposal, `None` for a read.
    fn settle(&mut self, ticket: Ticket) -> Option<u8> {
        let member = &mut self.member;
        if member.reading.map(|read| read.0) == Some(ticket.0) {
            member.reading = None;
            return None;
        }
        let place = member.open.iter().position(|(open, _)| open.0 == ticket.0);
        let Some(place) = place else {
            self.trouble(format!("{ticket} is settled twice"));
            return None;
        };
        Some(member.open.remove(place).1)
    }

    fn apply(&mut self, committed: &Committed) {
        let entries = &committed.entries;
        if entries.first().0 != self.member.applied + 1 {
            let applied = self.member.applied;
            self.trouble(format!("{entries:?} is handed out behind {applied}"));
        }
        for (index, _, command, ticket) in committed.iter() {
            if let Some(ticket) = ticket
                && self.settle(ticket) != command.first().copied()
            {
                self.trouble(format!("{ticket} is settled with another command"));
            }
            if self.member.disk.stamp_at(index) != Some(entries.stamp()) {
                self.trouble(format!("{index} is handed out and not durable here"));
            }
        }
        let handed = entries.iter().map(|(_, entry)| what(entry)).collect();
        self.sights.push(Sight::Handed(entries.first().0, handed));
        self.member.applied = entries.last().0;
        self.member.log.applied(NOW, entries.last());
    }
}
