//! [`Phases`]: the quorums of Raft.

use crate::codec::{DecodeError, Reader, put};
use crate::error::{QuorumError, Role, SystemError};
use crate::{Quorum, intersect};
use alloc::vec::Vec;
use synod_core::NodeId;

const VERSION: u8 = 1;

/// The election and the replication quorums of a Raft group, proved to intersect.
///
/// Raft's argument needs two intersections and no more:
///
/// - **Every election quorum meets every replication quorum.** A leader must have heard from a
///   node that holds each committed entry (Leader Completeness, Raft §5.4.3). The same
///   intersection makes a confirmation by a replication quorum prove that no later leader was
///   elected before it (read index, check-quorum, leases).
/// - **Every two election quorums meet.** A node votes once in a term, so two leaders of one term
///   would need two quorums that share no node (Election Safety, Raft §5.2). Paxos can do without
///   this, because a ballot belongs to one proposer; Raft's terms belong to nobody.
///
/// Two replication quorums need not meet: entries of one term come from one leader. So
/// `replication` may be smaller than a majority if `election` is larger (Howard et al., *Flexible
/// Paxos*, 2016).
///
/// Both quorums have the same member list, the union of what they name.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Phases, Quorum};
///
/// let nodes = || (1..=4).map(NodeId);
/// let election = Quorum::count(3, nodes())?;
/// let replication = Quorum::count(2, nodes())?; // half of the nodes commit
/// let phases = Phases::new(&election, &replication)?;
/// assert_eq!(phases.replication().highest(&[9, 9, 3, 2]), 9);
///
/// let refused = Phases::new(&replication, &election).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "election quorum {n1, n2} and election quorum {n3, n4} have no node in common",
/// );
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Unproved"))]
pub struct Phases {
    election: Quorum,
    replication: Quorum,
}

impl Phases {
    /// Proves the two intersections.
    ///
    /// # Errors
    /// Two quorums that share no node; more members than the limit; or systems too complex for a
    /// proof.
    pub fn new(election: &Quorum, replication: &Quorum) -> Result<Self, SystemError> {
        let [election, replication] = intersect::over_union([election, replication])?;
        let elect = (Role::Election, &election);
        intersect::check(elect, (Role::Replication, &replication))?;
        if election != replication {
            intersect::check(elect, elect)?;
        }
        Ok(Self {
            election,
            replication,
        })
    }

    /// One system for elections and replication.
    ///
    /// # Errors
    /// As [`Phases::new`].
    pub fn same(quorum: &Quorum) -> Result<Self, SystemError> {
        Self::new(quorum, quorum)
    }

    /// A majority elects, and a majority commits.
    ///
    /// # Errors
    /// No node, a node twice, or too many.
    pub fn majority(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        let majority = Quorum::majority(nodes)?;
        // two majorities of the same nodes intersect
        Ok(Self {
            election: majority.clone(),
            replication: majority,
        })
    }

    /// Both at once, for the time of a membership change (Raft §6): elections need an election
    /// quorum of each, replication a replication quorum of each.
    ///
    /// No proof is needed: what intersects in `old` still does when more nodes are asked. For the
    /// same reason each quorum of the joint system meets those of `old` and of `new`.
    ///
    /// # Errors
    /// More members than the limit, or expressions beyond their limits.
    pub fn joint(old: &Self, new: &Self) -> Result<Self, QuorumError> {
        Ok(Self {
            election: Quorum::joint(&old.election, &new.election)?,
            replication: Quorum::joint(&old.replication, &new.replication)?,
        })
    }

    /// Which votes make a leader.
    #[inline]
    #[must_use]
    pub const fn election(&self) -> &Quorum {
        &self.election
    }

    /// Which copies commit an entry.
    #[inline]
    #[must_use]
    pub const fn replication(&self) -> &Quorum {
        &self.replication
    }

    /// The members of both, ascending.
    #[inline]
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        self.election.members()
    }

    /// Where `node` stands in the member list; `None` for a stranger.
    #[inline]
    #[must_use]
    pub fn position(&self, node: NodeId) -> Option<usize> {
        self.election.position(node)
    }

    /// The one encoding: a version byte, the length of the election quorum, its encoding, and that
    /// of the replication quorum unless it is the same.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let election = self.election.encode();
        let mut out = Vec::with_capacity(2 * election.len() + 4);
        out.push(VERSION);
        put(&mut out, election.len() as u64);
        out.extend(election);
        if self.replication != self.election {
            out.extend(self.replication.encode());
        }
        out
    }

    /// Reads what [`Phases::encode`] wrote, and proves the intersections anew.
    ///
    /// # Errors
    /// Anything but an encoding, or systems that do not intersect.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { bytes, at: 0 };
        let version = reader.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version { found: version });
        }
        let limit = bytes.len() as u64;
        let length = reader.limited("the length of the election quorum", limit)?;
        let election = Quorum::decode(reader.take(length as usize)?)?;
        let replication = match &bytes[reader.at..] {
            [] => election.clone(),
            rest => Quorum::decode(rest)?,
        };
        let phases = Self::new(&election, &replication)?;
        if phases.encode() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(phases)
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Unproved {
    election: Quorum,
    replication: Quorum,
}

#[cfg(feature = "serde")]
impl TryFrom<Unproved> for Phases {
    type Error = SystemError;

    fn try_from(unproved: Unproved) -> Result<Self, SystemError> {
        Self::new(&unproved.election, &unproved.replication)
    }
}
