//! The leader: one epoch from a quorum, each learner to this history, then broadcast.

use alloc::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use synod_core::{
    Entries, Entry, LogIndex, LogLoad, LogLoaded, NodeId, Run, SnapshotId, SnapshotMeta, Stamp,
};

use super::{Event, Message, Note, PAGE, PIECE, Part, VOTERS, Zab, Zxid};

const fn is_quorum(count: usize) -> bool {
    count * 2 > VOTERS
}

/// How far a learner is. Each stage ends with a message of the learner, or with the end of a stage
/// of data.
enum Stage {
    /// Has told its epoch.
    Informed { attempt: u64 },
    /// Was told the new one.
    Told,
    /// Has answered with its history, which waits for the quorum.
    Waits(LearnerState),
    /// Is being sent the snapshot; `offset` bytes have left.
    Snapshot { id: SnapshotId, offset: u64 },
    /// Is being sent entries; those up to `sent` have left.
    Entries { sent: LogIndex },
    /// Has been sent everything, NEWLEADER behind it, and is sent each new entry; those up to
    /// `acked` are durable there, the epoch too unless `None`.
    Live {
        acked: Option<LogIndex>,
        /// The last commit it was told; the first says that the epoch is established (UPTODATE).
        told: Option<LogIndex>,
    },
}

/// What a learner has.
#[derive(Clone)]
pub(super) struct LearnerState {
    pub(super) runs: Vec<Run>,
    pub(super) last: Zxid,
    pub(super) staged: Option<(SnapshotId, u64)>,
}

pub(super) struct Leading {
    /// Known once a quorum has told its own.
    epoch: Option<u64>,
    infos: BTreeMap<NodeId, u64>,
    learners: BTreeMap<NodeId, Stage>,
    /// Who has answered the epoch: a quorum of these, and synchronisation begins.
    seen: BTreeSet<NodeId>,
    /// This node's own acknowledgement of NEWLEADER is durable.
    current: bool,
    established: bool,
    committed: LogIndex,
}

impl Leading {
    pub(super) fn drop_learner(&mut self, peer: NodeId) {
        self.learners.remove(&peer);
    }

    pub(super) fn new_leader_seen(&mut self, from: NodeId, epoch: u64, last: LogIndex) {
        if let Some(Stage::Live { acked, .. }) = self.learners.get_mut(&from)
            && self.epoch == Some(epoch)
        {
            *acked = (*acked).max(Some(last));
        }
    }

    pub(super) fn ack(&mut self, from: NodeId, epoch: u64, through: LogIndex) {
        if let Some(Stage::Live {
            acked: Some(acked), ..
        }) = self.learners.get_mut(&from)
            && self.epoch == Some(epoch)
        {
            *acked = (*acked).max(through);
        }
    }
}

impl Zab {
    pub(super) fn lead(&mut self) -> bool {
        self.become_looking();
        self.part = Part::Leading(Leading {
            epoch: None,
            infos: BTreeMap::new(),
            learners: BTreeMap::new(),
            seen: BTreeSet::new(),
            current: false,
            established: false,
            committed: self.committed,
        });
        true
    }

    pub(super) fn on_info(&mut self, from: NodeId, accepted: u64, attempt: u64) {
        // What was under way to this learner is of an older attempt.
        self.outbox.purge(from);
        self.loads.retain(|_, learner| *learner != from);
        let Part::Leading(leading) = &mut self.part else {
            return;
        };
        leading.learners.insert(from, Stage::Informed { attempt });
        leading.infos.insert(from, accepted);
        match leading.epoch {
            None if is_quorum(leading.infos.len() + 1) => {
                let told = leading.infos.values().max();
                let epoch = told.map_or(0, |max| *max).max(self.epochs.accepted) + 1;
                leading.epoch = Some(epoch);
                self.epochs.accepted = epoch;
                self.write_epochs();
                self.outbox.note_after(Note::Accepted(epoch));
            }
            // It has promised not to follow this epoch, and never will.
            Some(epoch) if accepted > epoch => self.give_up(),
            Some(epoch) => self.outbox.note_after(Note::Accepted(epoch)),
            None => {}
        }
    }

    /// LEADERINFO: the epoch is durable here.
    pub(super) fn announce(&mut self, epoch: u64) {
        let Part::Leading(leading) = &mut self.part else {
            return;
        };
        if leading.epoch != Some(epoch) {
            return;
        }
        let mut told = Vec::new();
        for (learner, stage) in &mut leading.learners {
            if let Stage::Informed { attempt } = *stage {
                told.push((*learner, Message::Epoch { epoch, attempt }));
                *stage = Stage::Told;
            }
        }
        for (learner, message) in told {
            self.send(learner, message);
        }
    }

