//! The handle: how the rest of an application talks to its node.

mod committed;
mod error;
mod events;
pub(crate) mod inbox;
mod metrics;
mod pending;
pub(crate) mod request;
mod serve;
pub(crate) mod slot;
pub(crate) mod watch;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::sync::Mutex;

use bytes::Bytes;
use synod_core::{
    Change, Clock, Entry, LogIndex, NodeId, ReadLevel, Refusal, Rejected, SnapshotMeta, Status,
};

pub use committed::{CommittedEntry, CommittedStream};
pub use error::{
    CommittedError, ProposeError, ReadError, SnapshotError, Stopped, TransferError, WaitError,
};
pub(crate) use events::Hub;
pub use events::{AnyDetail, Events, NodeEvent, Observed};
pub use metrics::Metrics;
pub(crate) use metrics::Published;
pub use pending::{Proposal, Proposals, Reading};
pub use request::{Answered, Applied};

use crate::sync::lock;
use inbox::{Cost, Full, Inbox};
use request::Request;
use slot::{Answer, Promise, slot};
use watch::Board;

/// What handles and the driver share.
pub(crate) struct Shared {
    pub(crate) inbox: Inbox<Request>,
    pub(crate) hub: Hub,
    pub(crate) board: Board,
    /// Each stream of committed entries has a clone.
    pub(crate) streams: Arc<Mutex<()>>,
    pub(crate) max_streams: usize,
    pub(crate) metrics: Published,
    pub(crate) clock: Arc<dyn Clock>,
    /// As the last change of role said.
    pub(crate) leader: Mutex<Option<NodeId>>,
}

/// Talks to one node of a replicated log. Clones are cheap and equal.
///
/// Proposals and reads are queued when the method is called, in the order of the calls; the futures
/// that come back wait for the answers. Dropping one takes nothing back: a proposal may take effect
/// although nobody waits for it any more.
#[derive(Clone)]
pub struct Handle {
    node: NodeId,
    shared: Arc<Shared>,
}

impl Handle {
    pub(crate) const fn new(node: NodeId, shared: Arc<Shared>) -> Self {
        Self { node, shared }
    }

