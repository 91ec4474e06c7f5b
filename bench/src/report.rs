//! The table and the JSON rows.

use core::fmt::Write as _;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::driver::Load;
use crate::options::Plan;
use crate::passes::{Figures, Grid};
use crate::run::Heap;
use crate::work::{Done, Work};

/// Heap activity of one run, as the counting process prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeapCount {
    /// What the run did.
    pub work: Work,
    /// What the heap saw.
    pub heap: Heap,
}

/// Heap activity by work and, within, by subject, like [`Grid`].
pub type HeapGrid = Vec<Vec<HeapCount>>;

/// One JSON row of the machine section.
#[derive(Debug, Serialize)]
struct MachineRow<'a> {
    section: &'static str,
    subject: &'a str,
    family: &'a str,
    work: MachineWork,
    done: Done,
    passes: u32,
    cpu_ns_per_entry: f64,
    cpu_ns_per_entry_min: f64,
    allocations_per_entry: f64,
    allocated_bytes_per_entry: f64,
    messages_per_entry: f64,
    idle_messages_per_entry: f64,
    wall_rate: f64,
}

#[derive(Debug, Serialize)]
struct MachineWork {
    nodes: usize,
    size: usize,
    window: u64,
    entries: u64,
}

/// One JSON row of the driver section.
#[derive(Debug, Serialize)]
struct ServiceRow<'a> {
    section: &'static str,
    subject: &'a str,
    family: &'a str,
    work: Load,
    done: &'static str,
    passes: u32,
    cpu_ns_per_entry: f64,
    cpu_ns_per_entry_min: f64,
    operations_per_cpu_second: f64,
    wall_rate: f64,
}

/// All rows as a JSON array.
///
/// # Errors
///
/// If a figure cannot be written as JSON.
pub fn json(
    plan: &Plan,
    machines: &Grid,
    heap: &HeapGrid,
    services: &Grid,
) -> serde_json::Result<String> {
    let mut rows = Vec::new();
    for ((work, figures), heap) in plan.works.iter().zip(machines).zip(heap) {
        for ((entrant, figures), heap) in plan.machines.iter().zip(figures).zip(heap) {
            let &Work {
                nodes,
                size,
                window,
                entries,
                done,
            } = work;
            rows.push(serde_json::to_value(MachineRow {
                section: "machine",
                subject: entrant.name,
                family: entrant.family,
                work: MachineWork {
                    nodes,
                    size,
                    window,
                    entries,
                },
                done,
                passes: plan.passes,
                cpu_ns_per_entry: figures.cpu_ns_median(),
                cpu_ns_per_entry_min: figures.cpu_ns_min(),
                allocations_per_entry: heap.allocations(),
                allocated_bytes_per_entry: heap.bytes(),
                messages_per_entry: figures.messages,
                idle_messages_per_entry: figures.idle_messages,
                wall_rate: figures.wall_rate(),
            })?);
        }
    }
    for (load, figures) in plan.loads.iter().zip(services) {
        for (entrant, figures) in plan.services.iter().zip(figures) {
            rows.push(serde_json::to_value(ServiceRow {
                section: "driver",
                subject: entrant.name,
                family: entrant.family,
                work: *load,
                done: "client",
                passes: plan.passes,
                cpu_ns_per_entry: figures.cpu_ns_median(),
                cpu_ns_per_entry_min: figures.cpu_ns_min(),
                operations_per_cpu_second: 1e9 / figures.cpu_ns_median(),
                wall_rate: figures.wall_rate(),
            })?);
        }
    }
    serde_json::to_string_pretty(&rows)
}

impl HeapCount {
    /// Allocator calls per entry.
    pub fn allocations(&self) -> f64 {
        self.heap.allocations as f64 / self.work.entries as f64
    }

    /// Bytes obtained per entry.
    pub fn bytes(&self) -> f64 {
        self.heap.bytes as f64 / self.work.entries as f64
    }
}

/// The tables of the machine section, one per work.
pub fn machine_tables(plan: &Plan, grid: &Grid, heap: &HeapGrid) -> String {
    let mut out = String::new();
    for ((work, figures), heap) in plan.works.iter().zip(grid).zip(heap) {
        let families: Vec<_> = plan.machines.iter().map(|entrant| entrant.family).collect();
        let peers = Peers::new(&families, figures);
        let mut table = Table::new(&[
            "subject",
            "cpu ns",
            "min",
            "M/cpu-s",
            "M/s",
            "allocs",
            "bytes",
            "msgs",
            "idle msgs",
        ]);
        table.head.extend(peers.headings());
        for ((entrant, figures), heap) in plan.machines.iter().zip(figures).zip(heap) {
            let mut row = vec![entrant.name.to_owned()];
            row.extend(times(figures));
            row.push(format!("{:.2}", heap.allocations()));
            row.push(format!("{:.0}", heap.bytes()));
            row.push(format!("{:.2}", figures.messages));
            row.push(format!("{:.2}", figures.idle_messages));
            row.extend(peers.ratios(figures));
            table.rows.push(row);
        }
        let _ = write!(out, "\n{work} × {} passes\n{table}", plan.passes);
    }
    out
}

