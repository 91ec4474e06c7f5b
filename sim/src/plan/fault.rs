//! What goes wrong besides messages and writes, one by one.

use super::Span;

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
    /// How far a clock jumps.
    pub jump: Span,
    /// How often an election makes a node crash in its course, out of a million.
    pub election_crash_per_million: u32,
    /// How often a node crashes a few outputs behind a record of its protocol's own state (a vote, a
    /// promise), out of a million.
    pub promise_crash_per_million: u32,
    /// How often a node crashes while it recovers, out of a million.
    pub recovery_crash_per_million: u32,
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
    /// Two parts do not hear each other, but one node hears both and both hear it.
    Bridge,
    /// One pair does not hear each other.
    Pair,
    /// A link goes down and comes up anew.
    Flap,
    /// A link becomes slow.
    SlowLink,
    /// A node stops, and goes on later as if nothing had happened.
    Pause,
    /// A node's clock jumps forwards.
    Jump,
    /// A node's disk becomes slow.
    SlowDisk,
    /// A node's disk is full: the next write ends the node, and it stays down until there is room.
    FullDisk,
    /// A node crashes, and comes back under its name with an empty disk.
    LostDisk,
    /// A node crashes, and its disk is damaged: the storage says so, and the node does not start.
    /// Some get an empty disk later.
    Rot,
    /// Many clients ask at once.
    Burst,
    /// A learner is added or removed; or the voters change, where they may.
    Learner,
    /// The leader is asked to hand over.
    Transfer,
}

impl Fault {
    /// All of them, the more telling ones more often.
    pub(super) const ALL: [Self; 27] = [
        Self::Crash,
        Self::CrashLeader,
        Self::CrashLeader,
        Self::CrashLeader,
        Self::CrashAll,
        Self::Isolate,
        Self::IsolateLeader,
        Self::IsolateLeader,
        Self::IsolateLeader,
        Self::IsolateLeader,
        Self::OneWay,
        Self::Split,
        Self::Split,
        Self::Bridge,
        Self::Pair,
        Self::Flap,
        Self::SlowLink,
        Self::Pause,
        Self::Pause,
        Self::Jump,
        Self::SlowDisk,
        Self::FullDisk,
        Self::LostDisk,
        Self::Rot,
        Self::Burst,
        Self::Learner,
        Self::Transfer,
    ];
}

/// What a protocol promises to survive: no plan goes beyond it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Budget {
    /// How many founding nodes may lose their disk or find it damaged, over a whole run, once all
    /// others have met them and have made that durable. They are left out when the cluster comes to rest, and what only they held must not matter.
    pub lost_disks: usize,
    /// How many nodes besides may be added and removed as learners.
    pub learners: usize,
    /// Whether the voters may change, too. In half of the seeds where learners change they do; then no
    /// disk is lost, since who may lose one depends on who votes.
    pub voters: bool,
}

impl Budget {
    pub(super) fn allows(&self, fault: Fault) -> bool {
        match fault {
            Fault::LostDisk | Fault::Rot => self.lost_disks > 0,
            Fault::Learner => self.learners > 0,
            _ => true,
        }
    }
}
