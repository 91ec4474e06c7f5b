//! What a leader knows of one peer, and what it may send it next.

use alloc::collections::VecDeque;
use core::time::Duration;

use synod_core::{Instant, LoadId, LogIndex, NodeId, SnapshotId};

use crate::{Position, Round};

/// One peer, as the leader sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) linked: bool,
    /// The last entry that is known to be durable there and the same as here. Only rises.
    pub(crate) matched: LogIndex,
    /// The next entry to send. Always above `matched`.
    pub(crate) next: LogIndex,
    pub(crate) mode: Mode,
    /// Appends under way: the last entry of each and its bytes.
    in_flight: VecDeque<(LogIndex, usize)>,
    in_flight_bytes: usize,
    /// The latest round that was sent, and that was answered.
    pub(crate) round_sent: Round,
    pub(crate) round_acked: Round,
    /// The last commit that it was told of.
    pub(crate) commit_sent: LogIndex,
    /// When it last answered; the start of the term counts as an answer.
    pub(crate) heard: Instant,
    /// Nothing has been sent since the last heartbeat.
    pub(crate) quiet: bool,
    /// When an append was last sent.
    pub(crate) sent_at: Instant,
    /// Storage did not have what it was asked for: it is asked again with the next heartbeat.
    pub(crate) stalled: bool,
    /// It is taken out by the entry here, and still told so.
    pub(crate) leaving: Option<LogIndex>,
    /// What is being read back for it.
    pub(crate) load: Option<LoadId>,
}

/// What a peer is being sent.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Mode {
    /// Where its log parts from ours is not known: one message at a time finds out.
    Probe {
        /// A message is under way.
        waiting: bool,
    },
    /// It follows: entries are sent as they come, as many as may be in flight.
    Replicate,
    /// It is behind our log and gets the snapshot, one piece at a time.
    Snapshot {
        /// Which.
        id: SnapshotId,
        /// The next byte that it wants.
        offset: u64,
        /// A piece is being read or under way.
        waiting: bool,
        /// Since when.
        since: Instant,
    },
}

impl Peer {
    /// A peer at the start of a term: probed with what comes after our log's end.
    pub(crate) fn new(id: NodeId, linked: bool, next: LogIndex, now: Instant) -> Self {
        Self {
            id,
            linked,
            matched: LogIndex::START,
            next,
            mode: Mode::Probe { waiting: false },
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            round_sent: Round(0),
            round_acked: Round(0),
            commit_sent: LogIndex::START,
            heard: now,
            quiet: true,
            sent_at: Instant::START,
            stalled: false,
            leaving: None,
            load: None,
        }
    }