/// The tables of the driver section, one per load.
pub fn service_tables(plan: &Plan, grid: &Grid) -> String {
    let mut out = String::new();
    for (load, figures) in plan.loads.iter().zip(grid) {
        let families: Vec<_> = plan.services.iter().map(|entrant| entrant.family).collect();
        let peers = Peers::new(&families, figures);
        let mut table = Table::new(&["subject", "cpu ns", "min", "M/cpu-s", "M/s"]);
        table.head.extend(peers.headings());
        for (entrant, figures) in plan.services.iter().zip(figures) {
            let mut row = vec![entrant.name.to_owned()];
            row.extend(times(figures));
            row.extend(peers.ratios(figures));
            table.rows.push(row);
        }
        let _ = write!(out, "\n{load} × {} passes\n{table}", plan.passes);
    }
    out
}

/// Median and least CPU time, and the rates.
fn times(figures: &Figures) -> [String; 4] {
    let median = figures.cpu_ns_median();
    [
        format!("{median:.0}"),
        format!("{:.0}", figures.cpu_ns_min()),
        format!("{:.3}", 1e3 / median),
        format!("{:.3}", figures.wall_rate() / 1e6),
    ]
}

/// The best figure of each family: a peer is judged by the setting that suits it best.
struct Peers {
    best: BTreeMap<&'static str, f64>,
}

impl Peers {
    fn new(families: &[&'static str], figures: &[Figures]) -> Self {
        let mut best = BTreeMap::new();
        for (&family, figures) in families.iter().zip(figures) {
            let least = best.entry(family).or_insert(f64::INFINITY);
            *least = f64::min(*least, figures.cpu_ns_median());
        }
        Self { best }
    }

    fn headings(&self) -> impl Iterator<Item = String> {
        self.best.keys().map(|family| format!("× {family}"))
    }

    /// How many times the rate of each family's best this one reaches.
    fn ratios(&self, figures: &Figures) -> impl Iterator<Item = String> {
        let own = figures.cpu_ns_median();
        self.best
            .values()
            .map(move |best| format!("{:.2}", best / own))
    }
}

/// Columns as wide as their widest cell; the first one to the left, figures to the right.
struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|&cell| cell.to_owned()).collect(),
            rows: vec![],
        }
    }
}

impl core::fmt::Display for Table {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let lines = || core::iter::once(&self.head).chain(&self.rows);
        let width = |column: usize| {
            lines()
                .map(|row| row[column].chars().count())
                .max()
                .unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        for row in lines() {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "{cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::*;
    use crate::run::Sample;

    fn figures(nanos: u64) -> Figures {
        let time = Duration::from_nanos(nanos);
        let mut figures = Figures::default();
        let heap = Heap::default();
        figures.add(
            1,
            &Sample {
                cpu: time,
                wall: time,
                messages: 4,
                idle_messages: 1,
                heap,
            },
        );
        figures
    }

    #[test]
    fn ratios_are_against_the_best_of_a_family() {
        let all = [figures(100), figures(50), figures(25)];
        let peers = Peers::new(&["raft", "raft", "synod"], &all);
        assert_eq!(peers.headings().collect::<Vec<_>>(), ["× raft", "× synod"]);
        assert_eq!(peers.ratios(&all[2]).collect::<Vec<_>>(), ["2.00", "1.00"]);
        assert_eq!(peers.ratios(&all[0]).collect::<Vec<_>>(), ["0.50", "0.25"]);
    }

    #[test]
    fn rows_carry_every_figure() {
        let mut plan = Plan {
            machines: vec![],
            works: vec![],
            services: vec![],
            loads: vec![],
            passes: 1,
        };
        plan.machines.push(crate::subjects::ROSTER[0]);
        plan.works.push(Work::new(3, 16, 1, 1, Done::Leader));
        let heap = HeapCount {
            work: plan.works[0],
            heap: Heap {
                allocations: 7,
                bytes: 70,
            },
        };
        let text = json(&plan, &vec![vec![figures(100)]], &vec![vec![heap]], &vec![]).unwrap();
        let rows: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(rows[0]["subject"], plan.machines[0].name);
        assert_eq!(rows[0]["work"]["window"], 1);
        assert_eq!(rows[0]["done"], "leader");
        assert_eq!(rows[0]["cpu_ns_per_entry"], 100.0);
        assert_eq!(rows[0]["allocations_per_entry"], 7.0);
        assert_eq!(rows[0]["messages_per_entry"], 4.0);
        assert_eq!(rows[0]["idle_messages_per_entry"], 1.0);
    }
}
