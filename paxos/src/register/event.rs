//! What the application asks and learns.

use alloc::boxed::Box;

use bytes::Bytes;
use synod_core::{FailStop, Generation, NodeId, Ticket};

use crate::Ballot;
use crate::register::{Change, Configuration, Decision, Step, StepError, Version, Versioned};

/// What the application asks.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Command {
    /// Changes or reads a register. Gets a ticket.
    Change {
        /// Which register.
        key: Bytes,
        /// What to do.
        change: Change,
    },
    /// Answers [`Event::Ask`]. Gets no ticket: that of the change goes on.
    Decide {
        /// The change's.
        ticket: Ticket,
        /// As asked: another attempt asks again under another ballot, with another content.
        ballot: Ballot,
        /// The answer.
        decision: Decision,
    },
    /// Changes the configuration by one step. Gets a ticket.
    Configure(Step),
    /// Takes up the purge of all tombstones that this node holds, also of those that other nodes have
    /// left: after a node that deletes is gone for good. Gets no ticket.
    Collect,
}

/// A command that was not taken on: nothing has happened.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{why}")]
pub struct Rejected {
    /// The command, back.
    pub command: Box<Command>,
    /// Why.
    pub why: Rejection,
}

/// Why a command is not taken on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The key or a value is too long.
    #[error("{what} has {len} bytes, the limit is {limit}")]
    TooLong {
        /// Which.
        what: &'static str,
        /// Its length in bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// Too much is under way.
    #[error("{count} {what}, the limit is {limit}: try again later")]
    Busy {
        /// What is.
        what: &'static str,
        /// How many.
        count: usize,
        /// The limit.
        limit: usize,
    },
    /// No configuration is known: the node waits to be taken into a cluster.
    #[error("the node has no configuration yet")]
    NoConfiguration,
    /// The question is not asked, or not any more.
    #[error("{ticket} does not wait for an answer under {ballot}")]
    Late {
        /// The ticket that the answer is for.
        ticket: Ticket,
        /// The ballot that it is for.
        ballot: Ballot,
    },
    /// The step would lose what was chosen.
    #[error(transparent)]
    Step(#[from] StepError),
    /// The node has stopped.
    #[error("the node has stopped")]
    Stopped,
}

/// What the application learns. Each ticket is settled exactly once, by [`Done`](Self::Done),
/// [`Refused`](Self::Refused), [`Unknown`](Self::Unknown) or [`Stepped`](Self::Stepped).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Event {
    /// The change was made, once.
    Done {
        /// Its ticket.
        ticket: Ticket,
        /// The version that it made; `None` if there was nothing to change. Of a custom change it is
        /// the ballot of the question whose answer took effect, which need not be the last one.
        made: Option<Version>,
        /// What is there since.
        current: Option<Versioned>,
    },
    /// Nothing has happened and nothing will.
    Refused {
        /// The ticket.
        ticket: Ticket,
        /// Why.
        why: Refusal,
    },
    /// The change may have been made, may be made later, or never.
    Unknown {
        /// Its ticket.
        ticket: Ticket,
    },
    /// What shall be there? To be answered by [`Command::Decide`], before the time of the change is
    /// up. An earlier question with the same ticket needs no answer any more. What it shows was there
    /// for certain only once the change is done: compute the answer from it, and nothing else.
    Ask {
        /// The change's ticket.
        ticket: Ticket,
        /// To be named in the answer.
        ballot: Ballot,
        /// What is there.
        current: Option<Versioned>,
    },
    /// The step was taken and is durable here.
    Stepped {
        /// Its ticket.
        ticket: Ticket,
        /// The epoch that it has led to.
        epoch: u64,
    },
    /// Another configuration is in force.
    Configured(Box<Configuration>),
    /// A rescan goes on.
    Settling {
        /// The ticket of the step.
        ticket: Ticket,
        /// How many registers are settled so far.
        registers: u64,
    },
    /// No acceptor holds anything of this register any more.
    Purged {
        /// Which one.
        key: Bytes,
    },
    /// The storage of a peer is not the one that it was: the peer is not listened to.
    Amnesia {
        /// The peer.
        peer: NodeId,
        /// The life of its storage that is known.
        known: Generation,
        /// The one that it has now.
        seen: Generation,
    },
    /// The node has met what cannot be, and does nothing any more.
    Stopped(FailStop),
}

/// Why a change or a step did not happen.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Refusal {
    /// The condition does not hold.
    Condition {
        /// What is there.
        current: Option<Versioned>,
    },
    /// No quorum answered in time, or others came first until the time was up.
    TimedOut,
    /// So many acceptors have no room that the others are no quorum.
    Full,
    /// Another step was taken first, to this epoch.
    Overtaken {
        /// The epoch in force.
        epoch: u64,
    },
}
