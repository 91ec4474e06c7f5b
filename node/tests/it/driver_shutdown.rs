//! The end in good order.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::StreamExt;
use futures::executor::block_on;
use synod_core::ReadLevel;
use synod_node::{Config, NodeEvent, Observed, ProposeError};

use crate::driver_support::{RUNTIMES, Rt, one, three};

#[test]
fn a_shutdown_finishes_what_is_under_way() {
    for rt in RUNTIMES {
        let node = one(rt, Config::default());
        let mut events = node.handle.events();
        let slow = node.handle.propose("sleep 100".into());
        let proposals = node.handle.propose_many((0..100).map(|_| "x".into()));
        let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
        // A status after the others: they are with the machine.
        block_on(node.handle.status()).unwrap();
        block_on(node.handle.shutdown());
        block_on(slow).unwrap();
        assert!(
            block_on(proposals)
                .into_iter()
                .all(|outcome| outcome.is_ok())
        );
        block_on(read).unwrap();
        assert_eq!(node.running.join(), Ok(()));
        let last = block_on(async {
            let mut last = None;
            while let Some(event) = events.next().await {
                last = Some(event);
            }
            last
        });
        assert!(matches!(
            last,
            Some(Observed::Event(NodeEvent::Ended(None)))
        ));
    }
}

#[test]
fn what_was_not_taken_yet_is_stopped() {
    let node = one(Rt::Tokio, Config::default());
    let shutdown = node.handle.shutdown();
    let mut shutdown = std::pin::pin!(shutdown);
    let down = shutdown.as_mut().now_or_never();
    let late = node.handle.propose("late".into());
    if down.is_none() {
        block_on(shutdown);
    }
    assert_eq!(block_on(late), Err(ProposeError::Stopped));
    assert!(node.ledger.lines().is_empty());
}

#[test]
fn the_write_under_way_is_finished_before_the_end() {
    let node = one(Rt::Bare, Config::default());
    node.storage.hold();
    let proposal = node.handle.propose("x".into());
    while node.storage.waiting() == 0 {
        std::thread::yield_now();
    }
    let handle = node.handle.clone();
    let shutdown = std::thread::spawn(move || block_on(handle.shutdown()));
    std::thread::sleep(Duration::from_millis(50));
    assert!(!shutdown.is_finished(), "the write is not durable yet");
    node.storage.release();
    shutdown.join().unwrap();
    block_on(proposal).unwrap();
    assert_eq!(node.running.join(), Ok(()));
}

#[test]
fn what_cannot_finish_within_the_grace_is_unknown() {
    let config = Config::builder()
        .shutdown_grace(Duration::from_millis(100))
        .build()
        .unwrap();
    let cluster = three(Rt::Tokio, &config);
    let leader = cluster.leader();
    for node in &cluster.nodes {
        if node.handle.node() != cluster.nodes[leader].handle.node() {
            let ends = (node.handle.node(), cluster.nodes[leader].handle.node());
            cluster.network.mute(ends.0, ends.1, true);
            cluster.network.mute(ends.1, ends.0, true);
        }
    }
    let handle = cluster.nodes[leader].handle.clone();
    let proposal = handle.propose("nobody hears it".into());
    block_on(handle.status()).unwrap();
    block_on(handle.shutdown());
    let outcome = proposal.now_or_never().expect("everybody is answered");
    assert_eq!(outcome, Err(ProposeError::Unknown));
}
