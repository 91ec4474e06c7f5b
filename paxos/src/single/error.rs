//! Why a configuration, a start or a command is refused.

use core::time::Duration;

use synod_core::{Generation, NodeId};
use synod_quorum::SystemError;

use super::Value;

/// A rule that a configuration breaks. Nothing has been started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is nobody to vote.
    #[error("the acceptors are not named: acceptors or quorums must be set")]
    NoAcceptors,
    /// The acceptors are not a quorum system that Paxos can use.
    #[error("the quorums are not usable: {0}")]
    Quorums(#[from] SystemError),
    /// A list of nodes names one twice.
    #[error("{node} is named twice among the {role}")]
    Duplicate {
        /// The list.
        role: &'static str,
        /// The node.
        node: NodeId,
    },
    /// A list of nodes is empty.
    #[error("there must be at least one of the {role}")]
    Nobody {
        /// The list.
        role: &'static str,
    },
    /// The node has no part in the decree.
    #[error("{node} is neither a proposer nor an acceptor nor a learner")]
    NoRole {
        /// The node.
        node: NodeId,
    },
    /// The distinguished proposer must be one that proposes.
    #[error("the distinguished proposer {node} is not one of the proposers")]
    NotAProposer {
        /// The node.
        node: NodeId,
    },
    /// A fast round needs somebody who opens it.
    #[error("fast quorums need a distinguished proposer, which opens the fast round")]
    NoCoordinator,
    /// More learners are to be told at first than there are.
    #[error("{first} learners are to hear of votes, and there are {learners}")]
    TooFewLearners {
        /// How many are to be told.
        first: usize,
        /// How many there are.
        learners: usize,
    },
    /// A time that must be positive is not.
    #[error("{name} (0) must be positive")]
    Zero {
        /// The setting.
        name: &'static str,
    },
    /// Waiting times must differ between proposers, or they refuse each other for ever.
    #[error("back_off_max ({max:?}) must be greater than back_off_min ({min:?})")]
    NotSpread {
        /// The shorter bound.
        min: Duration,
        /// The longer bound.
        max: Duration,
    },
}

/// Why a node cannot go on from what is on its disk. Nothing has been changed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The storage is another node's.
    #[error("the storage is that of {found}, not of {node}")]
    OtherNode {
        /// Whose it is.
        found: NodeId,
        /// Whose it should be.
        node: NodeId,
    },
    /// Records stand before the one that names the storage.
    #[error("the storage does not begin with its name and life")]
    Nameless,
    /// Two storages are mixed up.
    #[error("the storage names its life twice, as {before} and as {generation}")]
    Twice {
        /// The first.
        before: Generation,
        /// The second.
        generation: Generation,
    },
    /// The acceptor's promise and vote contradict each other.
    #[error("the storage holds a vote above its promise, or a ballot beyond all rounds")]
    Torn,
}

/// Why a command is refused. Nothing has changed; a value is handed back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejected {
    /// This node does not propose.
    #[error("this node is not a proposer")]
    NotProposer(Value),
    /// This node does not learn.
    #[error("this node is neither a learner nor a proposer")]
    NotLearner,
    /// Too many proposals wait for this decree.
    #[error("{limit} proposals wait already")]
    Busy {
        /// The value.
        value: Value,
        /// The limit.
        limit: usize,
    },
    /// The value is too long.
    #[error("the value has {len} bytes, the limit is {limit}")]
    TooLong {
        /// The value.
        value: Value,
        /// Its length.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// This node has lost its storage, and only learns.
    #[error("this node has lost the storage that its peers know: it proposes nothing")]
    Fenced(Value),
}
