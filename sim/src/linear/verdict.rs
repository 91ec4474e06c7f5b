//! What the checker finds.

use core::fmt;

use crate::history::{History, Instant, OpId};

/// An order of one key's operations that explains every answer and respects real time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linearization<K> {
    /// The key.
    pub key: K,
    /// Its operations. Those of unknown outcome that are not here can be taken not to have
    /// happened.
    pub order: Vec<OpId>,
}

/// The few operations of one key that no order explains.
///
/// They are evidence by themselves: whatever else happened or not at that time, no order of these
/// gives these answers. None of them can be spared, unless the step limit was met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation<K> {
    /// The key.
    pub key: K,
    /// The operations, in the order of their invocations.
    pub ops: Vec<OpId>,
    /// The one of them whose answer no order gets past.
    pub stuck: OpId,
    /// Whether this takes the initial state of the key; otherwise no order gives these answers from
    /// any state that the key can ever have been in.
    pub since_start: bool,
}

impl<K> Violation<K> {
    /// From the first invocation to the last answer.
    ///
    /// # Panics
    ///
    /// If `history` is not the one that was checked.
    #[must_use]
    pub fn window<Op, Ret>(&self, history: &History<Op, Ret>) -> (Instant, Instant) {
        let records = self.ops.iter().map(|&id| history.get(id));
        let (mut from, mut to) = (Instant::MAX, Instant::ZERO);
        for record in records {
            from = from.min(record.invoked_at());
            to = to.max(record.effect_by().map_or(from, |by| by.at));
        }
        (from, to)
    }
}

/// The checker's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Verdict<K> {
    /// There is an order: here it is, key by key.
    Linearizable(Vec<Linearization<K>>),
    /// There is none.
    NotLinearizable(Violation<K>),
    /// The step limit was met, and no violation was found otherwise.
    Unknown {
        /// The keys that were given up.
        keys: Vec<K>,
        /// Steps spent, on all keys.
        steps: u64,
    },
}

impl<K> Verdict<K> {
    /// Whether there certainly is an order.
    #[must_use]
    pub const fn is_linearizable(&self) -> bool {
        matches!(self, Self::Linearizable(_))
    }

    /// The violation, if there certainly is one.
    #[must_use]
    pub const fn violation(&self) -> Option<&Violation<K>> {
        match self {
            Self::NotLinearizable(violation) => Some(violation),
            Self::Linearizable(_) | Self::Unknown { .. } => None,
        }
    }
}

/// `yes`, `no` or `unknown`, with the reason: one line.
impl<K: fmt::Debug> fmt::Display for Verdict<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Linearizable(parts) => {
                let operations: usize = parts.iter().map(|part| part.order.len()).sum();
                write!(f, "yes ({operations} operations, {} keys)", parts.len())
            }
            Self::NotLinearizable(Violation { key, ops, .. }) => {
                write!(
                    f,
                    "no (no order explains {} operations on {key:?})",
                    ops.len()
                )
            }
            Self::Unknown { keys, steps } => {
                write!(f, "unknown ({} keys given up, {steps} steps)", keys.len())
            }
        }
    }
}
