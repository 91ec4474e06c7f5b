//! Each planted bug is caught by the tests that the log itself passes.

use synod_node::wal::Plant;
use synod_node::wal::sim_files::Fault;

use crate::wal_crash::{Story, tell_all, tell_starts};
use crate::wal_rot::flip_all;
use crate::wal_segments::{half_of_a_put_is_cut, state_outlives_its_segment};

/// The seeds that must suffice for each bug; the log itself passes as many of the same kind.
const BUDGET: u64 = 4;

fn caught(plant: Plant, tell: impl FnMut(u64) -> Result<(), (Story, String)>) {
    let mut tell = tell;
    let found = (0..BUDGET).find_map(|seed| tell(seed).err());
    let Some((story, error)) = found else {
        panic!("{plant:?} went unnoticed");
    };
    println!("{story:?}: {error}");
}

fn caught_by(plant: Plant, fault: Fault) {
    caught(plant, |seed| tell_all(seed, fault, Some(plant)));
}

#[test]
fn a_skipped_sync_is_caught() {
    caught_by(Plant::SkipSync, Fault::Crash);
}

#[test]
fn an_early_acknowledgement_is_caught() {
    caught_by(Plant::AckBeforeSync, Fault::Crash);
}

#[test]
fn a_retried_sync_is_caught() {
    caught_by(Plant::RetrySync, Fault::Fail);
}

#[test]
fn an_unsynced_directory_is_caught() {
    caught_by(Plant::SkipDirSync, Fault::Crash);
}

#[test]
fn a_start_that_trusts_memory_is_caught() {
    caught_by(Plant::TrustCache, Fault::Fail);
}

#[test]
fn early_deletion_is_caught() {
    caught_by(Plant::DeleteEarly, Fault::Crash);
}

#[test]
fn an_unsynced_snapshot_is_caught() {
    caught_by(Plant::UnsyncedSnapshot, Fault::Crash);
}

#[test]
fn a_segment_without_the_state_is_caught() {
    let told = state_outlives_its_segment(Some(Plant::BareCheckpoint));
    assert_eq!(told, Err("the state is None".into()));
}

#[test]
fn cutting_what_was_durable_is_caught() {
    let plant = Plant::CutAnything;
    caught(plant, |seed| flip_all(seed, Some(plant)));
}

#[test]
fn half_of_a_long_put_is_caught() {
    let told = half_of_a_put_is_cut(Some(Plant::KeepParts));
    assert!(told.is_err(), "KeepParts went unnoticed");
}

#[test]
fn ignoring_a_gap_is_caught() {
    let plant = Plant::IgnoreGaps;
    caught(plant, |seed| flip_all(seed, Some(plant)));
}

/// Also by a start that crashes itself: it has acted on what was never on the disk.
#[test]
fn a_start_that_trusts_memory_and_crashes_is_caught() {
    let told = tell_starts(60, 8, Some(Plant::TrustCache));
    assert!(told.is_err(), "TrustCache went unnoticed");
}
