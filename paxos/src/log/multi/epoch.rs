//! From one epoch to the next: which messages count, and what becomes of the roles (`stop.rs`).

use synod_core::NodeId;

use super::{MultiPaxos, Role};
use crate::log::Epoch;
use crate::log::handover::Handover;
use crate::log::message::{Body, Message};
use crate::log::planted::planted;

/// Who a message is meant for, by epoch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Meant {
    /// It asks for what only those of its epoch may say or do.
    Question,
    /// It tells, or asks for itself, what counts within its epoch alone.
    Within,
    /// What is chosen, and what is asked for clients: in whichever epoch.
    Anyone,
}

const fn meant(body: &Body) -> Meant {
    match body {
        // Voters of an epoch that is over cannot tell what was chosen behind it: a quorum read asks those
        // who are in its own.
        Body::Ask { .. } | Body::Prepare { .. } | Body::Accept(_) | Body::QuorumRead { .. } => {
            Meant::Question
        }
        Body::Fetch { votes, .. } => {
            if *votes {
                Meant::Question
            } else {
                Meant::Anyone
            }
        }
        Body::Beat { .. }
        | Body::TakeOver
        | Body::Promise(_)
        | Body::Nack
        | Body::QuorumReadAt { .. }
        | Body::Lease { .. }
        | Body::Granted { .. }
        | Body::Offer(_)
        | Body::Voted(_)
        | Body::Accepted { .. } => Meant::Within,
        // Of a page of another epoch nothing is taken but what is chosen.
        Body::Page(_)
        | Body::Piece(_)
        | Body::Propose { .. }
        | Body::Proposed { .. }
        | Body::Read { .. }
        | Body::ReadAt { .. }
        | Body::Fill { .. }
        | Body::Stranger { .. } => Meant::Anyone,
    }
}

impl MultiPaxos {
    /// Whether a message may be acted on here. What is chosen is told to who is in an earlier epoch, and
    /// fetched from who is in a later one; nothing else is made of what they say, and they ask again.
    pub(super) fn is_of_epoch(&mut self, from: NodeId, message: &Message) -> bool {
        let (here, there) = (self.node.epoch(), message.epoch);
        let meant = meant(&message.body);
        if there == here {
            let counts = meant == Meant::Anyone || !self.node.is_impostor();
            if !counts {
                self.node.drop_message();
            }
            return counts;
        }
        if there > here {
            self.fall_behind(from, there);
            let breach =
                planted!(self.node, AcceptsUnchosenStop) && matches!(message.body, Body::Accept(_));
            return meant == Meant::Anyone || breach;
        }
        if meant == Meant::Question {
            // Safe before any write: whatever is said, it names this epoch, which is chosen.
            self.node.send_now(from, Body::Nack);
        }
        meant == Meant::Anyone
    }

    /// Others are in a later epoch: the stop-sign of this one is chosen. Nothing can be prepared or
    /// proposed here any more; what is chosen is fetched.
    fn fall_behind(&mut self, from: NodeId, epoch: Epoch) {
        match &self.role {
            Role::Leader(_) | Role::Candidate(_) => {
                self.become_follower(None, "others are in a later configuration");
            }
            Role::Follower(_) => {}
        }
        if let Role::Follower(follower) = &mut self.role {
            follower.fall_behind(&mut self.node, from, epoch);
        }
    }

    /// Does what follows from configurations that have come into force.
    ///
    /// A leader of the epoch that has ended prepares a new ballot in the next one. To go on with its own
    /// without phase 1 would be safe only behind a stop-sign that this ballot has proposed first: then
    /// nobody can have voted in the next epoch before this node knows it to be chosen. A stop-sign that
    /// it has found may have been known to be chosen before, and others may have chosen behind
    /// it. And the next voters have promised it nothing.
    pub(crate) fn follow_configuration(&mut self) {
        let epoch = self.node.epoch();
        if self.node.stopped {
            return;
        }
        if epoch == self.epoch {
            if let Role::Leader(leader) = &mut self.role {
                leader.follow_changes(&mut self.node);
            }
            return;
        }
        self.epoch = epoch;
        self.node.leave_leases();
        self.handover = Handover::new(&self.node);
        let (mut goes_on, mut successor) = (false, None);
        match &mut self.role {
            Role::Leader(leader) => {
                leader.last_word(&mut self.node);
                goes_on = true;
                successor = leader.successor(&self.node);
            }
            Role::Candidate(_) => goes_on = true,
            Role::Follower(_) => {}
        }
        self.election.enter(&mut self.node);
        if goes_on && self.node.is_voter() {
            return self.become_candidate("goes on in the next configuration");
        }
        self.become_follower(None, "the voters have changed");
        if let Some(to) = successor {
            // Safe before any write: who prepares asks for promises that are. If this is lost, the
            // voters' next election finds somebody.
            self.node.send_now(to, Body::TakeOver);
        }
    }
}
