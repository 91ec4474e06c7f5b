//! Scenarios as transcripts: see the README in this directory for their language.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "tests have std"
)]

#[allow(
    dead_code,
    reason = "shared with the tests in `single`, which use the rest"
)]
#[path = "../single/cluster.rs"]
mod cluster;
mod decree;
mod hall;
mod log;
mod names;
mod planted;
mod register;
mod stage;
mod story;
mod teeth;

use std::path::{Path, PathBuf};

use story::Mode;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios")
}

fn text_of(name: &str) -> String {
    std::fs::read_to_string(directory().join(format!("{name}.txt"))).unwrap()
}

/// Tells the story of a file, and rewrites the file if that is asked for.
fn check(name: &str) {
    let file = format!("paxos/tests/scenarios/{name}.txt");
    let text = text_of(name);
    let rewrite = std::env::var("SYNOD_REGENERATE").is_ok_and(|value| value == "1");
    let mode = if rewrite { Mode::Rewrite } else { Mode::Check };
    match story::tell(&file, &text, mode, None) {
        Ok(told) if rewrite && told != text => {
            std::fs::write(directory().join(format!("{name}.txt")), told).unwrap();
        }
        Ok(_) => {}
        Err(why) => panic!("\n{why}\n"),
    }
}

/// One test for each file, so that a failure names it.
macro_rules! scenarios {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        const NAMES: &[&str] = &[$(stringify!($name)),*];
    };
}

scenarios! {
    single_two_proposers
    single_duel
    single_highest_vote
    single_restart
    single_unheard_choice
    single_fast
    single_fast_collision
    single_fast_recovery
    single_fast_uncoordinated
    log_leader
    log_gap
    log_out_of_order
    log_duel
    log_quorum_loss
    log_constrained
    log_chained
    register_one_round_trip
    register_conflict
    register_read
    register_delete
}

#[test]
fn every_file_is_a_test() {
    let mut files: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    let mut names: Vec<String> = NAMES.iter().map(ToString::to_string).collect();
    files.sort();
    names.sort();
    assert_eq!(files, names);
}
