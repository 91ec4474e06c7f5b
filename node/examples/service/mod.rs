//! The service of `on_tokio` and `on_smol`: three nodes that add up numbers, talk over TCP on
//! loopback and keep their logs on disk. It knows no runtime: it is handed a clock, TCP, and a way to
//! run futures.

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt};
use synod_core::{
    Chunks, Clock, ClusterId, Decode, Encode, LogIndex, MachineError, NodeId, ReadLevel, Role,
    StateMachine, StorageError,
};
use synod_node::stream::{InsecurePlaintext, Network, StreamConfig, StreamTransport};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, Node, Parts};
use synod_raft::{Message, Raft};

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

const CLUSTER: ClusterId = ClusterId(7);
const SOON: Duration = Duration::from_secs(20);

/// A sum. A command is a number to add, the response is the sum so far.
#[derive(Default)]
struct Sum(u64);

impl StateMachine for Sum {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        // What is no number adds nothing, on every node alike.
        self.0 += u64::decode_all(command.clone()).unwrap_or(0);
        self.0.to_bytes()
    }

    fn query(&self, _: &Bytes) -> Bytes {
        self.0.to_bytes()
    }

    fn snapshot(&self) -> std::result::Result<Chunks, MachineError> {
        Ok(Chunks::from(self.0.to_bytes()))
    }

    fn restore(&mut self, snapshot: Chunks) -> std::result::Result<(), MachineError> {
        let sum = u64::decode_all(snapshot.collect_bytes()?);
        self.0 = sum.map_err(|error| MachineError::new(error.to_string()))?;
        Ok(())
    }
}

/// What a runtime has to offer.
pub(crate) struct Runtime<C, N> {
    pub(crate) clock: C,
    /// A listener for each of the three nodes, and its address.
    pub(crate) listeners: Vec<(N, String)>,
    /// Runs a future in the background.
    pub(crate) spawn: fn(BoxFuture<'static, ()>),
}

/// Runs the service, uses it, and stops it.
pub(crate) async fn run<C, N>(runtime: Runtime<C, N>) -> Result<u64>
where
    C: Clock + Clone + 'static,
    N: Network + 'static,
{
    let directory = tempfile::tempdir()?;
    let ids: Vec<NodeId> = (1..).map(NodeId).take(runtime.listeners.len()).collect();
    let addresses: Vec<String> = runtime.listeners.iter().map(|(_, a)| a.clone()).collect();
    let mut nodes = Vec::new();
    for (&id, (network, _)) in ids.iter().zip(runtime.listeners) {
        let book = ids.iter().copied().zip(&addresses);
        let config = book
            .filter(|(peer, _)| *peer != id)
            .fold(StreamConfig::builder(id, CLUSTER), |config, (peer, at)| {
                config.peer(peer, at)
            });
        let clock = Arc::new(runtime.clock.clone());
        let (transport, connections) =
            StreamTransport::new(config.build()?, clock, network, InsecurePlaintext);
        (runtime.spawn)(connections.boxed());
        let path = directory.path().join(id.to_string());
        let (node, handle) = open(id, &ids, &path, transport, runtime.clock.clone()).await?;
        // Why a node ends is told to its handles: here a proposal would fail.
        (runtime.spawn)(node.run().map(drop).boxed());
        nodes.push(handle);
    }
    let sum = add_up(&nodes).await;
    for node in &nodes {
        node.shutdown().await;
    }
    sum
}

type TcpNode<C> = Node<Raft, Wal, StreamTransport<Message>, C>;

async fn open<C: Clock + Clone + 'static>(
    id: NodeId,
    voters: &[NodeId],
    path: &Path,
    transport: StreamTransport<Message>,
    clock: C,
) -> Result<(TcpNode<C>, Handle)> {
    let raft = synod_raft::Config::builder(id)
        .voters(voters.iter().copied())
        .build()?;
    let (storage, _) = Wal::open(path, WalConfig::default())?;
    let now = clock.now();
    let parts = Parts {
        storage,
        transport,
        clock,
    };
    let opened = Node::open(parts, Sum::default(), Config::default(), |restored| {
        let raft = Raft::new(raft, restored, now);
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    });
    Ok(opened.await?)
}

/// Adds 1 to 100 at the leader, all at once, and asks every node for the sum.
async fn add_up(nodes: &[Handle]) -> Result<u64> {
    let leads = nodes.iter().map(|node| {
        let leads = node.wait(|status| status.role == Role::Leader, SOON);
        async move { leads.await.map(|_| node) }.boxed()
    });
    let (leader, _) = futures::future::select_ok(leads).await?;
    let numbers = (1..=100_u64).map(|number| number.to_bytes());
    let mut last = LogIndex::START;
    for outcome in leader.propose_many(numbers).await {
        last = outcome?.index;
    }
    let mut sum = 0;
    for node in nodes {
        // Followers ask the leader how far they must have read. One that does not know yet who
        // leads would say so.
        node.wait(|status| status.committed >= last, SOON).await?;
        let answered = node.read(Bytes::new(), ReadLevel::Linearizable).await?;
        sum = u64::decode_all(answered.response)?;
        assert_eq!(sum, 5050, "what {} says", node.node());
    }
    Ok(sum)
}
