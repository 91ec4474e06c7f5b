//! Our own driver, `synod-node`, with our own machine, `synod-raft`.

use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use synod_core::{Clock, NodeId, StorageError};
use synod_node::clock::TokioClock;
use synod_node::{ApplyOn, Config, Handle, Node, Parts};
use synod_raft::Raft;

use super::synod_parts::{Adder, LogStore, Router};
use super::{Service, Tally};
use crate::subject::LEADER;

/// A cluster of handles. Its state machines apply on the driver's path if `INLINE`, and on threads of their own, which
/// is the default, if not.
#[derive(Clone)]
pub(super) struct Synod<const INLINE: bool> {
    nodes: Arc<Vec<(Handle, Adder)>>,
}

const PATIENCE: Duration = Duration::from_secs(60);

/// The default limits; the first node stands for election long before the others.
fn machine(id: NodeId, voters: &[NodeId]) -> synod_raft::Config {
    let wait = Duration::from_millis(if id == voters[LEADER] { 200 } else { 2000 });
    synod_raft::Config::builder(id)
        .voters(voters.iter().copied())
        .election_timeout(wait..=wait * 2)
        .build()
        .expect("the settings are valid")
}

/// No snapshots, which only cost time here.
fn settings(inline: bool) -> Config {
    let place = if inline {
        ApplyOn::Driver
    } else {
        ApplyOn::Thread
    };
    Config::builder()
        .snapshot_on_request()
        .apply_on(place)
        .build()
        .expect("the settings are valid")
}

impl<const INLINE: bool> Service for Synod<INLINE> {
    async fn start(nodes: usize) -> Self {
        let ids: Vec<NodeId> = (1..=nodes as u64).map(NodeId).collect();
        let router = Router::new(nodes);
        let mut cluster = Vec::new();
        for id in &ids {
            let adder = Adder::default();
            let clock = TokioClock::new();
            let parts = Parts {
                storage: LogStore::default(),
                transport: router.join(*id),
                clock,
            };
            let raft = machine(*id, &ids);
            let node = Node::open(parts, adder.clone(), settings(INLINE), |restored| {
                let raft = Raft::new(raft, restored, clock.now());
                raft.map_err(|error| StorageError::Failed(error.to_string()))
            });
            let (node, handle) = node.await.expect("an empty node starts");
            tokio::spawn(node.run());
            cluster.push((handle, adder));
        }
        for (node, _) in &cluster {
            node.wait(|status| status.leader == Some(ids[LEADER]), PATIENCE)
                .await
                .expect("the first node is elected");
        }
        Self {
            nodes: Arc::new(cluster),
        }
    }

    async fn propose(&self, command: Bytes) {
        let (leader, _) = &self.nodes[LEADER];
        leader
            .propose(command)
            .await
            .expect("the leader commits what it is given");
    }

    async fn stop(self, count: u64) -> Vec<Tally> {
        let mut tallies = Vec::new();
        for (node, adder) in self.nodes.iter() {
            node.wait(|_| adder.tally().count >= count, PATIENCE)
                .await
                .expect("every node applies every command");
            tallies.push(adder.tally());
        }
        for (node, _) in self.nodes.iter() {
            node.shutdown().await;
        }
        tallies
    }
}
