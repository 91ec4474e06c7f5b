//! The learner: takes the leader's history as its own, and says so once it is durable.

use bytes::Bytes;
use synod_core::{Entries, Lane, LogIndex, LogRecord, NodeId, SnapshotMeta};

use super::{Event, Message, Part, Zab, Zxid};

#[derive(Clone, Copy, PartialEq, Debug)]
enum Stage {
    /// Has told its epoch and waits for the leader's.
    Waits,
    /// Is being sent the leader's history; none of it is acknowledged.
    Syncs { epoch: u64 },
    /// Has acknowledged NEWLEADER, or will once it is durable.
    Follows { epoch: u64 },
}

pub(super) struct Following {
    leader: NodeId,
    attempt: u64,
    stage: Stage,
    established: bool,
    committed: LogIndex,
}

impl Following {
    pub(super) const fn leader(&self) -> NodeId {
        self.leader
    }

    pub(super) const fn committed(&self) -> LogIndex {
        self.committed
    }
}

impl Zab {
    /// Begins from the start, on whatever link there is: the leader forgets what it was doing.
    pub(super) fn follow(&mut self, leader: NodeId) -> bool {
        self.become_looking();
        self.attempts += 1;
        let (accepted, attempt) = (self.epochs.accepted, self.attempts);
        self.part = Part::Following(Following {
            leader,
            attempt,
            stage: Stage::Waits,
            established: false,
            committed: LogIndex::START,
        });
        self.send(leader, Message::Info { accepted, attempt });
        true
    }

    /// A message of the leader; whether it made sense.
    pub(super) fn follow_word(&mut self, leader: NodeId, message: Message) -> bool {
        let Part::Following(following) = &mut self.part else {
            return false;
        };
        match (following.stage, message) {
            (Stage::Waits, Message::Epoch { epoch, attempt }) if attempt == following.attempt => {
                self.on_epoch(leader, epoch);
            }
            // Of an older attempt on the same link.
            (Stage::Waits, _) => return false,
            (Stage::Syncs { .. }, Message::Diff) => {}
            (Stage::Syncs { .. }, Message::Trunc { after }) => return self.on_trunc(after),
            (
                Stage::Syncs { .. },
                Message::Snap {
                    meta,
                    offset,
                    chunk,
                },
            ) => return self.on_snap(leader, meta, offset, chunk),
            (Stage::Syncs { .. } | Stage::Follows { .. }, Message::Proposal(entries)) => {
                return self.on_proposal(leader, entries);
            }
            (Stage::Syncs { epoch: told }, Message::NewLeader { epoch, last }) if told == epoch => {
                return self.on_new_leader(leader, epoch, last);
            }
            (Stage::Follows { epoch: told }, Message::Commit { epoch, through })
                if told == epoch =>
            {
                following.committed = following.committed.max(through);
                if !following.established {
                    following.established = true;
                    self.outbox.event_now(Event::Established(epoch));
                }
            }
            _ => return false,
        }
        true
    }

    fn on_epoch(&mut self, leader: NodeId, epoch: u64) {
        if epoch < self.epochs.accepted {
            return self.become_looking();
        }
        let vote = epoch > self.epochs.accepted;
        if vote {
            self.epochs.accepted = epoch;
            self.write_epochs();
        }
        if let Part::Following(following) = &mut self.part {
            following.stage = Stage::Syncs { epoch };
        }
        // Rests on the accepted epoch and on every entry it speaks of.
        let answer = Message::EpochSeen {
            epoch,
            vote,
            current: self.epochs.current,
            runs: self.history.runs(),
            last: self.history.last(),
            staged: self.staged,
        };
        self.send(leader, answer);
    }

    fn on_trunc(&mut self, after: LogIndex) -> bool {
        if after < self.history.compacted().0 || after < self.committed {
            return false;
        }
        let from = after.next();
        self.outbox.write(LogRecord::Truncate { from });
        self.forget_durable(after);
        self.history.truncate(after);
        true
    }

    /// Pieces come in order on one link; one that does not fit shows a hole.
    fn on_snap(&mut self, leader: NodeId, meta: SnapshotMeta, offset: u64, chunk: Bytes) -> bool {
        let (id, there) = (meta.id, offset + chunk.len() as u64);
        if offset != 0 && self.staged != Some((id, offset)) {
            self.follow(leader);
            return false;
        }
        self.staged = Some((id, there));
        let lane = Lane::Received;
        self.outbox.write(LogRecord::Stage {
            lane,
            id,
            offset,
            chunk,
        });
        if there == meta.size {
            self.staged = None;
            self.replace_history(meta.clone());
            self.committed = meta.index();
            self.outbox.event_after(Event::Restore(meta));
        }
        true
    }

    fn on_proposal(&mut self, leader: NodeId, entries: Entries) -> bool {
        if entries.first() != self.history.last().0.next() {
            self.follow(leader); // a hole: nothing behind it may be logged (ZOOKEEPER-4925)
            return false;
        }
        let through = entries.last();
        self.append(entries);
        if let Part::Following(following) = &self.part
            && let Stage::Follows { epoch } = following.stage
        {
            self.send(leader, Message::Ack { epoch, through });
        }
        true
    }

    /// First the history, then the epoch (ZOOKEEPER-4643, -4785), both durable before the word.
    fn on_new_leader(&mut self, leader: NodeId, epoch: u64, last: Zxid) -> bool {
        if self.history.last() != last {
            self.follow(leader);
            return false;
        }
        self.epochs.current = epoch;
        self.write_epochs();
        if let Part::Following(following) = &mut self.part {
            following.stage = Stage::Follows { epoch };
        }
        let last = last.0;
        self.send(leader, Message::NewLeaderSeen { epoch, last });
        true
    }
}
