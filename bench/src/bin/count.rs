//! Counts the heap allocations of every machine in a plan.
//!
//! `cargo bench` starts it, with its own arguments: a counting allocator costs time at every call, which would fall
//! on those who allocate most, so times are measured in a process that has none, and allocations in this one. It
//! prints the counts by work and subject, as JSON.

use std::alloc::System;
use std::io::{self, Write as _};

use clap::Parser as _;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use synod_bench::options::Options;
use synod_bench::report::{HeapCount, HeapGrid};
use synod_bench::run::{Heap, Sample};
use synod_bench::work::Work;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Counts do not depend on the time of day: fewer entries give the same figures sooner.
const ENOUGH: u64 = 20_000;

fn heap() -> Heap {
    let stats = HEAP.stats();
    Heap {
        allocations: (stats.allocations + stats.reallocations) as u64,
        bytes: stats.bytes_allocated as u64,
    }
}

fn main() -> io::Result<()> {
    let plan = Options::parse().plan().unwrap_or_else(|error| error.exit());
    let mut grid = HeapGrid::new();
    for work in &plan.works {
        let &Work {
            nodes,
            size,
            window,
            entries,
            done,
        } = work;
        let work = Work::new(nodes, size, window, entries.min(ENOUGH), done);
        let count = |run: fn(&Work, fn() -> Heap) -> Sample| HeapCount {
            work,
            heap: run(&work, heap).heap,
        };
        grid.push(
            plan.machines
                .iter()
                .map(|entrant| count(entrant.run))
                .collect(),
        );
    }
    serde_json::to_writer(io::stdout().lock(), &grid)?;
    writeln!(io::stdout())
}
