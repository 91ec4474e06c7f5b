//! Drawing a plan.

use core::time::Duration;

use synod_core::{NodeId, Rng, mix};

use super::{DiskPlan, Fault, FaultPlan, MachinePlan, NetworkPlan, Plan, Span};
use crate::application::Workload;
use crate::subject::Subject;

/// Nothing, or something up to `most`, half the time each.
const fn sometimes(rng: &mut Rng, most: u32) -> u32 {
    if rng.chance(500_000) {
        rng.below(most as u64 + 1) as u32
    } else {
        0
    }
}

fn one_of<T: Clone>(rng: &mut Rng, items: &[T]) -> T {
    rng.pick(items)
        .expect("lists of choices are not empty")
        .clone()
}

/// Half the time one in `odds` of a million.
const fn seldom(rng: &mut Rng, odds: u64, most: u32) -> u32 {
    if rng.below(odds) == 0 {
        rng.below(most as u64 + 1) as u32
    } else {
        0
    }
}

impl Plan {
    /// Draws everything from `seed`: what a run of `subject` is like, with the faults that mean
    /// something to what stands on it.
    #[must_use]
    pub fn draw<S: Subject>(seed: u64, subject: &S, plays: impl Fn(Fault) -> bool) -> Self {
        let rng = &mut Rng::new(mix(seed, 0x706c_616e));
        let ms = Span::millis;
        let voters = one_of(rng, subject.sizes());
        let budget = subject.budget(voters);
        let faults = FaultPlan::draw(rng, |fault| budget.allows(fault) && plays(fault));
        let changes = faults.kinds.contains(&Fault::Learner);
        let spare = if changes { budget.learners } else { 0 };
        // By the seed alone: what else is drawn is the same with and without.
        let voters_change = changes && budget.voters && mix(seed, 0x766f_7465) & 1 == 1;
        let mut id = 0;
        let nodes = (0..voters + spare).map(|_| {
            id += rng.within(1, 9);
            NodeId(id)
        });
        let nodes = nodes.collect();
        let bursts = [Fault::Burst, Fault::IsolateLeader];
        let burst = if faults.kinds.iter().any(|fault| bursts.contains(fault)) {
            rng.within(5, 40)
        } else {
            0
        };
        let mut plan = Self {
            seed,
            nodes,
            voters,
            lost_disks: rng.within(0, budget.lost_disks as u64) as usize,
            voters_change,
            network: NetworkPlan::draw(rng, subject.needs_order()),
            disk: DiskPlan::draw(rng),
            drift_ppm: one_of(rng, &[0, 200, 1_000, 30_000]),
            lazy_per_million: sometimes(rng, 500_000),
            faults,
            machine: MachinePlan {
                durable: rng.chance(300_000),
                apply: one_of(rng, &[ms(0, 0), ms(0, 0), Span::micros(10, 300), ms(1, 30)]),
                snapshot_every: one_of(rng, &[3, 10, 30, 100, 1_000, 1_000_000]),
                chunk: one_of(rng, &[16, 100, 4_096]),
            },
            work: Workload {
                clients: one_of(rng, &[1, 8, 16, 32, 32, 48, 64, 64]),
                keys: rng.within(1, 5),
                reads_per_million: rng.within(100_000, 900_000) as u32,
                padding: one_of(rng, &[1, 1, 8, 100]),
            },
            burst,
            think: one_of(rng, &[ms(0, 2), ms(0, 5), ms(0, 10), ms(0, 20), ms(1, 50)]),
            patience: one_of(rng, &[ms(50, 300), ms(300, 1_500)]),
            lost_answers_per_million: sometimes(rng, 100_000),
        };
        if voters_change {
            plan.lost_disks = 0;
        }
        plan.relieve();
        plan
    }

    /// The most operations a second, over all clients but those of bursts.
    const MOST: u64 = 2_000;

