//! The status as the driver last published it, for those who ask for it or wait for it to become
//! something.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use core::mem;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, MutexGuard};

use synod_core::Status;

use crate::sync::lock;

#[derive(Default)]
struct State {
    version: u64,
    status: Option<Arc<Status>>,
    /// By watcher: one that goes leaves nothing behind.
    wakers: BTreeMap<u64, Waker>,
    watchers: u64,
    over: bool,
}

/// Wakes everyone, without the lock: who is woken may look there and then.
fn wake_all(mut state: MutexGuard<'_, State>) {
    let wakers = mem::take(&mut state.wakers);
    drop(state);
    wakers.into_values().for_each(Waker::wake);
}

/// The board on which the driver publishes, but only while somebody watches.
#[derive(Default)]
pub(crate) struct Board {
    state: Mutex<State>,
    watchers: AtomicUsize,
    /// Somebody wants to know how things stand now: however many do, one status answers them.
    asked: AtomicBool,
}

impl Board {
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Relaxed) > 0
    }

    /// Has the next status published even if it is no news. The driver must be woken then.
    pub(crate) fn ask(&self) {
        self.asked.store(true, Ordering::Release);
    }

    /// Whether somebody asked since the last time: what is published now must be made after this.
    pub(crate) fn take_asked(&self) -> bool {
        self.asked.swap(false, Ordering::Acquire)
    }

    /// Publishes how things stand, if that is news or somebody has just asked.
    pub(crate) fn publish(&self, status: Status, anew: bool) {
        let mut state = lock(&self.state);
        if anew || state.status.as_deref() != Some(&status) {
            state.version += 1;
            state.status = Some(Arc::new(status));
            wake_all(state);
        }
    }

    /// The node has ended.
    pub(crate) fn end(&self) {
        let mut state = lock(&self.state);
        state.over = true;
        wake_all(state);
    }

    pub(crate) fn is_over(&self) -> bool {
        lock(&self.state).over
    }

    /// Completes when the node has ended.
    pub(crate) async fn over(&self) {
        let mut watcher = self.watch();
        core::future::poll_fn(|cx| {
            loop {
                match watcher.poll(cx) {
                    Poll::Ready(Some(_)) => {}
                    Poll::Ready(None) => return Poll::Ready(()),
                    Poll::Pending => return Poll::Pending,
                }
            }
        })
        .await;
    }

    pub(crate) fn watch(&self) -> Watcher<'_> {
        self.watchers.fetch_add(1, Ordering::Relaxed);
        let mut state = lock(&self.state);
        state.watchers += 1;
        Watcher {
            board: self,
            id: state.watchers,
            // What was published for an earlier watcher may be old by now.
            seen: state.version,
            last: None,
        }
    }
}

pub(crate) struct Watcher<'a> {
    board: &'a Board,
    id: u64,
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
        state.wakers.insert(self.id, cx.waker().clone());
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
        lock(&self.board.state).wakers.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    #[test]
    fn a_watcher_that_goes_leaves_nothing_behind() {
        let board = Board::default();
        for _ in 0..100 {
            let mut watcher = board.watch();
            let waker = noop_waker();
            assert!(watcher.poll(&Context::from_waker(&waker)).is_pending());
        }
        assert!(lock(&board.state).wakers.is_empty());
        assert!(!board.is_watched());
    }
}
