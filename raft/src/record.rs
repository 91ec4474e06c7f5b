//! What must be durable besides the log, and how a node starts from what is.

use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, Generation, NodeId};

use crate::{Membership, Term};

/// The durable state of a node besides its log (Raft figure 2, "persistent state"): one record, so
/// that term and vote never part.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct HardState {
    /// Whose state it is.
    pub(crate) node: NodeId,
    /// The life of this storage.
    pub(crate) generation: Generation,
    /// The latest term that the node has seen.
    pub(crate) term: Term,
    /// Whom it has voted for in that term.
    pub(crate) vote: Option<NodeId>,
    /// The lives of its peers' storages, from when it first heard of them; ascending by node.
    pub(crate) known: Vec<(NodeId, Generation)>,
    /// The configuration that the cluster was founded with.
    pub(crate) founding: Membership,
}

impl HardState {
    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(64);
        self.encode(&mut out);
        out.freeze()
    }
}

/// Version 1.
impl Encode for HardState {
    fn encode(&self, out: &mut BytesMut) {
        1_u8.encode(out);
        self.node.encode(out);
        self.generation.encode(out);
        self.term.encode(out);
        self.vote.encode(out);
        self.known.encode(out);
        self.founding.encode(out);
    }
}

impl Decode for HardState {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let found = u8::decode(input)?;
        if found != 1 {
            return Err(DecodeError::Version {
                what: "raft state",
                found,
                supported: 1,
            });
        }
        let state = Self {
            node: Decode::decode(input)?,
            generation: Decode::decode(input)?,
            term: Decode::decode(input)?,
            vote: Decode::decode(input)?,
            known: Decode::decode(input)?,
            founding: Decode::decode(input)?,
        };
        if !state.known.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            let why = "names peers out of order";
            return Err(DecodeError::Invalid {
                what: "raft state",
                why,
            });
        }
        Ok(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_once_and_in_order() {
        let decoded = |known: &[u64]| {
            let known = known.iter().map(|id| (NodeId(*id), Generation(1)));
            let state = HardState {
                node: NodeId(1),
                generation: Generation(1),
                term: Term::START,
                vote: None,
                known: known.collect(),
                founding: Membership::unknown(),
            };
            HardState::decode_all(state.to_bytes()).is_ok()
        };
        assert!(decoded(&[2, 3, 5]));
        assert!(!decoded(&[3, 2]));
        assert!(!decoded(&[2, 2]));
    }
}
