//! What a proposer makes of answers.

use synod_core::NodeId;
use synod_quorum::{NodeSet, Quorum};

use super::{Phase, Proposer};
use crate::Ballot;
use crate::single::Vote;
use crate::single::node::Node;

impl Proposer {
    /// An acceptor promises (1b).
    pub(crate) fn on_promise(
        &mut self,
        node: &mut Node,
        from: NodeId,
        promised: Ballot,
        vote: Option<Vote>,
    ) {
        let Phase::Preparing {
            ballot, promises, ..
        } = &mut self.phase
        else {
            return;
        };
        if promised != *ballot {
            return;
        }
        promises.entry(from).or_insert(vote);
        self.advance(node);
    }

    /// An acceptor has voted (2b), and promised with it.
    pub(crate) fn on_accepted(
        &mut self,
        node: &mut Node,
        from: NodeId,
        vote: Vote,
        promised: Ballot,
    ) {
        self.seen = self.seen.max(vote.ballot);
        match &mut self.phase {
            Phase::Accepting { ballot, voted, .. } => {
                if vote.ballot == *ballot {
                    voted.insert(from);
                }
            }
            // It tells what a promise would tell: its last vote before this ballot, for as long as it
            // votes in no earlier one, which it has promised (Fast Paxos §3.2).
            Phase::Preparing {
                ballot, promises, ..
            } => {
                if vote.ballot < *ballot && *ballot <= promised {
                    promises.entry(from).or_insert(Some(vote));
                    self.advance(node);
                }
            }
            Phase::Open { ballot, votes, .. } => {
                let own = vote.ballot.proposer == node.id() && vote.ballot >= *ballot;
                let news = |last: &(Vote, Ballot)| last.0.ballot < vote.ballot;
                if own && votes.get(&from).is_none_or(news) {
                    votes.insert(from, (vote, promised));
                    self.hurry(node);
                }
            }
            Phase::Idle | Phase::Waiting | Phase::BackingOff => {}
        }
    }

    /// An acceptor has promised more. What was refused by so many that no quorum is left is given up.
    pub(crate) fn on_refused(
        &mut self,
        node: &mut Node,
        from: NodeId,
        refused: Ballot,
        promised: Ballot,
    ) {
        self.seen = self.seen.max(promised);
        if self.ballot() != Some(refused) {
            return;
        }
        let config = &node.config;
        let set = |nodes: &alloc::collections::BTreeSet<NodeId>| -> NodeSet {
            config.phases.phase1().set(nodes.iter().copied())
        };
        let blocked =
            |quorum: Option<&Quorum>, against| quorum.is_some_and(|q| q.is_blocked_by(against));
        let lost = match &mut self.phase {
            Phase::Preparing { against, .. } => {
                against.insert(from);
                blocked(Some(config.phases.phase1()), set(against))
            }
            Phase::Accepting {
                ballot, against, ..
            } => {
                against.insert(from);
                blocked(config.voters(*ballot), set(against))
            }
            Phase::Open { against, .. } => {
                against.insert(from);
                blocked(config.phases.fast(), set(against))
            }
            Phase::Idle | Phase::Waiting | Phase::BackingOff => false,
        };
        if lost {
            self.become_backing_off(node, refused);
        }
    }
}
