//! A replicated key-value store, whole: three nodes in one process, and what becomes of them when
//! the leader goes. `examples/kv` is the same on disks and TCP.
//!
//! Run it with `cargo run -p synod-node --example kv`.
#![allow(clippy::print_stdout, reason = "an example tells what it does")]
#![allow(clippy::std_instead_of_alloc, clippy::std_instead_of_core)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{
    Chunks, Clock, Decode, Encode, LogIndex, MachineError, NodeId, ReadLevel, Role, StateMachine,
    StorageError,
};
use synod_node::clock::TokioClock;
use synod_node::{Config, Handle, Node, Parts};
use synod_raft::{Message, Raft};

type Error = Box<dyn std::error::Error>;

/// The application: a map. A command is a key and its new value, `None` to remove it.
#[derive(Default)]
struct Store(BTreeMap<String, String>);

impl StateMachine for Store {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        let before = match Decode::decode_all(command.clone()) {
            Ok((key, Some(value))) => self.0.insert(key, value),
            Ok((key, None)) => self.0.remove::<String>(&key),
            Err(_) => None,
        };
        before.to_bytes()
    }

    fn query(&self, key: &Bytes) -> Bytes {
        let key = String::from_utf8_lossy(key);
        self.0.get(&*key).cloned().to_bytes()
    }

    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let pairs: Vec<_> = self.0.clone().into_iter().collect();
        Ok(Chunks::from(pairs.to_bytes()))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let pairs = Vec::<(String, String)>::decode_all(snapshot.collect_bytes()?);
        let pairs = pairs.map_err(|error| MachineError::new(error.to_string()))?;
        self.0 = pairs.into_iter().collect();
        Ok(())
    }
}

/// One node, running in a task of its own.
async fn start(id: u64, network: &MemNetwork<Message>) -> Result<Handle, Error> {
    let id = NodeId(id);
    let config = synod_raft::Config::builder(id)
        .voters([NodeId(1), NodeId(2), NodeId(3)])
        .build()?;
    let clock = TokioClock::new();
    let parts = Parts {
        storage: MemStorage::new(),
        transport: network.join(id),
        clock,
    };
    let opened = Node::open(parts, Store::default(), Config::default(), |restored| {
        let raft = Raft::new(config, restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    });
    let (node, handle) = opened.await?;
    tokio::spawn(node.run());
    Ok(handle)
}

/// Waits until one of the nodes leads.
async fn leader(nodes: &[Handle]) -> Result<Handle, Error> {
    let leads = nodes.iter().map(|node| {
        let leads = node.wait(
            |status| status.role == Role::Leader,
            Duration::from_secs(10),
        );
        Box::pin(async move { leads.await.map(|_| node.clone()) })
    });
    Ok(futures::future::select_ok(leads).await?.0)
}

fn put(key: &str, value: &str) -> Bytes {
    (key.to_string(), Some(value.to_string())).to_bytes()
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let network = MemNetwork::new(1024);
    let mut nodes = Vec::new();
    for id in 1..=3 {
        nodes.push(start(id, &network).await?);
    }
    let first = leader(&nodes).await?;
    let applied = first.propose(put("city:lima", "Peru")).await?;
    println!("{} wrote entry {}", first.node(), applied.index);

    first.shutdown().await;
    nodes.retain(|node| node.node() != first.node());
    let second = leader(&nodes).await?;
    second.propose(put("city:paris", "France")).await?;

    let query = Bytes::from("city:lima");
    let read = second.read(query, ReadLevel::Linearizable).await?;
    let value = Option::<String>::decode_all(read.response)?;
    println!("{} took over and knows: {value:?}", second.node());
    assert_eq!(value.as_deref(), Some("Peru"));
    Ok(())
}
