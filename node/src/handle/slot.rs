//! One answer on its way from the driver to a task: one small allocation per request.

use alloc::sync::Arc;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, PoisonError};

use super::inbox::Permit;
use crate::sync::{Wakers, lock};

enum State<T> {
    Waiting(Option<Waker>),
    Done(T),
    /// The answer was taken, or will never come.
    Over,
}

struct Slot<T> {
    state: State<T>,
    /// Free again when the answer is taken, or when both sides are gone.
    permit: Permit,
}

/// A pair: who resolves the promise answers the other.
pub(crate) fn slot<T>(permit: Permit) -> (Promise<T>, Answer<T>) {
    let shared = Arc::new(Mutex::new(Slot {
        state: State::Waiting(None),
        permit,
    }));
    (Promise(Some(Arc::clone(&shared))), Answer(Some(shared)))
}

/// The side that answers. Dropped without an answer, it tells the other side so.
pub(crate) struct Promise<T>(Option<Arc<Mutex<Slot<T>>>>);

impl<T> Promise<T> {
    /// Answers; the task that waits, if there is one, is woken with the others in `wakers`.
    pub(crate) fn resolve(self, answer: T, wakers: &mut Wakers) {
        self.resolve_holding(answer, 0, wakers);
    }

    /// Answers with something that holds this many bytes until it is fetched.
    pub(crate) fn resolve_holding(mut self, answer: T, bytes: usize, wakers: &mut Wakers) {
        wakers.push(self.put(State::Done(answer), bytes));
    }

    /// Holds this many bytes with its permit, unless that is too much; then the limit.
    pub(crate) fn try_hold(&self, bytes: usize) -> Result<(), usize> {
        match &self.0 {
            Some(shared) => lock(shared).permit.try_hold(bytes),
            None => Ok(()),
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        let shared = self.0.as_ref();
        shared.is_none_or(|shared| Arc::strong_count(shared) == 1)
    }

    fn put(&mut self, state: State<T>, bytes: usize) -> Option<Waker> {
        let shared = self.0.take()?;
        let mut slot = lock(&shared);
        slot.permit.hold(bytes);
        match mem::replace(&mut slot.state, state) {
            State::Waiting(waker) => waker,
            State::Done(_) | State::Over => None,
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.put(State::Over, 0) {
            waker.wake();
        }
    }
}

/// The side that waits: `None` if the promise was dropped. Dropping it takes nothing back, and what
/// it held a permit for holds it on until that is decided.
pub(crate) struct Answer<T>(Option<Arc<Mutex<Slot<T>>>>);

impl<T> Answer<T> {
    /// Gives up the permit, for what costs nothing worth limiting once nobody waits for it.
    pub(crate) fn abandon(self) {
        if let Some(shared) = &self.0 {
            lock(shared).permit.release();
        }
    }
}

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(shared) = self.0.take() else {
            return Poll::Ready(None);
        };
        // By the time that the driver wakes anyone it has let go of the slot: no lock is needed.
        let state = match Arc::try_unwrap(shared) {
            Ok(mutex) => {
                let slot = mutex.into_inner();
                slot.unwrap_or_else(PoisonError::into_inner).state
            }
            Err(shared) => {
                let mut slot = lock(&shared);
                if let State::Waiting(waker) = &mut slot.state {
                    match waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => *waker = Some(cx.waker().clone()),
                    }
                    drop(slot);
                    self.0 = Some(shared);
                    return Poll::Pending;
                }
                // Whoever has an answer may ask again at once.
                slot.permit.release();
                mem::replace(&mut slot.state, State::Over)
            }
        };
        match state {
            State::Done(answer) => Poll::Ready(Some(answer)),
            State::Waiting(_) | State::Over => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::executor::block_on;

    #[test]
    fn an_answer_arrives() {
        let (promise, answer) = slot(Permit::FREE);
        promise.resolve(7, &mut Wakers::default());
        assert_eq!(block_on(answer), Some(7));
    }

    #[test]
    fn a_dropped_promise_is_noticed() {
        let (promise, answer) = slot::<u8>(Permit::FREE);
        let waiter = std::thread::spawn(|| block_on(answer));
        drop(promise);
        assert_eq!(waiter.join().unwrap(), None);
    }

    #[test]
    fn a_dropped_answer_disturbs_nobody() {
        let (promise, answer) = slot(Permit::FREE);
        drop(answer);
        promise.resolve(7, &mut Wakers::default());
    }
}
