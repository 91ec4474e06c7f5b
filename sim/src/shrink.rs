//! A failing run with as little in it as possible: delta debugging (Zeller and Hildebrandt, 2002) on
//! what took place, not on the seed.

use core::time::Duration;
use std::time::Instant;

use crate::report::Failure;
use crate::scene::Scenery;
use crate::schedule::{Incident, Kind, Schedule};
use crate::simulation::Simulation;
use crate::subject::Subject;

/// A failure that was made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left of the run: the same rule is broken.
    pub failure: Box<Failure>,
    /// What has to take place for that.
    pub schedule: Schedule,
    /// How many faults and how many operations there were before.
    pub before: (usize, usize),
    /// How many runs it took.
    pub runs: u64,
}

impl Shrunk {
    /// How many faults and how many operations are left.
    #[must_use]
    pub fn left(&self) -> (usize, usize) {
        self.schedule.len().unwrap_or(self.before)
    }
}

/// How much may be spent on making a failure small.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Effort {
    /// The most runs.
    pub runs: u64,
    /// The longest time.
    pub time: Duration,
}

impl Default for Effort {
    /// 1,500 runs, 20 seconds.
    fn default() -> Self {
        Self {
            runs: 1_500,
            time: Duration::from_secs(20),
        }
    }
}

impl<S: Subject, A: Scenery<S>> Simulation<S, A> {
    /// Leaves out of a failing run what it can do without: faults, and what clients ask, as long as
    /// the same rule is broken. The result does not depend on how fast the machine is unless the
    /// time runs out. `None` if the seed does not fail.
    #[must_use]
    pub fn shrink(&self, seed: u64, effort: Effort) -> Option<Shrunk> {
        let failure = self.traced(seed, 1).err()?;
        let mut shrinker = Shrinker {
            simulation: self,
            seed,
            effort,
            started: Instant::now(),
            runs: 1,
            rule: failure.breach.rule,
            best: failure,
        };
        let before = count(&shrinker.best.incidents);
        shrinker.classes();
        shrinker.debug();
        let Shrinker { best, runs, .. } = shrinker;
        Some(Shrunk {
            schedule: Schedule::only(best.incidents.iter().copied()),
            failure: best,
            before,
            runs,
        })
    }
}

fn count(incidents: &[Incident]) -> (usize, usize) {
    let asked = incidents.iter().filter(|one| one.kind == Kind::Asked);
    let asked = asked.count();
    (incidents.len() - asked, asked)
}

struct Shrinker<'a, S, A> {
    simulation: &'a Simulation<S, A>,
    seed: u64,
    effort: Effort,
    started: Instant,
    runs: u64,
    rule: &'static str,
    /// The smallest run so far; its incidents are those that took place in it.
    best: Box<Failure>,
}

impl<S: Subject, A: Scenery<S>> Shrinker<'_, S, A> {
    fn is_spent(&self) -> bool {
        self.runs >= self.effort.runs || self.started.elapsed() >= self.effort.time
    }

    /// Tries a run with these incidents alone. What of them did not take place goes, too.
    fn fails_with(&mut self, incidents: &[Incident]) -> bool {
        self.runs += 1;
        let schedule = Schedule::only(incidents.iter().copied());
        match self.simulation.replay(self.seed, &schedule, 1) {
            Err(failure)
                if failure.breach.rule == self.rule
                    && failure.incidents.len() < self.best.incidents.len() =>
            {
                self.best = failure;
                true
            }
            _ => false,
        }
    }

    /// Whole kinds, and all of one client or node: most of what a run has in it is beside the point.
    fn classes(&mut self) {
        let mut groups: Vec<_> = self.best.incidents.iter().map(|one| one.kind).collect();
        groups.sort_unstable();
        groups.dedup();
        for kind in groups {
            if !self.is_spent() {
                self.without(|one| one.kind == kind);
            }
        }
        let mut groups: Vec<_> = self
            .best
            .incidents
            .iter()
            .map(|i| (i.kind, i.one))
            .collect();
        groups.sort_unstable();
        groups.dedup();
        for group in groups {
            if !self.is_spent() {
                self.without(|one| (one.kind, one.one) == group);
            }
        }
    }

    fn without(&mut self, left_out: impl Fn(&Incident) -> bool) -> bool {
        let kept = self.best.incidents.iter().copied();
        let kept: Vec<_> = kept.filter(|one| !left_out(one)).collect();
        kept.len() < self.best.incidents.len() && self.fails_with(&kept)
    }

    /// Leaves out ever smaller parts, until no single one can be spared.
    fn debug(&mut self) {
        let mut size = self.best.incidents.len().div_ceil(2);
        while size >= 1 && !self.is_spent() {
            let mut place = 0;
            let mut found = false;
            while place < self.best.incidents.len() && !self.is_spent() {
                let all = &self.best.incidents;
                let end = (place + size).min(all.len());
                let kept: Vec<_> = all[..place].iter().chain(&all[end..]).copied().collect();
                if self.fails_with(&kept) {
                    found = true;
                } else {
                    place += size;
                }
            }
            if size > 1 {
                size = size.div_ceil(2).min(self.best.incidents.len());
            } else if !found {
                return;
            }
        }
    }
}
