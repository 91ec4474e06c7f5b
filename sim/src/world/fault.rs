//! What goes wrong.

use synod_core::{Change, ReplicatedLog, Rng};

use super::{Happening, Kind, MILLI, SECOND, World};
use crate::application::Application;
use crate::plan::Fault;
use crate::subject::Subject;
use crate::trace::{What, Who, note};

impl<S: Subject, A: Application> World<'_, S, A> {
    /// The fault at this place of the schedule, and when the next one comes.
    pub(super) fn fault(&mut self, place: u64) {
        if self.calm {
            return;
        }
        let mut rhythm = Rng::new(synod_core::mix(synod_core::mix(self.plan.seed, 3), place));
        let every = self.plan.faults.every.draw(&mut rhythm);
        self.agenda
            .push(self.now + every, Happening::Fault(place + 1));
        let Some(mut rng) = self.strikes(Kind::Fault, (0, 0), place, 1_000_000) else {
            return;
        };
        if let Some(kind) = rng.pick(&self.plan.faults.kinds).copied() {
            note!(self, Who::World, What::Fault, "FAULT {kind:?}");
            self.go_wrong(kind, &mut rng);
        }
    }

    fn go_wrong(&mut self, kind: Fault, rng: &mut Rng) {
        let size = self.nodes.len();
        let any = rng.below(size as u64) as usize;
        let other = rng.below(size as u64) as usize;
        let outage = self.plan.faults.outage.draw(rng);
        let leader = self.leader().unwrap_or(any);
        // A leader that nobody hears is most telling once another one is there.
        let long = rng.chance(500_000);
        let while_others_elect = if long {
            outage.max(rng.within(300 * MILLI, 1_500 * MILLI))
        } else {
            outage
        };
        match kind {
            Fault::Crash => self.arm(any, rng),
            Fault::CrashLeader => self.arm(leader, rng),
            Fault::CrashAll => (0..size).for_each(|node| self.arm(node, rng)),
            Fault::Isolate => self.isolate(any, outage),
            Fault::IsolateLeader => {
                self.isolate(leader, while_others_elect);
                // It goes on taking things on that will never be committed: a long log that must
                // not win against a shorter, later one.
                if long {
                    self.burst(Some(leader), rng);
                }
            }
            Fault::OneWay => {
                let deaf = rng.chance(500_000);
                let ways = (0..size).filter(|other| *other != any);
                let ways = ways.map(|other| if deaf { (other, any) } else { (any, other) });
                self.cut(ways.collect(), outage);
            }
            Fault::Split => {
                let side = rng.next_u64();
                self.split(outage, |node| side >> node & 1 == 1, None);
            }
            Fault::Bridge => {
                let side = rng.next_u64();
                self.split(outage, |node| side >> node & 1 == 1, Some(any));
            }
            Fault::Pair if other != any => self.cut(vec![(any, other), (other, any)], outage),
            Fault::Flap if other != any => self.flap(any, other),
            Fault::SlowLink if other != any => {
                self.strike("slow links");
                let extra = rng.within(20 * MILLI, 500 * MILLI);
                let until = self.now + outage;
                self.network.slow_down((any, other), until, extra);
                if rng.chance(500_000) {
                    self.network.slow_down((other, any), until, extra);
                }
            }
            Fault::Pair | Fault::Flap | Fault::SlowLink => {}
            Fault::Pause if rng.chance(300_000) => self.pause(leader, while_others_elect),
            Fault::Pause => self.pause(any, outage),
            Fault::Jump => self.jump(any, rng),
            Fault::SlowDisk => {
                self.strike("slow disks");
                let until = self.now + outage;
                self.nodes[any].slow_disk = (until, rng.within(10 * MILLI, 300 * MILLI));
            }
            Fault::FullDisk => {
                self.strike("full disks");
                self.nodes[any].full_until = self.now + outage;
            }
            Fault::LostDisk => self.lose_disk(any, false),
            Fault::Rot => self.rot(any, rng),
            Fault::Burst => self.burst(None, rng),
            Fault::Learner => self.change_learners(rng),
            Fault::Transfer => {
                let (now, to) = (self.local(leader), self.id(any));
                if let Some(log) = self.log(leader) {
                    let asked = log.transfer(now, to).is_ok();
                    self.marks.add(if asked {
                        "transfers asked"
                    } else {
                        "transfers refused"
                    });
                    self.stirred(leader);
                }
            }
        }
    }

    /// Counts a fault.
    pub(super) fn strike(&mut self, mark: &'static str) {
        self.faults += 1;
        self.marks.add(mark);
    }

    /// A node crashes now or behind one of its next outputs.
    fn arm(&mut self, node: usize, rng: &mut Rng) {
        if rng.chance(400_000) {
            return self.crash(node);
        }
        let outputs = rng.below(12);
        self.nodes[node].crash_in.get_or_insert(outputs);
    }

    fn isolate(&mut self, node: usize, outage: u64) {
        let others = (0..self.nodes.len()).filter(|other| *other != node);
        let ways = others.flat_map(|other| [(node, other), (other, node)]);
        self.cut(ways.collect(), outage);
    }

    /// Two sides do not hear each other; all hear the bridge.
    fn split(&mut self, outage: u64, side: impl Fn(usize) -> bool, bridge: Option<usize>) {
        let size = self.nodes.len();
        let ways = (0..size).flat_map(|from| (0..size).map(move |to| (from, to)));
        let apart = ways.filter(|(from, to)| {
            side(*from) != side(*to) && bridge != Some(*from) && bridge != Some(*to)
        });
        self.cut(apart.collect(), outage);
    }

    /// Nothing passes on these ways for some time.
    fn cut(&mut self, ways: Vec<(usize, usize)>, outage: u64) {
        if ways.is_empty() {
            return;
        }
        self.strike("partitions");
        ways.iter()
            .for_each(|(from, to)| self.network.block(*from, *to));
        note!(self, Who::World, What::Fault, "cut {}", self.tell(&ways));
        self.agenda
            .push(self.now + outage, Happening::Heal { ways });
    }

    fn tell(&self, ways: &[(usize, usize)]) -> String {
        let tell = |(from, to): &(usize, usize)| format!("{}>{}", self.id(*from), self.id(*to));
        ways.iter().map(tell).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn heal(&mut self, ways: &[(usize, usize)]) {
        note!(self, Who::World, What::Fault, "heal {}", self.tell(ways));
        ways.iter()
            .for_each(|(from, to)| self.network.unblock(*from, *to));
    }

    fn flap(&mut self, one: usize, other: usize) {
        if self.nodes[one].up.is_some() && self.nodes[other].up.is_some() {
            self.strike("links broken");
            self.disconnect(one, other);
            self.reconnect_later(one, other);
        }
    }

    /// A node stops, and goes on later as if nothing had happened.
    fn pause(&mut self, node: usize, outage: u64) {
        if self.nodes[node].up.is_none() || self.nodes[node].paused {
            return;
        }
        self.strike("pauses");
        note!(self, Who::Node(node), What::Pause, "stops for a while");
        self.nodes[node].paused = true;
        let life = self.nodes[node].life;
        self.agenda
            .push(self.now + outage, Happening::Resume { node, life });
    }

    pub(super) fn resume(&mut self, node: usize, life: u64) {
        if !self.lives(node, life) {
            return;
        }
        note!(self, Who::Node(node), What::Resume, "goes on");
        self.nodes[node].paused = false;
        while !self.nodes[node].paused
            && let Some(what) = self.backlog[node].pop_front()
        {
            self.happen(what);
        }
    }

    /// A node's clock jumps forwards. It never goes back: that is what the contract asks of a clock.
    fn jump(&mut self, node: usize, rng: &mut Rng) {
        let far = self.plan.faults.jump.draw(rng);
        self.nodes[node].clock_base += far;
        self.nodes[node].tick_at = u64::MAX;
        self.strike("clock jumps");
        let far = core::time::Duration::from_nanos(far);
        note!(
            self,
            Who::Node(node),
            What::Fault,
            "finds its clock {far:?} further"
        );
        if !self.nodes[node].paused {
            self.pump(node);
        }
    }

    /// Many clients ask at once, maybe one node, more than limits allow.
    fn burst(&mut self, node: Option<usize>, rng: &mut Rng) {
        self.strike("bursts");
        let steady = self.plan.work.clients as usize;
        for client in steady..self.clients.len() {
            if self.clients[client].is_done() {
                self.clients[client].turns = Some(rng.within(1, 3));
                self.clients[client].hint = node;
                self.client_later(client, 2 * MILLI);
            }
        }
    }

    /// Whoever leads is asked to add or remove a learner.
    fn change_learners(&mut self, rng: &mut Rng) {
        let (Some(leader), size) = (self.leader(), self.nodes.len()) else {
            return;
        };
        let spare = rng.within(self.plan.voters as u64, size as u64 - 1) as usize;
        let now = self.local(leader);
        let id = self.id(spare);
        let Some(up) = &self.nodes[leader].up else {
            return;
        };
        let change = if up.log.status().learners.contains(&id) {
            Change::RemoveLearner(id)
        } else {
            Change::AddLearner(id)
        };
        let Some(log) = self.log(leader) else { return };
        match log.reconfigure(now, change.clone()) {
            Ok(ticket) => {
                self.strike("learners changed");
                note!(
                    self,
                    Who::Node(leader),
                    What::Detail,
                    "is asked: {change:?}"
                );
                self.expect_nobody(leader, ticket);
            }
            Err(_) => self.marks.add("learner changes refused"),
        }
        self.stirred(leader);
    }

    /// How long a node is down that crashes now.
    pub(super) fn downtime(&self, node: usize) -> u64 {
        if self.calm {
            return 10 * MILLI;
        }
        let place = synod_core::mix(self.plan.seed, 6 + node as u64);
        let mut rng = Rng::new(synod_core::mix(place, self.nodes[node].life));
        let downtime = self.plan.faults.downtime.draw(&mut rng);
        let full = self.nodes[node].full_until.saturating_sub(self.now);
        downtime.max(full).min(10 * SECOND)
    }
}
