//! What an application holds of its client.

use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use bytes::Bytes;
use synod_core::{ClientError, Entry, LogIndex, ReadLevel, SessionToken};

use crate::handle::inbox::{Cost, Full, Inbox};
use crate::handle::slot::{Answer, Promise, slot};
use crate::handle::watch::Board;

/// A request that is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientDone {
    /// What the state machine answered.
    pub response: Bytes,
    /// The place in the log of a command; the place that a read has seen.
    pub index: LogIndex,
}

impl ClientDone {
    /// For [`ReadLevel::Session`] of other clients: their reads with it see this.
    #[must_use]
    pub const fn token(&self) -> SessionToken {
        SessionToken(self.index)
    }
}

/// Why a request of a client has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientCallError {
    /// It failed, and this says what that means for its effect.
    #[error(transparent)]
    Failed(#[from] ClientError),
    /// Too many requests wait already, or their answers to be fetched: nothing has happened.
    #[error("{0} requests wait already")]
    Full(usize),
    /// Too many bytes of commands, queries and answers wait already: nothing has happened.
    #[error("more than {0} bytes of requests would wait")]
    FullBytes(usize),
    /// The client had been closed before: nothing has happened.
    #[error("the client is closed")]
    Closed,
}

pub(super) type Outcome = Result<ClientDone, ClientCallError>;

pub(super) enum Asked {
    Submit(Bytes, Duration, Promise<Outcome>),
    Read(Bytes, ReadLevel, Duration, Promise<Outcome>),
    Close,
}

pub(super) struct Shared {
    pub(super) inbox: Inbox<Asked>,
    pub(super) over: Board,
}

/// Closes the client when the last handle is gone.
struct Last(Arc<Shared>);

impl Drop for Last {
    fn drop(&mut self) {
        let _closed = self.0.inbox.push_free(Asked::Close);
    }
}

/// Talks to a replicated service through one client. Clones are cheap and share its session; when
/// the last is gone the client ends. Several requests may be under way; they are not ordered among
/// each other.
#[derive(Clone)]
pub struct ClientHandle(Arc<Last>);

impl ClientHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self(Arc::new(Last(shared)))
    }

    /// Asks for a command to happen, once, within the given time. Dropping the future takes nothing
    /// back.
    pub fn submit(&self, command: Bytes, within: Duration) -> Requested {
        let bytes = command.len();
        self.ask(bytes, |promise| Asked::Submit(command, within, promise))
    }

    /// Asks for the answer to a query within the given time. At [`ReadLevel::Session`] it sees what
    /// the token has seen and everything that this client was told before.
    pub fn read(&self, query: Bytes, level: ReadLevel, within: Duration) -> Requested {
        let bytes = query.len();
        self.ask(bytes, |promise| Asked::Read(query, level, within, promise))
    }

    /// Ends the client: takes no more requests, finishes those under way, closes the session, and
    /// completes when that is done.
    pub async fn close(&self) {
        let shared = &self.0.0;
        let _closed = shared.inbox.push_free(Asked::Close);
        shared.over.over().await;
    }

    fn ask(&self, bytes: usize, asked: impl FnOnce(Promise<Outcome>) -> Asked) -> Requested {
        let inbox = &self.0.0.inbox;
        let cost = Cost {
            held: bytes + Entry::OVERHEAD,
            ..Cost::ONE
        };
        let asked = inbox.push(cost, |permit| {
            let (promise, answer) = slot(permit);
            (asked(promise), answer)
        });
        Requested(asked.map_err(|full| match full {
            Full::Closed => ClientCallError::Closed,
            Full::Requests => ClientCallError::Full(inbox.limits().requests),
            Full::Bytes | Full::Held => ClientCallError::FullBytes(inbox.limits().held),
        }))
    }
}

impl fmt::Debug for ClientHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientHandle").finish_non_exhaustive()
    }
}

/// A request of a client under way.
#[must_use = "the request is under way, its result is here"]
pub struct Requested(Result<Answer<Outcome>, ClientCallError>);

impl Future for Requested {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        let answer = match &mut self.0 {
            Ok(answer) => answer,
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        // The client was dropped in the middle: nobody knows.
        let unknown = || Err(ClientError::Unknown.into());
        let outcome = Pin::new(answer).poll(cx);
        outcome.map(|outcome| outcome.unwrap_or_else(unknown))
    }
}

impl fmt::Debug for Requested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requested").finish_non_exhaustive()
    }
}
