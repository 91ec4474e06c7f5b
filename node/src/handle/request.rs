//! What handles ask of the driver of a replicated log, and what they get back.

use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{
    Change, Entries, LogIndex, NodeId, ReadLevel, Rejected, SessionToken, SnapshotMeta,
};

use super::slot::Promise;
use super::{ProposeError, ReadError, SnapshotError};

/// A command that took effect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Its place in the log.
    pub index: LogIndex,
    /// What the state machine returned for it.
    pub response: Bytes,
}

impl Applied {
    /// For [`ReadLevel::Session`]: reads with it see this write, on any replica.
    #[must_use]
    pub const fn token(&self) -> SessionToken {
        SessionToken(self.index)
    }
}

/// The answer to a query.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answered {
    /// What the state machine returned for it.
    pub response: Bytes,
    /// The last entry that the state machine had applied.
    pub index: LogIndex,
}

impl Answered {
    /// For [`ReadLevel::Session`]: later reads with it see no older state, on any replica.
    #[must_use]
    pub const fn token(&self) -> SessionToken {
        SessionToken(self.index)
    }
}

pub(crate) type Outcome = Result<Applied, ProposeError>;
pub(crate) type Answer = Result<Answered, ReadError>;

/// Why a fetch brought nothing.
pub(crate) struct Compacted {
    pub(crate) first: LogIndex,
}

pub(crate) type Fetched = Result<Vec<Entries>, Compacted>;

pub(crate) enum Request {
    Propose(Bytes, Promise<Outcome>),
    ProposeMany(Vec<Bytes>, Promise<Vec<Outcome>>),
    Read(Bytes, ReadLevel, Promise<Answer>),
    Reconfigure(Change, Promise<Outcome>),
    Transfer(NodeId, Promise<Result<(), Rejected>>),
    Snapshot(Promise<Result<SnapshotMeta, SnapshotError>>),
    /// Committed entries behind this place.
    Fetch(LogIndex, Promise<Fetched>),
    Shutdown,
}
