//! The coordinator of a fast ballot: opens it, sees that it comes to nothing, and recovers.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::{Phase, Proposer};
use crate::Ballot;
use crate::single::node::Node;
use crate::single::{Body, Event, Recovery, ValueId};

impl Proposer {
    /// Phase 2a "any": acceptors may vote for what comes from clients.
    pub(super) fn become_open(&mut self, node: &mut Node, ballot: Ballot) {
        self.phase = Phase::Open {
            ballot,
            votes: BTreeMap::new(),
            against: BTreeSet::new(),
        };
        // Until somebody wants something there is nothing to wait for.
        self.deadline = None;
        for to in node.config.acceptors().to_vec() {
            node.request(to, Body::Any { ballot });
        }
        self.hurry(node);
    }

    /// A fast ballot that somebody votes in, or wants to, must come to an end: in time, or as soon as
    /// nothing can be chosen in it any more.
    pub(super) fn hurry(&mut self, node: &mut Node) {
        let Phase::Open {
            ballot,
            votes,
            against,
        } = &self.phase
        else {
            return;
        };
        if votes.is_empty() && self.wanted.is_empty() {
            return;
        }
        if self.deadline.is_none() {
            self.deadline = Some(node.now + node.config.timing.round);
        }
        let last = votes.values().map(|(vote, _)| vote.ballot).max();
        let last = last.unwrap_or(*ballot);
        let of_last = votes.iter().filter(|(_, (vote, _))| vote.ballot == last);
        let of_last = of_last.map(|(node, (vote, _))| (*node, vote));
        let alive = |id| node.reaches(id) && !against.contains(&id);
        if !node.config.is_hopeless(of_last.clone(), alive) {
            return;
        }
        // The acceptors see to the first collision, where that is how it is done; time limits them.
        let theirs = node.config.recovery == Recovery::Uncoordinated && last == *ballot;
        if theirs && node.config.is_hopeless(of_last, |_| true) {
            return;
        }
        self.recover(node);
    }

    /// Coordinated recovery (*Fast Paxos*, §3.2): a classic ballot, for which the votes of the fast
    /// one are promises where they promise enough. Those who have not voted are asked, unless that
    /// suffices.
    pub(super) fn recover(&mut self, node: &mut Node) {
        let Phase::Open { ballot, votes, .. } = &self.phase else {
            return;
        };
        let last = votes.values().map(|(vote, _)| vote.ballot).max();
        let ballot = last.unwrap_or(*ballot);
        let values: Vec<ValueId> = {
            let ids = votes.values().map(|(vote, _)| vote.value.id);
            ids.collect::<BTreeSet<_>>().into_iter().collect()
        };
        let next = self.recovery_ballot(node);
        let promises = votes
            .iter()
            .filter(|(_, (vote, promised))| vote.ballot < next && next <= *promised)
            .map(|(node, (vote, _))| (*node, Some(vote.clone())))
            .collect();
        node.tell(Event::Collided { ballot, values });
        self.slow = true;
        self.open(node, next, promises);
    }

    /// The classic ballot that was put aside when the fast one was opened, unless there is a higher
    /// one.
    fn recovery_ballot(&self, node: &Node) -> Ballot {
        if self.seen > self.used || self.used.is_fast() {
            self.used.max(self.seen).next_classic(node.id())
        } else {
            self.used
        }
    }
}
