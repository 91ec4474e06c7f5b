//! How the cluster must come to rest once faults are over.

use synod_core::ReplicatedLog;

use super::{LogScene, Stage};
use crate::application::Application;
use crate::check::Breach;
use crate::subject::LogSubject;
use crate::world::MILLI;

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// How many operations each client still asks once faults are over.
    const AT_THE_END: u64 = 2;

    /// Faults are over: clients come to an end.
    pub(super) fn last_turns(&mut self, stage: &mut Stage<'_, S>) {
        let steady = stage.plan.work.clients as usize;
        for client in 0..self.clients.len() {
            let turns = if client < steady { Self::AT_THE_END } else { 0 };
            self.clients[client].turns = Some(turns);
            if self.clients[client].pending.is_none() {
                self.client_later(stage, client, 200 * MILLI);
            }
        }
    }

    /// Who must be there at the end: founding nodes that kept their disks, and learners; where the voters
    /// change, those that the leader knows.
    pub(super) fn core(&self, stage: &Stage<'_, S>) -> Vec<usize> {
        let leader = self.leader(stage).and_then(|i| stage.machine(i));
        let status = leader.map(ReplicatedLog::status);
        if let Some(status) = status.as_ref().filter(|_| stage.plan.voters_change) {
            let members = status.voters.iter().chain(&status.learners);
            return members.filter_map(|id| stage.place(*id)).collect();
        }
        let learners = status.map(|status| status.learners);
        let learners = learners.unwrap_or_default();
        let counts = |i: &usize| {
            let id = stage.id(*i);
            let whole = stage.stored[*i].lost == 0;
            whole && (*i < stage.plan.voters || learners.contains(&id))
        };
        (0..stage.size()).filter(counts).collect()
    }

    /// What is not done yet.
    pub(super) fn is_not_done(&self, stage: &Stage<'_, S>) -> Option<String> {
        let last = self.ledger.last();
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            let pending = &self.clients[client].pending;
            return Some(format!("c{client} waits for {pending:?}"));
        }
        for i in self.core(stage) {
            let id = stage.id(i);
            let (Some(log), Some(replica)) = (stage.machine(i), &self.replicas[i]) else {
                return Some(format!("{id} is down"));
            };
            let status = log.status();
            if (status.committed, status.applied) != (last, last) {
                return Some(format!("{id} is behind {last}: {status:?}"));
            }
            if !replica.tickets.is_empty() {
                let tickets = &replica.tickets;
                return Some(format!("{id} has not resolved {tickets:?}"));
            }
        }
        None
    }

    /// Once everything is done, all nodes must be alike.
    pub(super) fn compare(&self, stage: &mut Stage<'_, S>) {
        let expected = self.reference.snapshot();
        let differs = |i: &usize| {
            let replica = self.replicas[*i].as_ref();
            let replica = replica.filter(|_| stage.machine(*i).is_some());
            replica.is_some_and(|replica| replica.machine.snapshot() != expected)
        };
        if let Some(i) = self.core(stage).into_iter().find(differs) {
            let evidence = format!("{} differs at {}", stage.id(i), self.ledger.last());
            stage.fail(Breach::new("all state machines end alike", evidence));
        }
    }
}
