//! Time as an argument: machines are told what time it is and say when they want to be woken.

use alloc::boxed::Box;
use core::fmt;
use core::ops::{Add, Sub};
use core::time::Duration;

/// A moment in nanoseconds since an arbitrary start, the same for one life of one node. It never
/// goes backwards; moments of two nodes cannot be compared.
///
/// ```
/// use core::time::Duration;
/// use synod_core::Instant;
///
/// let start = Instant::from_millis(5);
/// assert_eq!(start + Duration::from_millis(2), Instant::from_millis(7));
/// assert_eq!(Instant::from_millis(7).since(start), Duration::from_millis(2));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instant(u64);

impl Instant {
    /// The arbitrary start.
    pub const START: Self = Self(0);
    /// Later than any other moment.
    pub const NEVER: Self = Self(u64::MAX);

    /// The moment `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The moment `millis` milliseconds after the start.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000_000))
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time that has gone by since `earlier`; zero if that is not earlier.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::NEVER`].
    fn add(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Instant {
    type Output = Self;

    /// Saturates at [`Instant::START`].
    fn sub(self, by: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06}s",
            self.0 / 1_000_000_000,
            self.0 / 1_000 % 1_000_000
        )
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// When a machine wants [`Machine::tick`](crate::Machine::tick) to be called, and what for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Wake {
    /// The moment.
    pub at: Instant,
    /// What is due then, for logs and traces.
    pub why: &'static str,
}

impl Wake {
    /// The earlier of two wishes, where there are any.
    #[must_use]
    pub fn earlier(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(a), Some(b)) => Some(if b.at < a.at { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}

/// The driver's source of time. The only runtime-specific thing that a driver needs.
#[async_trait::async_trait]
pub trait Clock: Send + Sync {
    /// The moment it is now. Monotone: a suspended machine may make it jump forwards, nothing makes
    /// it go back.
    fn now(&self) -> Instant;

    /// Completes at `at` or a little later; at once if that has passed.
    async fn sleep_until(&self, at: Instant);
}