    /// The node that it talks to.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The leader, as far as the node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        *lock(&self.shared.leader)
    }

    /// Proposes a command for the log; its result, once the command is committed and this node's
    /// state machine has applied it. Beyond the limits of the queue it is rejected at once.
    pub fn propose(&self, command: Bytes) -> Proposal {
        let cost = Cost {
            bytes: command.len() + Entry::OVERHEAD,
            ..Cost::ONE
        };
        let mut command = Some(command);
        let asked = self.shared.ask(cost, |promise| {
            Request::Propose(command.take().unwrap_or_default(), promise)
        });
        match asked {
            Ok(answer) => Proposal::waiting(answer),
            Err(full) => Proposal::failed(match self.rejected(full, command) {
                Some(rejected) => rejected.into(),
                None => ProposeError::Stopped,
            }),
        }
    }

    /// Proposes several commands that shall follow each other; their results, in the same order,
    /// once all are decided. They take one place in the queue and are taken or rejected as one,
    /// then each succeeds or fails on its own.
    pub fn propose_many(&self, commands: impl IntoIterator<Item = Bytes>) -> Proposals {
        let mut commands: Vec<Bytes> = commands.into_iter().collect();
        if commands.is_empty() {
            return Proposals::failed(Vec::new());
        }
        let cost = Cost {
            requests: commands.len(),
            bytes: commands.iter().map(|c| c.len() + Entry::OVERHEAD).sum(),
            held: 0,
        };
        let asked = self.shared.ask(cost, |promise| {
            Request::ProposeMany(core::mem::take(&mut commands), promise)
        });
        match asked {
            Ok(answer) => Proposals::waiting(answer, cost.requests),
            Err(full) => {
                let failed = commands.into_iter().map(|command| {
                    Err(match self.rejected(full, Some(command)) {
                        Some(rejected) => rejected.into(),
                        None => ProposeError::Stopped,
                    })
                });
                Proposals::failed(failed.collect())
            }
        }
    }

    /// Asks the state machine; `level` says how fresh the answer must be.
    pub fn read(&self, query: Bytes, level: ReadLevel) -> Reading {
        let cost = Cost {
            held: query.len() + Entry::OVERHEAD,
            ..Cost::ONE
        };
        let asked = self
            .shared
            .ask(cost, |promise| Request::Read(query, level, promise));
        match asked {
            Ok(answer) => Reading::waiting(answer),
            Err(full) => Reading::failed(match self.rejected(full, None) {
                Some(rejected) => rejected.into(),
                None => ReadError::Stopped,
            }),
        }
    }

    /// Changes the membership; the place of the change, once it is committed.
    ///
    /// # Errors
    ///
    /// [`ProposeError`], as for a proposal.
    pub async fn reconfigure(&self, change: Change) -> Result<LogIndex, ProposeError> {
        let cost = Cost {
            bytes: Entry::OVERHEAD,
            ..Cost::ONE
        };
        let asked = self
            .shared
            .ask(cost, |promise| Request::Reconfigure(change, promise));
        let answer = match asked {
            Ok(answer) => answer,
            Err(full) => {
                return Err(match self.rejected(full, None) {
                    Some(rejected) => rejected.into(),
                    None => ProposeError::Stopped,
                });
            }
        };
        let outcome = answer.await.unwrap_or(Err(ProposeError::Unknown));
        outcome.map(|applied| applied.index)
    }

    /// Asks this leader to hand over to `to`. That it has is seen in [`status`](Self::status) and
    /// [`events`](Self::events).
    ///
    /// # Errors
    ///
    /// [`TransferError`]: nothing has happened.
    pub async fn transfer(&self, to: NodeId) -> Result<(), TransferError> {
        let asked = self
            .shared
            .ask(Cost::ONE, |promise| Request::Transfer(to, promise));
        match asked {
            Ok(answer) => match answer.await {
                Some(answer) => answer.map_err(TransferError::Rejected),
                None => Err(TransferError::Stopped),
            },
            Err(full) => Err(match self.rejected(full, None) {
                Some(rejected) => TransferError::Rejected(rejected),
                None => TransferError::Stopped,
            }),
        }
    }

    /// How things stand.
    ///
    /// # Errors
    ///
    /// [`Stopped`].
    pub async fn status(&self) -> Result<Status, Stopped> {
        let mut watcher = self.shared.board.watch();
        self.shared.look()?;
        let news = core::future::poll_fn(|cx| watcher.poll(cx)).await;
        news.map(Arc::unwrap_or_clone).ok_or(Stopped)
    }

    /// Waits until `condition` holds for the node's status, at most for `within`; the status for
    /// which it held.
    ///
    /// # Errors
    ///
    /// [`WaitError`]: with the last status, if the time is up.
    pub async fn wait(
        &self,
        mut condition: impl FnMut(&Status) -> bool,
        within: Duration,
    ) -> Result<Status, WaitError> {
        let clock = &self.shared.clock;
        let mut watcher = self.shared.board.watch();
        let mut alarm = pin!(clock.sleep_until(clock.now() + within));
        self.shared.look().map_err(|Stopped| WaitError::Stopped)?;
        let found = core::future::poll_fn(|cx| {
            while let Poll::Ready(news) = watcher.poll(cx) {
                match news {
                    Some(status) if condition(&status) => {
                        return Poll::Ready(Ok(Arc::unwrap_or_clone(status)));
                    }
                    Some(_) => {}
                    None => return Poll::Ready(Err(Some(WaitError::Stopped))),
                }
            }
            alarm.as_mut().poll(cx).map(|()| Err(None))
        });
        let found = found.await;
        found.map_err(|error| {
            error.unwrap_or_else(|| WaitError::TimedOut {
                within,
                last: watcher.into_last(),
            })
        })
    }

    /// What happens on this node from now on.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.hub.subscribe(self.shared.board.is_over())
    }

    /// Committed entries from `from` on.
    #[must_use]
    pub fn committed_from(&self, from: LogIndex) -> CommittedStream {
        CommittedStream::new(Arc::clone(&self.shared), from)
    }

    /// Takes a snapshot of the state machine now and drops the log that it covers; completes when
    /// that is durable. One that is under way already counts.
    ///
    /// # Errors
    ///
    /// [`SnapshotError`]: the node goes on without.
    pub async fn snapshot(&self) -> Result<SnapshotMeta, SnapshotError> {
        match self.shared.ask(Cost::ONE, Request::Snapshot) {
            Ok(answer) => answer.await.unwrap_or(Err(SnapshotError::Stopped)),
            Err(full) => Err(match self.shared.limit(full) {
                Some((what, limit)) => SnapshotError::Busy { what, limit },
                None => SnapshotError::Stopped,
            }),
        }
    }

    /// What the node has done so far.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics.load()
    }

    /// Ends the node in good order: it takes no more requests, finishes those that are with the
    /// machine within the grace time of the configuration, answers everyone and writes what it has
    /// begun to write. Completes when the node has ended, for whatever reason.
    pub async fn shutdown(&self) {
        // A closed inbox means that the node ends already.
        let _closed = self.shared.inbox.push_free(Request::Shutdown);
        self.shared.board.over().await;
    }

    /// What to say to a request that was not taken; `None` if the node has stopped.
    fn rejected(&self, full: Full, command: Option<Bytes>) -> Option<Rejected> {
        let (what, limit) = self.shared.limit(full)?;
        Some(Rejected {
            command,
            leader: None,
            refusal: Refusal::Busy { what, limit },
        })
    }
}

impl Shared {
    /// Asks the driver for something that is answered.
    fn ask<T>(
        &self,
        cost: Cost,
        request: impl FnOnce(Promise<T>) -> Request,
    ) -> Result<Answer<T>, Full> {
        self.inbox.push(cost, |permit| {
            let (promise, answer) = slot(permit);
            (request(promise), answer)
        })
    }

    /// Has the driver publish how things stand.
    fn look(&self) -> Result<(), Stopped> {
        self.board.ask();
        self.inbox.nudge().map_err(|_| Stopped)
    }

    /// A place among the streams, if there is one.
    fn stream(&self) -> Option<Arc<Mutex<()>>> {
        let _one_by_one = lock(&self.streams);
        let is_free = Arc::strong_count(&self.streams) <= self.max_streams;
        is_free.then(|| Arc::clone(&self.streams))
    }

    /// Which limit was reached; `None` if it is the end.
    fn limit(&self, full: Full) -> Option<(&'static str, usize)> {
        let limits = self.inbox.limits();
        Some(match full {
            Full::Requests => ("outstanding requests", limits.requests),
            Full::Bytes => ("queued bytes", limits.bytes),
            Full::Held => (HELD, limits.held),
            Full::Closed => return None,
        })
    }
}

/// What is limited by `max_answer_bytes`.
pub(crate) const HELD: &str = "bytes of queries and answers";

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
