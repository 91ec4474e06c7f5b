//! Snapshots: taken, stored, used at a restart and by a follower that is far behind.

use bytes::Bytes;
use futures::executor::block_on;
use synod_core::{LogIndex, ReadLevel, Role};
use synod_node::{ApplyOn, Config, SnapshotError};

use crate::driver_support::{
    Ledger, One, Rt, SOON, counted, one, one_with, raft_config, raft_node, spawn, text, three,
};

const PLACES: [ApplyOn; 2] = [ApplyOn::Thread, ApplyOn::Driver];

fn config(place: ApplyOn) -> Config {
    Config::builder()
        .apply_on(place)
        .snapshot_every_entries(20)
        .piece_bytes(16)
        .build()
        .unwrap()
}

fn fill(node: &One, count: usize) {
    let commands = (0..count).map(|k| Bytes::from(format!("entry{k}")));
    for outcome in block_on(node.handle.propose_many(commands)) {
        outcome.unwrap();
    }
}

fn read(node: &One) -> String {
    let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
    text(&block_on(read).unwrap().response).to_owned()
}

#[test]
fn the_policy_takes_snapshots_and_the_log_is_compacted() {
    for place in PLACES {
        let node = one(Rt::Tokio, config(place));
        for _ in 0..5 {
            fill(&node, 20);
        }
        let compacted = node.handle.wait(|s| s.compacted > LogIndex(40), SOON);
        let status = block_on(compacted).unwrap();
        assert!(status.snapshot > status.compacted);
        counted(&node.handle, |m| m.snapshots >= 1);
        let image = node.storage.image();
        assert!(image.len() < 100, "{} entries are left", image.len());
        let snapshot = image.snapshot_contents().unwrap();
        assert!(snapshot.starts_with(b"entry0 entry1 "));
    }
}

#[test]
fn a_state_machine_in_memory_is_restored_at_a_restart() {
    for place in PLACES {
        let node = one(Rt::Smol, config(place));
        fill(&node, 30);
        let meta = block_on(node.handle.snapshot()).unwrap();
        assert!(meta.size > 16, "more than one piece");
        fill(&node, 3);
        let before = read(&node);
        block_on(node.handle.shutdown());
        node.running.join().unwrap();

        let storage = node.storage.restart();
        let again = one_with(Rt::Smol, config(place), storage, Ledger::default());
        assert_eq!(read(&again), before);
        counted(&again.handle, |m| m.restores == 1);
    }
}

#[test]
fn a_durable_state_machine_is_given_only_what_follows() {
    for place in PLACES {
        let config = Config::builder().apply_on(place).build().unwrap();
        let (storage, ledger) = (Default::default(), Ledger::durable());
        let node = one_with(Rt::Tokio, config.clone(), storage, ledger.clone());
        fill(&node, 30);
        let before = read(&node);
        block_on(node.handle.shutdown());
        node.running.join().unwrap();

        // The ledger itself checks that nothing comes twice.
        let storage = node.storage.restart();
        let again = one_with(Rt::Tokio, config, storage, ledger);
        assert_eq!(read(&again), before);
        fill(&again, 1);
        assert_eq!(again.ledger.lines().len(), 31);
        assert_eq!(again.handle.metrics().restores, 0);
    }
}

#[test]
fn a_durable_state_machine_that_is_behind_the_snapshot_is_restored_from_it() {
    for place in PLACES {
        let config = Config::builder().apply_on(place).build().unwrap();
        let (storage, ledger) = (Default::default(), Ledger::durable());
        let node = one_with(Rt::Smol, config.clone(), storage, ledger);
        fill(&node, 30);
        block_on(node.handle.snapshot()).unwrap();
        fill(&node, 2);
        let before = read(&node);
        block_on(node.handle.shutdown());
        node.running.join().unwrap();

        // Its files are gone: it says that it has applied nothing.
        let storage = node.storage.restart();
        let again = one_with(Rt::Smol, config, storage, Ledger::durable());
        assert_eq!(read(&again), before);
        counted(&again.handle, |m| m.restores == 1);
    }
}

