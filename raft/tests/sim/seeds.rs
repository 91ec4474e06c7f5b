//! Fresh seeds and those that have found something once.

use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// What is drawn from when nobody says otherwise.
const BASE: &str = "synod";
/// The branches that must be reached, per thousand seeds.
const MARKS: &[(&str, u64)] = &[
    ("answers too late", 2_000),
    ("compactions", 5_000),
    ("crashes", 5_000),
    ("elections won", 2_000),
    ("links broken", 1_000),
    ("loads", 20_000),
    ("loads of what is gone", 100),
    ("messages doubled", 20_000),
    ("operations given up", 1_000),
    ("partitions", 5_000),
    ("pauses", 1_000),
    ("proposals displaced", 200),
    ("raft: logs truncated", 200),
    ("raft: snapshots installed", 200),
    ("requests refused later", 5_000),
    ("restarts with a snapshot", 1_000),
    ("retries committed late", 5),
    ("retries committed twice", 5_000),
    ("snapshots overtaken before restore", 1),
    ("snapshots restored", 1_000),
    ("tickets unknown", 2_000),
    ("torn writes", 20),
];

fn kept() -> impl Iterator<Item = u64> {
    let lines = include_str!("seeds.txt").lines();
    let lines = lines.filter_map(|line| line.split('#').next());
    lines.filter_map(|line| line.trim().parse().ok())
}

#[test]
fn no_seed_breaks_raft() {
    let fresh = Campaign::from_env(BASE, 2_000);
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
