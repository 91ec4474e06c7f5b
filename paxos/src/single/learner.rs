//! The learner: counts votes until a value is chosen, and asks if it hears too little.

use alloc::collections::BTreeMap;

use synod_core::{Instant, NodeId};
use synod_quorum::NodeSet;

use super::node::Node;
use super::planted::planted;
use super::{Body, Config, Value, Vote};

/// How often the time that a learner waits doubles.
const DOUBLINGS: u32 = 6;

/// The learner of one node (*Paxos Made Simple*, §2.3).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Learner {
    /// The last vote of each acceptor that it has heard of. An acceptor's votes rise, and what was
    /// chosen by earlier ones is what later ones are for.
    votes: BTreeMap<NodeId, Vote>,
    /// When it asks, unless it has learned by then.
    pub(crate) deadline: Option<Instant>,
    /// How often it has asked.
    asked: u32,
}

impl Learner {
    /// Counts a vote; the value if that was the last one wanted: a quorum of acceptors, each once,
    /// for the same value in the same ballot.
    pub(crate) fn count(&mut self, config: &Config, from: NodeId, vote: Vote) -> Option<Value> {
        let mut place = from;
        if planted!(config, CountTwice) && self.votes.get(&from) == Some(&vote) {
            let free = |node: &&NodeId| !self.votes.contains_key(node);
            place = config.acceptors().iter().find(free).copied()?;
        }
        if self
            .votes
            .get(&place)
            .is_some_and(|last| last.ballot >= vote.ballot)
        {
            return None;
        }
        let (ballot, id) = (vote.ballot, vote.value.id);
        self.votes.insert(place, vote);
        let alike = |vote: &Vote| vote.ballot == ballot && vote.value.id == id;
        let voted = self.votes.iter().filter(|(_, vote)| alike(vote));
        let voted: NodeSet = config.phases.phase1().set(voted.map(|(node, _)| *node));
        if !config.is_chosen(ballot, voted) {
            return None;
        }
        let vote = self.votes.values().find(|vote| alike(vote));
        vote.map(|vote| vote.value.clone())
    }

    /// Something is going on, or the application wants to know: if it comes to nothing, it asks.
    pub(crate) fn expect(&mut self, node: &Node) {
        let wait = node.config.timing.learn;
        // In an exploration it is asked for by hand: how often it has asked would make the space
        // infinite.
        if self.deadline.is_none() && node.chosen.is_none() && !wait.is_zero() {
            self.deadline = Some(node.now + wait);
        }
    }

    /// A value was chosen.
    pub(crate) fn done(&mut self) {
        *self = Self::default();
    }

    /// Asks: first what was chosen and what the acceptors voted for, and if that decides nothing for
    /// a new ballot (§2.3, end: "it can have a proposer issue a proposal"). It never guesses. The
    /// proposer to be asked, if that is one of this node.
    pub(crate) fn tick(&mut self, node: &mut Node) -> bool {
        if self.deadline.is_none_or(|at| at > node.now) {
            return false;
        }
        let turn = self.asked;
        self.asked = turn.wrapping_add(1);
        let wait = node.config.timing.learn * (1 << turn.min(DOUBLINGS));
        self.deadline = Some(node.now + wait);
        if turn.is_multiple_of(2) {
            self.ask(node);
            return false;
        }
        let proposer = Self::proposer(&node.config, turn / 2);
        if proposer == node.id() {
            return true;
        }
        node.send(proposer, Body::Complete);
        false
    }

    fn ask(&self, node: &mut Node) {
        let mut asked = node.config.acceptors().to_vec();
        asked.extend(&node.config.learners);
        asked.sort_unstable();
        asked.dedup();
        for peer in asked {
            // Not itself: its own acceptor has told it already.
            node.send(peer, Body::Ask);
        }
    }

    /// Whom to ask for a ballot at the `turn`-th time: the distinguished proposer, then the others in
    /// turn.
    fn proposer(config: &Config, turn: u32) -> NodeId {
        let first = config.distinguished;
        let others = config.proposers.iter().filter(|node| Some(**node) != first);
        let all: alloc::vec::Vec<_> = first.iter().chain(others).collect();
        *all[turn as usize % all.len()]
    }
}
