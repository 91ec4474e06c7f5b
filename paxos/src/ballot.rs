//! What orders everything in Paxos.

use core::fmt;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, NodeId, Stamp};

/// A ballot: a round and the proposer whose it is (Lamport, *Paxos Made Simple*, §2.2, "proposal
/// number"). Ordered by round, then by proposer.
///
/// A ballot belongs to one proposer, who uses it for one proposal of each slot: two proposers
/// never share one, and a proposer that restarts never uses one again. The first is so by the
/// proposer's name in it, the second because a proposer makes each round durable before it speaks
/// of it.
///
/// Odd rounds are fast (Lamport, *Fast Paxos*, 2006): acceptors may vote for what they have from
/// clients instead of from the proposer. Whether a round is fast is a property of its number, as in
/// that paper, so that all nodes agree about it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Ballot {
    /// The round.
    pub round: u64,
    /// Who may propose in it.
    pub proposer: NodeId,
}

impl Ballot {
    /// Before the first ballot: nobody has proposed anything, nobody has promised anything.
    pub const START: Self = Self {
        round: 0,
        proposer: NodeId(0),
    };

    /// Far beyond what any cluster reaches in its lifetime, far from the end of the numbers: a peer
    /// that names a higher round makes no sense.
    pub const LAST_ROUND: u64 = 1 << 62;

    /// The first classic ballot of `proposer` in a round after this one.
    #[must_use]
    pub const fn next_classic(self, proposer: NodeId) -> Self {
        Self {
            round: (self.round + 2) & !1,
            proposer,
        }
    }

    /// The first fast ballot of `proposer` in a round after this one.
    #[must_use]
    pub const fn next_fast(self, proposer: NodeId) -> Self {
        Self {
            round: (self.round + 1) | 1,
            proposer,
        }
    }

    /// Whether acceptors may vote for what clients send them.
    #[must_use]
    pub const fn is_fast(self) -> bool {
        self.round % 2 == 1
    }

    /// How votes are ordered in a log, where a proposer's fast ballot and its classic one belong to one
    /// leadership: what was promised is the classic ballot, votes of the fast one lie directly below
    /// it, and nothing of anybody else lies between. (In the order of ballots the classic ballot of
    /// another proposer in the same round would lie between: its vote would count for more than one of
    /// the fast ballot that came after it.) Among classic ballots it is the order of ballots.
    #[must_use]
    pub(crate) const fn rank(self) -> (u64, u64, bool) {
        (self.round / 2, self.proposer.0, !self.is_fast())
    }

    /// The fast ballot of the leadership that this one is of.
    #[must_use]
    pub(crate) const fn as_fast(self) -> Self {
        Self {
            round: self.round | 1,
            proposer: self.proposer,
        }
    }

    /// The classic ballot of the leadership that this one is of.
    #[must_use]
    pub(crate) const fn as_classic(self) -> Self {
        Self {
            round: self.round & !1,
            proposer: self.proposer,
        }
    }

    /// The mark that entries of this ballot carry in a log.
    #[must_use]
    pub const fn stamp(self) -> Stamp {
        Stamp {
            number: self.round,
            node: self.proposer.0,
        }
    }
}

impl From<Stamp> for Ballot {
    fn from(stamp: Stamp) -> Self {
        Self {
            round: stamp.number,
            proposer: NodeId(stamp.node),
        }
    }
}

impl fmt::Display for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_fast() { "f" } else { "" };
        write!(f, "B{}{kind}.{}", self.round, self.proposer.0)
    }
}

impl fmt::Debug for Ballot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// 16 bytes: round and proposer.
impl Encode for Ballot {
    fn encode(&self, out: &mut BytesMut) {
        self.round.encode(out);
        self.proposer.encode(out);
    }
}

impl Decode for Ballot {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let ballot = Self {
            round: Decode::decode(input)?,
            proposer: Decode::decode(input)?,
        };
        if ballot.round > Self::LAST_ROUND {
            return Err(DecodeError::Invalid {
                what: "ballot",
                why: "has a round above 2^62",
            });
        }
        Ok(ballot)
    }
}
