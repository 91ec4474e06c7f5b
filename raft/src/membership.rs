//! Who votes and who only listens, as pure values.

use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use synod_core::{Change, Decode, DecodeError, Encode, LogIndex, NodeId, Refusal};
use synod_quorum::Phases;

use crate::ConfigError;

/// A configuration: the voters with their quorums, and the learners.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Membership {
    /// `None` on a node that joins and has not yet heard who votes.
    phases: Option<Phases>,
    learners: Vec<NodeId>,
}

impl Membership {
    /// What a joining node knows: nothing.
    pub(crate) const fn unknown() -> Self {
        Self {
            phases: None,
            learners: Vec::new(),
        }
    }

    pub(crate) fn majority(voters: Vec<NodeId>) -> Result<Phases, ConfigError> {
        Phases::majority(voters).map_err(|error| ConfigError::Voters(error.to_string()))
    }

    pub(crate) fn founding(phases: Phases, learners: Vec<NodeId>) -> Result<Self, ConfigError> {
        let mut membership = Self {
            phases: Some(phases),
            learners: Vec::new(),
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

    /// The quorums, if this node has heard of them.
    #[must_use]
    pub const fn phases(&self) -> Option<&Phases> {
        self.phases.as_ref()
    }

    /// The voters in ascending order.
    #[must_use]
    pub fn voters(&self) -> &[NodeId] {
        self.phases.as_ref().map_or(&[], Phases::members)
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
        let mut all: Vec<NodeId> = self
            .voters()
            .iter()
            .chain(&self.learners)
            .copied()
            .collect();
        all.sort_unstable();
        all.retain(|member| *member != node);
        all
    }

    /// This configuration after `change`.
    pub(crate) fn after(&self, change: &Change) -> Result<Self, Refusal> {
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
            _ => return Err(Refusal::Unsupported("a change of the voters")),
        }
        Ok(next)
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Version 1: the encoded quorums, if known, then the learners.
impl Encode for Membership {
    fn encode(&self, out: &mut BytesMut) {
        1_u8.encode(out);
        self.phases
            .as_ref()
            .map(|phases| Bytes::from(phases.encode()))
            .encode(out);
        self.learners.encode(out);
    }
}

impl Decode for Membership {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let found = u8::decode(input)?;
        if found != 1 {
            return Err(DecodeError::Version {
                what: "membership",
                found,
                supported: 1,
            });
        }
        let phases = match Option::<Bytes>::decode(input)? {
            None => None,
            Some(bytes) => Some(Phases::decode(&bytes).map_err(|_| DecodeError::Invalid {
                what: "membership",
                why: "holds no quorum system",
            })?),
        };
        let learners = Vec::<NodeId>::decode(input)?;
        let membership = Self { phases, learners };
        let learners = membership.learners.as_slice();
        if !learners.is_sorted_by(|a, b| a < b) {
            return Err(DecodeError::Invalid {
                what: "membership",
                why: "names learners out of order",
            });
        }
        if learners.iter().any(|node| membership.is_voter(*node)) {
            return Err(DecodeError::Invalid {
                what: "membership",
                why: "names a node twice",
            });
        }
        Ok(membership)
    }
}

/// The configurations in a log: each is in force from the moment it is appended and is rolled back
/// with a truncated tail (dissertation §4.1).
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

    /// Where the one in force now was appended.
    pub(crate) fn since(&self) -> LogIndex {
        self.steps.last().expect("a history is never empty").0
    }

    /// The one in force at `index`.
    pub(crate) fn at(&self, index: LogIndex) -> &Membership {
        let after = self.steps.partition_point(|(since, _)| *since <= index);
        &self.steps[after.saturating_sub(1)].1
    }

    pub(crate) fn push(&mut self, index: LogIndex, membership: Membership) {
        debug_assert!(index > self.since(), "configurations are appended in order");
        self.steps.push((index, membership));
    }

    /// Forgets what was appended at `from` or later; says whether that was anything.
    pub(crate) fn truncate(&mut self, from: LogIndex) -> bool {
        let keep = self
            .steps
            .partition_point(|(since, _)| *since < from)
            .max(1);
        let changed = keep < self.steps.len();
        self.steps.truncate(keep);
        changed
    }

    /// Forgets what was in force only before `through`.
    pub(crate) fn compact(&mut self, through: LogIndex) {
        let keep = self
            .steps
            .partition_point(|(since, _)| *since <= through)
            .max(1)
            - 1;
        self.steps.drain(..keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(learners: &[u64]) -> Result<Membership, DecodeError> {
        let mut out = BytesMut::new();
        1_u8.encode(&mut out);
        None::<Bytes>.encode(&mut out);
        let learners: Vec<NodeId> = learners.iter().copied().map(NodeId).collect();
        learners.encode(&mut out);
        Membership::decode_all(out.freeze())
    }

    #[test]
    fn a_membership_has_one_encoding() {
        assert!(decoded(&[2, 5]).is_ok());
        for learners in [&[5, 2][..], &[2, 2]] {
            let refused = decoded(learners).map_err(|error| error.to_string());
            let why = "membership: names learners out of order";
            assert_eq!(refused, Err(why.into()), "{learners:?}");
        }
    }

    /// A history of learners 1, 2 and 3, added at i2, i4 and i6.
    fn history() -> History {
        let mut history = History::new(LogIndex(0), Membership::unknown());
        for learner in 1..=3 {
            let mut next = history.current().clone();
            next.add_learner(NodeId(learner));
            history.push(LogIndex(2 * learner), next);
        }
        history
    }

    #[test]
    fn a_history_forgets_what_is_no_longer_in_force() {
        for (through, steps) in [(0, 4), (1, 4), (2, 3), (3, 3), (4, 2), (6, 1), (9, 1)] {
            let mut short = history();
            short.compact(LogIndex(through));
            assert_eq!(short.steps.len(), steps, "compacted through i{through}");
            for index in through..=9 {
                let index = LogIndex(index);
                assert_eq!(short.at(index), history().at(index), "at {index}");
            }
        }
    }

    #[test]
    fn a_history_goes_back_with_the_log() {
        for (from, learners) in [(7, 3), (6, 2), (5, 2), (4, 1), (2, 0), (1, 0)] {
            let mut short = history();
            let changed = short.truncate(LogIndex(from));
            assert_eq!(changed, learners < 3, "truncated from i{from}");
            assert_eq!(short.current().learners().len(), learners);
            assert_eq!(short.since(), LogIndex(2 * learners as u64));
        }
    }
}
