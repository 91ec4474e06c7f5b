//! What time brings: timers, and the end of a round of the election.

use super::{MultiPaxos, Role};
use crate::log::elect::Standing;

impl MultiPaxos {
    /// Fires what is due.
    pub(super) fn on_tick(&mut self) {
        self.expire_forwards();
        self.node.tick();
        self.quorum_reads.tick(&mut self.node);
        self.handover.tick(&mut self.node);
        if !matches!(self.role, Role::Leader(_)) {
            self.node.lose_touch();
        }
        match &mut self.role {
            Role::Leader(leader) => {
                if leader.tick(&self.node)
                    && let Some(why) = leader.watch_fast(&mut self.node)
                {
                    // Slots that are open stay so for the leadership: classic rounds need another.
                    self.node.pause_fast();
                    self.take_over(why);
                }
            }
            Role::Follower(follower) => follower.tick(&mut self.node),
            Role::Candidate(_) => {}
        }
        self.resend_offers();
        if self.node.is_voter() && self.node.now >= self.election.ends {
            self.end_round();
        }
    }

    /// A round of the election is over.
    fn end_round(&mut self) {
        let stuck = match &mut self.role {
            Role::Candidate(candidate) => candidate.is_stuck(&self.node),
            Role::Follower(_) | Role::Leader(_) => false,
        };
        let standing = match &self.role {
            Role::Candidate(_) if stuck => Standing::No,
            Role::Follower(_) => Standing::No,
            Role::Candidate(_) => Standing::Preparing,
            Role::Leader(_) => Standing::Leading,
        };
        // One that is stuck is not content, so that others take over; another ballot of its own would
        // be as stuck.
        let free = !stuck && !self.node.is_bound(self.node.id());
        let node = &self.node;
        let takes_over = if self.election.judge(node, standing) {
            !self.election.lets_others_go_first(node, standing) && free
        } else {
            self.election.calm();
            false
        };
        if takes_over {
            self.take_over(match standing {
                Standing::Leading if self.election.content => {
                    "a voter that hears no leader has promised a higher ballot"
                }
                Standing::Leading | Standing::Preparing | Standing::No => {
                    "nobody leads whom it hears"
                }
            });
        } else if !self.election.content {
            match &self.role {
                Role::Leader(_) => self.become_follower(None, "lost touch with a quorum"),
                Role::Follower(_) if self.node.leader.is_some() => {
                    self.become_follower(None, "heard of no leader in time");
                }
                Role::Follower(_) | Role::Candidate(_) => {}
            }
        }
        self.prefer(standing);
        self.election.begin(&mut self.node);
        if let Role::Candidate(candidate) = &mut self.role
            && !takes_over
        {
            // A question, or the answer, was lost.
            candidate.ask_all(&mut self.node);
            self.lead_if_done();
        }
    }

    /// A leader hands over to one of a higher priority.
    fn prefer(&mut self, standing: Standing) {
        let node = &mut self.node;
        let Role::Leader(leader) = &mut self.role else {
            return;
        };
        let (least, peers) = (node.chosen.max(leader.recovered), &leader.peers);
        let apt = |id| {
            let peer = peers.iter().find(|peer| peer.id == id);
            peer.is_some_and(|peer| peer.linked && peer.acked.through() >= least)
        };
        if let Some(heir) = self.election.heir(node, standing, apt) {
            leader.hand_over(node, heir);
        }
    }
}
