//! The status as the driver last published it, for those who wait for it to become something.

use alloc::boxed::Box;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::sync::Mutex;

use synod_core::Status;

use crate::sync::{Wakers, lock};

#[derive(Default)]
struct State {
    version: u64,
    status: Option<Arc<Status>>,
    wakers: Wakers,
    over: bool,
}

/// The board on which the driver publishes, but only while somebody watches.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    watchers: AtomicUsize,
}

impl Board {
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Publishes how things stand, if that is news or somebody has just begun to watch.
    pub(crate) fn publish(&self, status: Status, anew: bool) {
        let mut state = lock(&self.state);
        if anew || state.status.as_deref() != Some(&status) {
            state.version += 1;
            state.status = Some(Arc::new(status));
            state.wakers.wake_all();
        }
    }

    /// The node has ended.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        state.wakers.wake_all();
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).over
    }

    /// Completes when the node has ended.
    pub(crate) async fn over(&self) {
        core::future::poll_fn(|cx| {
            let mut state = lock(&self.state);
            if state.over {
                return Poll::Ready(());
            }
            state.wakers.register(cx.waker());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn watch(&self) -> Watcher<'_> {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        Watcher {
            board: self,
            // What was published for an earlier watcher may be old by now.
            seen: lock(&self.state).version,
            last: None,
        }
    }
}

pub(crate) struct Watcher<'a> {
    board: &'a Board,
    seen: u64,
    pub(crate) last: Option<Arc<Status>>,
}

impl Watcher<'_> {
    /// The next status; `None` once the node has ended.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Option<Arc<Status>>> {
        let mut state = lock(&self.board.state);
        if state.over {
            return Poll::Ready(None);
        }
        if state.version > self.seen {
            self.seen = state.version;
            self.last.clone_from(&state.status);
            return Poll::Ready(state.status.clone());
        }
        state.wakers.register(cx.waker());
        Poll::Pending
    }

    /// The last status that it saw.
    pub(crate) fn into_last(mut self) -> Option<Box<Status>> {
        let last = self.last.take()?;
        Some(Box::new(Arc::unwrap_or_clone(last)))
    }
}

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        self.board.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}
