//! Nodes at rest cost nothing: they are polled when something happens or a deadline is due, and not
//! before.

use core::time::Duration;

use futures::executor::block_on;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use synod_core::mem::{ManualClock, MemNetwork, MemStorage};
use synod_core::{NodeId, StorageError};
use synod_node::{ApplyOn, Config, Handle, Node, Parts};
use synod_raft::{Config as RaftConfig, Raft};

use crate::driver_support::Ledger;

const NODES: u64 = 10_000;
const SOONEST: Duration = Duration::from_millis(1000);

fn turns(handles: &[Handle]) -> Vec<u64> {
    handles.iter().map(|h| h.metrics().turns).collect()
}

#[test]
fn ten_thousand_nodes_at_rest_are_not_polled_before_a_deadline() {
    let clock = ManualClock::new();
    let config = Config::builder().apply_on(ApplyOn::Driver).build().unwrap();
    let (mut handles, mut running) = (Vec::new(), FuturesUnordered::new());
    for id in 1..=NODES {
        // Followers of somebody who is silent: each waits for its election timeout.
        let raft = RaftConfig::builder(NodeId(id))
            .voters([NodeId(id), NodeId(id + NODES)])
            .election_timeout(SOONEST..=2 * SOONEST)
            .build()
            .unwrap();
        let parts = Parts {
            storage: MemStorage::new(),
            transport: MemNetwork::new(16).join(NodeId(id)),
            clock: clock.clone(),
        };
        let its_clock = clock.clone();
        let opened = Node::open(parts, Ledger::default(), config.clone(), |restored| {
            let raft = Raft::new(raft, restored, synod_core::Clock::now(&its_clock));
            raft.map_err(|error| StorageError::Failed(error.to_string()))
        });
        let (node, handle) = block_on(opened).unwrap();
        handles.push(handle);
        running.push(node.run());
    }
    // Polls whoever has been woken, until nobody has.
    let mut rest = || assert_eq!(running.next().now_or_never(), None);
    let mut settle = || (0..1000).for_each(|_| rest());
    settle();
    let before = turns(&handles);
    assert!(before.iter().all(|turns| *turns > 0), "all of them run");

    for _ in 0..9 {
        clock.advance(SOONEST / 10);
        settle();
    }
    assert_eq!(turns(&handles), before, "nobody was polled in vain");

    // What one is asked is its own affair.
    let _status = handles[7].status().now_or_never();
    settle();
    let mut asked = turns(&handles);
    assert!(asked[7] > before[7]);
    asked[7] = before[7];
    assert_eq!(asked, before);

    clock.advance(2 * SOONEST);
    settle();
    let after = turns(&handles);
    let is_polled = after
        .iter()
        .zip(&before)
        .all(|(after, before)| after > before);
    assert!(is_polled, "a deadline is met");
}
