//! What must be true in every state, whatever the machines believe: counted from all votes that were
//! ever reported.

use std::collections::{BTreeMap, BTreeSet};

use synod_core::{Envelope, NodeId};
use synod_paxos::Ballot;
use synod_paxos::single::{Body, Message, ValueId};
use synod_quorum::PaxosPhases;

use crate::model::Breach;

/// All votes, by ballot and value.
#[derive(Default)]
pub(crate) struct Votes(BTreeMap<(Ballot, ValueId), BTreeSet<NodeId>>);

impl Votes {
    pub(crate) fn of<'a>(net: impl Iterator<Item = &'a Envelope<Message>>) -> Self {
        let mut votes = Self::default();
        for envelope in net {
            if let Body::Accepted { vote, .. } = &envelope.message.body {
                let key = (vote.ballot, vote.value.id);
                votes.0.entry(key).or_default().insert(envelope.from);
            }
        }
        votes
    }

    /// The values that are chosen, by the true quorums.
    pub(crate) fn chosen(&self, phases: &PaxosPhases) -> BTreeSet<ValueId> {
        let enough = |((ballot, _), voters): &(&(Ballot, ValueId), &BTreeSet<NodeId>)| {
            let quorum = if ballot.is_fast() {
                phases.fast()
            } else {
                Some(phases.phase2())
            };
            quorum.is_some_and(|quorum| quorum.is_quorum(quorum.set(voters.iter().copied())))
        };
        self.0
            .iter()
            .filter(enough)
            .map(|((_, id), _)| *id)
            .collect()
    }

    /// Agreement; a classic ballot has one value; an acceptor votes once in a ballot.
    pub(crate) fn check(&self, phases: &PaxosPhases) -> Result<BTreeSet<ValueId>, Breach> {
        let chosen = self.chosen(phases);
        if chosen.len() > 1 {
            return Err(Breach(format!("two values are chosen: {chosen:?}")));
        }
        let mut ballots = BTreeMap::new();
        for (ballot, id) in self.0.keys().filter(|(ballot, _)| !ballot.is_fast()) {
            if let Some(other) = ballots.insert(*ballot, *id) {
                return Err(Breach(format!("{ballot} has two values: {other} and {id}")));
            }
        }
        let mut seen = BTreeSet::new();
        for ((ballot, _), voters) in &self.0 {
            for voter in voters {
                if !seen.insert((*ballot, *voter)) {
                    return Err(Breach(format!("{voter} votes twice in {ballot}")));
                }
            }
        }
        Ok(chosen)
    }
}
