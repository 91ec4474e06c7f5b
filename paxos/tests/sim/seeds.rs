//! Fresh seeds and those that have found something once.

use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// What is drawn from when nobody says otherwise.
const BASE: &str = "synod";
/// The branches that must be reached, per thousand seeds.
const MARKS: &[(&str, u64)] = &[
    ("amnesiacs refused", 12),
    ("answers too late", 2_000),
    ("bursts", 2_000),
    ("clock jumps", 800),
    ("compactions", 8_000),
    ("crashes", 8_000),
    ("crashes in recovery", 400),
    ("disk stalls", 200),
    ("disks damaged", 8),
    ("disks lost", 12),
    ("elections won", 3_200),
    ("full disks", 800),
    ("learners changed", 40),
    ("links broken", 200),
    ("links closed for damage", 200),
    ("loads", 20_000),
    ("loads of what is gone", 40),
    ("messages damaged", 200),
    ("messages doubled", 20_000),
    ("operations given up", 2_000),
    ("partitions", 4_000),
    ("pauses", 800),
    ("paxos: followers that asked for more", 3_200),
    ("paxos: later epochs entered", 1_000),
    ("paxos: leaders", 3_200),
    ("paxos: leaders that filled gaps", 40),
    ("paxos: nodes left out", 100),
    ("paxos: snapshots installed", 400),
    ("proposals displaced", 200),
    ("requests refused later", 20_000),
    ("requests rejected as too many", 2_000),
    ("restarts with a snapshot", 2_000),
    ("retries committed late", 8),
    ("retries committed twice", 4_000),
    ("slow disks", 800),
    ("slow links", 400),
    ("snapshots restored", 1_200),
    ("starts refused", 6),
    ("tickets unknown", 8_000),
    ("torn writes", 60),
    ("transfers asked", 80),
    ("voters changed", 100),
    ("writes failed", 80),
    ("writes kept without word", 20),
    ("writes without room", 200),
];

/// The branches that fast rounds must reach, per thousand seeds.
const FAST_MARKS: &[(&str, u64)] = &[
    ("compactions", 1_000),
    ("crashes", 2_000),
    ("disks lost", 12),
    ("messages doubled", 2_000),
    ("paxos: followers that asked for more", 800),
    ("paxos: leaders", 1_600),
    ("paxos: slots opened", 1_000),
    ("paxos: slots recovered", 1_000),
    ("paxos: snapshots installed", 100),
    ("restarts with a snapshot", 400),
    ("torn writes", 20),
];

/// What fresh seeds are drawn from: the commit, in continuous integration.
pub(crate) fn base() -> String {
    std::env::var("SYNOD_SEED_BASE").unwrap_or_else(|_| BASE.into())
}

fn kept(seeds: &str) -> impl Iterator<Item = u64> {
    let lines = seeds.lines();
    let lines = lines.filter_map(|line| line.split('#').next());
    lines.filter_map(|line| line.trim().parse().ok())
}

#[test]
fn no_seed_breaks_multi_paxos() {
    let fresh = Campaign::from_env(BASE, 500);
    let campaign = match std::env::var("SYNOD_SEED") {
        Ok(_) => fresh,
        Err(_) => fresh.keep(kept(include_str!("seeds.txt"))),
    };
    let command = "SYNOD_SEED={seed} cargo test -p synod-paxos --test sim -- --nocapture";
    let summary = campaign
        .replay_with(command)
        .run(&Simulation::new(Cluster::default(), Kv));
    println!("{summary}");
    assert!(
        summary.failure.is_none(),
        "a seed broke multi-paxos, see above"
    );
    if summary.seeds >= 500 {
        let missed = summary.missed(MARKS);
        assert!(missed.is_empty(), "the simulator is blind: {missed:#?}");
    }
}

/// Fewer than of classic clusters, for continuous integration's sake; `SYNOD_SEEDS=500` and more look at the marks,
/// too.
#[test]
fn no_seed_breaks_fast_paxos() {
    let fresh = Campaign::from_env(BASE, 200);
    let campaign = match std::env::var("SYNOD_SEED") {
        Ok(_) => fresh,
        Err(_) => fresh.keep(kept(include_str!("seeds_fast.txt"))),
    };
    let command = "SYNOD_SEED={seed} cargo test -p synod-paxos --test sim fast -- --nocapture";
    let cluster = Cluster {
        fast: true,
        ..Cluster::default()
    };
    let summary = campaign
        .replay_with(command)
        .run(&Simulation::new(cluster, Kv));
    println!("{summary}");
    assert!(
        summary.failure.is_none(),
        "a seed broke fast paxos, see above"
    );
    if summary.seeds >= 500 {
        let missed = summary.missed(FAST_MARKS);
        assert!(missed.is_empty(), "the simulator is blind: {missed:#?}");
    }
}
