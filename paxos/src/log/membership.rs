//! Who votes and who only listens, as pure values.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Change, Decode, DecodeError, Encode, Generation, LogIndex, NodeId, Refusal};
use synod_quorum::{PaxosPhases, Quorum};

use super::ConfigError;
use crate::Ballot;

mod voters;

pub(crate) use voters::stops;

/// Which voters: the founding ones are 0, and each change of the voters is one more (the
/// *epoch-number* of Liskov and Cowling, *Viewstamped Replication Revisited*, §7). A log has one
/// configuration of each, since a stop-sign is chosen in a slot of the one before. Learners come and go
/// within.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch(pub u64);

impl Epoch {
    /// The one after.
    pub(crate) const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A configuration: the voters with the quorums of both phases, and the learners.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Membership {
    epoch: Epoch,
    /// `None` on a node that joins and has not yet heard who votes.
    phases: Option<PaxosPhases>,
    learners: Vec<NodeId>,
    /// The lives of the voters' storages, as far as the leader knew them that proposed these voters;
    /// ascending by node. Nothing is known of the founding ones.
    storages: Vec<(NodeId, Generation)>,
}

impl Membership {
    /// What a joining node knows: nothing.
    pub(crate) const fn unknown() -> Self {
        Self {
            epoch: Epoch(0),
            phases: None,
            learners: Vec::new(),
            storages: Vec::new(),
        }
    }

    pub(crate) fn majority(voters: Vec<NodeId>) -> Result<PaxosPhases, ConfigError> {
        PaxosPhases::majority(voters).map_err(|error| ConfigError::Voters(error.to_string()))
    }

    /// Majorities, and three quarters, rounded up, in fast rounds: the fewest that any majority tells apart
    /// (*Fast Paxos* §2.2, with N > 2F and N > 2E + F).
    pub(crate) fn fast(voters: Vec<NodeId>) -> Result<PaxosPhases, ConfigError> {
        let wrong = |error: &dyn core::fmt::Display| ConfigError::Voters(error.to_string());
        let need = (3 * voters.len()).div_ceil(4);
        let majority = Quorum::majority(voters.clone()).map_err(|error| wrong(&error))?;
        let fast = Quorum::count(need, voters).map_err(|error| wrong(&error))?;
        PaxosPhases::with_fast(&majority, &majority, &fast).map_err(|error| wrong(&error))
    }

    pub(crate) fn founding(
        phases: PaxosPhases,
        learners: Vec<NodeId>,
    ) -> Result<Self, ConfigError> {
        let mut membership = Self {
            epoch: Epoch(0),
            phases: Some(phases),
            learners: Vec::new(),
            storages: Vec::new(),
        };
        for node in learners {
            if membership.contains(node) {
                return Err(ConfigError::Duplicate { node });
            }
            membership.add_learner(node);
        }
        Ok(membership)
    }

    fn add_learner(&mut self, node: NodeId) {
        let place = self.learners.partition_point(|learner| *learner < node);
        self.learners.insert(place, node);
    }

    /// Which voters these are, counted from those that founded the cluster.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether this may follow `before` in a log: the voters are the same, or the next.
    pub(crate) fn follows(&self, before: &Self) -> bool {
        let same = before.phases.is_none() || self.phases == before.phases;
        self.epoch == before.epoch.next() || (self.epoch == before.epoch && same)
    }

    /// The quorums, if this node has heard of them.
    #[must_use]
    pub const fn phases(&self) -> Option<&PaxosPhases> {
        self.phases.as_ref()
    }

    /// The voters in ascending order.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        self.phases.as_ref().map_or(&[], PaxosPhases::members)
    }

    /// The nodes that receive the log and do not vote, in ascending order.
    #[must_use]
    pub fn learners(&self) -> &[NodeId] {
        &self.learners
    }

    /// Whether `node` votes.
    #[must_use]
    pub fn is_voter(&self, node: NodeId) -> bool {
        self.voters().binary_search(&node).is_ok()
    }

    /// Whether `node` votes or listens.
    #[must_use]
    pub fn contains(&self, node: NodeId) -> bool {
        self.is_voter(node) || self.learners.binary_search(&node).is_ok()
    }

    /// Everyone but `node`, in ascending order.
    pub(crate) fn others(&self, node: NodeId) -> Vec<NodeId> {
        let all = self.voters().iter().chain(&self.learners);
        let mut all: Vec<NodeId> = all.copied().filter(|member| *member != node).collect();
        all.sort_unstable();
        all
    }

    /// The life of the storage that `node` votes with, if that was known when it became a voter.
    pub(crate) fn storage_of(&self, node: NodeId) -> Option<Generation> {
        let place = self.storages.binary_search_by_key(&node, |(node, _)| *node);
        place.ok().map(|place| self.storages[place].1)
    }

