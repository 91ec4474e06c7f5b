//! What peers exchange.

use synod_core::Generation;

use super::{Value, Vote};
use crate::Ballot;

/// A message: who the sender is by its storage, and what it says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The life of the sender's storage: a node that comes back with another one has lost what it
    /// promised.
    pub generation: Generation,
    /// What it says.
    pub body: Body,
}

/// What a message says. The names in brackets are those of the papers.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Body {
    /// A proposer opens a ballot (1a).
    Prepare {
        /// The ballot.
        ballot: Ballot,
    },
    /// An acceptor will vote in no ballot below this one (1b).
    Promise {
        /// The ballot.
        ballot: Ballot,
        /// The last vote that it has cast, with the ballot of that vote.
        vote: Option<Vote>,
    },
    /// The proposer of a ballot asks for votes for a value (2a).
    Accept {
        /// The ballot.
        ballot: Ballot,
        /// The value.
        value: Value,
    },
    /// The coordinator of a fast ballot asks for votes for whatever comes (2a "any").
    Any {
        /// The ballot.
        ballot: Ballot,
    },
    /// A vote (2b). In a fast ballot it serves as a [`Promise`](Self::Promise) as well.
    Accepted {
        /// The vote.
        vote: Vote,
        /// The acceptor will vote in no ballot below this one.
        promised: Ballot,
    },
    /// A ballot comes too late (nack). It says nothing but how late: safety does not rest on it.
    Refused {
        /// The ballot.
        ballot: Ballot,
        /// What the acceptor has promised.
        promised: Ballot,
    },
    /// A value from a client: for an acceptor to vote for in a fast ballot, and for the
    /// distinguished proposer to propose.
    Propose {
        /// The value.
        value: Value,
    },
    /// A value was chosen.
    Chosen {
        /// The value.
        value: Value,
    },
    /// A learner asks what was chosen, or else for the last vote.
    Ask,
    /// A learner asks a proposer for a new ballot: what it heard decides nothing.
    Complete,
    /// The receiver's storage is not the one that the sender knows: it has lost what it promised.
    Stranger {
        /// The life that the sender knows.
        known: Generation,
    },
}

/// Whether there are rounds enough for a ballot, and for those in which its collisions are recovered
/// if it is fast: a vote in it promises them, and a disk with a promise beyond the last round could not
/// be read any more.
pub(crate) const fn may_open(ballot: Ballot) -> bool {
    let behind = if ballot.is_fast() { 3 } else { 0 };
    ballot.round <= Ballot::LAST_ROUND - behind
}

impl Message {
    /// Whether this can be a message of Paxos at all: no round is beyond what can be reached, votes
    /// lie below the promises that report them, and only fast ballots are open to any value.
    pub(crate) fn is_plausible(&self) -> bool {
        let within = |ballot: Ballot| ballot > Ballot::START && ballot.round <= Ballot::LAST_ROUND;
        let opens = |ballot: Ballot| ballot > Ballot::START && may_open(ballot);
        match &self.body {
            Body::Prepare { ballot } | Body::Accept { ballot, .. } => opens(*ballot),
            Body::Any { ballot } => opens(*ballot) && ballot.is_fast(),
            Body::Promise { ballot, vote } => {
                let vote = vote.as_ref().map(|vote| vote.ballot);
                within(*ballot) && vote.is_none_or(|vote| within(vote) && vote < *ballot)
            }
            Body::Accepted { vote, promised } => within(vote.ballot) && within(*promised),
            Body::Refused { ballot, promised } => {
                within(*ballot) && within(*promised) && promised > ballot
            }
            Body::Propose { .. }
            | Body::Chosen { .. }
            | Body::Ask
            | Body::Complete
            | Body::Stranger { .. } => true,
        }
    }
}
