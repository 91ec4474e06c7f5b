//! Requests of handles, given to the log.

use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Instant, ReplicatedLog};

use super::app::{Closing, LogApp};
use super::waiters::Waiter;
use crate::handle::request::{Outcome, Request};
use crate::handle::slot::Promise;
use crate::handle::{ProposeError, ReadError, SnapshotError};

impl<L: ReplicatedLog> LogApp<L> {
    pub(super) fn accept(&mut self, log: &mut L, now: Instant, request: Request) {
        match request {
            Request::Propose(command, promise) => match log.propose(now, command) {
                Ok(ticket) => {
                    self.metrics.proposals += 1;
                    self.proposals.insert(ticket, Waiter::One(promise));
                }
                Err(rejected) => self.reject(promise, rejected.into()),
            },
            Request::ProposeMany(commands, promise) => {
                self.propose_many(log, now, commands, promise);
            }
            Request::Read(query, level, promise) => match log.read(now, level) {
                Ok(ticket) => {
                    self.metrics.reads += 1;
                    self.reads.insert(ticket, (query, promise));
                }
                Err(rejected) => {
                    self.metrics.rejections += 1;
                    promise.resolve(Err(rejected.into()), &mut self.wakers);
                }
            },
            Request::Reconfigure(change, promise) => match log.reconfigure(now, change) {
                Ok(ticket) => self.proposals.insert(ticket, Waiter::One(promise)),
                Err(rejected) => self.reject(promise, rejected.into()),
            },
            Request::Transfer(to, promise) => {
                promise.resolve(log.transfer(now, to), &mut self.wakers);
            }
            Request::Snapshot(promise) => self.snapshots.ask(promise),
            Request::Fetch(after, promise) => self.fetches.push(after, promise, self.handed),
            Request::Shutdown => self.begin_to_close(now),
        }
    }

    fn reject(&mut self, promise: Promise<Outcome>, error: ProposeError) {
        self.metrics.rejections += 1;
        promise.resolve(Err(error), &mut self.wakers);
    }

    fn propose_many(
        &mut self,
        log: &mut L,
        now: Instant,
        commands: Vec<Bytes>,
        promise: Promise<Vec<Outcome>>,
    ) {
        let group = self.groups.open(commands.len(), promise);
        for (place, command) in (0..).zip(commands) {
            match log.propose(now, command) {
                Ok(ticket) => {
                    self.metrics.proposals += 1;
                    self.proposals
                        .insert(ticket, Waiter::Member { group, place });
                }
                Err(rejected) => {
                    self.metrics.rejections += 1;
                    let outcome = Err(rejected.into());
                    self.groups.decide(group, place, outcome, &mut self.wakers);
                }
            }
        }
    }

    /// From now on nothing is taken; what waits in the queue has not happened.
    fn begin_to_close(&mut self, now: Instant) {
        self.closing = Closing::Draining(now + self.config.shutdown_grace);
        self.refuse_the_rest();
    }
}

impl<L> LogApp<L> {
    /// Closes the inbox and tells those in it that nothing has happened.
    pub(super) fn refuse_the_rest(&mut self) {
        let taken = core::mem::take(&mut self.requests);
        let queued = self.shared.inbox.close();
        let wakers = &mut self.wakers;
        for request in taken.into_iter().map(|(request, _)| request).chain(queued) {
            match request {
                Request::Propose(_, promise) | Request::Reconfigure(_, promise) => {
                    promise.resolve(Err(ProposeError::Stopped), wakers);
                }
                Request::ProposeMany(commands, promise) => {
                    let stopped = commands.iter().map(|_| Err(ProposeError::Stopped));
                    promise.resolve(stopped.collect(), wakers);
                }
                Request::Read(_, _, promise) => promise.resolve(Err(ReadError::Stopped), wakers),
                Request::Snapshot(promise) => promise.resolve(Err(SnapshotError::Stopped), wakers),
                // A dropped promise of these says the same.
                Request::Transfer(..) | Request::Fetch(..) | Request::Shutdown => {}
            }
        }
    }
}
