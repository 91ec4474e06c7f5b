//! Many seeds on all cores.

use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use core::time::Duration;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use synod_core::mix;

use crate::report::{Failure, Marks, Report};
use crate::scene::Scenery;
use crate::schedule::Schedule;
use crate::shrink::{Effort, Shrunk};
use crate::simulation::Simulation;
use crate::subject::Subject;

/// Runs many seeds. The first failing one ends it.
#[derive(Clone, Debug)]
pub struct Campaign {
    base: u64,
    seeds: u64,
    kept: Vec<u64>,
    threads: usize,
    command: String,
    effort: Option<Effort>,
}

impl Campaign {
    /// `seeds` fresh seeds, drawn from `base`: a number, or any text such as the hash of a commit.
    #[must_use]
    pub fn new(base: &str, seeds: u64) -> Self {
        let text = |hash: u64, byte: u8| mix(hash, u64::from(byte));
        let number = base.parse().ok();
        Self {
            base: number.unwrap_or_else(|| base.bytes().fold(0, text)),
            seeds,
            kept: Vec::new(),
            threads: thread::available_parallelism().map_or(1, usize::from),
            command: String::from("SYNOD_SEED={seed} cargo test"),
            effort: Some(Effort::default()),
        }
    }

    /// What `SYNOD_SEED_BASE` (default `base`) and `SYNOD_SEEDS` (default `seeds`) say; with
    /// `SYNOD_SEED`, that seed alone.
    #[must_use]
    pub fn from_env(base: &str, seeds: u64) -> Self {
        let env = |name| std::env::var(name).ok();
        if let Some(seed) = env("SYNOD_SEED").and_then(|seed| seed.parse().ok()) {
            return Self::new("0", 0).keep([seed]);
        }
        let seeds = env("SYNOD_SEEDS")
            .and_then(|seeds| seeds.parse().ok())
            .unwrap_or(seeds);
        Self::new(
            &env("SYNOD_SEED_BASE").unwrap_or_else(|| base.into()),
            seeds,
        )
    }

    /// Runs these seeds first: those that have found something once.
    #[must_use]
    pub fn keep(mut self, seeds: impl IntoIterator<Item = u64>) -> Self {
        self.kept.extend(seeds);
        self
    }

    /// How many threads run seeds. Default: one for each core.
    #[must_use]
    pub const fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }

    /// The command that repeats a seed, with `{seed}` in its place.
    #[must_use]
    pub fn replay_with(mut self, command: impl Into<String>) -> Self {
        self.command = command.into();
        self
    }

    /// How much may be spent on making a failure small; `None` leaves it as it is.
    #[must_use]
    pub const fn shrink(mut self, effort: Option<Effort>) -> Self {
        self.effort = effort;
        self
    }

    /// The seed at this place.
    #[must_use]
    pub fn seed(&self, place: u64) -> u64 {
        match self.kept.get(usize::try_from(place).unwrap_or(usize::MAX)) {
            Some(seed) => *seed,
            None => mix(self.base, place - self.kept.len() as u64),
        }
    }

    /// Runs all seeds, every fiftieth twice. With `SYNOD_ONLY`, of each seed those incidents alone.
    ///
    /// What `SYNOD_HTML` and `SYNOD_SHIVIZ` name is written for the first failure, made small; with
    /// `SYNOD_SEED` also if it does not fail.
    pub fn run<S: Subject, A: Scenery<S>>(&self, simulation: &Simulation<S, A>) -> Summary
    where
        Simulation<S, A>: Sync,
    {
        let started = Instant::now();
        let total = self.seeds + self.kept.len() as u64;
        let only = std::env::var("SYNOD_ONLY").ok();
        let only = only.map(|text| Schedule::parse(&text).expect("SYNOD_ONLY lists incidents"));
        let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
        let summary = Mutex::new(Summary::default());
        let work = || {
            while !stop.load(Ordering::Relaxed) {
                let place = next.fetch_add(1, Ordering::Relaxed);
                if place >= total {
                    return;
                }
                let seed = self.seed(place);
                let result = if let Some(schedule) = &only {
                    simulation.replay(seed, schedule, 0)
                } else if place.is_multiple_of(50) {
                    simulation.twice(seed)
                } else {
                    simulation.run(seed)
                };
                let result = result.map_err(|failure| {
                    stop.store(true, Ordering::Relaxed);
                    let schedule = only.clone().unwrap_or_default();
                    recorded(simulation, seed, &schedule, failure)
                });
                let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                summary.add(place, result, &self.command);
            }
        };
        thread::scope(|scope| {
            for _ in 0..self.threads {
                scope.spawn(work);
            }
        });
        let mut summary = summary.into_inner().unwrap_or_else(PoisonError::into_inner);
        summary.wall = started.elapsed();
        if let (Some((_, failure, _)), None, Some(effort)) = (&summary.failure, &only, self.effort)
        {
            let seed = failure.plan.seed;
            summary.shrunk = simulation.shrink(seed, effort).map(|mut shrunk| {
                let failure = recorded(simulation, seed, &shrunk.schedule, shrunk.failure);
                shrunk.failure = failure;
                shrunk
            });
        }
        let lone = (self.seeds == 0).then(|| self.seed(0));
        let drawn = match (&summary.shrunk, &summary.failure) {
            (Some(shrunk), _) => Some((shrunk.failure.plan.seed, shrunk.schedule.clone())),
            (None, Some((_, failure, _))) => Some((failure.plan.seed, only.unwrap_or_default())),
            (None, None) => lone.map(|seed| (seed, only.unwrap_or_default())),
        };
        if let Some((seed, schedule)) = drawn {
            summary.pictures = draw(simulation, seed, &schedule);
        }
        summary
    }
}

