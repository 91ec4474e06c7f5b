//! A state machine that takes a second costs no election.

use bytes::Bytes;
use futures::executor::block_on;
use synod_core::ReadLevel;
use synod_node::Config;

use crate::driver_support::{Rt, SOON, three};

#[test]
fn an_apply_of_one_second_causes_no_election() {
    let cluster = three(Rt::Tokio, &Config::default());
    let leader = cluster.leader();
    let handle = &cluster.nodes[leader].handle;
    block_on(handle.propose("before".into())).unwrap();
    let era = block_on(handle.status()).unwrap().era;
    // Every node applies it, the leader and the followers, each for several election timeouts.
    let slow = handle.propose("sleep 1000".into());
    let started = std::time::Instant::now();
    while started.elapsed().as_millis() < 900 {
        for node in &cluster.nodes {
            let status = block_on(node.handle.status()).unwrap();
            assert_eq!(status.era, era, "no election has taken place");
            assert_eq!(status.leader, Some(handle.node()));
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    // The log goes on meanwhile.
    let committed = block_on(handle.status()).unwrap().committed;
    let more = handle.propose("more".into());
    let beyond = handle.wait(|status| status.committed > committed, SOON);
    block_on(beyond).unwrap();
    block_on(slow).unwrap();
    block_on(more).unwrap();
    let read = handle.read(Bytes::new(), ReadLevel::Linearizable);
    assert_eq!(block_on(read).unwrap().response, "before sleep 1000 more");
    assert_eq!(block_on(handle.status()).unwrap().era, era);
}

#[test]
fn a_follower_applies_soon_though_nobody_waits_for_it() {
    let three = three(Rt::Tokio, &Config::default());
    let leader = three.leader();
    block_on(three.nodes[leader].handle.propose("x".into())).unwrap();
    let started = std::time::Instant::now();
    // Without a look at the handles: who watches the status has it handed over at once.
    while three.nodes.iter().any(|node| node.ledger.lines() != ["x"]) {
        assert!(started.elapsed() < SOON);
        std::thread::yield_now();
    }
}
