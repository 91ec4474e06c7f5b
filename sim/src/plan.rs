//! Everything about a run that its seed decides before it starts: swarm testing (Groce et al.,
//! ISSTA 2012). Each seed draws which faults exist and how often, because a run with all faults on
//! hides what a run with one fault shows.

use core::fmt;
use core::time::Duration;

use synod_core::{NodeId, Rng, mix};

use crate::application::Workload;

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
    /// What messages suffer.
    pub network: NetworkPlan,
    /// How fast disks are.
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
}

/// How fast disks are.
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
}

/// What goes wrong besides messages and slow disks.
#[derive(Clone, Debug)]
pub struct FaultPlan {
    /// Which faults there are, each as often as it is in the list.
    pub kinds: Vec<Fault>,
    /// The time between two of them.
    pub every: Span,
    /// How long a node is down.
    pub downtime: Span,
    /// How long a partition, a pause or a broken link lasts.
    pub outage: Span,
    /// How often an election makes a node crash in its course, out of a million.
    pub election_crash_per_million: u32,
    /// How often a node crashes a few outputs behind a record of its protocol's own state (a vote, a
    /// promise), out of a million.
    pub promise_crash_per_million: u32,
}

/// One kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// A node crashes behind one of its next outputs.
    Crash,
    /// The leader does.
    CrashLeader,
    /// Every node does, at about the same time.
    CrashAll,
    /// A node is cut off.
    Isolate,
    /// The leader is cut off.
    IsolateLeader,
    /// A node hears nobody, or nobody hears it.
    OneWay,
    /// Two parts do not hear each other.
    Split,
    /// One pair does not hear each other.
    Pair,
    /// A link goes down and comes up anew.
    Flap,
    /// A node stops, and goes on later as if nothing had happened.
    Pause,
}

impl Fault {
    /// All of them, the more telling ones twice.
    const ALL: [Self; 12] = [
        Self::Crash,
        Self::CrashLeader,
        Self::CrashAll,
        Self::Isolate,
        Self::IsolateLeader,
        Self::IsolateLeader,
        Self::OneWay,
        Self::Split,
        Self::Split,
        Self::Pair,
        Self::Flap,
        Self::Pause,
    ];
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

/// Nothing, or something up to `most`, half the time each.
const fn sometimes(rng: &mut Rng, most: u32) -> u32 {
    if rng.chance(500_000) {
        rng.below(most as u64 + 1) as u32
    } else {
        0
    }
}

fn one_of<T: Clone>(rng: &mut Rng, items: &[T]) -> T {
    rng.pick(items)
        .expect("lists of choices are not empty")
        .clone()
}

impl Plan {
    /// Draws everything from `seed`.
    #[must_use]
    pub fn draw(seed: u64, needs_order: bool) -> Self {
        let rng = &mut Rng::new(mix(seed, 0x706c_616e));
        let ms = Span::millis;
        let size = one_of(rng, &[1, 2, 3, 3, 3, 3, 3, 4, 5, 5, 5, 5]);
        let mut id = 0;
        let nodes = (0..size).map(|_| {
            id += rng.within(1, 9);
            NodeId(id)
        });
        Self {
            seed,
            nodes: nodes.collect(),
            network: NetworkPlan {
                delay: one_of(
                    rng,
                    &[
                        Span::micros(50, 500),
                        Span::micros(200, 5_000),
                        ms(1, 20),
                        ms(5, 80),
                    ],
                ),
                slow_per_million: sometimes(rng, 30_000),
                slow: ms(50, 1_000),
                lost_per_million: sometimes(rng, 150_000),
                doubled_per_million: sometimes(rng, 200_000),
                ordered: needs_order || rng.chance(250_000),
            },
            disk: DiskPlan {
                write: one_of(
                    rng,
                    &[
                        Span::micros(10, 100),
                        Span::micros(100, 2_000),
                        ms(1, 15),
                        ms(5, 50),
                    ],
                ),
                stalls_per_million: sometimes(rng, 10_000),
                stall: ms(100, 1_000),
                load: one_of(rng, &[Span::micros(10, 100), ms(1, 30)]),
            },
            drift_ppm: one_of(rng, &[0, 200, 1_000, 30_000]),
            lazy_per_million: sometimes(rng, 500_000),
            faults: FaultPlan::draw(rng),
            machine: MachinePlan {
                durable: rng.chance(300_000),
                apply: one_of(
                    rng,
                    &[
                        Span::micros(0, 0),
                        Span::micros(0, 0),
                        Span::micros(10, 300),
                        ms(1, 30),
                    ],
                ),
                snapshot_every: one_of(rng, &[3, 10, 30, 100, 1_000_000]),
                chunk: one_of(rng, &[16, 100, 4_096]),
            },
            work: Workload {
                clients: rng.within(1, 8),
                keys: rng.within(1, 5),
                reads_per_million: rng.within(100_000, 700_000) as u32,
                padding: one_of(rng, &[1, 1, 8, 100]),
            },
            think: one_of(rng, &[ms(1, 50), ms(10, 150), ms(50, 500)]),
            patience: one_of(rng, &[ms(50, 300), ms(300, 1_500)]),
            lost_answers_per_million: sometimes(rng, 100_000),
        }
    }
}

impl FaultPlan {
    fn draw(rng: &mut Rng) -> Self {
        let ms = Span::millis;
        let mut kinds = Fault::ALL.to_vec();
        rng.shuffle(&mut kinds);
        kinds.truncate(rng.within(1, 6) as usize);
        Self {
            kinds,
            every: one_of(
                rng,
                &[ms(10, 150), ms(50, 600), ms(200, 2_000), ms(1_000, 6_000)],
            ),
            downtime: one_of(rng, &[ms(0, 10), ms(0, 150), ms(10, 1_000), ms(100, 4_000)]),
            outage: one_of(rng, &[ms(10, 300), ms(200, 1_500), ms(500, 4_000)]),
            election_crash_per_million: sometimes(rng, 600_000),
            promise_crash_per_million: sometimes(rng, 400_000),
        }
    }
}
