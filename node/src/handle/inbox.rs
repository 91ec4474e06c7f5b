//! The bounded queue from handles to the driver.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use core::mem;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use core::task::{Context, Waker};
use std::sync::{Mutex, MutexGuard};

use crate::sync::lock;

/// What a request costs while it is under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Cost {
    /// Requests that wait for an answer or whose answer waits to be fetched, at least one.
    pub(crate) requests: usize,
    /// Bytes that wait for the driver.
    pub(crate) bytes: usize,
    /// Bytes that are held until the answer is fetched: a query's, which wait as long as its read.
    pub(crate) held: usize,
}

impl Cost {
    /// One request and nothing else.
    pub(crate) const ONE: Self = Self {
        requests: 1,
        bytes: 0,
        held: 0,
    };
}

/// What may be under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct InboxLimits {
    /// Requests, from the call until the answer is fetched.
    pub(crate) requests: usize,
    /// Bytes that wait for the driver.
    pub(crate) bytes: usize,
    /// Bytes of queries, and of answers that nobody has fetched.
    pub(crate) held: usize,
}

/// Why a request was not taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// Too many requests wait for an answer, or their answers to be fetched.
    Requests,
    /// Too many bytes wait for the driver.
    Bytes,
    /// Too many bytes of queries and answers are held.
    Held,
    /// The driver has ended or is about to.
    Closed,
}

/// What requests hold, whoever holds it: changed on both sides, so it is apart from the queue. Each
/// request under way has a clone, so their number is how many requests there are: counting them once
/// more would cost as much again.
#[derive(Debug)]
struct Usage {
    /// Requests beyond the first of those that go together.
    further: AtomicUsize,
    held: AtomicUsize,
    max_held: usize,
}

impl Usage {
    /// Holds `more` bytes in place of `less` that are held already, if that fits. What is above the
    /// limit may pass alone: else it could never.
    fn hold(&self, less: usize, more: usize) -> bool {
        let room = |held: usize| {
            let rest = held - less;
            let sum = rest.saturating_add(more);
            (rest == 0 || sum.max(rest + 1) <= self.max_held).then_some(sum)
        };
        if less == more {
            return room(self.held.load(Relaxed)).is_some();
        }
        self.held.fetch_update(Relaxed, Relaxed, room).is_ok()
    }
}

/// A place among those that are limited. It goes with the answer, and is free again when that is
/// fetched or wanted by nobody: so the limit on requests bounds the answers, too.
#[derive(Debug)]
pub(crate) struct Permit {
    usage: Option<Arc<Usage>>,
    further: usize,
    held: usize,
}

impl Permit {
    /// For what is not limited.
    #[cfg(test)]
    pub(crate) const FREE: Self = Self {
        usage: None,
        further: 0,
        held: 0,
    };

    /// Holds this many bytes with it, unless that is too much; then the limit.
    pub(crate) fn try_hold(&mut self, bytes: usize) -> Result<(), usize> {
        if let Some(usage) = &self.usage
            && !usage.hold(self.held, bytes)
        {
            return Err(usage.max_held);
        }
        self.held = bytes;
        Ok(())
    }

    /// From now on this many bytes are held with it, limit or not.
    pub(crate) fn hold(&mut self, bytes: usize) {
        let Some(usage) = &self.usage else {
            return;
        };
        if bytes > self.held {
            usage.held.fetch_add(bytes - self.held, Relaxed);
        } else if bytes < self.held {
            usage.held.fetch_sub(self.held - bytes, Relaxed);
        }
        self.held = bytes;
    }

    /// Frees the place.
    pub(crate) fn release(&mut self) {
        self.hold(0);
        if let Some(usage) = self.usage.take()
            && self.further > 0
        {
            usage.further.fetch_sub(self.further, Relaxed);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.release();
    }
}

struct State<R> {
    queue: VecDeque<(R, usize)>,
    bytes: usize,
    /// The driver's, while it sleeps: taken by the first request, so that a thousand requests wake
    /// it once.
    waker: Option<Waker>,
    closed: bool,
}

pub(crate) struct Inbox<R> {
    state: Mutex<State<R>>,
    usage: Arc<Usage>,
    limits: InboxLimits,
}

impl<R> Inbox<R> {
    pub(crate) fn new(limits: InboxLimits) -> Self {
        Self {
            state: Mutex::new(State {
                queue: VecDeque::new(),
                bytes: 0,
                waker: None,
                closed: false,
            }),
            usage: Arc::new(Usage {
                further: AtomicUsize::new(0),
                held: AtomicUsize::new(0),
                max_held: limits.held,
            }),
            limits,
        }
    }

