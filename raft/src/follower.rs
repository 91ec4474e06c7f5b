//! The follower (Raft §5.3, §7): takes the leader's entries and snapshots, and acknowledges what is
//! durable.

use alloc::format;
use core::time::Duration;

use synod_core::{
    Entries, Instant, Lane, LogEvent, LogIndex, LogRecord, NodeId, OldLog, SnapshotMeta,
};

use crate::message::{Append, Piece};
use crate::node::{Node, Note};
use crate::planted::planted;
use crate::{Body, Detail, Position, Round, Term};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Follower {
    /// When this node stands for election unless it hears of a leader.
    pub(crate) deadline: Instant,
    /// How long it waits: drawn once for this term and attempt.
    timeout: Duration,
    /// When it last heard of its leader.
    pub(crate) heard: Option<Instant>,
    /// How often it has waited in this term.
    pub(crate) attempt: u64,
    /// The latest round of the leader that it has seen.
    round: Round,
    /// What the leader is to be told once it is durable: the log matches up to here.
    ack: Option<LogIndex>,
    /// What it will be told when the writes under way are durable.
    noted: Option<LogIndex>,
    /// The leader wants to know whether this node still follows: a heartbeat or a read's round.
    asked: bool,
    /// This node's term is durable.
    settled: bool,
}

impl Follower {
    /// Waits for a leader for one election time-out from now on.
    pub(crate) fn new(node: &Node, attempt: u64) -> Self {
        let timeout = node.election_timeout(attempt);
        Self {
            deadline: node.now + timeout,
            timeout,
            heard: None,
            attempt,
            round: Round(0),
            ack: None,
            noted: None,
            asked: false,
            settled: false,
        }
    }

    /// Waits for one election time-out from now on.
    pub(crate) fn wait(&mut self, node: &Node) {
        self.deadline = node.now + self.timeout;
    }

    /// The leader is alive.
    fn hear(&mut self, node: &mut Node, round: Round) {
        self.heard = Some(node.now);
        node.touch = node.now;
        self.wait(node);
        self.round = self.round.max(round);
    }

    /// Whether it has heard of its leader so lately that another election would only disturb
    /// (dissertation §6.2, §9.6).
    pub(crate) fn is_led(&self, node: &Node) -> bool {
        let lease = node.config.timing.election_min;
        node.leader.is_some() && self.heard.is_some_and(|heard| node.now < heard + lease)
    }

    /// Entries of the leader (Raft figure 2, `AppendEntries`, receiver).
    pub(crate) fn on_append(&mut self, node: &mut Node, append: Append) {
        self.asked |= append.entries.is_empty() || append.round > self.round;
        self.hear(node, append.round);
        let before = append.entries.first().previous();
        let base = node.log.base().index;
        // What lies before the base is committed, hence the same in every leader's log.
        let entries = if before < base {
            append.entries.after(base)
        } else {
            append.entries
        };
        let fits = before < base || node.log.term_at(before) == Some(append.before);
        if !fits && !planted!(node, AppendUnchecked) {
            return self.refuse(node, before, append.before);
        }
        if before > node.log.last() {
            return;
        }
        if !entries.is_empty() && Term::from(entries.stamp()) < node.log.base().term {
            // Terms only rise along a log (Raft §5.3): no leader that has our base sends this.
            return node.drop_message();
        }
        let verified = if entries.is_empty() {
            before.max(base)
        } else {
            entries.last()
        };
        if !self.merge(node, entries) {
            return;
        }
        // Never beyond what this append has shown to be the leader's (figure 2, step 5).
        if planted!(node, CommitBeyondMatch) {
            node.commit_to(append.commit.min(node.log.last()));
        }
        node.commit_to(append.commit.min(verified));
        self.ack = self.ack.max(Some(verified));
    }

    fn refuse(&self, node: &mut Node, asked: LogIndex, term: Term) {
        let hint = node.log.last_at_most(asked, term);
        if self.settled {
            return self.conflict(node, asked, hint);
        }
        let latest = Note::Refused {
            term: node.term,
            asked,
            hint,
        };
        // The latest stands for all: a disk that hangs would gather them.
        let mut notes = node.outbox.notes_mut();
        let earlier =
            notes.find(|note| matches!(note, Note::Refused { term, .. } if *term == node.term));
        if let Some(earlier) = earlier {
            *earlier = latest;
            return;
        }
        drop(notes);
        node.outbox.note_after(latest);
    }

    /// Says that the leader's log parts from this one before the place `asked`.
    pub(crate) fn conflict(&self, node: &mut Node, asked: LogIndex, hint: Position) {
        let Some(leader) = node.leader else { return };
        // Safe while writes run: the term is durable, and what the log holds or lacks is said to
        // find where the logs part, not promised.
        node.send_now(
            leader,
            Body::Conflict {
                asked,
                hint,
                round: self.round,
            },
        );
    }

