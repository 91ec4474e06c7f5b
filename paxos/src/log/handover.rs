//! A node that is in no configuration any more makes sure that the voters know theirs.
//!
//! Who leads an epoch is the first to know that its stop-sign is chosen, and perhaps the only one: if the
//! next voters leave it out, it must not go before they know for good, or nobody would ever tell them. So whoever
//! finds itself left out asks the voters until a quorum of phase 1 has answered from within their
//! epoch: of a majority that is there, one knows then. Those that are not in it yet see that the question
//! is, and fetch what they lack.

use alloc::vec::Vec;

use synod_core::{Instant, NodeId, Round};

use super::message::Body;
use super::node::Node;
use super::{Detail, Epoch};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Handover {
    epoch: Epoch,
    /// Voters that have spoken from within it.
    heard: Vec<NodeId>,
    /// When the others are asked, until a quorum has.
    due: Option<Instant>,
}

impl Handover {
    /// Begins, if this node is in no configuration that it knows of.
    pub(crate) fn new(node: &Node) -> Self {
        let membership = node.membership();
        let out = !membership.voters().is_empty() && !membership.contains(node.id());
        Self {
            epoch: node.epoch(),
            heard: Vec::new(),
            due: out.then_some(node.now),
        }
    }

    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self.due.is_none_or(|due| due > node.now) {
            return;
        }
        self.due = Some(node.now + node.config.timing.round);
        for voter in node.membership().voters().to_vec() {
            if !self.heard.contains(&voter) {
                // Safe before any write: a question promises nothing, and what it says of the epoch
                // is chosen.
                node.send_now(voter, Body::Ask { round: Round(0) });
            }
        }
    }

    /// A node knows durably that this epoch has begun.
    pub(crate) fn on_beat(&mut self, node: &mut Node, from: NodeId) {
        let Some(phases) = node.membership().phases().filter(|_| self.due.is_some()) else {
            return node.drop_message();
        };
        if self.heard.contains(&from) || !node.membership().is_voter(from) {
            return;
        }
        self.heard.push(from);
        let heard = phases.phase1().set(self.heard.iter().copied());
        if phases.phase1().is_quorum(heard) {
            self.due = None;
            let index = node.history.since();
            node.detail(Detail::LeftOut { index });
        }
    }
}