    /// This configuration after `change`; of new voters, `storages` are known.
    pub(crate) fn after(
        &self,
        change: &Change,
        storages: &[(NodeId, Generation)],
    ) -> Result<Self, Refusal> {
        let mut next = self.clone();
        match change {
            Change::AddLearner(node) if self.contains(*node) => {
                return Err(Refusal::BadChange {
                    node: *node,
                    rule: "is a member already",
                });
            }
            Change::AddLearner(node) => next.add_learner(*node),
            Change::RemoveLearner(node) => match self.learners.binary_search(node) {
                Ok(place) => {
                    next.learners.remove(place);
                }
                Err(_) => {
                    return Err(Refusal::BadChange {
                        node: *node,
                        rule: "is not a learner",
                    });
                }
            },
            Change::Voters(voters) => return self.with_voters(voters, storages),
            _ => return Err(Refusal::Unsupported("this kind of change")),
        }
        Ok(next)
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Version 1: the encoded quorums of phase 1, of phase 2 and of fast rounds, as far as known, then
/// the learners. Version 2 has the epoch and the voters' storages before them, and is for all but the founding
/// one, so that each membership has one encoding.
impl Encode for Membership {
    fn encode(&self, out: &mut BytesMut) {
        if self.epoch == Epoch(0) {
            1_u8.encode(out);
        } else {
            2_u8.encode(out);
            self.epoch.0.encode(out);
            self.storages.encode(out);
        }
        let bytes = |quorum: &Quorum| Bytes::from(quorum.encode());
        let phases = self.phases.as_ref();
        phases.map(|phases| bytes(phases.phase1())).encode(out);
        if let Some(phases) = phases {
            bytes(phases.phase2()).encode(out);
            phases.fast().map(bytes).encode(out);
        }
        self.learners.encode(out);
    }
}

impl Decode for Membership {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let what = "membership";
        let (epoch, storages) = match u8::decode(input)? {
            1 => (0, Vec::new()),
            2 => match u64::decode(input)? {
                0 | Ballot::LAST_ROUND.. => {
                    let why = "has an epoch that is none";
                    return Err(DecodeError::Invalid { what, why });
                }
                epoch => (epoch, Decode::decode(input)?),
            },
            found => {
                return Err(DecodeError::Version {
                    what,
                    found,
                    supported: 2,
                });
            }
        };
        let phases = match Option::<Bytes>::decode(input)? {
            None => None,
            Some(phase1) => {
                let (phase2, fast) = (Bytes::decode(input)?, Option::<Bytes>::decode(input)?);
                let phases = decode_phases(&phase1, &phase2, fast.as_ref());
                let why = "holds no quorum system of Paxos";
                Some(phases.ok_or(DecodeError::Invalid { what, why })?)
            }
        };
        let learners = Vec::<NodeId>::decode(input)?;
        let membership = Self {
            epoch: Epoch(epoch),
            phases,
            learners,
            storages,
        };
        let learners = membership.learners.as_slice();
        if !learners.is_sorted_by(|a, b| a < b) {
            let why = "names learners out of order";
            return Err(DecodeError::Invalid { what, why });
        }
        if learners.iter().any(|node| membership.is_voter(*node)) {
            let why = "names a node twice";
            return Err(DecodeError::Invalid { what, why });
        }
        let storages = membership.storages.as_slice();
        let of_voters = storages.iter().all(|(node, _)| membership.is_voter(*node));
        if !of_voters || !storages.is_sorted_by(|a, b| a.0 < b.0) {
            let why = "names storages of others than voters or out of order";
            return Err(DecodeError::Invalid { what, why });
        }
        Ok(membership)
    }
}

/// The quorums, their intersections proved anew; `None` for anything else than their one encoding.
fn decode_phases(phase1: &Bytes, phase2: &Bytes, fast: Option<&Bytes>) -> Option<PaxosPhases> {
    let one = Quorum::decode(phase1).ok()?;
    let two = Quorum::decode(phase2).ok()?;
    let fast = match fast {
        None => None,
        Some(fast) => Some(Quorum::decode(fast).ok()?),
    };
    let phases = match &fast {
        None => PaxosPhases::new(&one, &two).ok()?,
        Some(fast) => PaxosPhases::with_fast(&one, &two, fast).ok()?,
    };
    // Each over the members of all: there is one encoding.
    let whole = phases.phase1() == &one && phases.phase2() == &two;
    (whole && phases.fast() == fast.as_ref()).then_some(phases)
}

/// The configurations in a log: each is in force behind the slot that chose it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct History {
    /// In ascending order; never empty. The first is the one in force at the base of the log.
    steps: Vec<(LogIndex, Membership)>,
}

impl History {
    pub(crate) fn new(base: LogIndex, membership: Membership) -> Self {
        Self {
            steps: alloc::vec![(base, membership)],
        }
    }

    /// The one in force now.
    pub(crate) fn current(&self) -> &Membership {
        &self.steps.last().expect("a history is never empty").1
    }

    /// Which slot chose the one in force now.
    pub(crate) fn since(&self) -> LogIndex {
        self.steps.last().expect("a history is never empty").0
    }

    /// The one in force at `index`.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        let after = self.steps.partition_point(|(since, _)| *since <= index);
        &self.steps[after.saturating_sub(1)].1
    }

    pub(crate) fn push(&mut self, index: LogIndex, membership: Membership) {
        debug_assert!(index > self.since(), "configurations are chosen in order");
        self.steps.push((index, membership));
    }

    /// Forgets what was in force only before `through`.
    pub(crate) fn compact(&mut self, through: LogIndex) {
        let behind = self.steps.partition_point(|(since, _)| *since <= through);
        self.steps.drain(..behind.max(1) - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(phase1: u64, phase2: u64, fast: u64) -> bool {
        let count = |need: usize, nodes: u64| {
            let quorum = Quorum::count(need, (1..=nodes).map(NodeId));
            Bytes::from(quorum.expect("a count").encode())
        };
        let mut out = BytesMut::new();
        1_u8.encode(&mut out);
        Some(count(phase1 as usize, phase1)).encode(&mut out);
        count(1, phase2).encode(&mut out);
        Some(count(fast as usize, fast)).encode(&mut out);
        Vec::<NodeId>::new().encode(&mut out);
        Membership::decode_all(out.freeze()).is_ok()
    }

    /// Found by fuzzing: fast quorums over fewer members were taken, and written over all.
    #[test]
    fn a_membership_has_one_encoding() {
        assert!(decoded(4, 4, 4));
        for (phase1, phase2, fast) in [(3, 4, 4), (4, 3, 4), (4, 4, 3)] {
            assert!(!decoded(phase1, phase2, fast), "{phase1} {phase2} {fast}");
        }
    }
}
