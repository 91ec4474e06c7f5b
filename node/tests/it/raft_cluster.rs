//! The real machine, real disks, real connections: leaders die, disks fail, learners come late.

use bytes::Bytes;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{Change, LogIndex, NodeId, ReadLevel, Role, StorageError};
use synod_node::wal::WalConfig;
use synod_node::{Config, NodeError, ProposeError};

use crate::cluster::{Disks, Live, SOON, Wire, introduce, leader, raft, start, start_on};
use crate::driver_support::{Ledger, counted};

const VOTERS: [u64; 3] = [1, 2, 3];

struct Three {
    disks: Disks,
    nodes: Vec<Live>,
    ledgers: Vec<Ledger>,
}

async fn three() -> Three {
    let disks = Disks::new();
    let (mut nodes, mut ledgers) = (Vec::new(), Vec::new());
    for id in VOTERS {
        let ledger = Ledger::default();
        nodes.push(one(&disks, id, ledger.clone()).await);
        ledgers.push(ledger);
    }
    introduce(
        nodes
            .iter()
            .map(|node| (node.id(), &node.wire))
            .collect::<Vec<_>>(),
    );
    Three {
        disks,
        nodes,
        ledgers,
    }
}

async fn one(disks: &Disks, id: u64, ledger: Ledger) -> Live {
    let wire = Wire::start(id, |config| config).await;
    let storage = disks.open(id, WalConfig::default());
    let raft = raft(id, &VOTERS).build().unwrap();
    start(wire, raft, storage, ledger, Config::default()).await
}

async fn write(node: &Live, lines: std::ops::Range<u32>) {
    for line in lines {
        let line = Bytes::from(line.to_string());
        node.handle.propose(line).await.unwrap();
    }
}