    /// Takes back what no disk or state machine could ever keep up with: a cluster that is busy for
    /// ever proves nothing, and would be blamed for it.
    fn relieve(&mut self) {
        let busy = |took: Span, each: u64| took.mean() * each;
        let second = Duration::from_secs(1).as_nanos() as u64;
        while self.demand() > Self::MOST {
            self.think.low += second / 1_000;
            self.think.high += second / 1_000;
        }
        // A state machine may be given one entry at a time.
        if busy(self.machine.apply, self.demand()) > second / 4 {
            self.machine.apply = Span::micros(0, 100);
        }
        // Snapshots are written piece by piece: about one value for each key and one answer for each
        // client, several times a second.
        let values = self.work.keys * (self.work.padding as u64 + 20) * 4;
        let size = values + (self.work.clients + self.burst) * 30;
        let pieces = 1 + size / self.machine.chunk as u64;
        let each_second = 1 + self.demand() / self.machine.snapshot_every;
        if busy(self.disk.write, pieces * each_second) > second / 2 {
            self.machine.chunk = 4_096;
        }
        if busy(self.disk.write, each_second) > second / 4 {
            self.machine.snapshot_every = 100.max(self.demand());
        }
    }
}

impl NetworkPlan {
    fn draw(rng: &mut Rng, needs_order: bool) -> Self {
        let ms = Span::millis;
        let delays = [
            Span::micros(50, 500),
            Span::micros(50, 500),
            Span::micros(200, 5_000),
            ms(1, 20),
            ms(5, 80),
        ];
        let bytes = rng.chance(200_000);
        Self {
            delay: one_of(rng, &delays),
            slow_per_million: sometimes(rng, 30_000),
            slow: ms(50, 1_000),
            lost_per_million: sometimes(rng, 150_000),
            doubled_per_million: sometimes(rng, 200_000),
            ordered: needs_order || rng.chance(250_000),
            bytes,
            damaged_per_million: if bytes { sometimes(rng, 20_000) } else { 0 },
        }
    }
}

impl DiskPlan {
    fn draw(rng: &mut Rng) -> Self {
        let ms = Span::millis;
        let writes = [
            Span::micros(10, 100),
            Span::micros(10, 100),
            Span::micros(100, 2_000),
            ms(1, 15),
            ms(5, 50),
        ];
        Self {
            write: one_of(rng, &writes),
            stalls_per_million: sometimes(rng, 10_000),
            stall: ms(100, 1_000),
            load: one_of(rng, &[Span::micros(10, 100), ms(1, 30)]),
            fails_per_million: seldom(rng, 5, 5_000),
        }
    }
}

impl FaultPlan {
    fn draw(rng: &mut Rng, plays: impl Fn(Fault) -> bool) -> Self {
        let ms = Span::millis;
        let mut kinds = Fault::ALL.to_vec();
        kinds.retain(|fault| plays(*fault));
        rng.shuffle(&mut kinds);
        kinds.truncate(rng.within(1, 7) as usize);
        let rhythms = [
            ms(2, 40),
            ms(10, 150),
            ms(30, 300),
            ms(100, 1_000),
            ms(1_000, 6_000),
        ];
        let every = one_of(rng, &rhythms);
        // What comes often is over soon, or nothing but faults would be left.
        let often = every.high <= 150_000_000;
        let outages = [ms(5, 100), ms(10, 300), ms(200, 1_500), ms(500, 4_000)];
        let downtimes = [ms(0, 10), ms(0, 150), ms(10, 1_000), ms(100, 4_000)];
        let choices = if often { 2 } else { 4 };
        Self {
            kinds,
            every,
            downtime: one_of(rng, &downtimes[..choices]),
            outage: one_of(rng, &outages[..choices]),
            jump: one_of(rng, &[ms(1, 100), ms(50, 1_000), ms(500, 20_000)]),
            election_crash_per_million: sometimes(rng, 600_000),
            promise_crash_per_million: sometimes(rng, 400_000),
            recovery_crash_per_million: sometimes(rng, 300_000),
        }
    }
}
