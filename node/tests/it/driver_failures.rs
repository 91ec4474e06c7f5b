//! What fails ends the node, and everybody is told.

use bytes::Bytes;
use futures::executor::block_on;
use futures::{FutureExt, StreamExt};
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{LogIndex, ReadLevel, StorageError};
use synod_node::{
    ApplyOn, CommittedError, Config, NodeError, NodeEvent, Observed, ProposeError, ReadError,
    SnapshotError, Stopped, WaitError,
};

use crate::driver_support::{Ledger, One, RUNTIMES, Rt, SOON, one, raft_config, raft_node, spawn};

/// Everything that can be asked is answered after the end.
fn all_is_over(node: &One) {
    let handle = &node.handle;
    let propose = handle.propose("x".into()).now_or_never();
    assert_eq!(propose, Some(Err(ProposeError::Stopped)));
    let many = handle.propose_many(["x".into()]).now_or_never();
    assert_eq!(many, Some(vec![Err(ProposeError::Stopped)]));
    let read = handle.read(Bytes::new(), ReadLevel::Stale).now_or_never();
    assert_eq!(read, Some(Err(ReadError::Stopped)));
    assert_eq!(handle.status().now_or_never(), Some(Err(Stopped)));
    let snapshot = handle.snapshot().now_or_never();
    assert_eq!(snapshot, Some(Err(SnapshotError::Stopped)));
    let wait = handle.wait(|_| true, SOON).now_or_never();
    assert_eq!(wait, Some(Err(WaitError::Stopped)));
    let mut entries = handle.committed_from(LogIndex(1));
    let entry = entries.next().now_or_never();
    assert_eq!(entry, Some(Some(Err(CommittedError::Stopped))));
    assert!(handle.events().next().now_or_never().unwrap().is_none());
    handle.shutdown().now_or_never().expect("it is down");
}

#[test]
fn a_failed_write_ends_the_node_and_nobody_knows() {
    for rt in RUNTIMES {
        let node = one(rt, Config::default());
        let mut events = node.handle.events();
        let error = StorageError::Full {
            place: "memory".into(),
        };
        node.storage.fail_next_write(0, error.clone());
        let proposal = node.handle.propose("lost".into());
        assert_eq!(block_on(proposal), Err(ProposeError::Unknown));
        block_on(node.handle.shutdown());
        let last = block_on(async {
            let mut last = None;
            while let Some(event) = events.next().await {
                last = Some(event);
            }
            last
        });
        let Some(Observed::Event(NodeEvent::Ended(Some(why)))) = last else {
            panic!("{last:?}");
        };
        assert_eq!(*why, NodeError::Storage(error.clone()));
        all_is_over(&node);
        assert_eq!(node.running.join(), Err(NodeError::Storage(error)));
    }
}

#[test]
fn a_panic_of_the_state_machine_ends_the_node() {
    for place in [ApplyOn::Thread, ApplyOn::Driver] {
        let node = one(
            Rt::Tokio,
            Config::builder().apply_on(place).build().unwrap(),
        );
        let outcome = block_on(node.handle.propose("panic".into()));
        assert_eq!(outcome, Err(ProposeError::Unknown));
        block_on(node.handle.shutdown());
        all_is_over(&node);
        let error = node.running.join().unwrap_err();
        assert_eq!(error, NodeError::Panicked("told to".into()));
    }
}

#[test]
fn nothing_is_applied_after_a_panic() {
    for place in [ApplyOn::Thread, ApplyOn::Driver] {
        let node = one(
            Rt::Tokio,
            Config::builder().apply_on(place).build().unwrap(),
        );
        // A durable state machine would note that it is beyond the entry that it failed at, and
        // never see that again.
        // More than are applied in one go.
        let after = std::iter::repeat_n("after", 1000);
        let commands = ["before", "panic"].into_iter().chain(after);
        let commands = commands.map(Bytes::from);
        let _outcomes = block_on(node.handle.propose_many(commands));
        assert!(node.running.join().is_err());
        while !node.ledger.is_alone() {
            std::thread::yield_now();
        }
        assert_eq!(node.ledger.lines(), ["before"], "{place:?}");
    }
}

#[test]
fn dropping_the_running_future_tells_everybody() {
    let node = one(Rt::Smol, Config::default());
    node.storage.hold();
    let proposal = node.handle.propose("lost".into());
    while node.storage.waiting() == 0 {
        std::thread::yield_now();
    }
    let handle = node.handle.clone();
    drop(node.running);
    assert_eq!(block_on(proposal), Err(ProposeError::Unknown));
    block_on(handle.shutdown());
    let late = handle.propose("x".into()).now_or_never();
    assert_eq!(late, Some(Err(ProposeError::Stopped)));
}

#[test]
fn a_node_that_is_never_run_still_tells() {
    let network = MemNetwork::new(16);
    let raft = raft_config(1, &[1]);
    let storage = MemStorage::new();
    let (node, handle) = raft_node(
        raft,
        &network,
        &storage,
        Ledger::default(),
        Config::default(),
    );
    let proposal = handle.propose("x".into());
    drop(node);
    assert_eq!(block_on(proposal), Err(ProposeError::Stopped));
}

#[test]
fn a_transport_that_ends_ends_the_node() {
    let network = MemNetwork::new(16);
    let raft = raft_config(1, &[1]);
    let storage = MemStorage::new();
    let (node, handle) = raft_node(
        raft,
        &network,
        &storage,
        Ledger::default(),
        Config::default(),
    );
    let running = spawn(Rt::Bare, node.run());
    block_on(handle.wait(|_| true, SOON)).unwrap();
    network.leave(handle.node());
    assert!(matches!(running.join(), Err(NodeError::Transport(_))));
}
