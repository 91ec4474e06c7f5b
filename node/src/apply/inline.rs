//! The state machine on the driver's own path, for those that are quick and in memory.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::thread;

use super::results::Results;
use super::worker::{Done, Job, Worker};
use crate::NodeError;

/// Does every job on the spot, but for a restore: that waits for pieces which the driver reads, so
/// it goes to a thread and the jobs behind it wait.
pub(super) struct Inline {
    name: Box<str>,
    /// `None` while it is away.
    worker: Option<Box<Worker>>,
    waiting: VecDeque<Job>,
    results: Arc<Results>,
    pub(super) done: Vec<Done>,
    closed: bool,
}

impl Inline {
    pub(super) fn new(name: &str, worker: Worker, results: Arc<Results>) -> Self {
        Self {
            name: name.into(),
            worker: Some(Box::new(worker)),
            waiting: VecDeque::new(),
            results,
            done: Vec::new(),
            closed: false,
        }
    }

    pub(super) fn push(&mut self, job: Job) {
        match (&mut self.worker, job) {
            (Some(worker), job) if worker.has_failed() => drop(job),
            (None, job) => self.waiting.push_back(job),
            (Some(_), job @ Job::Restore(..)) => self.send_away(job),
            (Some(worker), job) => self.done.push(worker.run(job)),
        }
    }

    fn send_away(&mut self, job: Job) {
        let Some(mut worker) = self.worker.take() else {
            return;
        };
        let results = Arc::clone(&self.results);
        let away = move || {
            let done = worker.run(job);
            results.append(&mut alloc::vec![done, Done::Returned(worker)]);
        };
        let started = thread::Builder::new().name((*self.name).into()).spawn(away);
        if let Err(error) = started {
            let error = NodeError::Thread(alloc::format!("{}: {error}", self.name));
            self.done.push(Done::Failed(error));
        }
    }

    /// The worker is back: does what has waited for it.
    pub(super) fn returned(&mut self, worker: Box<Worker>) {
        self.worker = Some(worker);
        while self.worker.is_some()
            && let Some(job) = self.waiting.pop_front()
        {
            self.push(job);
        }
        if self.closed {
            self.close();
        }
    }

    /// Ends once nothing waits.
    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.worker.take().is_some() {
            self.done.push(Done::Finished);
        }
    }
}
