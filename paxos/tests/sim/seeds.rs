//! Fresh seeds and those that have found something once.

use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// What is drawn from when nobody says otherwise.
const BASE: &str = "synod";
/// The branches that must be reached, per thousand seeds.
const MARKS: &[(&str, u64)] = &[
    ("amnesiacs refused", 30),
    ("answers too late", 5_000),
    ("bursts", 5_000),
    ("clock jumps", 2_000),
    ("compactions", 20_000),
    ("crashes", 20_000),
    ("crashes in recovery", 1_000),
    ("disk stalls", 500),
    ("disks damaged", 20),
    ("disks lost", 30),
    ("elections won", 8_000),
    ("full disks", 2_000),
    ("learners changed", 100),
    ("links broken", 500),
    ("links closed for damage", 500),
    ("loads", 50_000),
    ("loads of what is gone", 100),
    ("messages damaged", 500),
    ("messages doubled", 50_000),
    ("operations given up", 5_000),
    ("partitions", 10_000),
    ("pauses", 2_000),
    ("paxos: followers that asked for more", 8_000),
    ("paxos: leaders", 8_000),
    ("paxos: leaders that filled gaps", 100),
    ("paxos: snapshots installed", 1_000),
    ("proposals displaced", 500),
    ("requests refused later", 50_000),
    ("requests rejected as too many", 5_000),
    ("restarts with a snapshot", 5_000),
    ("retries committed late", 20),
    ("retries committed twice", 10_000),
    ("slow disks", 2_000),
    ("slow links", 1_000),
    ("snapshots overtaken before restore", 20),
    ("snapshots restored", 3_000),
    ("starts refused", 15),
    ("tickets unknown", 20_000),
    ("torn writes", 150),
    ("transfers asked", 200),
    ("writes failed", 200),
    ("writes kept without word", 50),
    ("writes without room", 500),
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
fn no_seed_breaks_multi_paxos() {
    let fresh = Campaign::from_env(BASE, 500);
    let campaign = match std::env::var("SYNOD_SEED") {
        Ok(_) => fresh,
        Err(_) => fresh.keep(kept()),
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
