//! The `openraft` crate.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use openraft::{Config, Raft, SnapshotPolicy};

use super::openraft_network::{Node, Router};
use super::openraft_store::{Adder, Command, LogStore};
use super::{Service, Tally};
use crate::subject::LEADER;

/// A cluster of `Raft` handles.
#[derive(Clone)]
pub(super) struct OpenRaft {
    nodes: Arc<Vec<(Node, Adder)>>,
}

/// The settings of the crate's own benchmark, and no snapshots, which only cost time here.
fn config() -> Config {
    Config {
        election_timeout_min: 200,
        election_timeout_max: 2000,
        purge_batch_size: 1024,
        max_payload_entries: 1024,
        snapshot_policy: SnapshotPolicy::Never,
        ..Config::default()
    }
}

const PATIENCE: Option<Duration> = Some(Duration::from_secs(60));

impl Service for OpenRaft {
    async fn start(nodes: usize) -> Self {
        let config = Arc::new(config().validate().expect("the settings are valid"));
        let router = Router::default();
        let mut cluster = Vec::new();
        for id in 0..nodes as u64 {
            let machine = Adder::default();
            let node = Raft::new(
                id,
                Arc::clone(&config),
                router.clone(),
                LogStore::default(),
                machine.clone(),
            );
            cluster.push((node.await.expect("an empty node starts"), machine));
        }
        router.connect(cluster.iter().map(|(node, _)| node.clone()).collect());

        let members: BTreeMap<u64, ()> = (0..nodes as u64).map(|id| (id, ())).collect();
        let (leader, _) = &cluster[LEADER];
        leader
            .initialize(members)
            .await
            .expect("a pristine node can be initialized");
        for (node, _) in &cluster {
            // Log 0 is the membership, log 1 the leader's first entry.
            node.wait(PATIENCE)
                .applied_index_at_least(Some(1), "start")
                .await
                .expect("a leader is elected");
        }
        Self {
            nodes: Arc::new(cluster),
        }
    }

    async fn propose(&self, command: Bytes) {
        let (leader, _) = &self.nodes[LEADER];
        leader
            .client_write(Command(command))
            .await
            .expect("the leader commits what it is given");
    }

    async fn stop(self, count: u64) -> Vec<Tally> {
        let mut tallies = Vec::new();
        for (node, machine) in self.nodes.iter() {
            node.wait(PATIENCE)
                .applied_index_at_least(Some(1 + count), "stop")
                .await
                .expect("every node applies every command");
            tallies.push(machine.tally());
        }
        for (node, _) in self.nodes.iter() {
            node.shutdown()
                .await
                .expect("no task of a node has panicked");
        }
        tallies
    }
}
