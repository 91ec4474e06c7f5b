//! The state machine and what is done to it, one job after the other, wherever that runs.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::any::Any;
use core::panic::AssertUnwindSafe;
use std::panic::catch_unwind;

use bytes::Bytes;
use synod_core::{
    Chunks, Committed, EntryKind, FailStop, LogIndex, MachineError, Refusal, SnapshotMeta,
    StateMachine, Ticket,
};

use super::restore::Feed;
use crate::NodeError;
use crate::handle::request::Answer;
use crate::handle::slot::Promise;
use crate::handle::{Answered, HELD, ReadError};

/// What is to be done to the state machine. Jobs are done in order.
pub(crate) enum Job {
    Apply(Committed),
    Query(Bytes, Promise<Answer>),
    /// Freezes the state for a snapshot.
    Freeze,
    Restore(SnapshotMeta, Feed),
}

/// What has been done.
pub(crate) enum Done {
    Applied(Applied),
    /// Entries that were not applied because the state is void until the next snapshot.
    Skipped(Option<Ticket>, usize),
    Answered(Promise<Answer>, Answer),
    Frozen(LogIndex, Result<Chunks, MachineError>),
    /// The restore has taken a piece and wants the next.
    PieceTaken,
    /// The state is that of the snapshot.
    Restored(SnapshotMeta),
    /// The snapshot was replaced by a newer one while it was read.
    Superseded,
    Failed(NodeError),
    /// The worker comes back from a job that it did elsewhere.
    Returned(Box<Worker>),
    /// All jobs are done and none will follow.
    Finished,
}

/// A stretch of applied entries.
pub(crate) struct Applied {
    pub(crate) first: LogIndex,
    pub(crate) through: LogIndex,
    /// The ticket of the first, if they were proposed here; only then there are responses.
    pub(crate) ticket: Option<Ticket>,
    pub(crate) responses: Vec<Bytes>,
}

pub(crate) struct Worker {
    machine: Box<dyn StateMachine + Send>,
    applied: LogIndex,
    /// A restore was broken off: there is no state until the next one.
    void: bool,
    /// A job has failed: the state is not trusted, so nothing more is done to it, not even asked.
    failed: bool,
}

impl Worker {
    pub(crate) fn new(machine: Box<dyn StateMachine + Send>) -> Self {
        let applied = machine.applied();
        Self {
            machine,
            applied,
            void: false,
            failed: false,
        }
    }

    /// Whether a job has failed, which is the end.
    pub(super) const fn has_failed(&self) -> bool {
        self.failed
    }

    pub(crate) const fn applied(&self) -> LogIndex {
        self.applied
    }

    /// Applies `count` entries from the one at `offset` on.
    pub(super) fn apply(&mut self, committed: &Committed, offset: usize, count: usize) -> Done {
        let done = guarded(|| self.try_apply(committed, offset, count));
        self.note(done)
    }

    fn note(&mut self, done: Done) -> Done {
        self.failed |= matches!(done, Done::Failed(_));
        done
    }

    fn try_apply(&mut self, committed: &Committed, offset: usize, count: usize) -> Done {
        let first = committed.entries.first().plus(offset as u64);
        let ticket = committed.ticket.map(|t| Ticket(t.0 + offset as u64));
        if self.void {
            return Done::Skipped(ticket, count);
        }
        if first > self.applied.next() {
            return Done::Failed(NodeError::FailStop(FailStop {
                rule: "committed entries come without a gap",
                evidence: alloc::format!("{first} came after {}", self.applied),
            }));
        }
        let mut responses = Vec::with_capacity(if ticket.is_some() { count } else { 0 });
        let entries = &committed.entries.as_slice()[offset..offset + count];
        let mut index = first;
        for entry in entries {
            // What a durable state machine has applied in an earlier life is not applied again.
            let is_new = index > self.applied;
            let response = if is_new && entry.kind == EntryKind::Command {
                self.machine.apply(index, &entry.payload)
            } else {
                Bytes::new()
            };
            if ticket.is_some() {
                responses.push(response);
            }
            self.applied = self.applied.max(index);
            index = index.next();
        }
        Done::Applied(Applied {
            first,
            through: self.applied,
            ticket,
            responses,
        })
    }

    /// Does a job.
    pub(super) fn run(&mut self, job: Job) -> Done {
        let done = self.try_run(job);
        self.note(done)
    }

    fn try_run(&mut self, job: Job) -> Done {
        match job {
            Job::Apply(committed) => {
                guarded(|| self.try_apply(&committed, 0, committed.entries.len()))
            }
            // There is no state to answer from.
            Job::Query(_, promise) if self.void => Done::Answered(promise, Err(ReadError::Unknown)),
            Job::Query(query, promise) => guarded(|| {
                let response = self.machine.query(&query);
                drop(query);
                // A read has changed nothing, so it may as well be refused.
                let answer = match promise.try_hold(response.len()) {
                    Ok(()) => Ok(Answered {
                        response,
                        index: self.applied,
                    }),
                    Err(limit) => {
                        let refusal = Refusal::Busy { what: HELD, limit };
                        Err(ReadError::Refused(refusal))
                    }
                };
                Done::Answered(promise, answer)
            }),
            Job::Freeze if self.void => {
                let error = MachineError::new("a snapshot is being restored");
                Done::Frozen(self.applied, Err(error))
            }
            Job::Freeze => guarded(|| Done::Frozen(self.applied, self.machine.snapshot())),
            Job::Restore(meta, feed) => guarded(|| self.restore(meta, feed)),
        }
    }

    fn restore(&mut self, meta: SnapshotMeta, feed: Feed) -> Done {
        let superseded = feed.superseded();
        let restored = self.machine.restore(feed.into_chunks());
        self.void = superseded.get();
        if self.void {
            return Done::Superseded;
        }
        match restored {
            Ok(()) => {
                self.applied = meta.index();
                Done::Restored(meta)
            }
            Err(error) => Done::Failed(NodeError::Restore { meta, error }),
        }
    }
}

/// Does `job`, and turns a panic of the application into the end of the node.
fn guarded(job: impl FnOnce() -> Done) -> Done {
    // Nothing of the state machine is used after a panic, so whatever it left half done is not seen.
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|panic| Done::Failed(NodeError::Panicked(said(&*panic))))
}

/// What a panic said.
pub(super) fn said(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_string())
}
