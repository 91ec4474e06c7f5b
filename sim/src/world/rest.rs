//! How faults end, and how the cluster must come to rest.

use synod_core::ReplicatedLog;

use super::{END_AT, Happening, MILLI, REST_BY, World};
use crate::application::Application;
use crate::check::Breach;
use crate::subject::Subject;
use crate::trace::{What, Who, note};

impl<S: Subject, A: Application> World<'_, S, A> {
    /// Faults are over: everything heals but the disks that are lost, and the cluster must come to
    /// rest. Networks, disks and state machines are no slower than usual from now on.
    pub(super) fn calm_down(&mut self) {
        note!(self, Who::World, What::Fault, "FAULTS ARE OVER");
        self.calm = true;
        self.network.clear();
        self.plan.network.delay = self.plan.network.delay.at_most(20 * MILLI);
        self.plan.disk.write = self.plan.disk.write.at_most(5 * MILLI);
        self.plan.disk.load = self.plan.disk.load.at_most(5 * MILLI);
        self.plan.machine.apply = self.plan.machine.apply.at_most(MILLI);
        for node in &mut self.nodes {
            node.crash_in = None;
            node.full_until = 0;
            node.slow_disk = (0, 0);
        }
        let steady = self.plan.work.clients as usize;
        for client in 0..self.clients.len() {
            let turns = if client < steady { Self::AT_THE_END } else { 0 };
            self.clients[client].turns = Some(turns);
            if self.clients[client].pending.is_none() {
                self.client_later(client, 200 * MILLI);
            }
        }
        self.agenda.push(END_AT, Happening::Rest);
    }

    /// How many operations each client still asks once faults are over.
    const AT_THE_END: u64 = 2;

    /// Once everything is done, all nodes must be alike.
    pub(super) fn rest(&mut self) {
        let Some(unrest) = self.unrest() else {
            self.over = true;
            return self.compare();
        };
        if self.now > REST_BY {
            return self.fail(Breach::new(
                "the cluster recovers once faults are over",
                unrest,
            ));
        }
        self.agenda.push(self.now + 100 * MILLI, Happening::Rest);
    }

    /// Who must be there at the end: founding nodes that kept their disks, and learners.
    fn core(&self) -> Vec<usize> {
        let leader = self.leader().and_then(|i| self.nodes[i].up.as_ref());
        let learners = leader.map(|up| up.log.status().learners);
        let learners = learners.unwrap_or_default();
        let counts = |i: &usize| {
            let id = self.id(*i);
            let whole = self.stored[*i].lost == 0;
            whole && (*i < self.plan.voters || learners.contains(&id))
        };
        (0..self.nodes.len()).filter(counts).collect()
    }

    /// What is not done yet.
    fn unrest(&self) -> Option<String> {
        let last = self.ledger.last();
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            let pending = &self.clients[client].pending;
            return Some(format!("c{client} waits for {pending:?}"));
        }
        for i in self.core() {
            let id = self.id(i);
            let Some(up) = &self.nodes[i].up else {
                return Some(format!("{id} is down"));
            };
            let status = up.log.status();
            if (status.committed, status.applied) != (last, last) {
                return Some(format!("{id} is behind {last}: {status:?}"));
            }
            if !up.replica.tickets.is_empty() {
                let tickets = &up.replica.tickets;
                return Some(format!("{id} has not resolved {tickets:?}"));
            }
        }
        None
    }

    fn compare(&mut self) {
        let expected = self.reference.snapshot();
        let differs = |i: &usize| {
            let up = self.nodes[*i].up.as_ref();
            up.is_some_and(|up| up.replica.machine.snapshot() != expected)
        };
        if let Some(i) = self.core().into_iter().find(differs) {
            let evidence = format!("{} differs at {}", self.id(i), self.ledger.last());
            self.fail(Breach::new("all state machines end alike", evidence));
        }
    }
}
