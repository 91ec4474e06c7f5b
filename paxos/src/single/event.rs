//! What the application learns.

use alloc::vec::Vec;

use synod_core::{Generation, NodeId, Ticket};

use super::{Value, ValueId};
use crate::Ballot;

/// What a node tells its application.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Event {
    /// This value was chosen: it and no other, for ever. Told once in each life of a node that
    /// learns it.
    Chosen(Value),
    /// The value that was proposed with this ticket was chosen.
    Won(Ticket),
    /// Another value was chosen instead of the one that was proposed with this ticket: it can be
    /// proposed in another decree, and was not chosen in this one.
    Lost {
        /// The proposal.
        ticket: Ticket,
        /// What was chosen.
        to: ValueId,
    },
    /// This node opens a ballot.
    Opened(Ballot),
    /// A ballot of this node was given up: acceptors have promised a later one.
    Refused {
        /// The ballot.
        ballot: Ballot,
        /// The highest promise that it has heard of.
        promised: Ballot,
    },
    /// So many different values were voted for in a fast ballot of this node that none can be chosen
    /// in it, or those that are left cannot choose one.
    Collided {
        /// The ballot.
        ballot: Ballot,
        /// The values that were voted for.
        values: Vec<ValueId>,
    },
    /// A peer has come back with another storage: what it promised is lost, and nothing that it says
    /// counts. Let it join another decree under a new id.
    Amnesia {
        /// The peer.
        peer: NodeId,
        /// The life of the storage that it had.
        known: Generation,
        /// The life of the one that it has.
        seen: Generation,
    },
    /// A peer knows another storage of this node: what it promised is lost. It only learns from now
    /// on, after restarts as well.
    Fenced {
        /// The life that the peer knows.
        known: Generation,
    },
}
