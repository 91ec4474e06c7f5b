//! The hot path of a replicated log: who holds what, and who said yes.
//!
//! `cargo bench -p synod-quorum`

#![allow(missing_docs)] // criterion's macro makes a public function

use core::hint::black_box;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use synod_core::NodeId;
use synod_quorum::{Demand, Expr, Grid, NodeSet, Phases, Quorum, QuorumError, ReadWrite, Tally};

fn nodes(count: u64) -> impl Iterator<Item = NodeId> + Clone {
    (1..=count).map(NodeId)
}

/// The systems that are compared, by name.
fn systems() -> Result<Vec<(&'static str, Quorum)>, QuorumError> {
    let weight = |node: NodeId| (node, if node.0 == 1 { 2 } else { 1 });
    let groups = (0..3).map(|group| (group * 3 + 1..=group * 3 + 3).map(NodeId));
    let three = Quorum::majority(nodes(3))?;
    let wall = Expr::any([
        Expr::all([1, 2].map(NodeId)),
        Expr::all([3, 4, 5].map(NodeId)),
    ]);
    Ok(vec![
        ("majority/3", three.clone()),
        ("majority/5", Quorum::majority(nodes(5))?),
        ("majority/7", Quorum::majority(nodes(7))?),
        ("majority/9", Quorum::majority(nodes(9))?),
        ("majority/64", Quorum::majority(nodes(64))?),
        (
            "joint/3+3",
            Quorum::joint(&three, &Quorum::majority([1, 2, 4].map(NodeId))?)?,
        ),
        (
            "joint/3+5",
            Quorum::joint(&three, &Quorum::majority(nodes(5))?)?,
        ),
        (
            "weighted/5",
            Quorum::weighted_majority(nodes(5).map(weight))?,
        ),
        (
            "grid/9",
            Quorum::new(Grid::new(nodes(9), 3)?.one_per_row())?,
        ),
        ("hierarchical/9", Quorum::hierarchical(groups)?),
        ("expression/5", Quorum::new(wall)?),
    ])
}

/// Values that differ and change from call to call, as log indexes do.
fn values(count: usize) -> Vec<u64> {
    (0..count as u64).map(|i| 1000 + i * 7919 % 31).collect()
}

fn highest(c: &mut Criterion) {
    let mut group = c.benchmark_group("highest");
    for (name, quorum) in systems().expect("the systems are valid") {
        let mut values = values(quorum.members().len());
        let mut turn = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                // one member acknowledges more, and the leader looks what is committed
                turn = if turn == 0 {
                    values.len() - 1
                } else {
                    turn - 1
                };
                values[turn] += 3;
                black_box(&quorum).highest(black_box(&values))
            });
        });
    }
    group.finish();
}

fn is_quorum(c: &mut Criterion) {
    let mut group = c.benchmark_group("is_quorum");
    for (name, quorum) in systems().expect("the systems are valid") {
        let mut bits = 0;
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                bits += 1;
                black_box(&quorum).is_quorum(NodeSet::from_bits(bits))
            });
        });
    }
    group.finish();
}

fn tally(c: &mut Criterion) {
    let mut group = c.benchmark_group("tally");
    for (name, quorum) in systems().expect("the systems are valid") {
        let members = quorum.members().to_vec();
        group.bench_function(BenchmarkId::from_parameter(name), |b| {
            b.iter(|| {
                let mut tally = Tally::new(quorum.clone());
                for member in &members {
                    black_box(tally.record(*member, true));
                }
                tally
            });
        });
    }
    group.finish();
}

/// Once per configuration, not per message.
fn planning(c: &mut Criterion) {
    let mut group = c.benchmark_group("planning");
    for (name, quorum) in systems().expect("the systems are valid") {
        let system = ReadWrite::from_reads(&quorum);
        let demand = Demand::reads(0.5).node(NodeId(1), 3.0, 2.0);
        group.bench_function(BenchmarkId::new("plan", name), |b| {
            b.iter(|| black_box(&system).plan(&demand));
        });
        group.bench_function(BenchmarkId::new("prove", name), |b| {
            b.iter(|| Phases::new(black_box(&quorum), &quorum));
        });
    }
    group.finish();
}

criterion_group!(benches, highest, is_quorum, tally, planning);
criterion_main!(benches);
