//! One request and its attempts.

use core::time::Duration;

use bytes::Bytes;

use super::{ClientConfig, RequestId};
use crate::{ClientId, Instant, NodeId, ReadLevel, mix};

/// A request that is not resolved yet.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) struct Pending {
    pub(super) id: RequestId,
    pub(super) job: Job,
    pub(super) deadline: Instant,
    pub(super) phase: Phase,
    /// How many attempts were made; the last one has this number.
    pub(super) attempts: u32,
    /// How often in a row another node was asked at once.
    hops: u32,
    /// How many pauses were made.
    pauses: u32,
    /// Whether an attempt before the present one may have had an effect, or may still have one.
    pub(super) doubtful: bool,
}

/// What is asked for.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(super) enum Job {
    Open {
        nonce: u64,
    },
    Command {
        command: Bytes,
        /// The session and number that it was sent under.
        place: Option<(ClientId, u64)>,
    },
    Read {
        query: Bytes,
        level: ReadLevel,
    },
}

/// Where a request is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Phase {
    /// Waits for its turn.
    Queued,
    /// Makes a pause.
    Paused { until: Instant },
    /// Waits for an answer.
    Sent { to: NodeId, until: Instant },
}

impl Pending {
    pub(super) const fn new(id: RequestId, job: Job, deadline: Instant) -> Self {
        Self {
            id,
            job,
            deadline,
            phase: Phase::Queued,
            attempts: 0,
            hops: 0,
            pauses: 0,
            doubtful: false,
        }
    }

    /// When something is due besides the deadline.
    pub(super) const fn due(&self) -> Option<Instant> {
        match self.phase {
            Phase::Queued => None,
            Phase::Paused { until } | Phase::Sent { until, .. } => Some(until),
        }
    }

    /// Whether it is a read.
    pub(super) const fn is_read(&self) -> bool {
        matches!(self.job, Job::Read { .. })
    }

    /// Whether any node may answer it, not the leader only.
    pub(super) const fn is_for_any(&self) -> bool {
        matches!(
            self.job,
            Job::Read {
                level: ReadLevel::Stale | ReadLevel::Session(_),
                ..
            }
        )
    }

    /// Whether it may have had an effect, should no answer come any more.
    pub(super) const fn in_doubt(&self) -> bool {
        !self.is_read() && (self.doubtful || matches!(self.phase, Phase::Sent { .. }))
    }

    /// Asking another node at once is worth it until each was asked; then a pause is due.
    pub(super) fn may_hop(&mut self, nodes: usize) -> bool {
        self.hops += 1;
        let may = self.hops as usize <= nodes;
        if !may {
            self.hops = 0;
        }
        may
    }

    /// The next pause: doubled each time, between half and all of that, the same for the same seed.
    pub(super) fn pause(&mut self, now: Instant, config: &ClientConfig) {
        let doubled = config.backoff_min.saturating_mul(1 << self.pauses.min(20));
        self.pauses += 1;
        let full = doubled.min(config.backoff_max);
        let nanos = u64::try_from(full.as_nanos()).unwrap_or(u64::MAX);
        let draw = mix(mix(config.seed, self.id.0), u64::from(self.pauses));
        let pause = nanos / 2 + draw % (nanos / 2 + 1);
        self.phase = Phase::Paused {
            until: now + Duration::from_nanos(pause),
        };
    }
}