#[test]
fn a_snapshot_on_request() {
    let node = one(Rt::Bare, Config::default());
    fill(&node, 5);
    let one = block_on(node.handle.snapshot()).unwrap();
    assert_eq!(node.storage.image().snapshot(), Some(&one));
    // A second one at the same place says the same.
    let two = block_on(node.handle.snapshot()).unwrap();
    assert_eq!(one.id, two.id);
    fill(&node, 5);
    let three = block_on(node.handle.snapshot()).unwrap();
    assert_eq!(three.index(), one.index().plus(5));
}

#[test]
fn an_empty_snapshot_is_one_too() {
    let node = one(Rt::Bare, Config::default());
    // The entry that opens the term is all there is.
    let committed = node.handle.wait(|s| s.applied > LogIndex::START, SOON);
    block_on(committed).unwrap();
    let meta = block_on(node.handle.snapshot()).unwrap();
    assert_eq!(meta.size, 0);
    assert_eq!(node.storage.image().snapshot(), Some(&meta));
}

#[test]
fn a_snapshot_that_the_application_refuses_changes_nothing() {
    let mut ledger = Ledger::default();
    ledger.no_snapshots = Some("not now");
    let config = Config::default();
    let node = one_with(Rt::Tokio, config, Default::default(), ledger);
    fill(&node, 5);
    let error = block_on(node.handle.snapshot()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the state machine gave no snapshot: not now"
    );
    assert!(matches!(error, SnapshotError::Machine(_)));
    fill(&node, 5);
    assert_eq!(node.ledger.lines().len(), 10);
}

#[test]
fn a_follower_that_is_far_behind_gets_a_snapshot() {
    for place in PLACES {
        let cluster = three(Rt::Tokio, &config(place));
        let leader = cluster.leader();
        let behind = (leader + 1) % 3;
        let (leader, behind) = (&cluster.nodes[leader], &cluster.nodes[behind]);
        let id = behind.handle.node();
        for node in &cluster.nodes {
            if node.handle.node() != id {
                cluster.network.cut(node.handle.node(), id);
            }
        }
        for _ in 0..5 {
            fill(leader, 20);
        }
        let far = leader.handle.wait(|s| s.compacted > LogIndex(60), SOON);
        block_on(far).unwrap();
        for node in &cluster.nodes {
            if node.handle.node() != id {
                cluster.network.mend(node.handle.node(), id);
            }
        }
        let end = block_on(leader.handle.status()).unwrap().committed;
        let caught_up = behind.handle.wait(|s| s.applied >= end, SOON);
        block_on(caught_up).unwrap();
        counted(&behind.handle, |m| m.restores == 1);
        assert_eq!(behind.ledger.lines(), leader.ledger.lines());
        fill(leader, 3);
        assert_eq!(read(behind), read(leader));
    }
}

#[test]
fn a_crash_while_a_snapshot_is_written_loses_nothing() {
    let node = one(Rt::Tokio, config(ApplyOn::Thread));
    fill(&node, 15);
    let before = read(&node);
    node.storage.hold();
    let handle = node.handle.clone();
    let taking = spawn(Rt::Tokio, async move { handle.snapshot().await });
    while node.storage.waiting() == 0 {
        std::thread::yield_now();
    }
    let storage = node.storage.restart_torn(1);
    assert_eq!(taking.join(), Err(SnapshotError::Stopped));
    assert!(node.running.join().is_err());
    let ledger = Ledger::default();
    let network = synod_core::mem::MemNetwork::new(16);
    let raft = raft_config(1, &[1]);
    let (again, handle) = raft_node(raft, &network, &storage, ledger, config(ApplyOn::Thread));
    let _running = spawn(Rt::Tokio, again.run());
    block_on(handle.wait(|s| s.role == Role::Leader, SOON)).unwrap();
    let read = handle.read(Bytes::new(), ReadLevel::Linearizable);
    assert_eq!(text(&block_on(read).unwrap().response), before);
    block_on(handle.snapshot()).unwrap();
}
