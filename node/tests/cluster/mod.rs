//! Nodes with the real Raft machine, write-ahead logs on disk and TCP on loopback, for tests and
//! benchmarks that want the whole thing.
#![allow(dead_code, reason = "each user takes what it needs")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use synod_core::{
    Clock, ClusterId, LogStorage, NodeId, Role, StateMachine, Status, StorageError, Transport,
};
use synod_node::clock::TokioClock;
use synod_node::stream::{
    InsecurePlaintext, StreamConfig, StreamConfigBuilder, StreamTransport, TokioTcp,
};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, Node, NodeError, Parts};
use synod_raft::{Config as RaftConfig, ConfigBuilder as RaftBuilder, Message, Raft};
use tempfile::TempDir;
use tokio::task::JoinHandle;

pub(crate) const SOON: Duration = Duration::from_secs(20);

pub(crate) fn raft(id: u64, voters: &[u64]) -> RaftBuilder {
    RaftConfig::builder(NodeId(id)).voters(voters.iter().copied().map(NodeId))
}

/// A network end that listens, and knows whom it is told of.
pub(crate) struct Wire {
    pub(crate) transport: StreamTransport<Message>,
    pub(crate) address: String,
    connections: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn start(
        id: u64,
        settings: impl FnOnce(StreamConfigBuilder) -> StreamConfigBuilder,
    ) -> Self {
        let config = settings(StreamConfig::builder(NodeId(id), ClusterId(1)).accept_unknown(true));
        let network = TokioTcp::bind("127.0.0.1:0").await.unwrap();
        let address = network.local_addr().unwrap().to_string();
        let clock = Arc::new(TokioClock::new());
        let config = config.build().unwrap();
        let (transport, connections) =
            StreamTransport::new(config, clock, network, InsecurePlaintext);
        Self {
            transport,
            address,
            connections: tokio::spawn(connections),
        }
    }
}

/// A node that runs.
pub(crate) struct Live {
    pub(crate) handle: Handle,
    pub(crate) wire: Wire,
    pub(crate) running: JoinHandle<Result<(), NodeError>>,
}

impl Live {
    pub(crate) fn id(&self) -> u64 {
        self.handle.node().0
    }

    /// Stops it as a crash does: nothing is finished.
    pub(crate) async fn kill(self) {
        self.running.abort();
        self.wire.connections.abort();
        let _aborted = self.running.await;
        let _aborted = self.wire.connections.await;
    }

    pub(crate) async fn stop(self) {
        self.handle.shutdown().await;
        let ended = self.running.await;
        assert_eq!(ended.unwrap(), Ok(()));
        self.wire.transport.close();
    }

    pub(crate) async fn status(&self) -> Status {
        self.handle.status().await.unwrap()
    }
}

/// Runs a node over `wire`.
pub(crate) async fn start<S: LogStorage + 'static>(
    wire: Wire,
    raft: RaftConfig,
    storage: S,
    machine: impl StateMachine + Send + 'static,
    config: Config,
) -> Live {
    let transport = wire.transport.clone();
    let (handle, running) = start_on(transport, raft, storage, machine, config).await;
    Live {
        handle,
        wire,
        running,
    }
}

/// Runs a node over any transport.
pub(crate) async fn start_on<S: LogStorage + 'static, T: Transport<Message> + 'static>(
    transport: T,
    raft: RaftConfig,
    storage: S,
    machine: impl StateMachine + Send + 'static,
    config: Config,
) -> (Handle, JoinHandle<Result<(), NodeError>>) {
    let clock = TokioClock::new();
    let parts = Parts {
        storage,
        transport,
        clock,
    };
    let opened = Node::open(parts, machine, config, |restored| {
        let raft = Raft::new(raft, restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    });
    let (node, handle) = opened.await.unwrap();
    (handle, tokio::spawn(node.run()))
}

/// Tells all of them where all others are.
pub(crate) fn introduce<'a>(wires: impl IntoIterator<Item = (u64, &'a Wire)> + Clone) {
    for (id, wire) in wires.clone() {
        for (peer, other) in wires.clone() {
            if peer != id {
                let entered = wire.transport.set_peer(NodeId(peer), &other.address);
                entered.unwrap();
            }
        }
    }
}

/// The one that leads, once all agree on it.
pub(crate) async fn leader(nodes: &[Live]) -> usize {
    let started = Instant::now();
    loop {
        let mut leaders = Vec::new();
        for node in nodes {
            let known = node.handle.wait(|status| status.leader.is_some(), SOON);
            leaders.push(known.await.unwrap().leader.unwrap());
        }
        let place = nodes
            .iter()
            .position(|node| node.handle.node() == leaders[0]);
        if let Some(place) = place
            && leaders.iter().all(|leader| *leader == leaders[0])
            && nodes[place].status().await.role == Role::Leader
        {
            return place;
        }
        assert!(started.elapsed() < SOON, "{leaders:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Directories for write-ahead logs, removed at the end.
pub(crate) struct Disks(TempDir);

impl Disks {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub(crate) fn path(&self, id: u64) -> PathBuf {
        self.0.path().join(format!("node-{id}"))
    }

    pub(crate) fn open(&self, id: u64, config: WalConfig) -> Wal {
        Wal::open(self.path(id), config).unwrap().0
    }
}
