//! ZAB from discovery to the first broadcasts: how a leader brings a learner to its own history.
//!
//! After "Zab: High-performance broadcast for primary-backup systems" §IV and ZooKeeper's
//! `LearnerHandler`: DIFF, TRUNC or SNAP by the learner's last entry; NEWLEADER behind all of it;
//! its acknowledgement once history, then epoch, are durable. A zxid is a [`LogIndex`] that never
//! goes back to 1 and a [`Stamp`] that is the epoch. Left to the real crate: election (commands
//! `Lead` and `Follow` stand for its outcome), time-outs, flow control by acknowledgements (here
//! the next load follows the last answer), observers, and `ReplicatedLog` (`multi_paxos` has it).

mod history;
mod leader;
mod learner;
#[cfg(test)]
mod tests;

use alloc::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use synod_core::{
    Decode, Encode, Entries, Entry, Envelope, Instant, Link, LoadId, LogImage, LogIndex, LogLoad,
    LogLoaded, LogRecord, Machine, NodeId, OldLog, Outbox, Output, Restored, Run, SnapshotId,
    SnapshotMeta, Stamp, Wake, WriteId,
};

use crate::cluster::Node;
use crate::links::Links;
use history::History;
use leader::{Leading, LearnerState};
use learner::Following;

const VOTERS: usize = 3;
/// The limit of a load of entries, in bytes, and of a piece of a snapshot.
const PAGE: usize = 2 * Entry::OVERHEAD + 8;
const PIECE: usize = 5;