    fn forget_in_flight(&mut self) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.load = None;
    }

    /// Goes back to finding out where the logs part, starting at `next`.
    pub(crate) fn become_probe(&mut self, next: LogIndex) {
        self.forget_in_flight();
        self.mode = Mode::Probe { waiting: false };
        self.next = next.max(self.matched.next());
    }

    /// Its log is known to match up to `matched`: from here on entries flow.
    pub(crate) fn become_replicate(&mut self) {
        self.forget_in_flight();
        self.mode = Mode::Replicate;
        self.next = self.matched.next();
    }

    /// What it needs next is compacted away.
    pub(crate) fn become_snapshot(&mut self, id: SnapshotId) {
        self.forget_in_flight();
        self.mode = Mode::Snapshot {
            id,
            offset: 0,
            waiting: false,
            since: Instant::START,
        };
    }

    /// The link has a new incarnation or is gone: whatever was under way is lost. Our log ends at
    /// `end`.
    pub(crate) fn relink(&mut self, linked: bool, end: LogIndex) {
        // What one that is taken out has not heard by now it does not hear: behind a new link may be
        // another disk.
        self.linked = linked && self.leaving.is_none();
        self.stalled = false;
        self.round_sent = self.round_acked;
        self.commit_sent = LogIndex::START;
        match self.mode {
            Mode::Snapshot {
                id, offset, since, ..
            } => {
                self.forget_in_flight();
                self.mode = Mode::Snapshot {
                    id,
                    offset,
                    waiting: false,
                    since,
                };
            }
            Mode::Probe { .. } | Mode::Replicate => {
                // Of one that has not answered in this term, the best guess is that it has all: from
                // the start, it would be sent everything that it has.
                let heard = self.matched > LogIndex::START;
                let last = if heard { self.matched } else { end };
                self.become_probe(last.next());
            }
        }
    }

    /// Lets a probe go out again that was not answered for a heartbeat, and a piece of a snapshot
    /// that was not answered for `patience`: its message or the answer was lost. Gives up one that
    /// is taken out and has not answered for as long.
    pub(crate) fn retry(&mut self, now: Instant, patience: Duration) {
        self.stalled = false;
        self.linked &= self.leaving.is_none() || now.since(self.heard) < patience;
        match &mut self.mode {
            Mode::Probe { waiting } if self.quiet => *waiting = false,
            Mode::Snapshot { waiting, since, .. } if now.since(*since) >= patience => {
                *waiting = false;
            }
            Mode::Probe { .. } | Mode::Replicate | Mode::Snapshot { .. } => {}
        }
    }

    /// An append of entries up to `last` has gone out.
    pub(crate) fn sent(&mut self, last: LogIndex, bytes: usize) {
        match &mut self.mode {
            Mode::Probe { waiting } => *waiting = true,
            Mode::Replicate => {
                self.next = last.next();
                if bytes > 0 {
                    self.in_flight.push_back((last, bytes));
                    self.in_flight_bytes += bytes;
                }
            }
            Mode::Snapshot { .. } => {}
        }
    }

    /// Its log matches ours up to `matched`; says whether that is news.
    pub(crate) fn acknowledged(&mut self, matched: LogIndex) -> bool {
        while let Some((last, bytes)) = self.in_flight.front()
            && *last <= matched
        {
            self.in_flight_bytes -= bytes;
            self.in_flight.pop_front();
        }
        let news = matched > self.matched;
        self.matched = self.matched.max(matched);
        self.next = self.next.max(self.matched.next());
        news
    }

    /// The last entry of `end` that it is to have: nothing that comes after it was taken out.
    pub(crate) fn end(&self, end: LogIndex) -> LogIndex {
        self.leaving.map_or(end, |last| end.min(last))
    }

    /// Whether an append may go out now.
    pub(crate) fn may_send(&self, messages: usize, bytes: usize) -> bool {
        self.linked
            && !self.stalled
            && self.load.is_none()
            && match self.mode {
                Mode::Probe { waiting } => !waiting,
                Mode::Replicate => self.in_flight.len() < messages && self.in_flight_bytes < bytes,
                Mode::Snapshot { .. } => false,
            }
    }

    /// Whether there is nothing more to tell one that is taken out: it has the entry that does so,
    /// and has been told that it is committed. Or it is out of reach.
    pub(crate) fn is_gone(&self) -> bool {
        self.leaving
            .is_some_and(|index| !self.linked || index <= self.matched.min(self.commit_sent))
    }

    /// It has refused what comes after `asked`: goes on behind `resume`, unless that is old news.
    /// Answers may be late, repeated and out of order.
    pub(crate) fn refused(&mut self, asked: LogIndex, resume: Position) {
        let current = match self.mode {
            Mode::Probe { .. } => asked == self.next.previous(),
            Mode::Replicate => true,
            Mode::Snapshot { .. } => false,
        };
        if current && asked > self.matched {
            // Each time an earlier place, whatever it says: else the two would ask and refuse without
            // end. One that takes back what it has acknowledged is asked again with the next
            // heartbeat.
            self.become_probe(resume.index.next().min(asked));
        }
    }

    pub(crate) const fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    pub(crate) const fn mode_name(&self) -> &'static str {
        match self.mode {
            Mode::Probe { .. } => "probe",
            Mode::Replicate => "replicate",
            Mode::Snapshot { .. } => "snapshot",
        }
    }

    /// The peer's own invariants.
    pub(crate) fn check(&self) {
        assert!(self.next > self.matched, "{} is sent what it has", self.id);
        assert!(
            self.round_acked <= self.round_sent,
            "{} answers what was asked",
            self.id
        );
        let bytes: usize = self.in_flight.iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(
            bytes, self.in_flight_bytes,
            "{} has what is in flight",
            self.id
        );
    }
}
