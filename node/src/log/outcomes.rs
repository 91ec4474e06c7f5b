//! What becomes of requests: events of the log, results of the state machine, the end.

use alloc::string::ToString;
use alloc::sync::Arc;
use core::mem;
use core::task::Context;

use synod_core::{
    Committed, Instant, LogIndex, PeerStatus, Refusal, ReplicatedLog, SnapshotMeta, Ticket,
};

use super::app::{Closing, LogApp, Stage};
use super::snapshots::Ended;
use super::waiters::Waiter;
use crate::NodeError;
use crate::apply::{Applied as Stretch, Done, Job};
use crate::driver::Traffic;
use crate::handle::request::Outcome;
use crate::handle::{Applied, NodeEvent, ProposeError, ReadError, SnapshotError};

impl<L> LogApp<L> {
    pub(super) fn committed(&mut self, committed: Committed, now: Instant) {
        let count = committed.entries.len() as u64;
        self.metrics.commits += count;
        self.metrics.commit_batches += 1;
        self.snapshots
            .count(count, committed.entries.weight() as u64);
        self.handed = self.handed.max(committed.last());
        let portion = self.config.fetch_bytes;
        self.fetches
            .committed(&committed.entries, portion, &mut self.wakers);
        let last = committed.last();
        self.shared.hub.emit(|| NodeEvent::Committed(last));
        self.give(Job::Apply(committed), now);
    }

    /// The log has confirmed a read: everything up to `index` is in the queue before it.
    pub(super) fn may_read(&mut self, ticket: Ticket, index: LogIndex, now: Instant) {
        debug_assert!(
            index <= self.handed,
            "a read comes after the commit that it waits for"
        );
        if let Some((query, promise)) = self.reads.take(ticket) {
            self.queries += 1;
            self.give(Job::Query(query, promise), now);
        }
    }

    pub(super) fn displaced(&mut self, ticket: Ticket) {
        self.fail(ticket, ProposeError::Displaced, ReadError::Unknown);
    }

    pub(super) fn refused(&mut self, ticket: Ticket, refusal: Refusal) {
        let errors = (ProposeError::Refused(refusal), ReadError::Refused(refusal));
        self.fail(ticket, errors.0, errors.1);
    }

    pub(super) fn unknown(&mut self, ticket: Ticket) {
        self.fail(ticket, ProposeError::Unknown, ReadError::Unknown);
    }

    fn fail(&mut self, ticket: Ticket, proposal: ProposeError, read: ReadError) {
        if let Some(waiter) = self.proposals.take(ticket) {
            self.decide(waiter, Err(proposal));
        } else if let Some((_, promise)) = self.reads.take(ticket) {
            promise.resolve(Err(read), &mut self.wakers);
        }
    }

    fn decide(&mut self, waiter: Waiter, outcome: Outcome) {
        match waiter {
            Waiter::One(promise) => {
                let bytes = held(&outcome);
                promise.resolve_holding(outcome, bytes, &mut self.wakers);
            }
            Waiter::Member { group, place } => {
                self.groups.decide(group, place, outcome, &mut self.wakers);
            }
        }
    }

    /// The state machine must be replaced by a snapshot that is in the storage.
    pub(super) fn restore(&mut self, meta: SnapshotMeta, now: Instant) {
        let Stage::Running(applier) = &mut self.stage else {
            return;
        };
        let (feeder, feed) = applier.feed();
        self.handed = self.handed.max(meta.index());
        self.fetches.skip_to(self.handed);
        self.restores.push(meta.clone(), feeder);
        applier.push(Job::Restore(meta, feed), now);
    }

    fn applied(&mut self, stretch: Stretch) {
        self.applied = self.applied.max(stretch.through);
        let Some(Ticket(first)) = stretch.ticket else {
            return;
        };
        for (k, response) in (0..).zip(stretch.responses) {
            let Some(waiter) = self.proposals.take(Ticket(first + k)) else {
                continue;
            };
            let index = stretch.first.plus(k);
            self.decide(waiter, Ok(Applied { index, response }));
        }
    }

    /// A snapshot took the place of these entries before they were applied: their results are
    /// nowhere.
    fn skipped(&mut self, ticket: Option<Ticket>, count: usize) {
        let Some(Ticket(first)) = ticket else {
            return;
        };
        for k in 0..count as u64 {
            self.unknown(Ticket(first + k));
        }
    }

    /// Tells those who asked for a snapshot, and those who listen.
    pub(super) fn snapshot_ended(&mut self, ended: &Ended) {
        let result = match ended {
            Ended::Taken(meta) => {
                self.metrics.snapshots += 1;
                let event = NodeEvent::SnapshotTaken(meta.clone());
                self.shared.hub.emit(|| event);
                Ok(meta.clone())
            }
            Ended::Failed(error) => {
                let event = NodeEvent::SnapshotFailed(error.to_string());
                self.shared.hub.emit(|| event);
                Err(error.clone())
            }
        };
        for asker in self.snapshots.take_askers() {
            asker.resolve(result.clone(), &mut self.wakers);
        }
    }

