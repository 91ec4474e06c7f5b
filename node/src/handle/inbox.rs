//! The bounded queue from handles to the driver.

use alloc::collections::VecDeque;
use core::mem;
use core::task::{Context, Waker};
use std::sync::Mutex;

use crate::sync::lock;

/// What a request costs while it is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cost {
    /// Requests that wait for an answer; 0 for what is not limited.
    pub(crate) requests: usize,
    /// Bytes that wait for the driver.
    pub(crate) bytes: usize,
}

impl Cost {
    /// What costs nothing worth limiting.
    pub(crate) const FREE: Self = Self {
        requests: 0,
        bytes: 0,
    };
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// Too many requests wait for an answer.
    Requests,
    /// Too many bytes wait for the driver.
    Bytes,
    /// The driver has ended or is about to.
    Closed,
}

struct State<R> {
    queue: VecDeque<(R, usize)>,
    bytes: usize,
    /// Requests not answered yet, queued or with the machine.
    outstanding: usize,
    /// The driver's, while it sleeps: taken by the first request, so that a thousand requests wake
    /// it once.
    waker: Option<Waker>,
    closed: bool,
}

pub(crate) struct Inbox<R> {
    state: Mutex<State<R>>,
    max_outstanding: usize,
    max_bytes: usize,
}

impl<R> Inbox<R> {
    pub(crate) fn new(max_outstanding: usize, max_bytes: usize) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                outstanding: 0,
                waker: None,
                closed: false,
            }),
            max_outstanding,
            max_bytes,
        }
    }

    /// Queues what `make` makes, if there is room. A rejected request leaves nothing behind.
    pub(crate) fn push(&self, cost: Cost, make: impl FnOnce() -> R) -> Result<(), Full> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Full::Closed);
        }
        let outstanding = state.outstanding + cost.requests;
        if cost.requests > 0 && outstanding > self.max_outstanding {
            return Err(Full::Requests);
        }
        // One request above the limit may pass alone: else it could never.
        let bytes = cost.bytes;
        if bytes > 0 && state.bytes > 0 && state.bytes + bytes > self.max_bytes {
            return Err(Full::Bytes);
        }
        state.outstanding = outstanding;
        state.bytes += bytes;
        state.queue.push_back((make(), bytes));
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    /// Takes up to `limit` requests. With none left behind, the next one wakes the caller.
    pub(crate) fn take(&self, into: &mut VecDeque<(R, usize)>, limit: usize, cx: &Context<'_>) {
        let mut state = lock(&self.state);
        if state.queue.len() <= limit && into.is_empty() {
            mem::swap(&mut state.queue, into);
            state.bytes = 0;
        } else {
            let count = state.queue.len().min(limit);
            for (request, bytes) in state.queue.drain(..count) {
                into.push_back((request, bytes));
            }
            state.bytes -= into.iter().rev().take(count).map(|(_, b)| b).sum::<usize>();
        }
        if state.queue.is_empty() {
            match &mut state.waker {
                Some(waker) => waker.clone_from(cx.waker()),
                None => state.waker = Some(cx.waker().clone()),
            }
        }
    }

    /// Makes room for as many further requests: before those who are answered can ask again.
    pub(crate) fn answered(&self, requests: usize) {
        if requests > 0 {
            lock(&self.state).outstanding -= requests;
        }
    }

    /// Takes no more requests, and hands back those that still wait.
    pub(crate) fn close(&self) -> impl Iterator<Item = R> + use<R> {
        let mut state = lock(&self.state);
        state.closed = true;
        state.bytes = 0;
        state.waker = None;
        mem::take(&mut state.queue)
            .into_iter()
            .map(|(request, _)| request)
    }

    pub(crate) fn max_outstanding(&self) -> usize {
        self.max_outstanding
    }

    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::task::noop_waker;

    fn cost(requests: usize, bytes: usize) -> Cost {
        Cost { requests, bytes }
    }

    #[test]
    fn both_limits_hold_and_a_rejection_leaves_nothing_behind() {
        let inbox = Inbox::new(2, 10);
        inbox.push(cost(1, 6), || 'a').unwrap();
        assert_eq!(inbox.push(cost(1, 6), || 'b'), Err(Full::Bytes));
        inbox.push(cost(1, 4), || 'c').unwrap();
        assert_eq!(inbox.push(cost(1, 0), || 'd'), Err(Full::Requests));
        let mut taken = VecDeque::new();
        inbox.take(&mut taken, 9, &Context::from_waker(&noop_waker()));
        assert_eq!(taken, [('a', 6), ('c', 4)]);
        assert_eq!(inbox.push(cost(1, 0), || 'e'), Err(Full::Requests));
        inbox.answered(1);
        inbox.push(cost(1, 99), || 'f').unwrap();
    }

    #[test]
    fn what_is_taken_in_parts_is_accounted_for() {
        let inbox = Inbox::new(9, 10);
        for name in ['a', 'b', 'c'] {
            inbox.push(cost(1, 3), || name).unwrap();
        }
        let mut taken = VecDeque::new();
        inbox.take(&mut taken, 2, &Context::from_waker(&noop_waker()));
        assert_eq!(taken, [('a', 3), ('b', 3)]);
        inbox.push(cost(1, 7), || 'd').unwrap();
        assert_eq!(inbox.push(cost(1, 1), || 'e'), Err(Full::Bytes));
    }

    #[test]
    fn a_closed_inbox_hands_back_what_waits() {
        let inbox = Inbox::new(9, 10);
        inbox.push(cost(1, 3), || 'a').unwrap();
        assert_eq!(inbox.close().collect::<Vec<_>>(), ['a']);
        assert_eq!(inbox.push(Cost::FREE, || 'b'), Err(Full::Closed));
    }
}
