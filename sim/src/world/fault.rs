//! What goes wrong.

use synod_core::Rng;

use super::{Happening, Kind, MILLI, SECOND, Stage, World};
use crate::plan::Fault;
use crate::scene::Scene;
use crate::subject::Subject;
use crate::trace::{What, Who, note};

impl<S: Subject, C: Scene<S>> World<'_, S, C> {
    /// The fault at this place of the schedule, and when the next one comes.
    pub(super) fn fault(&mut self, place: u64) {
        let stage = &mut self.stage;
        if stage.calm {
            return;
        }
        let seed = stage.plan.seed;
        let mut rhythm = Rng::new(synod_core::mix(synod_core::mix(seed, 3), place));
        let every = stage.plan.faults.every.draw(&mut rhythm);
        stage
            .agenda
            .push(stage.now + every, Happening::Fault(place + 1));
        let Some(mut rng) = stage.strikes(Kind::Fault, (0, 0), place, 1_000_000) else {
            return;
        };
        if let Some(kind) = rng.pick(&stage.plan.faults.kinds).copied() {
            note!(stage, Who::World, What::Fault, "FAULT {kind:?}");
            self.go_wrong(kind, &mut rng);
        }
    }

    fn go_wrong(&mut self, kind: Fault, rng: &mut Rng) {
        let stage = &mut self.stage;
        let size = stage.nodes.len();
        let any = rng.below(size as u64) as usize;
        let other = rng.below(size as u64) as usize;
        let outage = stage.plan.faults.outage.draw(rng);
        let leader = self.scene.leads(stage).unwrap_or(any);
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
            Fault::Isolate => stage.isolate(any, outage),
            Fault::IsolateLeader => {
                stage.isolate(leader, while_others_elect);
                // It goes on taking things on that will never be committed: a long log that must
                // not win against a shorter, later one.
                if long {
                    self.scene.burst(stage, Some(leader), rng);
                }
            }
            Fault::OneWay => {
                let deaf = rng.chance(500_000);
                let ways = (0..size).filter(|other| *other != any);
                let ways = ways.map(|other| if deaf { (other, any) } else { (any, other) });
                stage.cut(ways.collect(), outage);
            }
            Fault::Split => {
                let side = rng.next_u64();
                stage.split(outage, |node| side >> node & 1 == 1, None);
            }
            Fault::Bridge => {
                let side = rng.next_u64();
                stage.split(outage, |node| side >> node & 1 == 1, Some(any));
            }
            Fault::Pair if other != any => stage.cut(vec![(any, other), (other, any)], outage),
            Fault::Flap if other != any => stage.flap(any, other),
            Fault::SlowLink if other != any => stage.slow_link((any, other), outage, rng),
            Fault::Pair | Fault::Flap | Fault::SlowLink => {}
            Fault::Pause if rng.chance(300_000) => stage.pause(leader, while_others_elect),
            Fault::Pause => stage.pause(any, outage),
            Fault::Jump => self.jump(any, rng),
            Fault::SlowDisk => {
                stage.strike("slow disks");
                let until = stage.now + outage;
                stage.nodes[any].slow_disk = (until, rng.within(10 * MILLI, 300 * MILLI));
            }
            Fault::FullDisk => {
                stage.strike("full disks");
                stage.nodes[any].full_until = stage.now + outage;
            }
            Fault::LostDisk => self.lose_disk(any, false),
            Fault::Rot => self.rot(any, rng),
            Fault::Burst => self.scene.burst(stage, None, rng),
            Fault::Learner | Fault::Transfer => self.scene.provoke(stage, kind, any, rng),
        }
    }

    /// A node crashes now or behind one of its next outputs.
    fn arm(&mut self, node: usize, rng: &mut Rng) {
        if rng.chance(400_000) {
            return self.crash(node);
        }
        let outputs = rng.below(12);
        self.stage.crash_behind(node, outputs);
    }

    /// A node's clock jumps forwards. It never goes back: that is what the contract asks of a clock.
    fn jump(&mut self, node: usize, rng: &mut Rng) {
        let stage = &mut self.stage;
        let far = stage.plan.faults.jump.draw(rng);
        stage.nodes[node].clock_base += far;
        stage.nodes[node].tick_at = u64::MAX;
        stage.strike("clock jumps");
        let far = core::time::Duration::from_nanos(far);
        note!(
            stage,
            Who::Node(node),
            What::Fault,
            "finds its clock {far:?} further"
        );
        if !stage.nodes[node].paused {
            self.pump(node);
        }
    }
}

impl<S: Subject, I> Stage<'_, S, I> {
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

    fn slow_link(&mut self, (one, other): (usize, usize), outage: u64, rng: &mut Rng) {
        self.strike("slow links");
        let extra = rng.within(20 * MILLI, 500 * MILLI);
        let until = self.now + outage;
        self.network.slow_down((one, other), until, extra);
        if rng.chance(500_000) {
            self.network.slow_down((other, one), until, extra);
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
