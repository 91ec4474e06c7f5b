//! Proposals, reads and their order, on every runtime.

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::join_all;
use synod_core::ReadLevel;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_node::{ApplyOn, Config};

use crate::driver_support::{
    Ledger, RUNTIMES, Rt, SOON, counted, one, raft_config, raft_node, spawn, text, three,
};

#[test]
fn proposals_take_effect_in_the_order_of_the_calls() {
    for rt in RUNTIMES {
        for place in [ApplyOn::Thread, ApplyOn::Driver] {
            let node = one(rt, Config::builder().apply_on(place).build().unwrap());
            let proposals: Vec<_> = (1..=100)
                .map(|k| node.handle.propose(Bytes::from(format!("c{k}"))))
                .collect();
            for (k, outcome) in (1..).zip(block_on(join_all(proposals))) {
                assert_eq!(text(&outcome.unwrap().response), format!("{k}"), "{rt:?}");
            }
            let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
            let expected: Vec<_> = (1..=100).map(|k| format!("c{k}")).collect();
            assert_eq!(text(&block_on(read).unwrap().response), expected.join(" "));
            assert_eq!(node.ledger.lines(), expected);
        }
    }
}

#[test]
fn a_linearizable_read_sees_every_write_before_it() {
    let node = one(Rt::Tokio, Config::default());
    for k in 1..=200_u32 {
        let written = block_on(node.handle.propose("w".into())).unwrap();
        let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
        let answered = block_on(read).unwrap();
        assert_eq!(text(&answered.response).split(' ').count(), k as usize);
        assert!(answered.token() >= written.token());
    }
}

#[test]
fn many_proposals_have_their_results_in_order() {
    let node = one(Rt::Smol, Config::default());
    let before = node.handle.metrics();
    let outcomes = block_on(node.handle.propose_many((0..50).map(|_| "x".into())));
    let responses: Vec<_> = outcomes.into_iter().map(|o| o.unwrap().response).collect();
    let expected: Vec<_> = (1..=50).map(|k: u32| Bytes::from(k.to_string())).collect();
    assert_eq!(responses, expected);
    assert!(block_on(node.handle.propose_many([])).is_empty());
    let after = counted(&node.handle, |m| {
        m.proposals == before.proposals + 50 && m.writes > before.writes
    });
    assert_eq!(after.writes - before.writes, 1, "one batch, one write");
}

#[test]
fn what_waits_in_the_queue_becomes_one_write() {
    let storage = MemStorage::new();
    let node = crate::driver_support::one_with(
        Rt::Bare,
        Config::default(),
        storage.clone(),
        Ledger::default(),
    );
    let before = node.handle.metrics().writes;
    storage.hold();
    let first = node.handle.propose("first".into());
    while storage.waiting() == 0 {
        std::thread::yield_now();
    }
    let rest: Vec<_> = (0..1000).map(|_| node.handle.propose("x".into())).collect();
    storage.release();
    block_on(first).unwrap();
    for outcome in block_on(join_all(rest)) {
        outcome.unwrap();
    }
    let writes = node.handle.metrics().writes - before;
    assert!(writes <= 4, "{writes} writes");
}

#[test]
fn dropping_the_future_takes_nothing_back() {
    let node = one(Rt::Tokio, Config::default());
    drop(node.handle.propose("kept".into()));
    drop(node.handle.propose_many(["this".into(), "too".into()]));
    drop(node.handle.read(Bytes::new(), ReadLevel::Linearizable));
    let last = block_on(node.handle.propose("last".into())).unwrap();
    assert_eq!(text(&last.response), "4");
    assert_eq!(node.ledger.lines(), ["kept", "this", "too", "last"]);
}

#[test]
fn proposals_before_the_node_runs_wait_for_it() {
    let network = MemNetwork::new(16);
    let (storage, ledger) = (MemStorage::new(), Ledger::default());
    let raft = raft_config(1, &[1]);
    let (node, handle) = raft_node(raft, &network, &storage, ledger, Config::default());
    let status = {
        let handle = handle.clone();
        spawn(Rt::Bare, async move { handle.status().await })
    };
    let _running = spawn(Rt::Bare, node.run());
    assert_eq!(status.join().unwrap().node, handle.node());
}

#[test]
fn three_nodes_serve_proposals_and_reads_from_any_of_them() {
    for rt in RUNTIMES {
        let cluster = three(rt, &Config::default());
        cluster.leader();
        for (k, node) in cluster.nodes.iter().enumerate() {
            let applied = block_on(node.handle.propose(format!("from{k}").into())).unwrap();
            assert_eq!(text(&applied.response), format!("{}", k + 1), "{rt:?}");
            let other = &cluster.nodes[(k + 1) % 3].handle;
            let session = other.read(Bytes::new(), ReadLevel::Session(applied.token()));
            let lines = block_on(session).unwrap();
            assert!(text(&lines.response).ends_with(&format!("from{k}")));
        }
        counted(&cluster.nodes[0].handle, |m| m.sent > 0 && m.received > 0);
        for node in &cluster.nodes {
            let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
            assert_eq!(text(&block_on(read).unwrap().response), "from0 from1 from2");
            let caught_up = node.handle.wait(|s| s.applied == s.committed, SOON);
            block_on(caught_up).unwrap();
        }
    }
}
