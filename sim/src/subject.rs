//! What is simulated: a replicated log, and how its nodes start.

use core::fmt;

use synod_core::{Envelope, Instant, Machine, NodeId, ReplicatedLog, Restored};

use crate::check::Observer;

/// A replicated log under test.
pub trait Subject: Sync {
    /// One node of it.
    type Log: ReplicatedLog<Message: Clone + fmt::Debug>;

    /// Starts a node from what its disk holds: the first time from an empty one. The state machine's
    /// applied index is told before anything else.
    ///
    /// # Panics
    ///
    /// If the node refuses to start: a failure of the run.
    fn start(&self, start: Start<'_>) -> Self::Log;

    /// Checks the invariants of one node alone; called after every step.
    ///
    /// # Panics
    ///
    /// If one is broken: a failure of the run.
    fn check(&self, log: &Self::Log) {
        let _ = log;
    }

    /// Whether the protocol rests on links that keep order and lose nothing in one incarnation. If
    /// not, most seeds reorder, repeat and lose single messages.
    fn needs_order(&self) -> bool {
        false
    }

    /// To whom the sender of this message binds itself, and for which era: in an era a node binds
    /// itself once, over all its lives (Raft §5.2: one vote per term).
    fn vow(&self, envelope: &Envelope<<Self::Log as Machine>::Message>) -> Option<(u64, NodeId)> {
        let _ = envelope;
        None
    }

    /// What watches the whole cluster besides the checks for any replicated log.
    fn observers(&self) -> Vec<Box<dyn Observer>> {
        Vec::new()
    }

    /// The coverage mark that an event of the protocol's own counts for.
    fn mark(&self, detail: &<Self::Log as ReplicatedLog>::Detail) -> Option<&'static str> {
        let _ = detail;
        None
    }
}

/// How a node starts.
#[derive(Clone, Debug)]
pub struct Start<'a> {
    /// Which node.
    pub id: NodeId,
    /// All nodes, itself among them: the voters that found the cluster.
    pub voters: &'a [NodeId],
    /// What its disk holds.
    pub restored: Restored,
    /// Fresh for every life of every node.
    pub seed: u64,
    /// The same for all nodes and lives of a run: to draw settings from.
    pub world: u64,
    /// The time on the node's own clock.
    pub now: Instant,
}
