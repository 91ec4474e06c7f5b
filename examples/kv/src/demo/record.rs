//! What clients asked and were told, and when.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use synod_core::ClientError;
use synod_sim::history::{ClientId, History, Instant as Moment, OpId};
use synod_sim::linear::{KvAction, KvOp, KvRet};

/// The one observer of all clients.
#[derive(Debug)]
pub struct Recorder {
    start: Instant,
    inner: Mutex<Inner>,
}

/// What has been recorded.
#[derive(Default, Debug)]
pub(crate) struct Inner {
    pub(crate) history: History<KvOp, KvRet>,
    /// When writes were acknowledged, in order.
    pub(crate) acknowledged: Vec<Duration>,
    /// Writes of unknown outcome.
    pub(crate) unknown: u64,
    /// Latencies of everything that was answered.
    pub(crate) latencies: Vec<Duration>,
    /// Where the present interval of the progress display begins in `latencies`.
    shown: usize,
    /// Why a request was refused for good, the first time.
    pub(crate) refused: Option<String>,
}

/// What became of the operations.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tally {
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Reads and writes that were answered.
    pub answered: u64,
    /// Writes of unknown outcome.
    pub unknown: u64,
    /// Why a request was refused for good, the first time.
    pub refused: Option<String>,
}

/// Whether it changes anything.
pub(crate) const fn is_write(op: &KvOp) -> bool {
    !matches!(op.action, KvAction::Get)
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            inner: Mutex::default(),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// All that was asked so far.
    #[must_use]
    pub fn history(&self) -> History<KvOp, KvRet> {
        self.lock().history.clone()
    }

    /// What became of it so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let inner = self.lock();
        Tally {
            acknowledged: inner.acknowledged.len() as u64,
            answered: inner.latencies.len() as u64,
            unknown: inner.unknown,
            refused: inner.refused.clone(),
        }
    }

    /// Before the request leaves.
    pub(crate) fn invoke(&self, client: u64, op: KvOp) -> (OpId, Duration) {
        let mut inner = self.lock();
        let now = self.elapsed();
        (inner.history.invoke(ClientId(client), op, moment(now)), now)
    }

    /// After the answer has arrived.
    pub(crate) fn resolve(
        &self,
        (id, invoked): (OpId, Duration),
        answer: Result<KvRet, ClientError>,
    ) {
        let mut inner = self.lock();
        let inner = &mut *inner;
        let now = self.elapsed();
        let write = is_write(inner.history.get(id).op());
        match answer {
            Ok(ret) => {
                inner.history.complete(id, ret, moment(now));
                inner.latencies.push(now - invoked);
                if write {
                    inner.acknowledged.push(now);
                }
            }
            Err(ClientError::Unknown | ClientError::ResponseLost) => {
                inner.history.unknown(id);
                inner.unknown += u64::from(write);
            }
            Err(error) => {
                inner.history.fail(id);
                if let ClientError::Refused(why) = error {
                    inner.refused.get_or_insert(why);
                }
            }
        }
    }

    /// The latencies since the last call, ascending.
    pub(crate) fn interval(&self) -> Vec<Duration> {
        let mut inner = self.lock();
        let mut latencies = inner.latencies[inner.shown..].to_vec();
        inner.shown = inner.latencies.len();
        latencies.sort_unstable();
        latencies
    }

    /// When a write was acknowledged last.
    pub(crate) fn last_acknowledged(&self) -> Option<Duration> {
        self.lock().acknowledged.last().copied()
    }

    /// The longest time in which no write was acknowledged, from `from` on until `to`; `None` if
    /// none was after `from`.
    #[must_use]
    pub fn longest_pause(&self, from: Duration, to: Duration) -> Option<Duration> {
        let inner = self.lock();
        let first = inner.acknowledged.partition_point(|at| *at <= from);
        let later = &inner.acknowledged[first..];
        let mut before = from;
        let mut longest = None;
        for at in later.iter().take_while(|at| **at <= to) {
            longest = longest.max(Some(*at - before));
            before = *at;
        }
        longest
    }
}

fn moment(time: Duration) -> Moment {
    Moment::from_nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The value that `share` (0 to 1) of the ascending `latencies` do not exceed.
pub(crate) fn percentile(latencies: &[Duration], share: f64) -> Duration {
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "the rank is between 0 and the length"
    )]
    let rank = (latencies.len() as f64 * share).ceil() as usize;
    let found = latencies
        .get(rank.saturating_sub(1))
        .or_else(|| latencies.last());
    found.copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_rank() {
        let ms: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        assert_eq!(percentile(&ms, 0.5), Duration::from_millis(50));
        assert_eq!(percentile(&ms, 0.99), Duration::from_millis(99));
        assert_eq!(percentile(&ms, 1.0), Duration::from_millis(100));
        assert_eq!(percentile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn the_pause_is_the_longest_after_the_kill() {
        let recorder = Recorder::new();
        let ms = Duration::from_millis;
        recorder.lock().acknowledged = [10, 100, 130, 900, 910].map(ms).into();
        let pause = |from, to| recorder.longest_pause(ms(from), ms(to));
        assert_eq!(pause(120, 2000), Some(ms(770)));
        assert_eq!(pause(0, 105), Some(ms(90)));
        assert_eq!(pause(910, 2000), None);
    }
}
