//! The state machine on a thread of its own, off the driver's path.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use core::time::Duration;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use synod_core::Instant as Moment;

use super::results::Results;
use super::worker::{Done, Job, Worker};
use crate::NodeError;
use crate::sync::lock;

#[derive(Default)]
struct State {
    jobs: Vec<Job>,
    asleep: bool,
    closed: bool,
    /// The node has failed: what is left is not done.
    abandoned: bool,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

/// Entries that nobody waits for are handed over when there are this many.
const MANY: usize = 1024;

/// Or when the first of them is this old: a follower's state machine is so much behind at most, and
/// its thread is woken a thousand times in a second at most.
const LINGER: Duration = Duration::from_millis(1);

/// The driver's end of the thread. Dropping it ends the thread after the job that it is at.
pub(super) struct Thread {
    queue: Arc<Queue>,
    gathered: Gathered,
}

/// What is to be handed over.
#[derive(Default)]
struct Gathered {
    jobs: Vec<Job>,
    /// Entries in them.
    entries: usize,
    /// When the first of them came.
    since: Option<Moment>,
    /// Whether somebody waits for one of them.
    urgent: bool,
}

impl Gathered {
    fn push(&mut self, job: Job, now: Moment) {
        match &job {
            Job::Apply(committed) => {
                self.entries += committed.entries.len();
                self.urgent |= committed.ticket.is_some();
            }
            Job::Query(..) | Job::Freeze | Job::Restore(..) => self.urgent = true,
        }
        self.since.get_or_insert(now);
        self.jobs.push(job);
    }

    /// When to hand over, if that is not at the end of this turn.
    fn deadline(&self) -> Option<Moment> {
        let lingers = !self.urgent && self.entries < MANY;
        self.since.filter(|_| lingers).map(|since| since + LINGER)
    }

    /// Hands over, and is empty then.
    fn drain_into(&mut self, jobs: &mut Vec<Job>) {
        if jobs.is_empty() {
            mem::swap(jobs, &mut self.jobs);
        } else {
            jobs.append(&mut self.jobs);
        }
        (self.entries, self.since, self.urgent) = (0, None, false);
    }
}

impl Thread {
    pub(super) fn start(
        name: &str,
        worker: Worker,
        results: Arc<Results>,
    ) -> Result<Self, NodeError> {
        let queue = Arc::new(Queue::default());
        let its_queue = Arc::clone(&queue);
        let started = thread::Builder::new()
            .name(name.into())
            .spawn(move || work(worker, &its_queue, &results));
        match started {
            Ok(_detached) => Ok(Self {
                queue,
                gathered: Gathered::default(),
            }),
            Err(error) => Err(NodeError::Thread(alloc::format!("{name}: {error}"))),
        }
    }

    pub(super) fn push(&mut self, job: Job, now: Moment) {
        self.gathered.push(job, now);
    }

    /// When [`flush`](Self::flush) hands over what nobody waits for.
    pub(super) fn deadline(&self) -> Option<Moment> {
        self.gathered.deadline()
    }

    /// Hands what was gathered to the thread, if it is time, and wakes it if it sleeps.
    pub(super) fn flush(&mut self, now: Moment) {
        if self.gathered.deadline().is_none_or(|at| at <= now) {
            self.hand_over();
        }
    }

    /// Hands over whatever was gathered.
    pub(super) fn hand_over(&mut self) {
        if self.gathered.jobs.is_empty() {
            return;
        }
        let mut state = lock(&self.queue.state);
        self.gathered.drain_into(&mut state.jobs);
        self.wake(state);
    }

    /// Lets the thread finish what it has, then end.
    pub(super) fn close(&mut self) {
        self.hand_over();
        let mut state = lock(&self.queue.state);
        state.closed = true;
        self.wake(state);
    }

    fn wake(&self, mut state: std::sync::MutexGuard<'_, State>) {
        let asleep = mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.queue.filled.notify_one();
        }
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        let mut state = lock(&self.queue.state);
        state.closed = true;
        state.abandoned = true;
        let jobs = mem::take(&mut state.jobs);
        self.wake(state);
        drop(jobs);
    }
}

fn work(mut worker: Worker, queue: &Queue, results: &Results) {
    let mut jobs = Vec::new();
    let mut pace = Pace::new();
    let mut answers = Vec::new();
    loop {
        {
            let mut state = lock(&queue.state);
            while state.jobs.is_empty() && !state.closed {
                state.asleep = true;
                state = queue
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            if state.jobs.is_empty() || state.abandoned {
                break;
            }
            mem::swap(&mut state.jobs, &mut jobs);
        }
        pace.begin();
        for job in jobs.drain(..) {
            if worker.has_failed() || lock(&queue.state).abandoned {
                return;
            }
            match job {
                Job::Apply(committed) => {
                    results.append(&mut answers);
                    let (mut at, end) = (0, committed.entries.len());
                    while at < end && !worker.has_failed() {
                        let count = pace.chunk.min(end - at);
                        results.push(worker.apply(&committed, at, count));
                        pace.after();
                        at += count;
                    }
                }
                Job::Query(..) => {
                    answers.push(worker.run(job));
                    if answers.len() >= pace.chunk {
                        results.append(&mut answers);
                        pace.after();
                    }
                }
                Job::Freeze | Job::Restore(..) => {
                    results.append(&mut answers);
                    results.push(worker.run(job));
                }
            }
        }
        results.append(&mut answers);
    }
    // The state machine goes before anyone may think that the node has ended: a durable one holds
    // files and locks.
    drop(worker);
    results.push(Done::Finished);
}

/// How many entries to apply before telling, so that a slow state machine answers entry by entry and
/// a fast one in batches that are worth a wake-up. Nothing is held back while the next job runs: it
/// may take a second, or wait for what the driver does next.
struct Pace {
    chunk: usize,
    last: Instant,
}

impl Pace {
    const MOST: usize = 256;
    const FAST: Duration = Duration::from_micros(100);
    const SLOW: Duration = Duration::from_micros(400);

    fn new() -> Self {
        Self {
            chunk: 1,
            last: Instant::now(),
        }
    }

    fn begin(&mut self) {
        self.last = Instant::now();
    }

    fn after(&mut self) {
        let now = Instant::now();
        let took = now - mem::replace(&mut self.last, now);
        if took <= Self::FAST {
            self.chunk = (self.chunk * 4).min(Self::MOST);
        } else if took > Self::SLOW {
            self.chunk = 1;
        }
    }
}
