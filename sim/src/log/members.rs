//! What goes wrong among clients and members.

use synod_core::{Change, NodeId, ReplicatedLog, Rng, Status};

use super::{LogScene, Stage};
use crate::application::Application;
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};
use crate::world::MILLI;

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// Many clients ask at once, maybe one node, more than limits allow.
    pub(super) fn many_ask(
        &mut self,
        stage: &mut Stage<'_, S>,
        node: Option<usize>,
        rng: &mut Rng,
    ) {
        stage.strike("bursts");
        let steady = stage.plan.work.clients as usize;
        for client in steady..self.clients.len() {
            if self.clients[client].is_done() {
                self.clients[client].turns = Some(rng.within(1, 3));
                self.clients[client].hint = node;
                self.client_later(stage, client, 2 * MILLI);
            }
        }
    }

    /// Whoever leads is asked to add or remove a learner; or, where they may change, to let others vote.
    pub(super) fn change_members(&mut self, stage: &mut Stage<'_, S>, rng: &mut Rng) {
        let (Some(leader), size) = (self.leader(stage), stage.size()) else {
            return;
        };
        let first = if stage.plan.voters_change {
            0
        } else {
            stage.plan.voters as u64
        };
        let spare = rng.within(first, size as u64 - 1) as usize;
        let now = stage.local(leader);
        let id = stage.id(spare);
        let voters_change = stage.plan.voters_change;
        let Some(log) = stage.machine_mut(leader) else {
            return;
        };
        let change = if voters_change {
            change_of(&log.status(), id, rng)
        } else if log.status().learners.contains(&id) {
            Change::RemoveLearner(id)
        } else {
            Change::AddLearner(id)
        };
        match log.reconfigure(now, change.clone()) {
            Ok(ticket) => {
                stage.strike(match change {
                    Change::Voters(_) => "voters changed",
                    _ => "learners changed",
                });
                note!(
                    stage,
                    Who::Node(leader),
                    What::Detail,
                    "is asked: {change:?}"
                );
                self.expect_nobody(stage, leader, ticket);
            }
            Err(_) => stage.marks.add("learner changes refused"),
        }
        stage.stir(leader);
    }

    /// Whoever leads is asked to hand over to this node.
    pub(super) fn transfer(&self, stage: &mut Stage<'_, S>, node: usize) {
        let leader = self.leader(stage).unwrap_or(node);
        let (now, to) = (stage.local(leader), stage.id(node));
        if let Some(log) = stage.machine_mut(leader) {
            let asked = log.transfer(now, to).is_ok();
            stage.marks.add(if asked {
                "transfers asked"
            } else {
                "transfers refused"
            });
            stage.stir(leader);
        }
    }
}

/// A change that is about `id`, or about several at once. A node that does not vote is a learner before it
/// does.
fn change_of(status: &Status, id: NodeId, rng: &mut Rng) -> Change {
    let voters = &status.voters;
    if rng.chance(200_000) {
        // Any of those that may: one at least.
        let mut members = [&voters[..], &status.learners[..]].concat();
        rng.shuffle(&mut members);
        members.truncate(rng.within(1, 5) as usize);
        return Change::Voters(members);
    }
    if voters.contains(&id) {
        return Change::Voters(
            voters
                .iter()
                .copied()
                .filter(|voter| *voter != id)
                .collect(),
        );
    }
    if !status.learners.contains(&id) {
        return Change::AddLearner(id);
    }
    if rng.chance(250_000) {
        return Change::RemoveLearner(id);
    }
    // Beside the others, or in the place of one of them.
    let mut next = voters.clone();
    if rng.chance(500_000) && !next.is_empty() {
        next.remove(rng.below(next.len() as u64) as usize);
    }
    next.push(id);
    Change::Voters(next)
}
