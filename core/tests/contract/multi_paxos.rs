//! Multi-Paxos as a [`ReplicatedLog`]: one ballot for all open slots, slots decided in any order.
//!
//! The rules are those of "Paxos Made Simple" §3. A slot's value is the [`Entry`], its vote's
//! ballot the [`Stamp`] (round and proposer). Left to the real crate: snapshots sent to who is
//! behind the compacted part, forwarding, membership, leases, batching and coalescing, limits on
//! what a peer may make this node remember, and the runs (here: one map entry per slot).

mod acceptor;
mod leader;
mod learner;
mod log;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;
use core::convert::Infallible;
use core::time::Duration;

use bytes::{Bytes, BytesMut};
use synod_core::{
    Decode, Encode, Entries, Entry, Envelope, Instant, Link, LoadId, LogCommand, LogEvent,
    LogImage, LogIndex, LogLoad, LogLoaded, LogRecord, Machine, NodeId, Outbox, Output, Refusal,
    Rejected, Restored, Role, RoleChange, SnapshotMeta, Stamp, Ticket, Wake, WriteId, mix,
};

use crate::cluster::Node;
use crate::links::Links;
use leader::{Candidacy, Leadership};
use learner::Proposal;

const VOTERS: [u64; 3] = [1, 2, 5];
const TIMEOUT: Duration = Duration::from_millis(200);
const BEAT: Duration = Duration::from_millis(20);
/// How many slots may be open, and handed out ahead of the state machine.
const WINDOW: u64 = 64;
/// The limit of a page, in bytes; small, so that every test turns pages.
const PAGE: usize = 2 * Entry::OVERHEAD;

/// "1a" to "2b" as in the paper; the ballot of an accept is the stamp of its entries.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Message {
    /// 1a. Asks for the votes behind `after`; again for each further page.
    Prepare {
        ballot: Stamp,
        after: LogIndex,
    },
    /// 1b, one page: all votes behind `after` and up to `through`; to the end unless `more`.
    Promise {
        ballot: Stamp,
        after: LogIndex,
        votes: Vec<Entries>,
        through: LogIndex,
        more: bool,
    },
    /// 2a. `was`: the ballot that the values were found under; their own if they are new.
    Accept {
        entries: Entries,
        was: Stamp,
    },
    /// 2b, for one accept.
    Accepted {
        ballot: Stamp,
        first: LogIndex,
        last: LogIndex,
    },
    /// To whom this node has promised more. Affects nothing but speed.
    Nack {
        promised: Stamp,
    },
    /// Everything up to `chosen` is; `round` confirms reads.
    Beat {
        ballot: Stamp,
        chosen: LogIndex,
        round: u64,
    },
    BeatSeen {
        ballot: Stamp,
        round: u64,
    },
    /// Asks for what is chosen behind `after`.
    Learn {
        after: LogIndex,
    },
    /// Chosen entries, under ballots at or above those they were chosen at.
    Chosen {
        runs: Vec<Entries>,
    },
}

/// What this node must do to itself once a write is durable.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Note {
    /// The promise to `ballot` is: its owner may have the votes behind `after`.
    Promised { ballot: Stamp, after: LogIndex },
    /// The votes under `ballot` are.
    Voted {
        ballot: Stamp,
        first: LogIndex,
        last: LogIndex,
    },
}

/// What a load is for.
#[derive(Clone, PartialEq, Debug)]
enum Purpose {
    Page { ballot: Stamp, after: LogIndex },
    Learner(NodeId),
    Deliver,
}

/// This node's vote in a slot, and what it knows of the slot.
#[derive(Clone, PartialEq, Debug)]
struct Slot {
    stamp: Stamp,
    /// `None` once handed out, or after a restart: it is on disk.
    entry: Option<Entry>,
    durable: bool,
    chosen: bool,
}

enum Part {
    Follower(Option<NodeId>),
    Candidate(Candidacy),
    Leader(Leadership),
}

pub(crate) struct MultiPaxos {
    me: NodeId,
    seed: u64,
    links: Links,
    outbox: Outbox<Message, LogRecord, LogEvent<Infallible>, LogLoad, Note>,
    promised: Stamp,
    slots: BTreeMap<LogIndex, Slot>,
    compacted: (LogIndex, Stamp),
    /// Every slot up to here is chosen.
    chosen: LogIndex,
    /// Every slot up to here was handed out.
    handed: LogIndex,
    applied: LogIndex,
    part: Part,
    timer: Instant,
    attempts: u64,
    /// The highest ballot heard of: the next candidacy starts above it.
    seen: Stamp,
    loads: BTreeMap<LoadId, Purpose>,
    tickets: u64,
    proposals: BTreeMap<LogIndex, Proposal>,
    dropped: u64,
}

