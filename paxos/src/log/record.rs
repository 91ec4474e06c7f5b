//! What must be durable besides the slots, and how a node starts from what is.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, Generation, LogIndex, NodeId};

use super::Membership;
use crate::Ballot;

/// The durable state of a node besides its votes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HardState {
    /// Whose state it is.
    pub(crate) node: NodeId,
    /// The life of this storage.
    pub(crate) generation: Generation,
    /// The highest ballot that the node has promised: it takes part in no lower one. It is also what
    /// keeps a proposer from using a ballot twice: it promises its own before it speaks of it.
    pub(crate) promised: Ballot,
    /// Up to here it knew everything to be chosen, and holds it: perhaps less than it knew at last.
    pub(crate) chosen: LogIndex,
    /// The lives of its peers' storages, from when it first heard of them; ascending by node.
    pub(crate) known: Vec<(NodeId, Generation)>,
    /// The configuration that the cluster was founded with.
    pub(crate) founding: Membership,
}

/// A [`HardState`] that is written: a node does so now and then under load, so it borrows what it can.
pub(crate) struct Written<'a> {
    pub(crate) node: NodeId,
    pub(crate) generation: Generation,
    pub(crate) promised: Ballot,
    pub(crate) chosen: LogIndex,
    pub(crate) known: &'a [(NodeId, Generation)],
    /// Encoded.
    pub(crate) founding: &'a [u8],
}

/// Version 1.
impl Written<'_> {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64 + 16 * self.known.len() + self.founding.len());
        1_u8.encode(&mut out);
        self.node.encode(&mut out);
        self.generation.encode(&mut out);
        self.promised.encode(&mut out);
        self.chosen.encode(&mut out);
        self.known.encode(&mut out);
        out.extend_from_slice(self.founding);
        out.freeze()
    }
}

impl Decode for HardState {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let what = "multi-paxos state";
        let found = u8::decode(input)?;
        if found != 1 {
            return Err(DecodeError::Version {
                what,
                found,
                supported: 1,
            });
        }
        let state = Self {
            node: Decode::decode(input)?,
            generation: Decode::decode(input)?,
            promised: Decode::decode(input)?,
            chosen: Decode::decode(input)?,
            known: Decode::decode(input)?,
            founding: Decode::decode(input)?,
        };
        if !state.known.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            let why = "names peers out of order";
            return Err(DecodeError::Invalid { what, why });
        }
        Ok(state)
    }
}
