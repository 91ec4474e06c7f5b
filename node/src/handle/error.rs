//! Why a request has no answer. Each says whether something may have happened.

use core::time::Duration;

use alloc::boxed::Box;
use synod_core::{LogIndex, MachineError, Refusal, Rejected, Status};

/// Why a proposal or a membership change has no result.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposeError {
    /// It was rejected on the spot, and the command is handed back: nothing has happened and
    /// nothing will. `Refusal::Busy` is back-pressure: try again later.
    #[error("rejected: {0}")]
    Rejected(Box<Rejected>),
    /// It lost its place to another entry: nothing has happened and nothing will.
    #[error("displaced by another entry")]
    Displaced,
    /// The node that it was forwarded to refused it: nothing has happened and nothing will.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// This node can no longer tell: it may have happened, or may still happen.
    #[error("the outcome is unknown")]
    Unknown,
    /// This node has stopped: nothing has happened and nothing will.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a read has no answer. None changes anything.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// It was rejected on the spot.
    #[error("rejected: {0}")]
    Rejected(Box<Rejected>),
    /// The node that it was forwarded to refused it.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// This node can no longer answer it, for example because leadership was lost: ask again.
    #[error("no answer")]
    Unknown,
    /// This node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

impl From<Rejected> for ProposeError {
    /// Boxed, because it is large and rare: every other outcome would pay for its size.
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(Box::new(rejected))
    }
}

impl From<Rejected> for ReadError {
    fn from(rejected: Rejected) -> Self {
        Self::Rejected(Box::new(rejected))
    }
}

/// Why a leadership transfer was not started.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// It was rejected on the spot.
    #[error("rejected: {0}")]
    Rejected(Rejected),
    /// This node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

/// Why there is no snapshot. The node goes on without.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// What the application says.
    #[error("the state machine gave no snapshot: {0}")]
    Machine(#[from] MachineError),
    /// Nothing is applied that a snapshot could hold.
    #[error("nothing is applied yet")]
    Nothing,
    /// Too much is under way; try again later.
    #[error("{what} would exceed the limit of {limit}")]
    Busy {
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// A snapshot of another node has come, or is coming, in its place.
    #[error("a snapshot from another node took its place")]
    Superseded,
    /// This node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a stream of committed entries ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommittedError {
    /// The entry has been compacted away: take the state from a snapshot of the application, then
    /// go on behind it.
    #[error("entry {wanted} has been compacted away, the first one left is {first}")]
    Compacted {
        /// The entry that was to be next.
        wanted: LogIndex,
        /// The first entry that is left.
        first: LogIndex,
    },
    /// Too much is under way on this node: ask for the same entry later.
    #[error("entry {wanted} could not be asked for: {what} would exceed the limit of {limit}")]
    Busy {
        /// The entry that was to be next.
        wanted: LogIndex,
        /// What is limited.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// This node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

/// Why a wait has ended without what it waited for.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The time is up.
    #[error("not within {} ms", within.as_millis())]
    TimedOut {
        /// The time it was given.
        within: Duration,
        /// How things stood last; `None` if nothing was heard from the node in that time.
        last: Option<Box<Status>>,
    },
    /// This node has stopped.
    #[error("this node has stopped")]
    Stopped,
}

/// A node that has stopped does not answer any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("this node has stopped")]
pub struct Stopped;
