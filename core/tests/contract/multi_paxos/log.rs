//! The methods that every replicated log has.

use bytes::Bytes;
use core::convert::Infallible;
use synod_core::{
    Change, Entry, Generation, Instant, LogEvent, LogIndex, LogRecord, NodeId, ReadLevel, Refusal,
    Rejected, ReplicatedLog, Role, SnapshotId, SnapshotMeta, Status, Ticket,
};

use super::learner::Proposal;
use super::{MultiPaxos, Part, VOTERS, WINDOW};

impl ReplicatedLog for MultiPaxos {
    type Detail = Infallible;

    fn propose(&mut self, now: Instant, command: Bytes) -> Result<Ticket, Rejected> {
        let Part::Leader(leadership) = &self.part else {
            return Err(self.reject(Some(command), Refusal::NotLeader));
        };
        let slot = leadership.next;
        if slot.since(self.chosen) > WINDOW {
            let (what, limit) = ("open slots", 64);
            return Err(self.reject(Some(command), Refusal::Busy { what, limit }));
        }
        let (ticket, ballot, entry) = (self.ticket(), self.promised, Entry::command(command));
        let proposal = Proposal::new(ticket, entry.clone(), ballot);
        self.proposals.insert(slot, proposal);
        self.propose_slot(slot, entry, ballot);
        self.settle(now);
        Ok(ticket)
    }

    fn read(&mut self, now: Instant, level: ReadLevel) -> Result<Ticket, Rejected> {
        let ticket = Ticket(self.tickets + 1);
        match (level, &mut self.part) {
            (ReadLevel::Stale, _) => self.outbox.event_now(LogEvent::Read {
                ticket,
                index: self.handed,
            }),
            (ReadLevel::Linearizable, Part::Leader(leadership)) => {
                leadership.read(ticket, self.chosen);
                self.beat(now);
            }
            (ReadLevel::Linearizable, _) => return Err(self.reject(None, Refusal::NotLeader)),
            _ => return Err(self.reject(None, Refusal::Unsupported("this read level"))),
        }
        let ticket = self.ticket();
        self.settle(now);
        Ok(ticket)
    }

    fn reconfigure(&mut self, _: Instant, _: Change) -> Result<Ticket, Rejected> {
        Err(self.reject(None, Refusal::Unsupported("reconfiguration")))
    }

    fn transfer(&mut self, _: Instant, _: NodeId) -> Result<(), Rejected> {
        Err(self.reject(None, Refusal::Unsupported("transfer")))
    }

    fn applied(&mut self, now: Instant, through: LogIndex) {
        self.applied = self.applied.max(through);
        self.settle(now);
    }

    fn describe(&self, applied: LogIndex) -> Option<SnapshotMeta> {
        let stamp = self.slots.get(&applied).map(|slot| slot.stamp)?;
        (applied <= self.handed).then_some(SnapshotMeta {
            id: SnapshotId {
                origin: Generation(self.me.0),
                index: applied,
            },
            stamp,
            config: Bytes::new(),
            size: 0,
        })
    }

    fn compact(&mut self, _: Instant, snapshot: SnapshotMeta) {
        let (through, stamp) = (snapshot.index(), snapshot.stamp);
        if through <= self.compacted.0 || through > self.applied {
            return;
        }
        // First what says that these slots are chosen, then what drops them.
        self.write_state();
        self.outbox.write(LogRecord::Compact { through, stamp });
        self.compacted = (through, stamp);
        self.slots = self.slots.split_off(&through.next());
    }

    fn status(&self) -> Status {
        let role = match &self.part {
            Part::Follower(_) => Role::Follower,
            Part::Candidate(_) => Role::Candidate,
            Part::Leader(_) => Role::Leader,
        };
        let durable = |index: &LogIndex| self.slots.get(index).is_some_and(|slot| slot.durable);
        let first_open = (self.chosen.0 + 1..).map(LogIndex).find(|i| !durable(i));
        Status {
            node: self.me,
            generation: Generation(self.me.0),
            role,
            era: self.promised.number,
            leader: self.reject(None, Refusal::NoLeader).leader,
            committed: self.chosen,
            applied: self.applied,
            durable: first_open.map_or(self.chosen, LogIndex::previous),
            last: self.slots.keys().last().map_or(self.compacted.0, |i| *i),
            compacted: self.compacted.0,
            snapshot: self.compacted.0,
            log_bytes: 0,
            uncommitted_bytes: 0,
            peers: Vec::new(),
            voters: VOTERS.map(NodeId).to_vec(),
            learners: Vec::new(),
            dropped_messages: self.dropped,
        }
    }
}
