//! [`PaxosPhases`]: the quorums of Paxos, Flexible Paxos and Fast Paxos.

use crate::error::{QuorumError, Role, SystemError};
use crate::{NodeSet, Quorum, intersect};
use synod_core::NodeId;

/// The quorums of Paxos, proved to intersect where its argument needs it.
///
/// - **Every phase-1 quorum meets every phase-2 quorum** (Howard et al., *Flexible Paxos*, 2016):
///   a new ballot hears of what an older one may have chosen.
/// - **Every phase-1 quorum and every two fast quorums have a node in common to all three**
///   (Lamport, *Fast Paxos*, 2006, §2.2; Howard et al., *Fast Flexible Paxos*, 2021): of a fast
///   round at most one value looks chosen to a new ballot.
///
/// Two phase-2 quorums need not meet, nor two of phase 1: a ballot belongs to one proposer. All
/// have the same member list, the union of what they name.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{PaxosPhases, Quorum};
///
/// let count = |need| Quorum::count(need, (1..=5).map(NodeId));
/// assert!(PaxosPhases::with_fast(&count(3)?, &count(3)?, &count(4)?).is_ok());
///
/// let refused = PaxosPhases::with_fast(&count(3)?, &count(3)?, &count(3)?).unwrap_err();
/// assert_eq!(
///     refused.to_string(),
///     "phase-1 quorum {n3, n4, n5}, fast quorum {n1, n2, n3} and fast quorum {n1, n2, n4} \
///      have no node in common to all three",
/// );
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Unproved"))]
pub struct PaxosPhases {
    phase1: Quorum,
    phase2: Quorum,
    fast: Option<Quorum>,
}

impl PaxosPhases {
    /// Classic rounds only.
    ///
    /// # Errors
    /// Two quorums that share no node; more members than the limit; or systems too complex for a
    /// proof.
    pub fn new(phase1: &Quorum, phase2: &Quorum) -> Result<Self, SystemError> {
        let [phase1, phase2] = intersect::over_union([phase1, phase2])?;
        intersect::check((Role::Phase1, &phase1), (Role::Phase2, &phase2))?;
        Ok(Self {
            phase1,
            phase2,
            fast: None,
        })
    }

    /// Classic and fast rounds.
    ///
    /// # Errors
    /// As [`PaxosPhases::new`], and three quorums that share no node.
    pub fn with_fast(phase1: &Quorum, phase2: &Quorum, fast: &Quorum) -> Result<Self, SystemError> {
        let [phase1, phase2, fast] = intersect::over_union([phase1, phase2, fast])?;
        intersect::check((Role::Phase1, &phase1), (Role::Phase2, &phase2))?;
        intersect::check_three((Role::Phase1, &phase1), (Role::Fast, &fast))?;
        Ok(Self {
            phase1,
            phase2,
            fast: Some(fast),
        })
    }

    /// A majority for each phase.
    ///
    /// # Errors
    /// No node, a node twice, or too many.
    pub fn majority(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        let majority = Quorum::majority(nodes)?;
        Ok(Self {
            phase1: majority.clone(),
            phase2: majority,
            fast: None,
        })
    }

    /// Whose promises let a ballot start.
    #[inline]
    #[must_use]
    pub const fn phase1(&self) -> &Quorum {
        &self.phase1
    }

    /// Whose accepts choose a value in a classic round.
    #[inline]
    #[must_use]
    pub const fn phase2(&self) -> &Quorum {
        &self.phase2
    }

    /// Whose accepts choose a value in a fast round; `None` if there are no fast rounds.
    #[inline]
    #[must_use]
    pub const fn fast(&self) -> Option<&Quorum> {
        self.fast.as_ref()
    }

    /// The members of all, ascending.
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        self.phase1.members()
    }

    /// Whether a value may have been chosen in a fast round, as far as `replied` can tell, of whom
    /// `voted` voted for the value in it: some fast quorum has no other reply. Without fast rounds
    /// no value may.
    ///
    /// Once `replied` is a phase-1 quorum, this is true of at most one value (Fast Paxos §2.2, the
    /// rule for the pickable value). It counts the actual replies: a threshold made for the
    /// smallest phase-1 quorum lets two values pass with a larger one.
    #[must_use]
    pub fn choosable(&self, replied: NodeSet, voted: NodeSet) -> bool {
        let silent = self.phase1.all() - replied;
        self.fast()
            .is_some_and(|fast| fast.is_quorum(silent | (voted & replied)))
    }
}

#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
struct Unproved {
    phase1: Quorum,
    phase2: Quorum,
    fast: Option<Quorum>,
}

#[cfg(feature = "serde")]
impl TryFrom<Unproved> for PaxosPhases {
    type Error = SystemError;

    fn try_from(unproved: Unproved) -> Result<Self, SystemError> {
        let Unproved {
            phase1,
            phase2,
            fast,
        } = unproved;
        match fast {
            Some(fast) => Self::with_fast(&phase1, &phase2, &fast),
            None => Self::new(&phase1, &phase2),
        }
    }
}