    pub(super) fn on_epoch_seen(
        &mut self,
        from: NodeId,
        (epoch, vote): (u64, bool),
        current: u64,
        state: LearnerState,
    ) {
        let own = (
            self.epochs.current,
            self.history.last().1,
            self.history.last().0,
        );
        let Part::Leading(leading) = &mut self.part else {
            return;
        };
        let told = matches!(leading.learners.get(&from), Some(Stage::Told));
        if leading.epoch != Some(epoch) || !told {
            return;
        }
        let begun = is_quorum(leading.seen.len() + 1);
        if !begun && (current, state.last.1, state.last.0) > own {
            // The check that safety rests on; an election only makes it unlikely to fail.
            return self.give_up();
        }
        if vote {
            leading.seen.insert(from);
        }
        leading.learners.insert(from, Stage::Waits(state));
        if !begun && is_quorum(leading.seen.len() + 1) {
            // The history is durable since before this node leads; now the epoch.
            self.epochs.current = epoch;
            self.write_epochs();
            self.outbox.note_after(Note::Current(epoch));
        }
    }

    fn give_up(&mut self) {
        self.become_looking();
        self.outbox.event_now(Event::GaveUp);
    }

    pub(super) fn own_epoch(&mut self, epoch: u64) {
        if let Part::Leading(leading) = &mut self.part {
            leading.current |= leading.epoch == Some(epoch);
        }
    }

    /// Brings on every learner that waits for nothing.
    pub(super) fn pump(&mut self) {
        let Part::Leading(leading) = &self.part else {
            return;
        };
        if !is_quorum(leading.seen.len() + 1) {
            return;
        }
        let idle = |learner: &&NodeId| !self.loads.values().any(|other| other == *learner);
        let learners: Vec<NodeId> = leading.learners.keys().filter(idle).copied().collect();
        for learner in learners {
            self.bring_on(learner);
        }
    }

    fn bring_on(&mut self, learner: NodeId) {
        let Part::Leading(leading) = &self.part else {
            return;
        };
        match leading.learners.get(&learner) {
            Some(Stage::Waits(state)) => self.choose(learner, state.clone()),
            Some(Stage::Snapshot { id, offset }) => {
                let load = LogLoad::Snapshot {
                    id: *id,
                    offset: *offset,
                    max_bytes: PIECE,
                };
                let load = self.outbox.load(load);
                self.loads.insert(load, learner);
            }
            Some(Stage::Entries { sent }) => self.send_entries(learner, *sent),
            _ => {}
        }
    }

    fn enter(&mut self, learner: NodeId, stage: Stage) {
        if let Part::Leading(leading) = &mut self.part {
            leading.learners.insert(learner, stage);
        }
        self.bring_on(learner);
    }

    /// DIFF if the learner's history is a beginning of this one, TRUNC to what they share if that is
    /// not compacted here, else SNAP.
    ///
    /// ZooKeeper knows the learner's last zxid only and takes a SNAP where epochs differ. A learner
    /// with a log must never go back behind what both share, not even for a moment: it may have
    /// acknowledged all of that, and a crash in the middle would lose it. A snapshot covers more
    /// than what they share wherever it is taken here.
    fn choose(&mut self, learner: NodeId, state: LearnerState) {
        let shared = self.history.shared_with(&state.runs);
        if shared >= self.history.compacted().0 {
            let how = if shared == state.last.0 {
                Message::Diff
            } else {
                Message::Trunc { after: shared }
            };
            self.send_now(learner, how);
            return self.enter(learner, Stage::Entries { sent: shared });
        }
        let meta = self.history.snapshot().expect("what compacted the log");
        let (id, size) = (meta.id, meta.size);
        let resumed = state
            .staged
            .filter(|(other, at)| *other == id && *at < size);
        let offset = resumed.map_or(0, |(_, there)| there);
        self.enter(learner, Stage::Snapshot { id, offset });
    }

