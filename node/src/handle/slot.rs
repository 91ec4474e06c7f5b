//! One answer on its way from the driver to a task: one small allocation per request.

use alloc::sync::Arc;
use core::future::Future;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::sync::{Mutex, PoisonError};

use crate::sync::{Wakers, lock};

enum State<T> {
    Waiting(Option<Waker>),
    Done(T),
    /// The answer was taken, or will never come.
    Over,
}

/// A pair: who resolves the promise answers the other.
pub(crate) fn slot<T>() -> (Promise<T>, Answer<T>) {
    let shared = Arc::new(Mutex::new(State::Waiting(None)));
    (Promise(Some(Arc::clone(&shared))), Answer(Some(shared)))
}

/// The side that answers. Dropped without an answer, it tells the other side so.
pub(crate) struct Promise<T>(Option<Arc<Mutex<State<T>>>>);

impl<T> Promise<T> {
    /// Answers; the task that waits, if there is one, is woken with the others in `wakers`.
    pub(crate) fn resolve(mut self, answer: T, wakers: &mut Wakers) {
        wakers.push(self.put(State::Done(answer)));
    }

    fn put(&mut self, state: State<T>) -> Option<Waker> {
        let shared = self.0.take()?;
        match mem::replace(&mut *lock(&shared), state) {
            State::Waiting(waker) => waker,
            State::Done(_) | State::Over => None,
        }
    }
}

impl<T> Drop for Promise<T> {
    fn drop(&mut self) {
        if let Some(waker) = self.put(State::Over) {
            waker.wake();
        }
    }
}

/// The side that waits: `None` if the promise was dropped. Dropping it takes nothing back.
pub(crate) struct Answer<T>(Option<Arc<Mutex<State<T>>>>);

impl<T> Future for Answer<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(shared) = self.0.take() else {
            return Poll::Ready(None);
        };
        // By the time that the driver wakes anyone it has let go of the slot: no lock is needed.
        let state = match Arc::try_unwrap(shared) {
            Ok(mutex) => mutex.into_inner().unwrap_or_else(PoisonError::into_inner),
            Err(shared) => {
                let mut state = lock(&shared);
                if let State::Waiting(waker) = &mut *state {
                    match waker {
                        Some(waker) => waker.clone_from(cx.waker()),
                        None => *waker = Some(cx.waker().clone()),
                    }
                    drop(state);
                    self.0 = Some(shared);
                    return Poll::Pending;
                }
                mem::replace(&mut *state, State::Over)
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
        let (promise, answer) = slot();
        promise.resolve(7, &mut Wakers::default());
        assert_eq!(block_on(answer), Some(7));
    }

    #[test]
    fn a_dropped_promise_is_noticed() {
        let (promise, answer) = slot::<u8>();
        let waiter = std::thread::spawn(|| block_on(answer));
        drop(promise);
        assert_eq!(waiter.join().unwrap(), None);
    }

    #[test]
    fn a_dropped_answer_disturbs_nobody() {
        let (promise, answer) = slot();
        drop(answer);
        promise.resolve(7, &mut Wakers::default());
    }
}
