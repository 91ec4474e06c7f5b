//! Everything about a run that its seed decides before it starts: swarm testing (Groce et al.,
//! ISSTA 2012). Each seed draws which faults exist and how often, because a run with all faults on
//! hides what a run with one fault shows.

mod draw;
mod fault;

use core::fmt;
use core::time::Duration;

use synod_core::{NodeId, Rng};

use crate::application::Workload;
pub use fault::{Budget, Fault, FaultPlan};

/// A range of durations to draw from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The shortest, in nanoseconds.
    pub low: u64,
    /// The longest, in nanoseconds.
    pub high: u64,
}

impl Span {
    const fn micros(low: u64, high: u64) -> Self {
        Self {
            low: low * 1_000,
            high: high * 1_000,
        }
    }

    const fn millis(low: u64, high: u64) -> Self {
        Self::micros(low * 1_000, high * 1_000)
    }

    /// One of them, in nanoseconds.
    #[must_use]
    pub const fn draw(self, rng: &mut Rng) -> u64 {
        rng.within(self.low, self.high)
    }

    /// The middle, in nanoseconds.
    #[must_use]
    pub const fn mean(self) -> u64 {
        self.low.midpoint(self.high)
    }

    /// Those that are not longer than `most` nanoseconds, or `most`.
    #[must_use]
    pub(crate) const fn at_most(self, most: u64) -> Self {
        let Self { low, high } = self;
        Self {
            low: if low < most { low } else { most },
            high: if high < most { high } else { most },
        }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = Duration::from_nanos;
        write!(f, "{:?}..{:?}", of(self.low), of(self.high))
    }
}

/// The parameters of one run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What they were drawn from.
    pub seed: u64,
    /// The nodes. Ids are sparse.
    pub nodes: Vec<NodeId>,
    /// How many of them found the cluster, the first ones; the others can be added as learners.
    pub voters: usize,
    /// How many founding nodes may lose their disk.
    pub lost_disks: usize,
    /// Any of them may become a voter, and cease to be one.
    pub voters_change: bool,
    /// What messages suffer.
    pub network: NetworkPlan,
    /// What disks suffer.
    pub disk: DiskPlan,
    /// Clocks run up to this many millionths too fast or too slow.
    pub drift_ppm: u64,
    /// How often a node is left alone for a moment before its outputs are taken, so that inputs
    /// gather, out of a million.
    pub lazy_per_million: u32,
    /// What goes wrong besides.
    pub faults: FaultPlan,
    /// The state machine's surroundings.
    pub machine: MachinePlan,
    /// What clients ask.
    pub work: Workload,
    /// How many more clients come in bursts.
    pub burst: u64,
    /// How long clients wait between operations.
    pub think: Span,
    /// How long a client waits for an answer before it tries another node.
    pub patience: Span,
    /// How many answers get lost on their way to the client, out of a million.
    pub lost_answers_per_million: u32,
}

/// What messages suffer.
#[derive(Clone, Debug)]
pub struct NetworkPlan {
    /// How long they take.
    pub delay: Span,
    /// How many take much longer, out of a million.
    pub slow_per_million: u32,
    /// How long those take.
    pub slow: Span,
    /// How many are lost, out of a million. On ordered links the link breaks.
    pub lost_per_million: u32,
    /// How many come twice, out of a million. Not on ordered links.
    pub doubled_per_million: u32,
    /// Whether links keep order and lose nothing in one incarnation.
    pub ordered: bool,
    /// Whether all messages go through the codec as bytes, if the subject has one.
    pub bytes: bool,
    /// In how many of those one bit is flipped, out of a million: the receiver notices, and the link
    /// breaks.
    pub damaged_per_million: u32,
}

/// What disks suffer.
#[derive(Clone, Debug)]
pub struct DiskPlan {
    /// How long a write takes.
    pub write: Span,
    /// How many writes take much longer, out of a million.
    pub stalls_per_million: u32,
    /// How long those take.
    pub stall: Span,
    /// How long it takes to read back.
    pub load: Span,
    /// How many writes fail, or their sync does, out of a million: the node ends.
    pub fails_per_million: u32,
}

/// The state machine's surroundings.
#[derive(Clone, Debug)]
pub struct MachinePlan {
    /// Whether its state survives a crash.
    pub durable: bool,
    /// How long it takes for what is handed out together.
    pub apply: Span,
    /// After how many entries a snapshot is taken.
    pub snapshot_every: u64,
    /// How long a piece of a snapshot is, in bytes.
    pub chunk: usize,
}

impl Plan {
    /// How long it takes about until something sent is durable at a peer and that is known, in
    /// nanoseconds.
    #[must_use]
    pub const fn round_trip(&self) -> u64 {
        2 * self.network.delay.mean() + self.disk.write.mean()
    }

    /// About how many operations clients ask in a second if all goes well.
    #[must_use]
    pub const fn demand(&self) -> u64 {
        let turn = self.think.mean() + self.round_trip() + 1;
        1 + self.work.clients * 1_000_000_000 / turn
    }
}
