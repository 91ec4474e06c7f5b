//! Fresh seeds and those that have found something once.

use synod_sim::{Campaign, Kv, Simulation};

use crate::cluster::Cluster;

/// What is drawn from when nobody says otherwise.
const BASE: &str = "synod";
/// The branches that must be reached, per thousand seeds.
const MARKS: &[(&str, u64)] = &[("amnesiacs refused", 15)];

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