/// The failure again, with what happened before it.
fn recorded<S: Subject, A: Scenery<S>>(
    simulation: &Simulation<S, A>,
    seed: u64,
    schedule: &Schedule,
    failure: Box<Failure>,
) -> Box<Failure> {
    let steps = std::env::var("SYNOD_TRACE")
        .ok()
        .and_then(|steps| steps.parse().ok());
    match simulation.replay(seed, schedule, steps.unwrap_or(60)) {
        Err(again) => again,
        Ok(_) => failure,
    }
}

/// The most steps in a picture.
const STEPS: usize = 50_000;

/// Writes the pictures that the environment asks for; what was written where.
fn draw<S: Subject, A: Scenery<S>>(
    simulation: &Simulation<S, A>,
    seed: u64,
    schedule: &Schedule,
) -> Vec<String> {
    let mut written = Vec::new();
    let wanted = ["SYNOD_HTML", "SYNOD_SHIVIZ", "SYNOD_COLUMNS"];
    let wanted = wanted.map(|name| std::env::var(name).ok());
    if wanted.iter().all(Option::is_none) {
        return written;
    }
    let trace = simulation.watch(seed, schedule, STEPS);
    let [html, shiviz, columns] = wanted;
    let mut write = |place: Option<String>, contents: &dyn Fn() -> String| {
        if let Some(place) = place {
            written.push(match std::fs::write(&place, contents()) {
                Ok(()) => format!("drawn: {place}"),
                Err(error) => format!("cannot write {place}: {error}"),
            });
        }
    };
    write(html, &|| trace.html());
    write(shiviz, &|| trace.shiviz());
    write(columns, &|| trace.columns(40).to_string());
    written
}

/// What comes of many seeds.
#[derive(Debug, Default)]
pub struct Summary {
    /// Seeds that were run.
    pub seeds: u64,
    /// Things that happened.
    pub events: u64,
    /// Virtual time, of all seeds.
    pub time: Duration,
    /// Real time.
    pub wall: Duration,
    /// Operations that were answered.
    pub operations: u64,
    /// Operations that were given up.
    pub unknown: u64,
    /// Faults.
    pub faults: u64,
    /// What was reached.
    pub marks: Marks,
    /// The first failure by place: its place among the seeds, and the command that repeats it.
    pub failure: Option<(u64, Box<Failure>, String)>,
    /// The same, with as little in it as possible.
    pub shrunk: Option<Shrunk>,
    /// Which pictures were written.
    pub pictures: Vec<String>,
}

impl Summary {
    fn add(&mut self, place: u64, result: Result<Report, Box<Failure>>, command: &str) {
        self.seeds += 1;
        match result {
            Ok(report) => {
                self.events += report.events;
                self.time += report.time;
                self.operations += report.operations;
                self.unknown += report.unknown;
                self.faults += report.faults;
                self.marks.merge(&report.marks);
            }
            Err(failure) => {
                if self
                    .failure
                    .as_ref()
                    .is_none_or(|(first, ..)| place < *first)
                {
                    let command = command.replace("{seed}", &failure.plan.seed.to_string());
                    self.failure = Some((place, failure, command));
                }
            }
        }
    }

    /// The marks of `wanted` that were counted less often than they should, each per thousand seeds.
    #[must_use]
    pub fn missed(&self, wanted: &[(&'static str, u64)]) -> Vec<String> {
        let scarce = wanted
            .iter()
            .filter(|(mark, per_thousand)| self.marks.get(mark) * 1000 < per_thousand * self.seeds);
        let tell = |(mark, least): &(&str, u64)| {
            format!(
                "{mark}: {} in {} seeds, wanted {least} in 1000",
                self.marks.get(mark),
                self.seeds
            )
        };
        scarce.map(tell).collect()
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let per = |count: f64, time: Duration| count / time.as_secs_f64().max(1e-9);
        for (mark, count) in self.marks.iter() {
            writeln!(f, "{count:>12}  {mark}")?;
        }
        writeln!(
            f,
            "{} seeds, {} events, {:.0} virtual s in {:.1} s: {:.0} events/s, {:.0} virtual s per s",
            self.seeds,
            self.events,
            self.time.as_secs_f64(),
            self.wall.as_secs_f64(),
            per(self.events as f64, self.wall),
            per(self.time.as_secs_f64(), self.wall),
        )?;
        write!(
            f,
            "per virtual s: {:.1} operations answered, {:.2} given up, {:.1} faults",
            per(self.operations as f64, self.time),
            per(self.unknown as f64, self.time),
            per(self.faults as f64, self.time),
        )?;
        if let Some((_, failure, command)) = &self.failure {
            if let Some(shrunk) = &self.shrunk {
                let (faults, asked) = shrunk.left();
                write!(
                    f,
                    "\n{}\nrepeat with: {command}\n{faults} of {} faults and {asked} of {} \
                     operations suffice ({} runs); at {:?} instead of {:?}: {}\n\
                     repeat with: SYNOD_ONLY={} {command}",
                    shrunk.failure,
                    shrunk.before.0,
                    shrunk.before.1,
                    shrunk.runs,
                    shrunk.failure.at,
                    failure.at,
                    failure.breach,
                    shrunk.schedule,
                )?;
            } else {
                write!(f, "\n{failure}\nrepeat with: {command}")?;
            }
        }
        for line in &self.pictures {
            write!(f, "\n{line}")?;
        }
        Ok(())
    }
}
