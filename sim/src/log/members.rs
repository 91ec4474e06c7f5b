//! What goes wrong among clients and members.

use synod_core::{Change, ReplicatedLog, Rng};

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

    /// Whoever leads is asked to add or remove a learner.
    pub(super) fn change_learners(&mut self, stage: &mut Stage<'_, S>, rng: &mut Rng) {
        let (Some(leader), size) = (self.leader(stage), stage.size()) else {
            return;
        };
        let spare = rng.within(stage.plan.voters as u64, size as u64 - 1) as usize;
        let now = stage.local(leader);
        let id = stage.id(spare);
        let Some(log) = stage.machine_mut(leader) else {
            return;
        };
        let change = if log.status().learners.contains(&id) {
            Change::RemoveLearner(id)
        } else {
            Change::AddLearner(id)
        };
        match log.reconfigure(now, change.clone()) {
            Ok(ticket) => {
                stage.strike("learners changed");
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
