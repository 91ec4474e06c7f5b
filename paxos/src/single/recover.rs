//! What a new ballot may propose: the rule that the safety of Paxos rests on.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::NodeId;
use synod_quorum::NodeSet;

use super::planted::planted;
use super::{Config, Value, ValueId, Vote};

/// What the promises of a phase-1 quorum leave to the proposer of a ballot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Pick {
    /// Nobody has voted: any value, its own.
    Free,
    /// This value may have been chosen: it and no other.
    Bound(Value),
    /// Acceptors have voted in a fast ballot and no value can have been chosen in it. This is the
    /// one with the most votes, and is to be proposed: where several were voted for, no earlier ballot
    /// has chosen any and every value would do, but where it is the only one, an earlier ballot may
    /// have chosen it (*Fast Paxos*, §2.2: "if *V* contains a single element").
    Open(Value),
}

impl Pick {
    /// The value, if there is one.
    #[must_use]
    pub fn into_value(self) -> Option<Value> {
        match self {
            Self::Free => None,
            Self::Bound(value) | Self::Open(value) => Some(value),
        }
    }
}

impl Config {
    /// What a ballot may propose whose promises are these: the acceptors that have replied, each with
    /// its last vote before the ballot. They must be a phase-1 quorum.
    ///
    /// Only the highest ballot in which anybody voted counts (*Paxos Made Simple*, §2.2, P2c). If it
    /// is classic, it has one value. If it is fast, a value may have been chosen there if some fast
    /// quorum voted for it as far as the replies can tell (*Fast Paxos*, §2.2, observation 4, the
    /// rule for O4(v)): counted from the replies that there are, not from the least that would do.
    #[must_use]
    pub fn pick(&self, replies: &BTreeMap<NodeId, Option<Vote>>) -> Pick {
        let votes = last_votes(replies);
        let Some(first) = votes.first() else {
            return Pick::Free;
        };
        if !first.ballot.is_fast() || planted!(self, FastVotesAsClassic) {
            return Pick::Bound(first.value.clone());
        }
        if let Some(value) = self.choosable(replies).into_iter().next() {
            return Pick::Bound(value);
        }
        let backers = |id: ValueId| votes.iter().filter(|vote| vote.value.id == id).count();
        // One that was voted for, never another: a single one may be bound by what lies below. Of
        // equals the first by name, so that all who hear the same choose the same.
        let best = votes
            .iter()
            .map(|vote| &vote.value)
            .max_by_key(|value| (backers(value.id), core::cmp::Reverse(value.id)));
        best.map_or(Pick::Free, |value| Pick::Open(value.clone()))
    }

    /// The values that may have been chosen in the highest ballot that these replies tell of, if
    /// that is a fast one: of a phase-1 quorum's replies at most one.
    #[must_use]
    pub fn choosable(&self, replies: &BTreeMap<NodeId, Option<Vote>>) -> Vec<Value> {
        let votes = last_votes(replies);
        let Some(last) = votes.first().map(|vote| vote.ballot) else {
            return Vec::new();
        };
        let replied = self.phases.phase1().set(replies.keys().copied());
        let mut values: Vec<&Value> = Vec::new();
        for vote in &votes {
            if values.iter().all(|value| value.id != vote.value.id) {
                values.push(&vote.value);
            }
        }
        values.sort_by_key(|value| value.id);
        values.retain(|value| {
            let voted = replies.iter().filter(|(_, vote)| {
                let vote = vote.as_ref();
                vote.is_some_and(|vote| vote.ballot == last && vote.value.id == value.id)
            });
            let voted = self.phases.phase1().set(voted.map(|(node, _)| *node));
            self.is_choosable(replied, voted)
        });
        values.into_iter().cloned().collect()
    }

    /// Whether no value can be chosen in a fast ballot any more, of which these are the votes, when
    /// only those that are `alive` will still vote.
    pub(crate) fn is_hopeless<'a>(
        &self,
        votes: impl Iterator<Item = (NodeId, &'a Vote)>,
        alive: impl Fn(NodeId) -> bool,
    ) -> bool {
        let mut voted = NodeSet::EMPTY;
        let mut values: Vec<(ValueId, NodeSet)> = Vec::new();
        for (node, vote) in votes {
            let Some(position) = self.position(node) else {
                continue;
            };
            voted.insert(position);
            match values.iter_mut().find(|(id, _)| *id == vote.value.id) {
                Some((_, set)) => {
                    set.insert(position);
                }
                None => values.push((vote.value.id, NodeSet::single(position))),
            }
        }
        let all = self.phases.phase1();
        let living = all.set(self.acceptors().iter().copied().filter(|node| alive(*node)));
        let silent = living - voted;
        !self.is_fast_quorum(silent)
            && !values
                .iter()
                .any(|(_, set)| self.is_fast_quorum(*set | silent))
    }
}

/// The votes of the highest ballot.
fn last_votes(replies: &BTreeMap<NodeId, Option<Vote>>) -> Vec<&Vote> {
    let votes = replies.values().flatten();
    let last = votes.clone().map(|vote| vote.ballot).max();
    votes.filter(|vote| Some(vote.ballot) == last).collect()
}
