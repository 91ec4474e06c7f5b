//! What must be durable, and what a restart reads back.

use alloc::vec::Vec;

use synod_core::{Generation, NodeId};

use super::{RestoreError, Value, Vote};
use crate::Ballot;

/// One thing to make durable. Each replaces the one of its kind before it; a storage keeps them in
/// order, or the last of each kind ([`Record::Known`]: of each node) in any order behind
/// [`Record::Storage`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Record {
    /// The first record of every storage: whose it is, and its life.
    Storage {
        /// The node.
        node: NodeId,
        /// The life of the storage.
        generation: Generation,
    },
    /// A proposer has used no ballot above this one.
    Ballot(Ballot),
    /// An acceptor votes in no ballot below this one.
    Promised(Ballot),
    /// An acceptor has voted, and votes in no ballot below `promised`.
    Voted {
        /// The vote.
        vote: Vote,
        /// The promise that goes with it.
        promised: Ballot,
    },
    /// A value was chosen.
    Chosen(Value),
    /// The life of a peer's storage, from when it was first heard of.
    Known {
        /// The peer.
        node: NodeId,
        /// The life.
        generation: Generation,
    },
    /// This storage has taken the place of one that made promises: it never votes or proposes.
    Fenced {
        /// The life that a peer knows.
        known: Generation,
    },
}

/// What all records of a storage amount to.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Saved {
    pub(crate) generation: Generation,
    pub(crate) ballot: Ballot,
    pub(crate) promised: Ballot,
    pub(crate) vote: Option<Vote>,
    pub(crate) chosen: Option<Value>,
    pub(crate) known: Vec<(NodeId, Generation)>,
    pub(crate) fenced: Option<Generation>,
}

impl Saved {
    /// A storage that holds nothing but its name.
    pub(crate) const fn fresh(generation: Generation) -> Self {
        Self {
            generation,
            ballot: Ballot::START,
            promised: Ballot::START,
            vote: None,
            chosen: None,
            known: Vec::new(),
            fenced: None,
        }
    }

    /// Reads a storage; `None` if it is empty.
    pub(crate) fn read(
        node: NodeId,
        records: impl IntoIterator<Item = Record>,
    ) -> Result<Option<Self>, RestoreError> {
        let mut saved: Option<Self> = None;
        for record in records {
            if let Record::Storage {
                node: found,
                generation,
            } = record
            {
                if found != node {
                    return Err(RestoreError::OtherNode { found, node });
                }
                if let Some(before) = &saved {
                    let before = before.generation;
                    return Err(RestoreError::Twice { before, generation });
                }
                saved = Some(Self::fresh(generation));
                continue;
            }
            match &mut saved {
                Some(saved) => saved.apply(record),
                None => return Err(RestoreError::Nameless),
            }
        }
        Ok(saved)
    }

    fn apply(&mut self, record: Record) {
        match record {
            Record::Storage { .. } => {}
            Record::Ballot(ballot) => self.ballot = self.ballot.max(ballot),
            Record::Promised(ballot) => self.promised = self.promised.max(ballot),
            Record::Voted { vote, promised } => {
                self.promised = self.promised.max(promised);
                self.vote = Some(vote);
            }
            Record::Chosen(value) => self.chosen = Some(value),
            Record::Known { node, generation } => {
                match self.known.binary_search_by_key(&node, |(peer, _)| *peer) {
                    Ok(place) => self.known[place].1 = generation,
                    Err(place) => self.known.insert(place, (node, generation)),
                }
            }
            Record::Fenced { known } => self.fenced = Some(known),
        }
    }
}
