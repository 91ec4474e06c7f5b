//! The whole thing: write-ahead logs on disk, TCP on loopback, on both runtimes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::executor::block_on;
use futures::future::{BoxFuture, join_all};
use synod_core::{Clock, ClusterId, NodeId, ReadLevel, StorageError};
use synod_node::clock::{AsyncIoClock, TokioClock};
use synod_node::stream::{
    AsyncIoTcp, InsecurePlaintext, Network, StreamConfig, StreamTransport, TokioTcp,
};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, Node, NodeError, Parts, ProposeError};
use synod_raft::Raft;

use crate::driver_support::{Ledger, Rt, Running, SOON, raft_config, spawn, text};

/// A node whose socket is bound, and what it needs to start.
struct Bound<N, C> {
    network: N,
    clock: C,
    address: String,
}

struct Started {
    handle: Handle,
    node: Running<Result<(), NodeError>>,
    _connections: Running<()>,
}

fn start<N, C>(
    rt: Rt,
    id: u64,
    bound: Bound<N, C>,
    peers: &[String],
    disk: &std::path::Path,
) -> Started
where
    N: Network + 'static,
    C: Clock + Clone + 'static,
{
    let Bound { network, clock, .. } = bound;
    let mut config = StreamConfig::builder(NodeId(id), ClusterId(7));
    for (peer, address) in (1..).zip(peers).filter(|(peer, _)| *peer != id) {
        config = config.peer(NodeId(peer), address);
    }
    let config = config.build().unwrap();
    let (transport, connections) =
        StreamTransport::new(config, Arc::new(clock.clone()), network, InsecurePlaintext);
    let (wal, _) = Wal::open(disk, WalConfig::default()).unwrap();
    let parts = Parts {
        storage: wal,
        transport,
        clock: clock.clone(),
    };
    let config = Config::builder()
        .snapshot_every_entries(50)
        .build()
        .unwrap();
    let opened = block_on(Node::open(parts, Ledger::default(), config, |restored| {
        let raft = Raft::new(raft_config(id, &[1, 2, 3]), restored, clock.now());
        raft.map_err(|error| StorageError::Failed(error.to_string()))
    }));
    let (node, handle) = opened.unwrap();
    Started {
        handle,
        node: spawn(rt, node.run()),
        _connections: spawn(rt, connections.map(drop)),
    }
}

/// Proposes until it is known to have happened. Only for commands that may happen twice.
async fn insist(handle: &Handle, command: Bytes) {
    loop {
        match handle.propose(command.clone()).await {
            Ok(_) => return,
            Err(ProposeError::Stopped) => panic!("the node has stopped"),
            Err(_) => futures_timer::Delay::new(Duration::from_millis(20)).await,
        }
    }
}

fn a_cluster_on_disk_and_tcp<N, C>(
    rt: Rt,
    bind: impl Fn(&'static str) -> BoxFuture<'static, Bound<N, C>>,
) where
    N: Network + 'static,
    C: Clock + Clone + 'static,
{
    let disks: Vec<_> = (0..3).map(|_| tempfile::tempdir().unwrap()).collect();
    for life in 0..2 {
        let bound: Vec<_> = (0..3).map(|_| block_on(bind("127.0.0.1:0"))).collect();
        let peers: Vec<_> = bound.iter().map(|bound| bound.address.clone()).collect();
        let started = (1..).zip(bound).zip(&disks);
        let nodes: Vec<_> = started
            .map(|((id, bound), disk)| start(rt, id, bound, &peers, disk.path()))
            .collect();
        for node in &nodes {
            let led = node.handle.wait(|status| status.leader.is_some(), SOON);
            block_on(led).unwrap();
        }
        let commands = (0..150).map(|k| {
            let handle = &nodes[k % 3].handle;
            insist(handle, Bytes::from(format!("life{life}.{k}")))
        });
        block_on(join_all(commands));
        for node in &nodes {
            let read = node.handle.read(Bytes::new(), ReadLevel::Linearizable);
            let lines = block_on(read).unwrap().response;
            for life in 0..=life {
                for k in 0..150 {
                    let line = format!("life{life}.{k}");
                    assert!(text(&lines).split(' ').any(|l| l == line), "{rt:?}: {line}");
                }
            }
        }
        for node in &nodes {
            block_on(node.handle.shutdown());
        }
        for node in nodes {
            assert_eq!(node.node.join(), Ok(()));
        }
    }
}

#[test]
fn on_tokio() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let _inside = runtime.enter();
    a_cluster_on_disk_and_tcp(Rt::Tokio, |address| {
        async move {
            let network = TokioTcp::bind(address).await.unwrap();
            Bound {
                address: network.local_addr().unwrap().to_string(),
                network,
                clock: TokioClock::new(),
            }
        }
        .boxed()
    });
}

#[test]
fn on_smol() {
    a_cluster_on_disk_and_tcp(Rt::Smol, |address| {
        async move {
            let network = AsyncIoTcp::bind(address).await.unwrap();
            Bound {
                address: network.local_addr().unwrap().to_string(),
                network,
                clock: AsyncIoClock::new(),
            }
        }
        .boxed()
    });
}
