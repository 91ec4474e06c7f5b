//! Committed entries as a stream that can be resumed.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::sync::Mutex;

use bytes::Bytes;
use futures::Stream;
use synod_core::{Entries, EntryKind, LogIndex};

use super::inbox::Cost;
use super::request::{Fetched, Request};
use super::slot::Answer;
use super::{CommittedError, Shared};

/// An entry of the log, committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommittedEntry {
    /// Its place.
    pub index: LogIndex,
    /// What it is for: commands are [`EntryKind::Command`], the rest is the protocol's own.
    pub kind: EntryKind,
    /// The command, or the protocol's encoding of a configuration.
    pub payload: Bytes,
}

/// Committed entries in order from a given one, then those that follow as they are committed.
///
/// To resume, keep the index of the last entry that you are done with, and ask for the one after
/// it; that works across restarts and on other nodes. It costs one portion of memory at a time
/// ([`fetch_bytes`](crate::ConfigBuilder::fetch_bytes)) and does not hold up the node, however
/// slowly it is taken: who is slower than the log is compacted ends with
/// [`CommittedError::Compacted`]. Ends after an error.
pub struct CommittedStream {
    shared: Arc<Shared>,
    /// `None` if there are too many already.
    place: Option<Arc<Mutex<()>>>,
    /// The last entry that was handed out.
    after: LogIndex,
    runs: VecDeque<Entries>,
    fetch: Option<Answer<Fetched>>,
    over: bool,
}

impl CommittedStream {
    pub(super) fn new(shared: Arc<Shared>, from: LogIndex) -> Self {
        Self {
            place: shared.stream(),
            shared,
            after: from.previous(),
            runs: VecDeque::new(),
            fetch: None,
            over: false,
        }
    }

    fn take(&mut self) -> Option<CommittedEntry> {
        let index = self.after.next();
        loop {
            let run = self.runs.front()?;
            if let Some(entry) = run.get(index) {
                self.after = index;
                return Some(CommittedEntry {
                    index,
                    kind: entry.kind,
                    payload: entry.payload.clone(),
                });
            }
            self.runs.pop_front();
        }
    }

    fn fail(&mut self, error: CommittedError) -> Poll<Option<<Self as Stream>::Item>> {
        self.over = true;
        self.place = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl Stream for CommittedStream {
    type Item = Result<CommittedEntry, CommittedError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.over {
                return Poll::Ready(None);
            }
            if let Some(entry) = self.take() {
                return Poll::Ready(Some(Ok(entry)));
            }
            let Some(fetch) = &mut self.fetch else {
                let after = self.after;
                let max_streams = self.shared.max_streams;
                if self.place.is_none() {
                    return self.fail(CommittedError::Busy {
                        wanted: after.next(),
                        what: "streams of committed entries",
                        limit: max_streams,
                    });
                }
                let asked = self
                    .shared
                    .ask(Cost::ONE, |promise| Request::Fetch(after, promise));
                match asked {
                    Ok(answer) => self.fetch = Some(answer),
                    Err(full) => {
                        let limit = self.shared.limit(full);
                        let wanted = after.next();
                        return self.fail(match limit {
                            Some((what, limit)) => CommittedError::Busy {
                                wanted,
                                what,
                                limit,
                            },
                            None => CommittedError::Stopped,
                        });
                    }
                }
                continue;
            };
            let Poll::Ready(answer) = Pin::new(fetch).poll(cx) else {
                return Poll::Pending;
            };
            self.fetch = None;
            match answer {
                Some(Ok(runs)) => self.runs = runs.into(),
                Some(Err(compacted)) => {
                    let wanted = self.after.next();
                    return self.fail(CommittedError::Compacted {
                        wanted,
                        first: compacted.first,
                    });
                }
                None => return self.fail(CommittedError::Stopped),
            }
        }
    }
}

impl Drop for CommittedStream {
    fn drop(&mut self) {
        if let Some(fetch) = self.fetch.take() {
            fetch.abandon();
        }
    }
}

impl fmt::Debug for CommittedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommittedStream")
            .field("after", &self.after)
            .finish_non_exhaustive()
    }
}
