//! Fresh seeds and those that have found something once.

use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// What is drawn from when nobody says otherwise.
const BASE: &str = "synod";
/// The branches that must be reached, per thousand seeds.
const MARKS: &[(&str, u64)] = &[
    ("amnesiacs refused", 15),
    ("answers too late", 2_000),
    ("bursts", 2_000),
    ("clock jumps", 2_000),
    ("compactions", 5_000),
    ("crashes", 5_000),
    ("crashes in recovery", 1_000),
    ("disk stalls", 500),
    ("disks damaged", 10),
    ("disks lost", 20),
    ("elections won", 2_000),
    ("full disks", 2_000),
    ("learners changed", 50),
    ("links broken", 1_000),
    ("links closed for damage", 300),
    ("loads", 20_000),
    ("loads of what is gone", 100),
    ("messages damaged", 300),
    ("messages doubled", 20_000),
    ("operations given up", 1_000),
    ("partitions", 5_000),
    ("pauses", 1_000),
    ("proposals displaced", 200),
    ("raft: logs truncated", 200),
    ("raft: snapshots installed", 200),
    ("requests refused later", 5_000),
    ("requests rejected as too many", 5_000),
    ("restarts with a snapshot", 1_000),
    ("retries committed late", 2),
    ("retries committed twice", 5_000),
    ("slow disks", 1_000),
    ("slow links", 1_000),
    ("snapshots restored", 1_000),
    ("starts refused", 10),
    ("tickets unknown", 2_000),
    ("torn writes", 50),
    ("writes failed", 50),
    ("writes kept without word", 30),
    ("writes without room", 200),
];

/// What fresh seeds are drawn from: the commit, in continuous integration.
pub(crate) fn base() -> String {
    std::env::var("SYNOD_SEED_BASE").unwrap_or_else(|_| BASE.into())
}

fn kept() -> impl Iterator<Item = u64> {
    let lines = include_str!("seeds.txt").lines();
    let lines = lines.filter_map(|line| line.split('#').next());
    lines.filter_map(|line| line.trim().parse().ok())
}

#[test]
fn no_seed_breaks_raft() {
    let fresh = Campaign::from_env(BASE, 500);
    let campaign = match std::env::var("SYNOD_SEED") {
        Ok(_) => fresh,
        Err(_) => fresh.keep(kept()),
    };
    let command = "SYNOD_SEED={seed} cargo test -p synod-raft --test sim -- --nocapture";
    let summary = campaign
        .replay_with(command)
        .run(&Simulation::new(Cluster::default(), Kv));
    println!("{summary}");
    assert!(summary.failure.is_none(), "a seed broke raft, see above");
    if summary.seeds >= 500 {
        let missed = summary.missed(MARKS);
        assert!(missed.is_empty(), "the simulator is blind: {missed:#?}");
    }
}
