//! What sits on a replicated log: the handles' requests on one side, the state machine on the other.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::marker::PhantomData;
use core::mem;
use core::task::Context;

use synod_core::{
    Batch, Instant, Link, LogEvent, LogIndex, LogLoad, LogLoaded, LogRecord, NodeId, ReplicatedLog,
};

use super::Config;
use super::fetches::Fetches;
use super::restores::Restores;
use super::snapshots::Snapshots;
use super::waiters::{Groups, Reader, Waiter, Waiters};
use crate::NodeError;
use crate::apply::{Applier, Done, Job, Worker};
use crate::driver::{App, Flow, Traffic};
use crate::handle::request::Request;
use crate::handle::{Metrics, NodeEvent, Shared};
use crate::sync::{Wakers, lock};

/// Requests taken in one round.
const REQUESTS: usize = 4096;

/// The state machine's place: not started, running, or over.
pub(super) enum Stage {
    Waiting(Worker),
    Running(Applier),
    Over,
}

/// How far a shutdown has got.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Closing {
    No,
    /// Requests that are with the machine are waited for.
    Draining(Instant),
    /// The state machine finishes.
    Finishing(Instant),
    Finished,
}

pub(super) struct LogApp<L> {
    pub(super) shared: Arc<Shared>,
    pub(super) config: Config,
    pub(super) requests: VecDeque<(Request, usize)>,
    pub(super) proposals: Waiters<Waiter>,
    pub(super) reads: Waiters<Reader>,
    pub(super) groups: Groups,
    pub(super) stage: Stage,
    pub(super) done: Vec<Done>,
    pub(super) wakers: Wakers,
    /// Queries that are with the state machine.
    pub(super) queries: usize,
    /// The last entry that was handed to the state machine.
    pub(super) handed: LogIndex,
    /// The last entry that it has applied.
    pub(super) applied: LogIndex,
    pub(super) snapshots: Snapshots,
    pub(super) restores: Restores,
    pub(super) fetches: Fetches,
    pub(super) closing: Closing,
    pub(super) ended: bool,
    pub(super) metrics: Metrics,
    log: PhantomData<fn() -> L>,
}

impl<L> LogApp<L> {
    pub(super) fn new(shared: Arc<Shared>, config: Config, worker: Worker) -> Self {
        let snapshots = Snapshots::new(&config);
        Self {
            shared,
            config,
            requests: VecDeque::new(),
            proposals: Waiters::default(),
            reads: Waiters::default(),
            groups: Groups::default(),
            handed: worker.applied(),
            applied: worker.applied(),
            stage: Stage::Waiting(worker),
            done: Vec::new(),
            wakers: Wakers::new(),
            queries: 0,
            snapshots,
            restores: Restores::default(),
            fetches: Fetches::default(),
            closing: Closing::No,
            ended: false,
            metrics: Metrics::default(),
            log: PhantomData,
        }
    }

    pub(super) fn give(&mut self, job: Job, now: Instant) {
        if let Stage::Running(applier) = &mut self.stage {
            applier.push(job, now);
        }
    }

    /// Moves a shutdown on: first nobody waits any more, then the state machine is done.
    fn close(&mut self, now: Instant) -> Flow {
        if let Closing::Draining(until) = self.closing
            && (now >= until
                || (self.proposals.is_empty() && self.reads.is_empty() && self.queries == 0))
            && let Stage::Running(applier) = &mut self.stage
        {
            applier.close();
            self.closing = Closing::Finishing(until);
            return Flow::Busy;
        }
        match self.closing {
            Closing::Finishing(until) if now >= until => Flow::Done,
            Closing::Finished => Flow::Done,
            _ => Flow::Idle,
        }
    }
}

