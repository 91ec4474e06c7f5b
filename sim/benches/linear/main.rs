//! How long a verdict takes: histories of clients that are always busy, mostly on one key.
//!
//! `cargo bench -p synod-sim --bench linear`

extern crate alloc;

use core::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use synod_sim::linear::{Checker, Register, RegisterOp};

mod support;

use support::{Load, history};

/// Half reads; each write has a value of its own; every operation is answered, rightly.
const BUSY: Load = Load {
    clients: 10,
    ops_per_client: 4_000,
    keys: 1,
    read_percent: 50,
    cas_percent: 0,
    values: None,
    unknown_per_thousand: 0,
    stale: false,
};

const FIVE_VALUES: Load = Load {
    values: Some(5),
    cas_percent: 33,
    ..BUSY
};

const FAULTY: Load = Load {
    unknown_per_thousand: 10,
    ..BUSY
};

fn verdicts(criterion: &mut Criterion) {
    let bad = |load| Load {
        stale: true,
        ..load
    };
    let of = |clients, ops_per_client| Load {
        clients,
        ops_per_client,
        ..BUSY
    };
    let of_16_keys = |load| Load { keys: 16, ..load };
    let cases = [
        ("10 clients x 4000", BUSY),
        ("10 clients x 4000, stale read", bad(BUSY)),
        ("10 clients x 20000", of(10, 20_000)),
        ("20 clients x 1000", of(20, 1_000)),
        ("20 clients x 1000, stale read", bad(of(20, 1_000))),
        ("100 clients x 400", of(100, 400)),
        ("10 clients x 4000, 5 values, cas", FIVE_VALUES),
        ("10 clients x 4000, 1% unknown", FAULTY),
        ("10 clients x 4000, 1% unknown, 16 keys", of_16_keys(FAULTY)),
        (
            "10 clients x 4000, 1% unknown, 16 keys, stale read",
            bad(of_16_keys(FAULTY)),
        ),
    ];
    let mut group = criterion.benchmark_group("linear");
    group.sample_size(10);
    for (name, load) in cases {
        let (history, _) = history(load);
        let checker = Checker::new(Register::new(0));
        let is_right = |is_linearizable| is_linearizable != load.stale;
        assert!(
            is_right(checker.check(&history).is_linearizable()),
            "{name}"
        );
        group.bench_function(name, |bencher| {
            bencher.iter(|| checker.check(black_box(&history)))
        });
    }
    group.finish();
}

/// What the log proves, and the check that follows.
fn with_log(criterion: &mut Criterion) {
    let (history, log) = history(FAULTY);
    let checker = Checker::new(Register::new(0));
    let is_write = |op: &RegisterOp<u64, u64>| matches!(op, RegisterOp::Write { .. });
    criterion.bench_function("linear/10 clients x 4000, 1% unknown, log", |bencher| {
        bencher.iter(|| {
            let mut history = history.clone();
            history
                .bound_by_log(&log, is_write)
                .expect("the log is right");
            assert!(checker.check(&history).is_linearizable());
        });
    });
}

criterion_group!(benches, verdicts, with_log);
criterion_main!(benches);
