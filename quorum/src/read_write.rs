//! [`ReadWrite`]: the quorums of reads and writes.

use crate::error::{QuorumError, Role, SystemError, TooComplex};
use crate::{Expr, Quorum, intersect};
use alloc::vec::Vec;
use synod_core::NodeId;

/// Read quorums and write quorums, proved to intersect: a read meets the last write.
///
/// Intersection is what a register needs, and not yet linearizability; writers that do not read
/// versions first also need [`ReadWrite::check_writes`]. Both quorums have the same member list,
/// the union of what they name.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::ReadWrite;
///
/// let nodes = || (1..=3).map(NodeId);
/// let system = ReadWrite::counts(nodes(), 2, 2)?;
/// assert_eq!(system.resilience()?, 1);
///
/// let refused = ReadWrite::counts(nodes(), 1, 2).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "read quorum {n1} and write quorum {n2, n3} have no node in common",
/// );
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Unproved"))]
pub struct ReadWrite {
    reads: Quorum,
    writes: Quorum,
}

impl ReadWrite {
    /// Proves that every read quorum meets every write quorum.
    ///
    /// # Errors
    /// Two quorums that share no node; more members than the limit; or systems too complex for a
    /// proof.
    pub fn new(reads: &Quorum, writes: &Quorum) -> Result<Self, SystemError> {
        let [reads, writes] = intersect::over_union([reads, writes])?;
        intersect::check((Role::Read, &reads), (Role::Write, &writes))?;
        Ok(Self { reads, writes })
    }

    /// The given read quorums with the smallest write quorums that meet them all: their dual.
    #[must_use]
    pub fn from_reads(reads: &Quorum) -> Self {
        Self {
            reads: reads.clone(),
            writes: reads.dual(),
        }
    }

    /// The given write quorums with the smallest read quorums that meet them all: their dual.
    #[must_use]
    pub fn from_writes(writes: &Quorum) -> Self {
        Self {
            reads: writes.dual(),
            writes: writes.clone(),
        }
    }

    /// Any one node is read, all are written.
    ///
    /// # Errors
    /// No node, a node twice, or too many.
    pub fn read_one_write_all(
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self, QuorumError> {
        Ok(Self::from_reads(&Quorum::new(Expr::any(nodes))?))
    }

    /// A majority is read, a majority is written.
    ///
    /// # Errors
    /// No node, a node twice, or too many.
    pub fn majority(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        let majority = Quorum::majority(nodes)?;
        Ok(Self {
            reads: majority.clone(),
            writes: majority,
        })
    }

    /// Any `read` of the N `nodes` are read, any `write` are written: `read + write` must be above
    /// N.
    ///
    /// # Errors
    /// Two quorums that share no node; a count not between 1 and N; no node, a node twice, or too
    /// many.
    pub fn counts(
        nodes: impl IntoIterator<Item = NodeId>,
        read: usize,
        write: usize,
    ) -> Result<Self, SystemError> {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let reads = Quorum::count(read, nodes.iter().copied())?;
        Self::new(&reads, &Quorum::count(write, nodes)?)
    }

    /// Proves that every two write quorums meet as well. Without that, two writers that did not
    /// read first can both succeed without either noticing the other.
    ///
    /// # Errors
    /// Two write quorums that share no node, or a system too complex for a proof.
    pub fn check_writes(&self) -> Result<(), SystemError> {
        let writes = (Role::Write, &self.writes);
        intersect::check(writes, writes)
    }

    /// Which nodes are enough for a read.
    #[inline]
    #[must_use]
    pub const fn reads(&self) -> &Quorum {
        &self.reads
    }

    /// Which nodes are enough for a write.
    #[inline]
    #[must_use]
    pub const fn writes(&self) -> &Quorum {
        &self.writes
    }

    /// The members of both, ascending.
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        self.reads.members()
    }

    /// How many members can fail, whichever they are, so that reads still find a quorum.
    ///
    /// # Errors
    /// As [`Quorum::smallest`].
    pub fn read_resilience(&self) -> Result<usize, TooComplex> {
        self.reads.resilience()
    }

    /// How many members can fail, whichever they are, so that writes still find a quorum.
    ///
    /// # Errors
    /// As [`Quorum::smallest`].
    pub fn write_resilience(&self) -> Result<usize, TooComplex> {
        self.writes.resilience()
    }

    /// How many members can fail, whichever they are, so that reads and writes still find quorums.
    ///
    /// # Errors
    /// As [`Quorum::smallest`].
    pub fn resilience(&self) -> Result<usize, TooComplex> {
        Ok(self.read_resilience()?.min(self.write_resilience()?))
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Unproved {
    reads: Quorum,
    writes: Quorum,
}

#[cfg(feature = "serde")]
impl TryFrom<Unproved> for ReadWrite {
    type Error = SystemError;

    fn try_from(unproved: Unproved) -> Result<Self, SystemError> {
        Self::new(&unproved.reads, &unproved.writes)
    }
}
