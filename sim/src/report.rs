//! What comes of a run.

use alloc::collections::BTreeMap;
use core::fmt;
use core::time::Duration;

use crate::check::Breach;
use crate::plan::Plan;
use crate::schedule::Incident;
use crate::trace::Trace;

/// How often rare things have happened. A branch that no seed reaches is a failure of the
/// simulator.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Marks(BTreeMap<&'static str, u64>);

impl Marks {
    /// Counts one.
    pub fn add(&mut self, mark: &'static str) {
        *self.0.entry(mark).or_default() += 1;
    }

    /// How often it was counted.
    #[must_use]
    pub fn get(&self, mark: &str) -> u64 {
        self.0.get(mark).copied().unwrap_or(0)
    }

    /// Adds those of another run.
    pub fn merge(&mut self, other: &Self) {
        for (mark, count) in &other.0 {
            *self.0.entry(mark).or_default() += count;
        }
    }

    /// All marks that were counted.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(mark, count)| (*mark, *count))
    }
}

/// What a clean run amounts to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// A hash of everything that happened: the same seed gives the same.
    pub hash: u64,
    /// How many things happened.
    pub events: u64,
    /// How long it was, in virtual time.
    pub time: Duration,
    /// How many operations clients had answered.
    pub operations: u64,
    /// How many operations clients gave up.
    pub unknown: u64,
    /// How many faults there were, lost messages not counted.
    pub faults: u64,
    /// How many entries were committed, or what else was decided for good.
    pub committed: u64,
    /// What was reached.
    pub marks: Marks,
}

/// Why a run failed.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The rule that was broken, and what shows it.
    pub breach: Breach,
    /// When, in virtual time.
    pub at: Duration,
    /// The parameters of the run, among them its seed.
    pub plan: Plan,
    /// The incidents that took place, if the run was recorded.
    pub incidents: Vec<Incident>,
    /// What happened before, if the run was recorded.
    pub trace: Trace,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trace)?;
        writeln!(f, "{:#?}", self.plan)?;
        write!(
            f,
            "seed {} at {:?}: {}",
            self.plan.seed, self.at, self.breach
        )
    }
}

impl core::error::Error for Failure {}
