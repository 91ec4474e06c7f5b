//! What goes wrong, and how it ends.

use super::trace::note;
use super::{END_AT, Happening, MILLI, REST_BY, World};
use crate::application::Application;
use crate::check::Breach;
use crate::plan::Fault;
use crate::subject::Subject;
use synod_core::ReplicatedLog;

impl<S: Subject, A: Application> World<'_, S, A> {
    /// Something goes wrong, and the next time is drawn.
    pub(super) fn fault(&mut self) {
        if self.calm {
            return;
        }
        let every = self.plan.faults.every.draw(&mut self.rng.fault);
        self.agenda.push(self.now + every, Happening::Fault);
        let Some(kind) = self.rng.fault.pick(&self.plan.faults.kinds).copied() else {
            return;
        };
        let size = self.nodes.len();
        let any = self.rng.fault.below(size as u64) as usize;
        let leader = self.leader().unwrap_or(any);
        note!(self, "FAULT {kind:?}");
        match kind {
            Fault::Crash => self.arm(any),
            Fault::CrashLeader => self.arm(leader),
            Fault::CrashAll => (0..size).for_each(|node| self.arm(node)),
            Fault::Isolate => self.isolate(any),
            Fault::IsolateLeader => self.isolate(leader),
            Fault::OneWay => {
                let deaf = self.rng.fault.chance(500_000);
                let ways = (0..size).filter(|other| *other != any);
                let ways = ways.map(|other| if deaf { (other, any) } else { (any, other) });
                self.cut(ways.collect());
            }
            Fault::Split => {
                let side = self.rng.fault.next_u64();
                let ways = (0..size).flat_map(|from| (0..size).map(move |to| (from, to)));
                let apart = ways.filter(|(from, to)| (side >> from ^ side >> to) & 1 == 1);
                self.cut(apart.collect());
            }
            Fault::Pair => {
                let other = self.rng.fault.below(size as u64) as usize;
                if other != any {
                    self.cut(vec![(any, other), (other, any)]);
                }
            }
            Fault::Flap => {
                let other = self.rng.fault.below(size as u64) as usize;
                let both = self.nodes[any].up.is_some() && self.nodes[other].up.is_some();
                if other != any && both {
                    self.faults += 1;
                    self.marks.add("links broken");
                    self.disconnect(any, other);
                    self.reconnect_later(any, other);
                }
            }
            Fault::Pause => self.pause(any),
        }
    }

    /// A node crashes now or behind one of its next outputs.
    fn arm(&mut self, node: usize) {
        if self.rng.fault.chance(400_000) {
            return self.crash(node);
        }
        let outputs = self.rng.fault.below(12);
        self.nodes[node].crash_in.get_or_insert(outputs);
    }

    fn isolate(&mut self, node: usize) {
        let others = (0..self.nodes.len()).filter(|other| *other != node);
        let ways = others.flat_map(|other| [(node, other), (other, node)]);
        self.cut(ways.collect());
    }

    /// Nothing passes on these ways for some time.
    fn cut(&mut self, ways: Vec<(usize, usize)>) {
        if ways.is_empty() {
            return;
        }
        self.faults += 1;
        self.marks.add("partitions");
        ways.iter()
            .for_each(|(from, to)| self.network.block(*from, *to));
        let outage = self.plan.faults.outage.draw(&mut self.rng.fault);
        self.agenda
            .push(self.now + outage, Happening::Heal { ways });
    }

    pub(super) fn heal(&mut self, ways: &[(usize, usize)]) {
        note!(self, "a partition ends");
        ways.iter()
            .for_each(|(from, to)| self.network.unblock(*from, *to));
    }

    /// A node stops, and goes on later as if nothing had happened.
    fn pause(&mut self, node: usize) {
        if self.nodes[node].up.is_none() || self.nodes[node].paused {
            return;
        }
        self.faults += 1;
        self.marks.add("pauses");
        self.nodes[node].paused = true;
        let outage = self.plan.faults.outage.draw(&mut self.rng.fault);
        let life = self.nodes[node].life;
        self.agenda
            .push(self.now + outage, Happening::Resume { node, life });
    }

    pub(super) fn resume(&mut self, node: usize, life: u64) {
        if !self.lives(node, life) {
            return;
        }
        note!(self, "{} goes on", self.id(node));
        self.nodes[node].paused = false;
        while !self.nodes[node].paused
            && let Some(what) = self.backlog[node].pop_front()
        {
            self.happen(what);
        }
    }

    /// Faults are over: everything heals, and the cluster must come to rest.
    pub(super) fn calm_down(&mut self) {
        note!(self, "FAULTS ARE OVER");
        self.calm = true;
        self.network.clear();
        self.nodes.iter_mut().for_each(|node| node.crash_in = None);
        for client in 0..self.clients.len() {
            if self.clients[client].pending.is_none() {
                self.client_later(client, 200 * MILLI);
            }
        }
        self.agenda.push(END_AT, Happening::Rest);
    }

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

    /// What is not done yet.
    fn unrest(&self) -> Option<String> {
        let last = self.ledger.last();
        if let Some(client) = self.clients.iter().position(|client| !client.is_done()) {
            let pending = &self.clients[client].pending;
            return Some(format!("c{client} waits for {pending:?}"));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            let id = self.id(i);
            let Some(up) = &node.up else {
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
        let differs = |node: &super::Node<S::Log, A::Machine>| {
            let up = node.up.as_ref();
            up.is_some_and(|up| up.replica.machine.snapshot() != expected)
        };
        if let Some(i) = self.nodes.iter().position(differs) {
            let evidence = format!("{} differs at {}", self.id(i), self.ledger.last());
            self.fail(Breach::new("all state machines end alike", evidence));
        }
    }
}