    pub(super) fn publish_metrics(&mut self, traffic: &Traffic) {
        let metrics = &mut self.metrics;
        metrics.sent = traffic.sent;
        metrics.received = traffic.received;
        metrics.writes = traffic.writes;
        metrics.records = traffic.records;
        metrics.loads = traffic.loads;
        metrics.turns = traffic.turns;
        self.shared.metrics.store(metrics);
    }

    /// The end: nobody is left without an answer.
    pub(super) fn answer_everyone(&mut self, error: Option<&NodeError>) {
        if mem::replace(&mut self.ended, true) {
            return;
        }
        self.refuse_the_rest();
        for waiter in self.proposals.drain() {
            self.decide(waiter, Err(ProposeError::Unknown));
        }
        for (_, promise) in self.reads.drain() {
            promise.resolve(Err(ReadError::Unknown), &mut self.wakers);
        }
        for asker in self.snapshots.take_askers() {
            asker.resolve(Err(SnapshotError::Stopped), &mut self.wakers);
        }
        self.fetches.clear();
        // Queries that are with the state machine are dropped with it, which answers them.
        self.done.clear();
        self.stage = Stage::Over;
        let why = error.cloned().map(Arc::new);
        self.shared.hub.end(NodeEvent::Ended(why));
        self.shared.board.end();
        self.wakers.wake_all();
    }
}

/// What an outcome holds until it is fetched.
pub(super) const fn held(outcome: &Outcome) -> usize {
    match outcome {
        Ok(applied) => applied.response.len(),
        Err(_) => 0,
    }
}

impl<L: ReplicatedLog> LogApp<L> {
    /// Takes what the state machine has done, and tells the log how far it has got.
    pub(super) fn poll_state_machine(
        &mut self,
        cx: &Context<'_>,
        log: &mut L,
        now: Instant,
    ) -> Result<bool, NodeError> {
        let Stage::Running(applier) = &mut self.stage else {
            return Ok(false);
        };
        let mut done = mem::take(&mut self.done);
        applier.take(&mut done, cx);
        let busy = !done.is_empty();
        let before = self.applied;
        for one in done.drain(..) {
            self.done(log, one)?;
        }
        self.done = done;
        if self.applied > before {
            log.applied(now, self.applied);
        }
        Ok(busy)
    }

    fn done(&mut self, log: &L, done: Done) -> Result<(), NodeError> {
        match done {
            Done::Applied(stretch) => self.applied(stretch),
            Done::Skipped(ticket, count) => self.skipped(ticket, count),
            Done::Answered(promise, answer) => {
                self.queries -= 1;
                let bytes = answer
                    .as_ref()
                    .map_or(0, |answered| answered.response.len());
                promise.resolve_holding(answer, bytes, &mut self.wakers);
            }
            Done::Frozen(at, chunks) => {
                let ended = self.snapshots.frozen(chunks, log.describe(at));
                if let Some(ended) = ended {
                    self.snapshot_ended(&ended);
                }
            }
            Done::PieceTaken => self.restores.taken(),
            Done::Restored(meta) => {
                self.restores.ended();
                self.metrics.restores += 1;
                self.applied = self.applied.max(meta.index());
                self.shared.hub.emit(|| NodeEvent::Restored(meta));
            }
            Done::Superseded => self.restores.ended(),
            Done::Failed(error) => return Err(error),
            Done::Returned(_) => debug_assert!(false, "the applier keeps its own worker"),
            Done::Finished => self.closing = Closing::Finished,
        }
        Ok(())
    }

    /// Begins a snapshot if one is due, and moves the one under way on.
    pub(super) fn poll_snapshots(&mut self, cx: &Context<'_>, log: &L, now: Instant) -> bool
    where
        L: ReplicatedLog,
    {
        let mut busy = false;
        let sending = || {
            let status = log.status();
            let lacks = |peer: &PeerStatus| peer.linked && peer.matched < status.compacted;
            status.peers.iter().any(lacks)
        };
        if self.snapshots.is_due(self.applied, sending) {
            self.give(Job::Freeze, now);
            busy = true;
        } else if let Some(obstacle) = self.snapshots.obstacle(self.applied) {
            self.snapshot_ended(&Ended::Failed(obstacle));
        }
        let had_record = self.snapshots.has_record();
        if let Some(ended) = self.snapshots.poll(cx) {
            self.snapshot_ended(&ended);
        }
        busy || self.snapshots.has_record() != had_record
    }
}