fn lines(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|line| line.to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_service_outlives_its_leader_and_the_leader_catches_up() {
    let Three {
        disks,
        mut nodes,
        ledgers,
    } = three().await;
    let first = leader(&nodes).await;
    write(&nodes[first], 0..20).await;
    let era = nodes[first].status().await.era;
    let victim = nodes.remove(first);
    let id = victim.id();
    victim.kill().await;

    // The others may still believe in the dead one for a while.
    for node in &nodes {
        let elected = |status: &synod_core::Status| {
            status.leader.is_some_and(|leader| leader != NodeId(id)) && status.era > era
        };
        node.handle.wait(elected, SOON).await.unwrap();
    }
    let second = leader(&nodes).await;
    write(&nodes[second], 20..40).await;

    // It starts from its disk with an empty state machine.
    let ledger = Ledger::default();
    nodes.push(one(&disks, id, ledger.clone()).await);
    introduce(
        nodes
            .iter()
            .map(|node| (node.id(), &node.wire))
            .collect::<Vec<_>>(),
    );
    let committed = nodes[second].status().await.committed;
    let back = nodes.last().unwrap();
    let caught_up = back.handle.wait(|s| s.applied >= committed, SOON);
    caught_up.await.unwrap();
    assert_eq!(ledger.lines(), lines(0..40), "all of it, once");
    let read = back.handle.read(Bytes::new(), ReadLevel::Linearizable);
    assert_eq!(read.await.unwrap().response, lines(0..40).join(" "));
    for (k, other) in ledgers.iter().enumerate() {
        if k as u64 + 1 != id {
            assert_eq!(other.lines(), lines(0..40));
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_comes_back_from_its_disks() {
    let Three { disks, nodes, .. } = three().await;
    let first = leader(&nodes).await;
    write(&nodes[first], 0..20).await;
    for node in nodes {
        node.kill().await;
    }
    let mut nodes = Vec::new();
    for id in VOTERS {
        nodes.push(one(&disks, id, Ledger::default()).await);
    }
    introduce(
        nodes
            .iter()
            .map(|node| (node.id(), &node.wire))
            .collect::<Vec<_>>(),
    );
    leader(&nodes).await;
    for node in &nodes {
        let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
        assert_eq!(read.await.unwrap().response, lines(0..20).join(" "));
    }
}

/// Over memory, where a disk fails when it is told to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_fails_ends_its_node_and_loses_no_acknowledged_write() {
    let network = MemNetwork::new(1024);
    let mut nodes = Vec::new();
    for id in VOTERS {
        let (storage, ledger) = (MemStorage::new(), Ledger::default());
        let raft = raft(id, &VOTERS).build().unwrap();
        let transport = network.join(NodeId(id));
        let config = Config::default();
        let (handle, running) =
            start_on(transport, raft, storage.clone(), ledger.clone(), config).await;
        nodes.push((handle, running, storage, ledger));
    }
    let led = nodes[0].0.wait(|s| s.leader.is_some(), SOON).await.unwrap();
    let place = nodes
        .iter()
        .position(|node| Some(node.0.node()) == led.leader);
    let (leader, running, storage, _) = nodes.remove(place.unwrap());
    leader.wait(|s| s.role == Role::Leader, SOON).await.unwrap();

    // Writers that note what was acknowledged, while the leader's disk fills up.
    let full = StorageError::Full {
        place: "memory".into(),
    };
    let mut acknowledged = Vec::new();
    for line in 0..1000_u32 {
        let proposal = leader.propose(Bytes::from(line.to_string()));
        if line == 50 {
            storage.fail_next_write(0, full.clone());
        }
        match proposal.await {
            Ok(_) => acknowledged.push(line.to_string()),
            Err(ProposeError::Unknown | ProposeError::Stopped) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(acknowledged.len() >= 50 && acknowledged.len() < 1000);
    assert_eq!(running.await.unwrap(), Err(NodeError::Storage(full)));

    for (handle, ..) in &nodes {
        let another = |s: &synod_core::Status| s.leader.is_some_and(|id| id != leader.node());
        handle.wait(another, SOON).await.unwrap();
        let read = handle
            .read(Bytes::new(), ReadLevel::Linearizable)
            .await
            .unwrap();
        let text = String::from_utf8(read.response.to_vec()).unwrap();
        let there: Vec<&str> = text.split(' ').collect();
        assert_eq!(
            there[..acknowledged.len()],
            acknowledged,
            "on {}",
            handle.node()
        );
        assert!(
            there.len() <= acknowledged.len() + 1,
            "one more was under way"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_comes_late_catches_up_by_snapshot() {
    let disks = Disks::new();
    let config = Config::builder()
        .snapshot_every_entries(20)
        .build()
        .unwrap();
    let wire = Wire::start(1, |config| config).await;
    let settings = raft(1, &[1]).retained_entries(4).build().unwrap();
    let storage = disks.open(1, WalConfig::default());
    let old = start(wire, settings, storage, Ledger::default(), config.clone()).await;
    old.handle
        .wait(|s| s.role == Role::Leader, SOON)
        .await
        .unwrap();
    write(&old, 0..100).await;
    // Its snapshots rest now: else one that is still being written when the learner is offered the
    // one before compacts what follows that, and the learner needs both. Asked twice, because one
    // that was under way while the last lines were written counts as the answer to the first.
    old.handle.snapshot().await.unwrap();
    let snapshot = old.handle.snapshot().await.unwrap();
    let status = old.status().await;
    assert_eq!(
        (status.snapshot, status.compacted),
        (snapshot.index(), LogIndex(snapshot.index().0 - 4))
    );

    // It joins with nothing: no log and no idea who the members are.
    let wire = Wire::start(2, |config| config).await;
    let settings = raft(2, &[]).build().unwrap();
    let ledger = Ledger::default();
    let storage = disks.open(2, WalConfig::default());
    let new = start(wire, settings, storage, ledger.clone(), config).await;
    introduce([(1, &old.wire), (2, &new.wire)]);
    let change = Change::AddLearner(NodeId(2));
    let index = old.handle.reconfigure(change).await.unwrap();
    let there = new.handle.wait(|s| s.applied >= index, SOON).await.unwrap();
    assert_eq!(there.role, Role::Learner);
    assert!(there.snapshot >= snapshot.index(), "{there:?}");
    counted(&new.handle, |metrics| metrics.restores >= 1);
    assert_eq!(new.handle.metrics().restores, 1, "one was enough");
    assert_eq!(ledger.lines(), lines(0..100));

    // And it goes on with the others.
    write(&old, 100..110).await;
    let committed = old.status().await.committed;
    new.handle
        .wait(|s| s.applied >= committed, SOON)
        .await
        .unwrap();
    assert_eq!(ledger.lines(), lines(0..110));
    old.stop().await;
    new.stop().await;
}
