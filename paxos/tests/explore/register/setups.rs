//! The explored registers: three acceptors, two of which also propose.

use synod_core::NodeId;
use synod_paxos::register::Config;
use synod_paxos::register::planted::Bug;

use super::member::Op;

/// A register, how it begins, and its bounds.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) name: &'static str,
    /// How it begins: see [`World::play`](crate::world::World::play).
    pub(super) script: &'static str,
    /// What is asked, each at its node, in any order.
    pub(super) ops: &'static [(u64, Op)],
    /// The highest round in which a life of a node proposes, counted from its first.
    pub(super) rounds: u64,
    pub(super) crashes: u8,
    /// How often the time of changes is up.
    pub(super) expiries: u8,
    pub(super) bug: Option<Bug>,
}

/// Two writers and a reader.
pub(super) const TWO_WRITES: Setup = Setup {
    name: "2 writes, 1 read",
    script: "",
    ops: &[(1, Op::Write(1)), (2, Op::Write(2)), (2, Op::Read)],
    rounds: 4,
    crashes: 0,
    expiries: 0,
    bug: None,
};

/// The first write is chosen with n3, and n1 knows.
const WRITTEN: &str = "
    1 asks-0
    3 prepare 2.1
    1 promised 2.1 3
    3 accept 2.1
    1 accepted 2.1 3
";

/// The first write has come to no other disk than n1's.
const ALONE: &str = "
    1 asks-0
    3 prepare 2.1
    1 promised 2.1 3
";

/// A write and then a delete are chosen with n3, and n1 begins to purge.
const DELETED: &str = "
    1 asks-0
    3 prepare 2.1
    1 promised 2.1 3
    3 accept 2.1
    1 accepted 2.1 3
    1 asks-1
    3 accept 4.1
    1 accepted 4.1 3
    1 expires
";

impl Setup {
    pub(super) const fn with(self, bug: Option<Bug>) -> Self {
        Self { bug, ..self }
    }

    const fn after(self, name: &'static str, script: &'static str) -> Self {
        Self {
            name,
            script,
            ..self
        }
    }

    pub(super) const fn crashing() -> Self {
        Self {
            name: "2 writes by one node, 1 read, 1 crash",
            ops: &[(1, Op::Write(1)), (1, Op::Write(2)), (2, Op::Read)],
            crashes: 1,
            ..TWO_WRITES
        }
    }

    pub(super) const fn expiring() -> Self {
        Self {
            expiries: 1,
            ops: &[(1, Op::Write(1)), (1, Op::Write(2)), (2, Op::Read)],
            ..TWO_WRITES.after("the first write is under way, its time may be up", ALONE)
        }
    }

    pub(super) const fn creating() -> Self {
        Self {
            ops: &[(1, Op::Create(1)), (2, Op::Read)],
            rounds: 8,
            ..TWO_WRITES.after("1 create under way, 1 read", ALONE)
        }
    }

    pub(super) const fn reading() -> Self {
        Self {
            ops: &[(1, Op::Write(1)), (2, Op::Read), (2, Op::Read)],
            rounds: 6,
            ..TWO_WRITES.after("1 write under way, 2 reads", ALONE)
        }
    }

    pub(super) const fn written() -> Self {
        Self {
            ops: &[(1, Op::Write(1)), (2, Op::Write(2)), (1, Op::Write(3))],
            rounds: 6,
            ..TWO_WRITES.after("1 write done, 2 more by both nodes", WRITTEN)
        }
    }

    pub(super) const fn written_crashing() -> Self {
        Self {
            crashes: 1,
            name: "the same, 1 crash",
            ..Self::written()
        }
    }

    pub(super) const fn deleting() -> Self {
        Self {
            ops: &[(1, Op::Write(1)), (1, Op::Delete), (2, Op::Create(2))],
            rounds: 6,
            expiries: 1,
            ..TWO_WRITES.after("1 write done, 1 delete and its purge, 1 create", WRITTEN)
        }
    }

    /// What is purged is asked for anew.
    pub(super) const fn purging() -> Self {
        Self {
            rounds: 8,
            ..Self::deleting().after("1 delete done, its purge under way, 1 create", DELETED)
        }
    }

    pub(super) fn config(&self, id: NodeId) -> Config {
        let acceptors = (1..=super::ACCEPTORS as u64).map(NodeId);
        let builder = Config::builder(id).acceptors(acceptors);
        let builder = match self.bug {
            Some(bug) => builder.danger_plant(bug),
            None => builder,
        };
        builder.for_exploration().unwrap()
    }
}
