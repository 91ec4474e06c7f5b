//! The state machine, behind a queue and off the driver's path: an apply of one second costs no
//! heartbeat.
//!
//! How much waits in the queue is bounded by what the log hands out before it is told that the state
//! machine has applied it, and by the limit on outstanding requests.

mod inline;
mod restore;
mod results;
mod snapshot;
mod thread;
mod worker;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::task::Context;

use inline::Inline;
pub(crate) use restore::{AHEAD, Feed, Feeder};
use results::Results;
pub(crate) use snapshot::Pieces;
use thread::Thread;
pub(crate) use worker::{Applied, Done, Job, Worker};

use synod_core::Instant;

use crate::NodeError;

/// Where the state machine runs.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub enum ApplyOn {
    /// On a thread of its own: it may block as long as it likes.
    #[default]
    Thread,
    /// On the driver's path, without a hand-over: for state machines that answer in microseconds.
    /// While it applies, nothing else happens on this node.
    Driver,
}

enum Place {
    Thread(Thread),
    Driver(Inline),
}

/// The driver's end of the state machine.
pub(crate) struct Applier {
    place: Place,
    results: Arc<Results>,
}

impl Applier {
    pub(crate) fn start(on: ApplyOn, name: &str, worker: Worker) -> Result<Self, NodeError> {
        let results = Arc::new(Results::default());
        let place = match on {
            ApplyOn::Thread => Place::Thread(Thread::start(name, worker, Arc::clone(&results))?),
            ApplyOn::Driver => Place::Driver(Inline::new(name, worker, Arc::clone(&results))),
        };
        Ok(Self { place, results })
    }

    pub(crate) fn push(&mut self, job: Job, now: Instant) {
        match &mut self.place {
            Place::Thread(thread) => thread.push(job, now),
            Place::Driver(inline) => inline.push(job),
        }
    }

    /// Two ends for the pieces of a snapshot that is to be restored.
    pub(crate) fn feed(&self) -> (Feeder, Feed) {
        restore::feed(Arc::clone(&self.results))
    }

    /// Takes what has been done; with nothing there, the next result wakes the caller.
    pub(crate) fn take(&mut self, into: &mut Vec<Done>, cx: &Context<'_>) {
        self.results.take(into, cx);
        if let Place::Driver(inline) = &mut self.place {
            let returned = into
                .iter()
                .position(|done| matches!(done, Done::Returned(_)));
            if let Some(k) = returned
                && let Done::Returned(worker) = into.remove(k)
            {
                inline.returned(worker);
            }
            into.append(&mut inline.done);
        }
    }

    /// Hands over what was gathered, at the end of a turn: at once if somebody waits for it, else in
    /// larger portions.
    pub(crate) fn flush(&mut self, now: Instant, somebody_watches: bool) {
        match &mut self.place {
            Place::Thread(thread) if somebody_watches => thread.hand_over(),
            Place::Thread(thread) => thread.flush(now),
            Place::Driver(_) => {}
        }
    }

    /// When to call [`flush`](Self::flush) at the latest.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        match &self.place {
            Place::Thread(thread) => thread.deadline(),
            Place::Driver(_) => None,
        }
    }

    /// Lets it finish what it has; then comes [`Done::Finished`].
    pub(crate) fn close(&mut self) {
        match &mut self.place {
            Place::Thread(thread) => thread.close(),
            Place::Driver(inline) => inline.close(),
        }
    }
}