    /// Appends what is new, and truncates only where an entry really is another one: a shorter or
    /// repeated append must not cost what has been acknowledged.
    fn merge(&mut self, node: &mut Node, entries: Entries) -> bool {
        let term = Term::from(entries.stamp());
        let mut new = entries;
        while !new.is_empty() && new.first() <= node.log.last() {
            let index = new.first();
            let same = node.log.term_at(index) == Some(term);
            if same && !planted!(node, TruncateMatching) {
                // One term from here to the end of either: all the same.
                new = new.after(
                    new.last()
                        .min(node.log.last_at_most(new.last(), term).index),
                );
                continue;
            }
            if index <= node.commit && !same {
                let evidence = format!(
                    "the leader of {} has {term} at {index}, here it is {:?}, committed up to {}",
                    node.term,
                    node.log.term_at(index),
                    node.commit
                );
                node.fail_stop("committed entries never change (Raft §5.4.3)", evidence);
                return false;
            }
            if index <= node.commit {
                new = new.after(index);
                continue;
            }
            node.truncate(index);
            self.noted = None;
        }
        if !new.is_empty() {
            node.append(new);
        }
        true
    }

    /// A piece of a snapshot (Raft §7).
    pub(crate) fn on_snapshot(&mut self, node: &mut Node, from: NodeId, piece: Piece) {
        let Piece {
            meta,
            offset,
            chunk,
            round,
        } = piece;
        self.hear(node, round);
        let end = Position {
            term: meta.stamp.into(),
            index: meta.index(),
        };
        let covered = node.log.term_at(end.index) == Some(end.term);
        if end.index <= node.commit || (covered && !planted!(node, SnapshotOverMatchingLog)) {
            // Nothing new, or the log goes on behind it: an older or shorter history never takes
            // the place of a longer one. What it covers is committed.
            if covered {
                node.commit_to(end.index);
            }
            self.ack = self.ack.max(Some(node.commit));
            return;
        }
        let staged = node
            .staged
            .filter(|(id, _)| *id == meta.id)
            .map_or(0, |(_, bytes)| bytes);
        let len = chunk.len() as u64;
        if offset != staged {
            // From another try; say where to go on.
            let got = Body::SnapshotGot {
                id: meta.id,
                offset: staged,
                round: self.round,
            };
            return node.send(from, got);
        }
        let done = staged + len;
        if done > meta.size || (len == 0 && done < meta.size) {
            return node.drop_message();
        }
        node.outbox.write(LogRecord::Stage {
            lane: Lane::Received,
            id: meta.id,
            offset,
            chunk,
        });
        node.staged = Some((meta.id, done));
        if done < meta.size {
            let note = Note::Staged {
                term: node.term,
                id: meta.id,
                offset: done,
            };
            return node.outbox.note_after(note);
        }
        self.install(node, meta, end);
    }

    /// The snapshot takes the place of the log.
    fn install(&mut self, node: &mut Node, meta: SnapshotMeta, end: Position) {
        let membership = match synod_core::Decode::decode_all(meta.config.clone()) {
            Ok(membership) => membership,
            Err(error) => {
                let evidence = format!("the configuration of snapshot {}: {error}", meta.id);
                return node.fail_stop("configurations in snapshots are readable", evidence);
            }
        };
        // One record: no crash leaves the snapshot beside a log that is not its own, nor neither of
        // the two, and with the log what this node has acknowledged.
        node.outbox.write(LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Replace,
        });
        node.clamp_notes(node.commit);
        node.log.reset(end);
        node.history = crate::membership::History::new(end.index, membership);
        node.membership_changed();
        node.staged = None;
        node.snapshot = Some(meta.clone());
        node.commit_to(end.index);
        node.hand_snapshot(&meta);
        node.outbox
            .event_after(LogEvent::Detail(Detail::SnapshotInstalled { id: meta.id }));
        self.ack = Some(end.index);
        self.noted = None;
    }

    /// Notes what is to be acknowledged once everything so far is durable: one answer for all
    /// appends that came together.
    pub(crate) fn flush(&mut self, node: &mut Node) {
        let Some(matched) = self.ack.take() else {
            return node.note_written(None);
        };
        let asked = core::mem::take(&mut self.asked);
        if planted!(node, AckBeforeSync) {
            self.acknowledge(node, matched);
        }
        let writes = !node.outbox.is_settled();
        if writes && asked && self.settled {
            // A slow disk is no silent node: that this node follows needs no write, so neither the
            // leader's quorum nor its reads wait for one. Of the log it says what is durable; while
            // a snapshot takes its place, nothing.
            let durable = if node.handout.is_installing() {
                LogIndex::START
            } else {
                node.log.durable()
            };
            self.answer(node, matched.min(durable));
        }
        if writes && self.noted >= Some(matched) {
            // One answer stands for all, however long the disk takes.
            return node.note_written(None);
        }
        self.noted = Some(matched);
        node.note_written(Some(matched));
    }

    /// What matches up to here is durable, and so is the term.
    pub(crate) fn acknowledge(&mut self, node: &mut Node, matched: LogIndex) {
        self.settled = true;
        if self.noted <= Some(matched) {
            self.noted = None;
        }
        self.answer(node, matched);
    }

    fn answer(&self, node: &mut Node, matched: LogIndex) {
        let Some(leader) = node.leader else { return };
        // Safe while other writes run: it says only what a note has said to be durable, in a term
        // that was written before.
        node.send_now(
            leader,
            Body::Appended {
                matched,
                round: self.round,
            },
        );
    }

    /// This much of a snapshot is durable.
    pub(crate) fn got(&self, node: &mut Node, id: synod_core::SnapshotId, offset: u64) {
        let Some(leader) = node.leader else { return };
        // Safe as above.
        node.send_now(
            leader,
            Body::SnapshotGot {
                id,
                offset,
                round: self.round,
            },
        );
    }
}