/// A place in a history and its epoch: a zxid.
pub(crate) type Zxid = (LogIndex, Stamp);

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Message {
    /// FOLLOWERINFO. `attempt` comes back in the answer: a link is not reset to start afresh, and
    /// what is still under way belongs to an older attempt.
    Info { accepted: u64, attempt: u64 },
    /// LEADERINFO.
    Epoch { epoch: u64, attempt: u64 },
    /// ACKEPOCH. `vote`: the epoch is news to the learner (else another may lead it, and this one
    /// is only to be synchronised). With the learner's whole history by epochs, see `choose`.
    EpochSeen {
        epoch: u64,
        vote: bool,
        current: u64,
        runs: Vec<Run>,
        last: Zxid,
        staged: Option<(SnapshotId, u64)>,
    },
    /// DIFF: what follows continues the learner's history.
    Diff,
    /// TRUNC: what lies behind `after` never happened.
    Trunc { after: LogIndex },
    /// SNAP, one piece.
    Snap {
        meta: SnapshotMeta,
        offset: u64,
        chunk: Bytes,
    },
    /// PROPOSAL.
    Proposal(Entries),
    /// NEWLEADER, with where the history now ends: a hole does not go unnoticed.
    NewLeader { epoch: u64, last: Zxid },
    /// ACK of NEWLEADER.
    NewLeaderSeen { epoch: u64, last: LogIndex },
    /// ACK.
    Ack { epoch: u64, through: LogIndex },
    /// COMMIT; the first one is UPTODATE.
    Commit { epoch: u64, through: LogIndex },
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Command {
    Lead,
    Follow(NodeId),
    Propose(Bytes),
    /// A snapshot of the state machine is durable and current.
    Compact(SnapshotMeta),
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Event {
    /// A quorum has acknowledged this node's epoch, or the leader has said so.
    Established(u64),
    /// Everything up to here is committed and durable here.
    Committed(LogIndex),
    /// The state machine must be replaced.
    Restore(SnapshotMeta),
    /// Another knows more: an election has to be held again (paper §IV, phase 1).
    GaveUp,
}

/// What becomes true of this node itself once a write is durable.
#[derive(Clone, PartialEq, Debug)]
enum Note {
    /// The history up to here. Clamped when it is truncated.
    Durable(LogIndex),
    /// The accepted epoch of a leader: learners may hear of it.
    Accepted(u64),
    /// The current epoch of a leader: its own acknowledgement of NEWLEADER.
    Current(u64),
}

/// `f.p` and `f.a` of the paper: one record, so that they never part (ZOOKEEPER-2307).
#[derive(Clone, Copy, PartialEq, Debug, Default)]
struct Epochs {
    accepted: u64,
    current: u64,
}

enum Part {
    Looking,
    Leading(Leading),
    Following(Following),
}

pub(crate) struct Zab {
    me: NodeId,
    links: Links,
    outbox: Outbox<Message, LogRecord, Event, LogLoad, Note>,
    epochs: Epochs,
    history: History,
    staged: Option<(SnapshotId, u64)>,
    /// Committed, durable here and told.
    committed: LogIndex,
    part: Part,
    /// What each load is for: a learner on the present link.
    loads: BTreeMap<LoadId, NodeId>,
    attempts: u64,
    dropped: u64,
}

impl Zab {
    fn restore(me: NodeId, disk: Restored) -> Self {
        let epochs = disk.state.clone().map_or_else(Epochs::default, |state| {
            let mut state = state;
            let accepted = u64::decode(&mut state).expect("our own state");
            let current = u64::decode_all(state).expect("our own state");
            Epochs { accepted, current }
        });
        assert!(epochs.current <= epochs.accepted);
        let mut zab = Self {
            me,
            links: Links::new(me),
            outbox: Outbox::new(1),
            epochs,
            staged: disk.staged,
            committed: LogIndex::START,
            history: History::restore(disk.clone()),
            part: Part::Looking,
            loads: BTreeMap::new(),
            attempts: 0,
            dropped: 0,
        };
        if let Some(meta) = disk.snapshot {
            zab.committed = meta.index();
            zab.outbox.event_now(Event::Restore(meta));
        }
        zab
    }

    /// The snapshot is the whole history now. One record does it: were the log dropped first, a crash
    /// would lose what this node has acknowledged; were it dropped later, a dead epoch's entries
    /// would stand behind the snapshot.
    fn replace_history(&mut self, meta: SnapshotMeta) {
        let through = meta.index();
        let log = OldLog::Replace;
        let record = LogRecord::Activate {
            meta: meta.clone(),
            log,
        };
        self.outbox.write(record);
        self.forget_durable(LogIndex::START);
        self.history.replace(meta);
        self.outbox.note_after(Note::Durable(through));
    }

    /// No ABA: what was written behind `after` is gone, and an older write that comes to be durable
    /// says nothing of what will be written there. (ACKEPOCH waits for all that was written, so no
    /// such write is under way when a synchronisation begins; the rule costs nothing and holds
    /// where that argument does not.)
    fn forget_durable(&mut self, after: LogIndex) {
        for note in self.outbox.notes_mut() {
            if let Note::Durable(through) = note {
                *through = (*through).min(after);
            }
        }
        self.history.clamp_durable(after);
    }

    fn write_epochs(&mut self) {
        let mut out = BytesMut::new();
        self.epochs.accepted.encode(&mut out);
        self.epochs.current.encode(&mut out);
        self.outbox.write(LogRecord::State(out.freeze()));
    }

    /// Adds to the history, here and on disk.
    fn append(&mut self, entries: Entries) {
        debug_assert_eq!(entries.first(), self.history.last().0.next(), "no hole");
        let last = entries.last();
        self.history.append(entries.clone());
        self.outbox.write(LogRecord::Put(entries));
        self.outbox.note_after(Note::Durable(last));
    }

    fn send(&mut self, to: NodeId, message: Message) {
        if let Some(envelope) = self.links.address(to, message) {
            self.outbox.send_after(envelope);
        }
    }

    /// Sends what rests on no write of this node: entries and pieces that are read from its disk or
    /// that a learner makes durable itself, under an epoch that is durable since before LEADERINFO.
    fn send_now(&mut self, to: NodeId, message: Message) {
        if let Some(envelope) = self.links.address(to, message) {
            self.outbox.send_now(envelope);
        }
    }

    /// Leaves whatever part it played. Answers to loads for it come to nobody.
    fn become_looking(&mut self) {
        self.part = Part::Looking;
        self.loads.clear();
    }

    /// Whom this node follows, itself included.
    fn leader(&self) -> Option<NodeId> {
        match &self.part {
            Part::Looking => None,
            Part::Leading(_) => Some(self.me),
            Part::Following(following) => Some(following.leader()),
        }
    }

    fn compact(&mut self, meta: SnapshotMeta) -> bool {
        let (through, stamp) = (meta.index(), meta.stamp);
        if through <= self.history.compacted().0 || through > self.committed {
            return false; // a newer one was installed meanwhile
        }
        self.outbox.write(LogRecord::Compact { through, stamp });
        self.history.compact(meta);
        true
    }

    fn commit(&mut self, through: LogIndex) {
        let through = through.min(self.history.durable());
        if through > self.committed {
            self.committed = through;
            self.outbox.event_now(Event::Committed(through));
        }
    }

    fn settle(&mut self) {
        while let Some(note) = self.outbox.next_note() {
            match note {
                Note::Durable(through) => self.history.set_durable(through),
                Note::Accepted(epoch) => self.announce(epoch),
                Note::Current(epoch) => self.own_epoch(epoch),
            }
        }
        self.pump();
        self.count();
        if let Part::Following(following) = &self.part {
            self.commit(following.committed());
        }
    }
}

impl Machine for Zab {
    type Command = Command;
    /// Whether the command makes sense now.
    type Reply = bool;
    type Message = Message;
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Event = Event;

    fn call(&mut self, _: Instant, command: Command) -> bool {
        let taken = match command {
            Command::Lead => self.lead(),
            Command::Follow(leader) => self.follow(leader),
            Command::Propose(payload) => self.propose(payload),
            Command::Compact(meta) => self.compact(meta),
        };
        self.settle();
        taken
    }

    fn step(&mut self, _: Instant, envelope: Envelope<Message>) {
        let from = envelope.from;
        if !self.links.is_current(&envelope) || !self.dispatch(from, envelope.message) {
            self.dropped += 1;
        }
        self.settle();
    }

    fn link(&mut self, _: Instant, peer: NodeId, link: Link) {
        self.links.set(peer, link);
        self.outbox.purge(peer);
        self.loads.retain(|_, learner| *learner != peer);
        match &mut self.part {
            Part::Leading(leading) => leading.drop_learner(peer),
            Part::Following(following) if following.leader() == peer => _ = self.follow(peer),
            Part::Following(_) | Part::Looking => {}
        }
        self.settle();
    }

    fn tick(&mut self, _: Instant) {}

    fn persisted(&mut self, _: Instant, write: WriteId) {
        self.outbox.persisted(write);
        self.settle();
    }

    fn loaded(&mut self, _: Instant, load: LoadId, answer: Option<LogLoaded>) {
        if let Some(learner) = self.loads.remove(&load) {
            self.sync_loaded(learner, answer);
        }
        self.settle();
    }

    fn poll(&mut self) -> Option<Output<Message, LogRecord, Event, LogLoad>> {
        self.outbox.poll()
    }

    fn deadline(&self) -> Option<Wake> {
        None
    }
}

impl Zab {
    /// Whether the message makes sense in this node's part.
    fn dispatch(&mut self, from: NodeId, message: Message) -> bool {
        match (&mut self.part, message) {
            (Part::Leading(_), Message::Info { accepted, attempt }) => {
                self.on_info(from, accepted, attempt);
            }
            (
                Part::Leading(_),
                Message::EpochSeen {
                    epoch,
                    vote,
                    current,
                    runs,
                    last,
                    staged,
                },
            ) => {
                let state = LearnerState { runs, last, staged };
                self.on_epoch_seen(from, (epoch, vote), current, state);
            }
            (Part::Leading(leading), Message::NewLeaderSeen { epoch, last }) => {
                leading.new_leader_seen(from, epoch, last);
            }
            (Part::Leading(leading), Message::Ack { epoch, through }) => {
                leading.ack(from, epoch, through);
            }
            (Part::Following(following), message) if following.leader() == from => {
                return self.follow_word(from, message);
            }
            _ => return false,
        }
        true
    }
}

impl Node for Zab {
    type Disk = LogImage;

    fn store(disk: &mut LogImage, record: LogRecord) {
        disk.apply(record).expect("the machine keeps the rules");
    }

    fn fetch(disk: &LogImage, load: &LogLoad) -> Option<LogLoaded> {
        disk.load(load)
    }

    fn start(id: NodeId, _: Instant, disk: &LogImage, _: u64) -> Self {
        Self::restore(id, disk.restored(0))
    }

    /// What the machine believes durable is.
    fn check(&self, disk: &LogImage) {
        for index in self.history.compacted().0.0 + 1..=self.history.durable().0 {
            let index = LogIndex(index);
            if self.outbox.is_settled() {
                assert_eq!(
                    self.history.stamp_at(index),
                    disk.stamp_at(index),
                    "{index}"
                );
            }
        }
    }
}

/// A machine is usable as `dyn`, which keeps the trait honest.
#[allow(dead_code, clippy::type_complexity)]
fn usable_as_dyn(
    zab: &mut Zab,
) -> &mut dyn Machine<
    Command = Command,
    Reply = bool,
    Message = Message,
    Record = LogRecord,
    Load = LogLoad,
    Loaded = LogLoaded,
    Event = Event,
> {
    zab
}