impl<L> App<L> for LogApp<L>
where
    L: ReplicatedLog,
    L::Detail: Send + Sync + 'static,
{
    fn start(&mut self, log: &mut L, now: Instant) -> Result<(), NodeError> {
        if let Stage::Waiting(worker) = mem::replace(&mut self.stage, Stage::Over) {
            let name = alloc::format!("{}-apply", self.config.name);
            let applier = Applier::start(self.config.apply_on, &name, worker)?;
            self.stage = Stage::Running(applier);
        }
        // A durable state machine is given only what follows.
        log.applied(now, self.applied);
        let snapshot = log.status().snapshot;
        self.snapshots.begin_with(self.applied.since(snapshot));
        Ok(())
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        log: &mut L,
        clock: &dyn Fn() -> Instant,
    ) -> Result<Flow, NodeError> {
        if self.closing == Closing::No {
            let mut requests = mem::take(&mut self.requests);
            self.shared.inbox.take(&mut requests, REQUESTS, cx);
            self.requests = requests;
        }
        let now = clock();
        let mut busy = !self.requests.is_empty();
        while let Some((request, _)) = self.requests.pop_front() {
            self.accept(log, now, request);
        }
        busy |= self.poll_state_machine(cx, log, now)?;
        busy |= self.poll_snapshots(cx, log, now);
        if let Stage::Running(applier) = &mut self.stage
            && applier.deadline().is_some_and(|at| at <= now)
        {
            applier.flush(now, false);
        }
        match self.close(now) {
            Flow::Idle => Ok(Flow::of(busy)),
            flow => Ok(flow),
        }
    }

    fn has_room(&mut self, _: &Context<'_>) -> bool {
        true
    }

    fn event(
        &mut self,
        _: &mut L,
        now: Instant,
        event: LogEvent<L::Detail>,
    ) -> Result<(), NodeError> {
        match event {
            LogEvent::Committed(committed) => self.committed(committed, now),
            LogEvent::Read { ticket, index } => self.may_read(ticket, index, now),
            LogEvent::Displaced(ticket) => self.displaced(ticket),
            LogEvent::Refused(ticket, refusal) => self.refused(ticket, refusal),
            LogEvent::Unknown(ticket) => self.unknown(ticket),
            LogEvent::Restore(meta) => self.restore(meta, now),
            LogEvent::Role(change) => {
                *lock(&self.shared.leader) = change.leader;
                self.shared.hub.emit(|| NodeEvent::Role(change));
            }
            LogEvent::Detail(detail) => {
                self.shared.hub.emit(|| NodeEvent::Detail(Arc::new(detail)));
            }
            LogEvent::Stopped(why) => return Err(NodeError::FailStop(why)),
        }
        Ok(())
    }

    fn add_records(&mut self, records: &mut Batch<LogRecord>) -> bool {
        if let Some(ended) = self.snapshots.observe(records) {
            self.snapshot_ended(&ended);
        }
        self.snapshots.add_record(records)
    }

    fn written(&mut self, log: &mut L, now: Instant) {
        if let Some(ended) = self.snapshots.written() {
            self.snapshot_ended(&ended);
            if let super::snapshots::Ended::Taken(meta) = ended {
                log.compact(now, meta);
            }
        }
    }

    fn next_load(&mut self) -> Option<(u64, LogLoad)> {
        // Odd keys are restores, even ones fetches.
        if let Some((serial, load)) = self.restores.next_load(self.config.piece_bytes) {
            return Some((serial * 2 + 1, load));
        }
        let fetch = self.fetches.next_load(self.handed, self.config.fetch_bytes);
        fetch.map(|(key, load)| (key * 2, load))
    }

    fn loaded(
        &mut self,
        log: &mut L,
        _: Instant,
        key: u64,
        answer: Option<LogLoaded>,
    ) -> Result<(), NodeError> {
        let (runs, chunk) = match answer {
            Some(LogLoaded::Entries { runs, .. }) => (Some(runs), None),
            Some(LogLoaded::Snapshot { chunk, .. }) => (None, Some(chunk)),
            None => (None, None),
        };
        if key % 2 == 1 {
            self.restores.loaded(key / 2, chunk);
        } else {
            let compacted = log.status().compacted;
            self.fetches
                .loaded(key / 2, runs, compacted, &mut self.wakers);
        }
        Ok(())
    }

    fn link(&mut self, peer: NodeId, link: Link) {
        self.shared.hub.emit(|| NodeEvent::Link(peer, link));
    }

    fn deadline(&self) -> Option<Instant> {
        let closing = match self.closing {
            Closing::Draining(until) | Closing::Finishing(until) => Some(until),
            Closing::No | Closing::Finished => None,
        };
        let handing_over = match &self.stage {
            Stage::Running(applier) => applier.deadline(),
            Stage::Waiting(_) | Stage::Over => None,
        };
        closing.into_iter().chain(handing_over).min()
    }

    fn settle(&mut self, log: &L, now: Instant, traffic: &Traffic) {
        let is_watched = self.shared.board.is_watched();
        if let Stage::Running(applier) = &mut self.stage {
            applier.flush(now, is_watched);
        }
        self.publish_metrics(traffic);
        if is_watched {
            let asked = self.shared.board.take_asked();
            self.shared.board.publish(log.status(), asked);
        }
        self.wakers.wake_all();
    }

    fn end(&mut self, error: Option<&NodeError>) {
        self.answer_everyone(error);
    }
}

impl<L> Drop for LogApp<L> {
    fn drop(&mut self) {
        self.answer_everyone(None);
    }
}
