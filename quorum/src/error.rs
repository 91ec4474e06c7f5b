//! What can be wrong with a quorum system. Constructors change nothing when they fail.

use crate::{MAX_DEPTH, MAX_GATES, MAX_MEMBERS};
use alloc::vec::Vec;
use core::fmt;
use synod_core::NodeId;

/// Why a quorum system cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum QuorumError {
    /// A list of nodes, or of parts of an expression, is empty.
    #[error("a quorum system needs at least one node")]
    Empty,
    /// More distinct nodes than a [`NodeSet`](crate::NodeSet) holds.
    #[error("{nodes} nodes are more than the limit of {MAX_MEMBERS}")]
    TooManyNodes {
        /// How many distinct nodes were given.
        nodes: usize,
    },
    /// A node is named twice in one list. To count one node twice, give it a weight.
    #[error("{0} is listed twice")]
    Duplicate(NodeId),
    /// A list of members leaves out a node that the quorum system names.
    #[error("{0} is in the quorum system but not in the list of members")]
    Missing(NodeId),
    /// With a threshold of zero the empty set were a quorum, and above the total nothing were one.
    #[error("the threshold ({need}) must be between 1 and the total weight ({total})")]
    Threshold {
        /// The threshold asked for.
        need: u64,
        /// The total weight of the parts it chooses from (without weights: how many there are).
        total: u64,
    },
    /// A part with weight zero has no say; leave it out.
    #[error("a weight is 0; weights must be at least 1")]
    ZeroWeight,
    /// An expression with more thresholds than the limit.
    #[error("{gates} nested thresholds are more than the limit of {MAX_GATES}")]
    TooManyGates {
        /// How many thresholds the expression has.
        gates: usize,
    },
    /// An expression nested deeper than the limit.
    #[error("the expression is nested deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The nodes do not fill the shape (a grid, a hierarchy).
    #[error("{nodes} nodes do not fill a {shape} (a multiple of {unit} is needed, at least one)")]
    Shape {
        /// `"grid"` or `"hierarchy"`.
        shape: &'static str,
        /// How many nodes were given.
        nodes: usize,
        /// The grid's columns, or the nodes that the hierarchy has.
        unit: usize,
    },
}

/// The search that would answer exactly was cut off: the system has too many different minimal
/// quorums. Nothing is known about the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[error("the quorum system is too complex to be examined exactly (more than {limit} {what})")]
pub struct TooComplex {
    /// The limit that was reached.
    pub limit: usize,
    /// What it limits.
    pub what: &'static str,
}

/// What a quorum is used for, in the words of the protocol's paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// Votes that make a Raft leader (Raft §5.2).
    Election,
    /// Copies that commit a Raft entry (Raft §5.3).
    Replication,
    /// Nodes that a read asks.
    Read,
    /// Nodes that a write reaches.
    Write,
    /// Promises of a Paxos phase 1.
    Phase1,
    /// Accepts of a classic Paxos phase 2.
    Phase2,
    /// Accepts of a fast round of Fast Paxos.
    Fast,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Election => "election",
            Self::Replication => "replication",
            Self::Read => "read",
            Self::Write => "write",
            Self::Phase1 => "phase-1",
            Self::Phase2 => "phase-2",
            Self::Fast => "fast",
        })
    }
}

/// A quorum as evidence: what it is for, and its nodes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Evidence {
    /// What it is for.
    pub role: Role,
    /// Its nodes, ascending: a minimal quorum.
    pub nodes: Vec<NodeId>,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} quorum {}", self.role, Braces(&self.nodes))
    }
}

/// Why quorum systems cannot be used together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// Two quorums that must share a node do not.
    #[error("{0} and {1} have no node in common")]
    Disjoint(Evidence, Evidence),
    /// Three quorums that must share a node do not.
    #[error("{0}, {1} and {2} have no node in common to all three")]
    DisjointThree(Evidence, Evidence, Evidence),
    /// One of the systems, or both over one member list, cannot be built.
    #[error(transparent)]
    Quorum(#[from] QuorumError),
    /// Whether the quorums intersect could not be proved. Systems that intersect by construction
    /// (a dual, a joint of two proved ones) need no proof; build them that way.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
}

/// Nodes as `{n1, n2}`.
pub(crate) struct Braces<'a>(pub(crate) &'a [NodeId]);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, node) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            write!(f, "{node}")?;
        }
        f.write_str("}")
    }
}
