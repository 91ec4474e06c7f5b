//! A clock that is moved by hand.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::sync::Mutex;

use super::lock;
use crate::{Clock, Instant};

/// A clock that stands still until it is told to go on. A clone is the same clock.
///
/// ```
/// use core::time::Duration;
/// use synod_core::{Clock, Instant, mem::ManualClock};
///
/// let clock = ManualClock::new();
/// let sleep = clock.sleep_until(Instant::from_millis(5));
/// clock.advance(Duration::from_millis(5));
/// futures::executor::block_on(sleep);
/// assert_eq!(clock.now(), Instant::from_millis(5));
/// ```
#[derive(Clone, Debug, Default)]
pub struct ManualClock(Arc<Mutex<Time>>);

#[derive(Debug, Default)]
struct Time {
    now: Instant,
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next: u64,
}

impl ManualClock {
    /// A clock that stands at [`Instant::START`].
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on by `by` and wakes whoever slept until then.
    pub fn advance(&self, by: Duration) {
        let to = lock(&self.0).now + by;
        self.advance_to(to);
    }

    /// Goes on to `to` and wakes whoever slept until then. Does nothing if that has passed: a clock
    /// does not go back.
    pub fn advance_to(&self, to: Instant) {
        let due: Vec<Waker> = {
            let mut time = lock(&self.0);
            let now = time.now.max(to);
            time.now = now;
            let later = time.sleepers.split_off(&(now, u64::MAX));
            let due = core::mem::replace(&mut time.sleepers, later);
            due.into_values().collect()
        };
        due.into_iter().for_each(Waker::wake);
    }

    /// The moment that the next sleeper waits for: where a test that has nothing else to do goes.
    #[must_use]
    pub fn next_wake(&self) -> Option<Instant> {
        let time = lock(&self.0);
        time.sleepers.first_key_value().map(|((at, _), _)| *at)
    }
}

#[async_trait::async_trait]
impl Clock for ManualClock {
    fn now(&self) -> Instant {
        lock(&self.0).now
    }

    async fn sleep_until(&self, at: Instant) {
        Sleep {
            clock: self,
            at,
            id: None,
        }
        .await;
    }
}

struct Sleep<'a> {
    clock: &'a ManualClock,
    at: Instant,
    id: Option<u64>,
}

impl Future for Sleep<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut time = lock(&self.clock.0);
        if time.now >= self.at {
            return Poll::Ready(());
        }
        let id = self.id.unwrap_or(time.next);
        if self.id.is_none() {
            time.next += 1;
        }
        time.sleepers.insert((self.at, id), context.waker().clone());
        drop(time);
        self.id = Some(id);
        Poll::Pending
    }
}

impl Drop for Sleep<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.clock.0).sleepers.remove(&(self.at, id));
        }
    }
}
