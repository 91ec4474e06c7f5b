//! What must hold after every step, over the whole cluster.
//!
//! The [`Ledger`] knows what was handed out as committed anywhere and checks what any replicated log
//! promises. An [`Observer`] adds what one kind of protocol promises; [`Figure3`] is the one for
//! Raft. Both look at records, events and status alone, never into the machine.

mod figure3;
mod ledger;

use core::fmt;

use synod_core::{LogImage, LogIndex, LogRecord, NodeId, Stamp, Status};

pub use figure3::Figure3;
pub use ledger::{Fact, Ledger};

/// A rule that was broken.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Breach {
    /// The rule.
    pub rule: &'static str,
    /// What shows it.
    pub evidence: String,
}

impl Breach {
    /// A breach of `rule`.
    pub fn new(rule: &'static str, evidence: impl Into<String>) -> Self {
        Self {
            rule,
            evidence: evidence.into(),
        }
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.rule, self.evidence)
    }
}

/// `Err` unless `holds`.
pub(crate) fn ensure(
    holds: bool,
    rule: &'static str,
    evidence: impl FnOnce() -> String,
) -> Result<(), Breach> {
    if holds {
        Ok(())
    } else {
        Err(Breach::new(rule, evidence()))
    }
}

/// What is known of one node without looking into it.
#[derive(Clone, Debug)]
pub struct Stored<D = LogImage> {
    /// The node.
    pub id: NodeId,
    /// What is durable on its disk.
    pub image: D,
    /// What will be if it does not crash: what it has handed out to be written is in here.
    pub shadow: D,
    /// How often it has lost what it held: from then on it must not count.
    pub lost: u32,
}

impl Stored {
    /// Whether the entry at `index` with this mark is durable here, or covered by a snapshot.
    #[must_use]
    pub fn holds(&self, index: LogIndex, stamp: Stamp) -> bool {
        covers(&self.image, index, stamp)
    }
}

pub(crate) fn covers(image: &LogImage, index: LogIndex, stamp: Stamp) -> bool {
    image.compacted().0 > index || image.stamp_at(index) == Some(stamp)
}

/// The whole cluster, seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Cluster<'a> {
    /// All nodes.
    pub stored: &'a [Stored],
    /// How many of them found the cluster and vote: the first ones.
    pub voters: usize,
    /// What is committed.
    pub ledger: &'a Ledger,
}

/// Watches a cluster for what one kind of protocol promises.
pub trait Observer {
    /// A node has handed out records to be written; its [`Stored::shadow`] does not have them yet.
    /// `status` is of this moment.
    ///
    /// # Errors
    ///
    /// The rule that they break.
    fn writes(
        &mut self,
        node: usize,
        status: &Status,
        records: &[LogRecord],
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        let _ = (node, status, records, cluster);
        Ok(())
    }

    /// A node has taken a step.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    fn steps(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        let _ = (node, status, cluster);
        Ok(())
    }

    /// A node has started again.
    ///
    /// # Errors
    ///
    /// The rule that is broken.
    fn starts(&mut self, node: usize, status: &Status, cluster: Cluster<'_>) -> Result<(), Breach> {
        let _ = (node, status, cluster);
        Ok(())
    }

    /// A node was the first to hand out everything up to `last` as committed.
    ///
    /// # Errors
    ///
    /// The rule that this breaks.
    fn commits(
        &mut self,
        node: usize,
        last: LogIndex,
        stamp: Stamp,
        cluster: Cluster<'_>,
    ) -> Result<(), Breach> {
        let _ = (node, last, stamp, cluster);
        Ok(())
    }
}