    /// From disk while it lies there, from memory when it does not yet, and NEWLEADER in the same
    /// step in which nothing is left: no entry falls between (ZOOKEEPER-3104, -4394).
    fn send_entries(&mut self, learner: NodeId, sent: LogIndex) {
        let (last, durable) = (self.history.last(), self.history.durable());
        if sent < durable {
            let load = LogLoad::Entries {
                after: sent,
                through: durable,
                max_bytes: PAGE,
            };
            let load = self.outbox.load(load);
            self.loads.insert(load, learner);
            return;
        }
        for entries in self.history.fresh_after(sent).collect::<Vec<_>>() {
            self.send_now(learner, Message::Proposal(entries));
        }
        let epoch = self.epochs.accepted;
        self.send_now(learner, Message::NewLeader { epoch, last });
        self.enter(
            learner,
            Stage::Live {
                acked: None,
                told: None,
            },
        );
    }

    /// What was read for a learner on the present link. Nothing: it was compacted meanwhile.
    pub(super) fn sync_loaded(&mut self, learner: NodeId, answer: Option<LogLoaded>) {
        let Part::Leading(leading) = &self.part else {
            return;
        };
        match (leading.learners.get(&learner), answer) {
            (Some(Stage::Entries { .. }), Some(LogLoaded::Entries { runs, .. })) => {
                let sent = runs.last().expect("at least one").last();
                for entries in runs {
                    self.send_now(learner, Message::Proposal(entries));
                }
                self.enter(learner, Stage::Entries { sent });
            }
            (
                Some(Stage::Snapshot { .. }),
                Some(LogLoaded::Snapshot {
                    meta,
                    offset,
                    chunk,
                }),
            ) => self.send_piece(learner, meta, offset, chunk),
            (Some(Stage::Entries { .. } | Stage::Snapshot { .. }), _) => {
                let meta = self.history.snapshot().expect("what compacted it");
                let stage = Stage::Snapshot {
                    id: meta.id,
                    offset: 0,
                };
                self.enter(learner, stage);
            }
            _ => {}
        }
    }

    fn send_piece(&mut self, learner: NodeId, meta: SnapshotMeta, offset: u64, chunk: Bytes) {
        let (id, size) = (meta.id, meta.size);
        let offset_after = offset + chunk.len() as u64;
        let piece = Message::Snap {
            meta,
            offset,
            chunk,
        };
        self.send_now(learner, piece);
        let stage = if offset_after == size {
            Stage::Entries { sent: id.index }
        } else {
            Stage::Snapshot {
                id,
                offset: offset_after,
            }
        };
        self.enter(learner, stage);
    }

    pub(super) fn propose(&mut self, payload: Bytes) -> bool {
        let Part::Leading(leading) = &self.part else {
            return false;
        };
        if !leading.established {
            return false;
        }
        let live =
            |(id, stage): (&NodeId, &Stage)| matches!(stage, Stage::Live { .. }).then_some(*id);
        let live: Vec<NodeId> = leading.learners.iter().filter_map(live).collect();
        let stamp = Stamp::of(self.epochs.current);
        let first = self.history.last().0.next();
        let entries = Entries::new(first, stamp, [Entry::command(payload)]);
        for learner in live {
            // Before it is durable here: a learner's acknowledgement counts by itself.
            self.send_now(learner, Message::Proposal(entries.clone()));
        }
        self.append(entries);
        true
    }

    /// Counts acknowledgements: of the epoch, then of entries. Those of who has not acknowledged
    /// the epoch count for nothing.
    pub(super) fn count(&mut self) {
        let durable = self.history.durable();
        let Part::Leading(leading) = &mut self.part else {
            return;
        };
        let own = leading.current.then_some(durable);
        let acked = leading.learners.values().map(|stage| match stage {
            Stage::Live { acked, .. } => *acked,
            _ => None,
        });
        let mut acked: Vec<LogIndex> = acked.chain([own]).flatten().collect();
        acked.sort_unstable_by(|a, b| b.cmp(a));
        let Some(through) = acked.get(VOTERS / 2).copied() else {
            return;
        };
        let epoch = self.epochs.accepted;
        if !leading.established {
            leading.established = true;
            self.outbox.event_now(Event::Established(epoch));
        }
        let through = through.max(leading.committed);
        leading.committed = through;
        let mut news = Vec::new();
        for (learner, stage) in &mut leading.learners {
            if let Stage::Live { acked, told } = stage
                && acked.is_some()
                && *told < Some(through)
            {
                *told = Some(through);
                news.push(*learner);
            }
        }
        for learner in news {
            self.send_now(learner, Message::Commit { epoch, through });
        }
        self.commit(through);
    }
}
