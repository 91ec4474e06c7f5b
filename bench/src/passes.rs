//! Interleaved repetitions and their statistics.

use core::time::Duration;

use crate::driver::Timing;
use crate::options::Plan;
use crate::run::{Heap, Sample};

/// One subject's figures for one work, over all passes, per entry.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    cpu_ns: Vec<f64>,
    wall_ns: Vec<f64>,
    /// Messages of the last pass; every pass sends the same ones.
    pub messages: f64,
    /// Messages that were sent only because the cluster was idle.
    pub idle_messages: f64,
}

impl Figures {
    /// Adds one pass over `entries` entries.
    pub fn add(&mut self, entries: u64, sample: &Sample) {
        self.add_times(entries, sample.cpu, sample.wall);
        self.messages = sample.messages as f64 / entries as f64;
        self.idle_messages = sample.idle_messages as f64 / entries as f64;
    }

    fn add_times(&mut self, entries: u64, cpu: Duration, wall: Duration) {
        self.cpu_ns.push(cpu.as_nanos() as f64 / entries as f64);
        self.wall_ns.push(wall.as_nanos() as f64 / entries as f64);
    }

    /// The least CPU time that a pass needed: the one that was disturbed least.
    pub fn cpu_ns_min(&self) -> f64 {
        self.cpu_ns.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The median CPU time.
    pub fn cpu_ns_median(&self) -> f64 {
        median(&self.cpu_ns)
    }

    /// Entries per second on the clock, in the median pass.
    pub fn wall_rate(&self) -> f64 {
        1e9 / median(&self.wall_ns)
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[middle],
        _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
    }
}

/// Figures by work (or load) and, within, by subject: both in the order of the plan.
pub type Grid = Vec<Vec<Figures>>;

/// The pass that is not measured: it obtains the memory that the others use again.
const WARM_UP: u32 = 0;

/// Measures the machines. Calls `progress` before each pass over a work.
pub fn machines(plan: &Plan, mut progress: impl FnMut(String)) -> Grid {
    let mut grid = Grid::new();
    for work in &plan.works {
        let mut figures = vec![Figures::default(); plan.machines.len()];
        for pass in 0..=plan.passes {
            progress(format!("{work}: pass {pass} of {}", plan.passes));
            for (entrant, figures) in plan.machines.iter().zip(&mut figures) {
                let sample = (entrant.run)(work, Heap::default);
                if pass != WARM_UP {
                    figures.add(work.entries, &sample);
                }
            }
        }
        grid.push(figures);
    }
    grid
}

/// Measures the services. Calls `progress` before each pass over a load.
pub fn services(plan: &Plan, mut progress: impl FnMut(String)) -> Grid {
    let mut grid = Grid::new();
    for load in &plan.loads {
        let mut figures = vec![Figures::default(); plan.services.len()];
        for pass in 0..=plan.passes {
            progress(format!("{load}: pass {pass} of {}", plan.passes));
            for (entrant, figures) in plan.services.iter().zip(&mut figures) {
                let Timing { cpu, wall } = (entrant.run)(load);
                if pass != WARM_UP {
                    figures.add_times(load.operations, cpu, wall);
                }
            }
        }
        grid.push(figures);
    }
    grid
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn min_and_median_per_entry() {
        let mut figures = Figures::default();
        for micros in [30, 10, 20, 40] {
            figures.add_times(
                10,
                Duration::from_micros(micros),
                Duration::from_micros(2 * micros),
            );
        }
        assert!((figures.cpu_ns_min() - 1000.0).abs() < 1e-9);
        assert!((figures.cpu_ns_median() - 2500.0).abs() < 1e-9);
        assert!((figures.wall_rate() - 200_000.0).abs() < 1e-6);
    }
}