    /// Queues a request that is limited, if there is room: `make` makes it, and what is handed back.
    /// A rejected request leaves nothing behind.
    pub(crate) fn push<A>(
        &self,
        cost: Cost,
        make: impl FnOnce(Permit) -> (R, A),
    ) -> Result<A, Full> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Full::Closed);
        }
        // Those in the queue that nobody waits for any more may have given up their permits.
        let further = cost.requests.saturating_sub(1);
        let others = Arc::strong_count(&self.usage) - 1 + self.usage.further.load(Relaxed);
        if others.saturating_add(cost.requests) > self.limits.requests
            || state.queue.len() >= self.limits.requests
        {
            return Err(Full::Requests);
        }
        // One request above the limit may pass alone: else it could never.
        let bytes = cost.bytes;
        if bytes > 0 && state.bytes > 0 && state.bytes.saturating_add(bytes) > self.limits.bytes {
            return Err(Full::Bytes);
        }
        if !self.usage.hold(0, cost.held) {
            return Err(Full::Held);
        }
        if further > 0 {
            self.usage.further.fetch_add(further, Relaxed);
        }
        let (request, answer) = make(Permit {
            usage: Some(Arc::clone(&self.usage)),
            further,
            held: cost.held,
        });
        state.bytes += bytes;
        state.queue.push_back((request, bytes));
        Self::wake(state);
        Ok(answer)
    }

    /// Queues what costs nothing worth limiting.
    pub(crate) fn push_free(&self, request: R) -> Result<(), Full> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(Full::Closed);
        }
        state.queue.push_back((request, 0));
        Self::wake(state);
        Ok(())
    }

    /// Wakes the driver for something that is not in the queue.
    pub(crate) fn nudge(&self) -> Result<(), Full> {
        let state = lock(&self.state);
        if state.closed {
            return Err(Full::Closed);
        }
        Self::wake(state);
        Ok(())
    }

    fn wake(mut state: MutexGuard<'_, State<R>>) {
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
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

    pub(crate) const fn limits(&self) -> InboxLimits {
        self.limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use futures::task::noop_waker;

    fn cost(requests: usize, bytes: usize) -> Cost {
        Cost {
            requests,
            bytes,
            held: 0,
        }
    }

    fn inbox(requests: usize, bytes: usize) -> Inbox<char> {
        Inbox::new(InboxLimits {
            requests,
            bytes,
            held: 10,
        })
    }

    fn ask(inbox: &Inbox<char>, cost: Cost, name: char) -> Result<Permit, Full> {
        inbox.push(cost, |permit| (name, permit))
    }

    #[test]
    fn all_limits_hold_and_a_rejection_leaves_nothing_behind() {
        let inbox = inbox(2, 10);
        let a = ask(&inbox, cost(1, 6), 'a').unwrap();
        assert_eq!(ask(&inbox, cost(1, 6), 'b').unwrap_err(), Full::Bytes);
        let _c = ask(&inbox, cost(1, 4), 'c').unwrap();
        assert_eq!(ask(&inbox, cost(1, 0), 'd').unwrap_err(), Full::Requests);
        let mut taken = VecDeque::new();
        inbox.take(&mut taken, 9, &Context::from_waker(&noop_waker()));
        assert_eq!(taken, [('a', 6), ('c', 4)]);
        assert_eq!(ask(&inbox, cost(1, 0), 'e').unwrap_err(), Full::Requests);
        drop(a);
        let _f = ask(&inbox, cost(1, 99), 'f').unwrap();
    }

    #[test]
    fn what_is_held_is_limited_and_one_above_the_limit_passes_alone() {
        let inbox = inbox(9, 9);
        let held = |held| Cost { held, ..Cost::ONE };
        let big = ask(&inbox, held(99), 'a').unwrap();
        assert_eq!(ask(&inbox, Cost::ONE, 'b').unwrap_err(), Full::Held);
        drop(big);
        let mut six = ask(&inbox, held(6), 'c').unwrap();
        assert_eq!(ask(&inbox, held(5), 'd').unwrap_err(), Full::Held);
        let four = ask(&inbox, held(4), 'e').unwrap();
        assert_eq!(ask(&inbox, Cost::ONE, 'b').unwrap_err(), Full::Held);
        assert_eq!(six.try_hold(7), Err(10));
        six.try_hold(1).unwrap();
        let five = ask(&inbox, held(5), 'd').unwrap();
        assert_eq!(ask(&inbox, Cost::ONE, 'b').unwrap_err(), Full::Held);
        drop((six, four, five));
        assert_eq!(inbox.usage.held.load(Relaxed), 0);
        assert_eq!(Arc::strong_count(&inbox.usage), 1);
    }

    #[test]
    fn what_is_taken_in_parts_is_accounted_for() {
        let inbox = inbox(9, 10);
        let permits = ['a', 'b', 'c'].map(|name| ask(&inbox, cost(1, 3), name).unwrap());
        let mut taken = VecDeque::new();
        inbox.take(&mut taken, 2, &Context::from_waker(&noop_waker()));
        assert_eq!(taken, [('a', 3), ('b', 3)]);
        let _d = ask(&inbox, cost(1, 7), 'd').unwrap();
        assert_eq!(ask(&inbox, cost(1, 1), 'e').unwrap_err(), Full::Bytes);
        drop(permits);
    }

    #[test]
    fn those_that_gave_up_their_permits_do_not_fill_the_queue() {
        let inbox = inbox(2, 10);
        for name in ['a', 'b'] {
            drop(ask(&inbox, cost(1, 0), name).unwrap());
        }
        assert_eq!(ask(&inbox, cost(1, 0), 'c').unwrap_err(), Full::Requests);
    }

    #[test]
    fn a_closed_inbox_hands_back_what_waits() {
        let inbox = inbox(9, 10);
        let _a = ask(&inbox, cost(1, 3), 'a').unwrap();
        assert_eq!(inbox.close().collect::<Vec<_>>(), ['a']);
        assert_eq!(inbox.push_free('b'), Err(Full::Closed));
    }
}
