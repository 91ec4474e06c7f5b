use alloc::boxed::Box;

use async_trait::async_trait;
use synod_core::{Clock, Instant};
use tokio::time;

/// The clock of a tokio runtime whose timers are enabled. Counts from its making.
///
/// Where tokio's time is paused (its `test-util`), so is this.
///
/// ```
/// use core::time::Duration;
/// use synod_core::Clock;
/// use synod_node::clock::TokioClock;
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// # runtime.block_on(async {
/// let clock = TokioClock::new();
/// let later = clock.now() + Duration::from_millis(2);
/// clock.sleep_until(later).await;
/// assert!(clock.now() >= later);
/// # });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TokioClock {
    start: time::Instant,
}

impl TokioClock {
    /// A clock that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            start: time::Instant::now(),
        }
    }
}

impl Default for TokioClock {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Clock for TokioClock {
    fn now(&self) -> Instant {
        Instant::START + self.start.elapsed()
    }

    async fn sleep_until(&self, at: Instant) {
        match self.start.checked_add(at.since(Instant::START)) {
            Some(at) => time::sleep_until(at).await,
            None => core::future::pending().await,
        }
    }
}
