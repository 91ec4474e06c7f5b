//! How a client behaves.

use alloc::vec::Vec;
use core::time::Duration;

use crate::NodeId;

/// How a [`Client`](super::Client) behaves.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ClientConfig {
    /// The nodes that may be asked.
    pub nodes: Vec<NodeId>,
    /// Where jitter and the names of sessions are drawn from: unpredictable, and fresh for each
    /// life of each client. Two clients with one seed would share a session.
    pub seed: u64,
    /// So many commands and so many reads may be on their way at once. Must not be above the
    /// service's [`SessionLimits::window`](crate::SessionLimits). Default: 16.
    pub in_flight: u32,
    /// So many requests may wait in all, on their way or not. Default: 1024.
    pub capacity: usize,
    /// How long one attempt may stay unanswered before another node is asked. Default: 1 s.
    pub attempt_timeout: Duration,
    /// The pause before asking again when asking at once would not help. It doubles each time, up
    /// to [`backoff_max`](Self::backoff_max); the actual pause is between half of it and all.
    /// Default: 20 ms.
    pub backoff_min: Duration,
    /// The longest pause. Default: 1 s.
    pub backoff_max: Duration,
}

impl ClientConfig {
    /// The defaults.
    #[must_use]
    pub const fn new(nodes: Vec<NodeId>, seed: u64) -> Self {
        Self {
            nodes,
            seed,
            in_flight: 16,
            capacity: 1024,
            attempt_timeout: Duration::from_secs(1),
            backoff_min: Duration::from_millis(20),
            backoff_max: Duration::from_secs(1),
        }
    }

    /// Checks every rule.
    ///
    /// # Errors
    ///
    /// The first that is broken.
    pub fn check(&self) -> Result<(), ClientConfigError> {
        if self.nodes.is_empty() {
            return Err(ClientConfigError::NoNodes);
        }
        let mut nodes = self.nodes.clone();
        nodes.sort_unstable();
        if let Some(pair) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(ClientConfigError::Twice(pair[0]));
        }
        for (what, is_zero) in [
            ("in_flight", self.in_flight == 0),
            ("capacity", self.capacity == 0),
            ("attempt_timeout", self.attempt_timeout.is_zero()),
            ("backoff_min", self.backoff_min.is_zero()),
        ] {
            if is_zero {
                return Err(ClientConfigError::Zero(what));
            }
        }
        if self.backoff_min > self.backoff_max {
            return Err(ClientConfigError::Backoff {
                min: self.backoff_min,
                max: self.backoff_max,
            });
        }
        Ok(())
    }
}

/// A configuration that makes no sense.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientConfigError {
    /// There is nobody to ask.
    #[error("nodes is empty: a client needs somebody to ask")]
    NoNodes,
    /// A node is named twice.
    #[error("nodes has {0} twice")]
    Twice(NodeId),
    /// Nothing could ever be sent, or everything at once for ever.
    #[error("{0} must not be 0")]
    Zero(&'static str),
    /// The pauses would shrink.
    #[error("backoff_min ({min:?}) must not be greater than backoff_max ({max:?})")]
    Backoff {
        /// The first pause.
        min: Duration,
        /// The longest pause.
        max: Duration,
    },
}
