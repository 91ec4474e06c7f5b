//! What happens when: drawn from a seed, before anything starts.

use core::fmt;
use std::time::Duration;

use synod_core::Rng;

use crate::proxy::Shot;

/// A kind of fault.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    /// SIGKILL to some node, which starts again later from the same disk.
    Kill,
    KillLeader,
    /// All nodes at once.
    KillAll,
    /// SIGSTOP for longer than an election takes, then SIGCONT.
    Pause,
    PauseLeader,
    /// The connections between two nodes end, and no new ones come about.
    Cut,
    /// The same for all connections of the leader.
    IsolateLeader,
    /// The same, and before the leader is back, all nodes are killed and start again.
    KillIsolated,
    /// Nothing arrives from one node at another, in this direction only.
    Silence,
    /// The leader hears nothing, and is heard.
    DeafLeader,
    /// The leader is not heard, and hears.
    MuteLeader,
    /// What the leader sends arrives late, everywhere.
    Delay,
    /// Everything to and from the leader arrives a few bytes at a time.
    Trickle,
    /// Something happens to the next bytes from one node to another.
    Shoot(Shot),
    /// The node's file system is filled.
    FillDisk,
    /// SIGKILL as the node is about to do its N-th sync.
    KillAtSync,
    /// Its N-th sync fails.
    FailSync,
    /// The same for the only node that there is, and the sync takes its time before it fails.
    FailOnlySync,
    /// Packets from one node to another are dropped, in this direction only.
    Drop,
    /// All packets to and from the leader are dropped.
    DropLeader,
    /// Some packets that come to a node are dropped.
    Lose,
}

impl Kind {
    /// Whether it takes a tracer.
    pub(crate) const fn is_traced(self) -> bool {
        matches!(self, Self::KillAtSync | Self::FailSync | Self::FailOnlySync)
    }

    /// For how long it lasts, in milliseconds. An election takes at most 600 ms and what its votes
    /// take.
    const fn hold(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::KillLeader => (200, 1200),
            Self::KillAll => (100, 500),
            Self::Pause | Self::PauseLeader => (800, 1800),
            Self::Cut | Self::Silence | Self::Drop => (300, 1500),
            Self::IsolateLeader
            | Self::KillIsolated
            | Self::DeafLeader
            | Self::MuteLeader
            | Self::DropLeader => (800, 1600),
            Self::Delay | Self::Trickle | Self::Lose => (500, 1200),
            Self::Shoot(_) => (0, 0),
            Self::FillDisk => (800, 1600),
            Self::KillAtSync | Self::FailSync => (600, 1200),
            Self::FailOnlySync => (1000, 1300),
        }
    }
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: Kind,
    /// Since the load has begun.
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    /// What decides about everything else: which nodes, how much.
    pub(crate) draw: u64,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            kind,
            from,
            until,
            draw,
        } = self;
        write!(f, "{from:?} to {until:?}: {kind:?}, draw {draw}")
    }
}

/// Faults of these kinds for as long as the load lasts. Each kind comes as often as each other,
/// in an order that is drawn anew every time. `share` percent of a fault pass before the next.
pub(crate) fn draw(seed: u64, kinds: &[Kind], load: Duration, share: u64) -> Vec<Step> {
    let mut rng = Rng::new(seed);
    let mut steps = Vec::new();
    let mut at = rng.within(200, 500);
    let mut bag: Vec<Kind> = Vec::new();
    loop {
        if bag.is_empty() {
            bag = kinds.to_vec();
        }
        let place = usize::try_from(rng.below(bag.len() as u64)).unwrap();
        let kind = bag.swap_remove(place);
        let (least, most) = kind.hold();
        let hold = rng.within(least, most);
        let [from, until] = [at, at + hold].map(Duration::from_millis);
        if until > load {
            return steps;
        }
        let draw = rng.next_u64();
        steps.push(Step {
            kind,
            from,
            until,
            draw,
        });
        at += hold * share / 100 + rng.within(60, 240);
    }
}