impl MultiPaxos {
    /// Starts from what the disk holds and where the state machine is.
    fn restore(me: NodeId, now: Instant, disk: Restored, applied: LogIndex, seed: u64) -> Self {
        let (mut promised, mut chosen) = disk.state.map_or_else(Default::default, decode_state);
        let covered = disk.snapshot.as_ref().map(SnapshotMeta::index);
        chosen = chosen.max(covered.unwrap_or_default()).max(applied);
        let mut slots = BTreeMap::new();
        for run in &disk.runs {
            promised = promised.max(run.stamp); // a vote is a promise, §2.2
            for index in run.first.0..=run.last.0 {
                let slot = Slot {
                    stamp: run.stamp,
                    entry: None,
                    durable: true,
                    chosen: index <= chosen.0,
                };
                slots.insert(LogIndex(index), slot);
            }
        }
        let mut paxos = Self {
            me,
            seed,
            links: Links::new(me),
            outbox: Outbox::new(1),
            promised,
            slots,
            compacted: disk.compacted,
            chosen,
            handed: applied,
            applied,
            part: Part::Follower(None),
            timer: now,
            attempts: 0,
            seen: promised,
            loads: BTreeMap::new(),
            tickets: 0,
            proposals: BTreeMap::new(),
            dropped: 0,
        };
        if let Some(meta) = disk.snapshot.filter(|meta| meta.index() > applied) {
            paxos.handed = meta.index();
            paxos.outbox.event_now(LogEvent::Restore(meta));
        }
        paxos.rest(now);
        paxos
    }

    /// Waits for a leader: the longest for the least lucky, and anew each time.
    fn rest(&mut self, now: Instant) {
        self.attempts += 1;
        let jitter = mix(self.seed, self.attempts) % 1000;
        let share = u32::try_from(jitter).expect("below 1000");
        self.timer = now + TIMEOUT + TIMEOUT * share / 1000;
    }

    fn peers(&self) -> impl Iterator<Item = NodeId> + use<> {
        let me = self.me;
        VOTERS.map(NodeId).into_iter().filter(move |id| *id != me)
    }

    /// The default of all messages: they leave once everything written so far is durable.
    fn send(&mut self, to: NodeId, message: Message) {
        if let Some(envelope) = self.links.address(to, message) {
            self.outbox.send_after(envelope);
        }
    }

    fn load(&mut self, load: LogLoad, purpose: Purpose) {
        let id = self.outbox.load(load);
        self.loads.insert(id, purpose);
    }

    fn write_state(&mut self) {
        let mut out = BytesMut::new();
        self.promised.encode(&mut out);
        self.chosen.encode(&mut out);
        self.outbox.write(LogRecord::State(out.freeze()));
    }

    fn become_follower(&mut self, leader: Option<NodeId>, why: &'static str) {
        let before = core::mem::replace(&mut self.part, Part::Follower(leader));
        match before {
            Part::Leader(leadership) => self.refuse_reads(leadership),
            Part::Follower(known) if known == leader => return,
            Part::Follower(_) | Part::Candidate(_) => {}
        }
        self.tell_role(Role::Follower, leader, why);
    }

    fn tell_role(&mut self, role: Role, leader: Option<NodeId>, why: &'static str) {
        self.outbox.event_after(LogEvent::Role(RoleChange {
            role,
            era: self.promised.number,
            leader,
            why,
        }));
    }

    fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    fn reject(&self, command: Option<Bytes>, refusal: Refusal) -> Rejected {
        let leader = match self.part {
            Part::Follower(leader) => leader,
            Part::Candidate(_) => None,
            Part::Leader(_) => Some(self.me),
        };
        Rejected {
            command,
            leader,
            refusal,
        }
    }

    /// What every input ends with: notes that fell due, then what has become ready by them.
    fn settle(&mut self, now: Instant) {
        while let Some(note) = self.outbox.next_note() {
            match note {
                Note::Promised { ballot, after } => self.load_page(now, ballot, after),
                Note::Voted {
                    ballot,
                    first,
                    last,
                } => self.voted(ballot, first, last),
            }
        }
        self.deliver();
        self.answer_reads();
    }
}

