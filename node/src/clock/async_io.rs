use alloc::boxed::Box;
use std::time;

use async_io::Timer;
use async_trait::async_trait;
use synod_core::{Clock, Instant};

/// The clock of async-io, and so of smol. Counts from its making; works under any executor.
///
/// ```
/// use core::time::Duration;
/// use synod_core::Clock;
/// use synod_node::clock::AsyncIoClock;
///
/// # smol::block_on(async {
/// let clock = AsyncIoClock::new();
/// let later = clock.now() + Duration::from_millis(2);
/// clock.sleep_until(later).await;
/// assert!(clock.now() >= later);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AsyncIoClock {
    start: time::Instant,
}

impl AsyncIoClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: time::Instant::now(),
        }
    }
}

impl Default for AsyncIoClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for AsyncIoClock {
    fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    async fn sleep_until(&self, at: Instant) {
        match self.start.checked_add(at.since(Instant::START)) {
            Some(at) => {
                Timer::at(at).await;
            }
            None => core::future::pending().await,
        }
    }
}
