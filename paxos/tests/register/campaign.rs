//! Many seeds: nothing breaks, everything was met, and planted bugs are found.

use std::panic::{AssertUnwindSafe, catch_unwind};

use synod_paxos::register::planted::Bug;

use crate::world::{Plan, Seen, World};

fn seeds(default: u64) -> u64 {
    let set = std::env::var("SYNOD_SEEDS").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn run(plan: Plan) -> Result<Seen, String> {
    World::new(plan).run()
}

const fn plan(seed: u64, steps: bool) -> Plan {
    Plan {
        seed,
        steps,
        deletes: !seed.is_multiple_of(3),
        bug: None,
    }
}

fn storm(steps: bool, count: u64) -> Seen {
    let mut all = Seen::default();
    let from = std::env::var("SYNOD_SEED").ok();
    let from: u64 = from.and_then(|text| text.parse().ok()).unwrap_or(0);
    for seed in from..from + count {
        let seen = run(plan(seed, steps))
            .unwrap_or_else(|trouble| panic!("seed {seed}, steps {steps}: {trouble}"));
        all.done += seen.done;
        all.refused += seen.refused;
        all.unknown += seen.unknown;
        all.mismatched += seen.mismatched;
        all.asked += seen.asked;
        all.purged += seen.purged;
        all.stepped += seen.stepped;
        all.overtaken += seen.overtaken;
        all.settled += seen.settled;
        all.crashed += seen.crashed;
        all.torn += seen.torn;
        all.messages += seen.messages;
    }
    println!("{count} seeds, steps {steps}: {all:?}");
    let met = [
        all.done,
        all.refused,
        all.unknown,
        all.mismatched,
        all.asked,
    ];
    assert!(met.iter().all(|count| *count > 0), "{all:?}");
    let met = [all.purged, all.crashed];
    assert!(met.iter().all(|count| *count > 0), "{all:?}");
    all
}

#[test]
fn registers_are_linearizable_whatever_happens() {
    storm(false, seeds(150));
}

#[test]
fn registers_are_linearizable_while_the_acceptors_change() {
    let all = storm(true, seeds(100));
    let met = [all.stepped, all.settled, all.overtaken];
    assert!(met.iter().all(|count| *count > 0), "{all:?}");
}

/// The first seed that shows a bug.
fn find(bug: Bug, steps: bool, count: u64) -> Option<(u64, String)> {
    (0..count).find_map(|seed| {
        let plan = Plan {
            bug: Some(bug),
            ..plan(seed, steps)
        };
        let found = catch_unwind(AssertUnwindSafe(|| run(plan)));
        match found {
            Ok(Ok(_)) => None,
            Ok(Err(trouble)) => Some((seed, trouble)),
            Err(_) => Some((seed, "a broken invariant".into())),
        }
    })
}

#[test]
fn planted_bugs_are_found() {
    let mut missed = Vec::new();
    // That of the order of epochs shows in one of some thousand seeds: `steps.rs` plays its schedule.
    let drawn = Bug::ALL
        .into_iter()
        .filter(|bug| *bug != Bug::EpochsUnordered);
    for bug in drawn {
        let steps = matches!(bug, Bug::SettleWithoutRescan | Bug::EpochIgnored);
        match find(bug, steps, 500) {
            Some((seed, trouble)) => {
                let line = trouble.lines().next().unwrap_or_default();
                println!("{bug:?}: seed {seed}: {line}");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}