fn decode_state(state: Bytes) -> (Stamp, LogIndex) {
    let mut state = state;
    let promised = Stamp::decode(&mut state).expect("our own state");
    (
        promised,
        LogIndex::decode_all(state).expect("our own state"),
    )
}

impl Machine for MultiPaxos {
    type Command = LogCommand;
    type Reply = Result<Option<Ticket>, Rejected>;
    type Message = Message;
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Event = LogEvent<Infallible>;

    fn call(&mut self, now: Instant, command: LogCommand) -> Self::Reply {
        command.give(self, now)
    }

    fn step(&mut self, now: Instant, envelope: Envelope<Message>) {
        let from = envelope.from;
        if !self.links.is_current(&envelope) || !VOTERS.contains(&from.0) {
            self.dropped += 1;
            return;
        }
        match envelope.message {
            Message::Prepare { ballot, after } => self.on_prepare(now, from, ballot, after),
            Message::Accept { entries, was } => self.on_accept(now, from, entries, was),
            Message::Beat {
                ballot,
                chosen,
                round,
            } => self.on_beat(now, from, ballot, chosen, round),
            Message::Promise {
                ballot,
                after,
                votes,
                through,
                more,
            } => self.on_promise(now, from, ballot, after, votes, (through, more)),
            Message::Accepted {
                ballot,
                first,
                last,
            } => self.on_accepted(from, ballot, first, last),
            Message::Nack { promised } => self.seen = self.seen.max(promised),
            Message::BeatSeen { ballot, round } => self.on_beat_seen(from, ballot, round),
            Message::Learn { after } => self.on_learn(from, after),
            Message::Chosen { runs } => self.on_chosen(from, runs),
        }
        self.settle(now);
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.links.set(peer, link);
        self.outbox.purge(peer);
        self.loads
            .retain(|_, purpose| *purpose != Purpose::Learner(peer));
    }

    fn tick(&mut self, now: Instant) {
        if now < self.timer {
            return;
        }
        match &self.part {
            Part::Leader(_) => self.beat(now),
            Part::Follower(_) | Part::Candidate(_) => self.campaign(now),
        }
        self.settle(now);
    }

    fn persisted(&mut self, now: Instant, write: WriteId) {
        self.outbox.persisted(write);
        self.settle(now);
    }

    fn loaded(&mut self, now: Instant, load: LoadId, answer: Option<LogLoaded>) {
        let runs = match answer {
            Some(LogLoaded::Entries { runs, .. }) => Some(runs),
            Some(LogLoaded::Snapshot { .. }) | None => None,
        };
        match self.loads.remove(&load) {
            Some(Purpose::Page { ballot, after }) => self.page_loaded(now, ballot, after, runs),
            Some(Purpose::Learner(to)) => {
                if let Some(runs) = runs {
                    self.send(to, Message::Chosen { runs });
                }
            }
            Some(Purpose::Deliver) => self.delivery_loaded(runs),
            None => {}
        }
        self.settle(now);
    }

    fn poll(&mut self) -> Option<Output<Message, LogRecord, Self::Event, LogLoad>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        let why = match self.part {
            Part::Follower(_) => "no leader has been heard",
            Part::Candidate(_) => "the candidacy takes too long",
            Part::Leader(_) => "heartbeat",
        };
        Some(Wake {
            at: self.timer,
            why,
        })
    }
}

impl Node for MultiPaxos {
    type Disk = LogImage;

    fn store(disk: &mut LogImage, record: LogRecord) {
        disk.apply(record).expect("the machine keeps the rules");
    }

    fn fetch(disk: &LogImage, load: &LogLoad) -> Option<LogLoaded> {
        disk.load(load)
    }

    fn start(id: NodeId, now: Instant, disk: &LogImage, seed: u64) -> Self {
        Self::restore(id, now, disk.restored(0), LogIndex::START, seed)
    }

    fn check(&self, disk: &LogImage) {
        for (index, slot) in &self.slots {
            if slot.durable && self.outbox.is_settled() {
                assert_eq!(
                    disk.stamp_at(*index),
                    Some(slot.stamp),
                    "{index} is durable"
                );
            }
        }
        assert!(self.handed <= self.chosen && self.compacted.0 <= self.handed);
    }
}
