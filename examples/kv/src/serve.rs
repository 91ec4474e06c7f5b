//! One node: write-ahead log, TCP, the replicated log, the store, and a door for clients.

use std::hash::{BuildHasher as _, RandomState};
use std::pin::pin;
use std::sync::Arc;

use futures::StreamExt as _;
use synod_core::{Clock as _, ClusterId, NodeId, SessionLimits, Sessions, StorageError};
use synod_node::clock::TokioClock;
use synod_node::stream::{InsecurePlaintext, StreamConfig, StreamTransport, TokioTcp};
use synod_node::wal::{Wal, WalConfig};
use synod_node::{Config, Handle, Node, NodeEvent, Observed, Parts};
use synod_paxos::log::MultiPaxos;
use synod_raft::Raft;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::args::ServeArgs;
use crate::protocol::{Founding, Protocol, ProtocolName};
use crate::say::complain;
use crate::service::{Service, accept};
use crate::store::Store;

/// Unpredictable enough for jitter and the names of sessions.
pub(crate) fn fresh_seed() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// Runs a node until it is told to stop.
pub(crate) async fn run(args: ServeArgs) -> Result<(), String> {
    match args.protocol {
        ProtocolName::Raft => run_on::<Raft>(args).await,
        ProtocolName::MultiPaxos | ProtocolName::FastPaxos => run_on::<MultiPaxos>(args).await,
    }
}

async fn run_on<P: Protocol>(args: ServeArgs) -> Result<(), String> {
    let id = args.id;
    let wal = open_log(&args)?;
    #[cfg(feature = "planted")]
    let wal = crate::planted::storage(wal);
    let clients = TcpListener::bind(&args.client_addr).await;
    let clients = clients.map_err(|e| format!("cannot listen at {}: {e}", args.client_addr))?;
    let clock = TokioClock::new();
    let transport = connect::<P>(&args, clock).await?;
    let founding = founding(&args);
    let parts = Parts {
        storage: wal,
        transport: transport.clone(),
        clock,
    };
    let store = Sessions::new(Store::default(), SessionLimits::default());
    let opened = Node::open(parts, store, Config::default(), |restored| {
        P::open(&founding, restored, clock.now()).map_err(StorageError::Failed)
    });
    let (node, handle) = opened.await.map_err(|error| error.to_string())?;
    let (leader, known_leader) = watch::channel(None);
    tokio::spawn(report(handle.clone(), leader));
    let service = Arc::new(Service {
        handle: handle.clone(),
        leader: known_leader,
        introduce: Box::new(move |node, address| {
            let entered = transport.set_peer(node, address);
            entered.map_err(|error| error.to_string())
        }),
    });
    let door = tokio::spawn(accept(clients, service));
    complain(&format!(
        "node {} serves clients at {} ({})",
        id.0,
        args.client_addr,
        args.protocol.as_str()
    ));
    let mut running = pin!(node.run());
    let ended = tokio::select! {
        ended = &mut running => ended,
        why = told_to_stop(args.exit_with_stdin) => {
            complain(&format!("node {} stops: {why}", id.0));
            let (ended, ()) = tokio::join!(running, handle.shutdown());
            ended
        }
    };
    door.abort();
    ended.map_err(|error| format!("node {} has ended: {error}", id.0))
}

fn open_log(args: &ServeArgs) -> Result<Wal, String> {
    let place = args.data.display();
    let (wal, report) =
        Wal::open(&args.data, WalConfig::default()).map_err(|error| match error {
            StorageError::InUse { .. } => {
                format!("the data directory {place} is in use by another process: {error}")
            }
            other => format!("cannot open the log in {place}: {other}"),
        })?;
    if let Some(repair) = report.repaired {
        complain(&format!("node {}: {repair}", args.id.0));
    }
    Ok(wal)
}

async fn connect<P: Protocol>(
    args: &ServeArgs,
    clock: TokioClock,
) -> Result<StreamTransport<P::Message>, String> {
    let id = args.id;
    let mut config = StreamConfig::builder(id, ClusterId(args.cluster_id));
    for (peer, address) in &args.peers {
        if *peer != id {
            config = config.peer(*peer, address);
        }
    }
    let config = config
        .on_event(move |event| complain(&format!("node {}: {event}", id.0)))
        .build()
        .map_err(|error| error.to_string())?;
    let address = &args.peers[&id];
    let network = TokioTcp::bind(address).await;
    let network = network.map_err(|error| format!("cannot listen at {address}: {error}"))?;
    let (transport, connections) =
        StreamTransport::new(config, Arc::new(clock), network, InsecurePlaintext);
    tokio::spawn(connections);
    Ok(transport)
}

fn founding(args: &ServeArgs) -> Founding {
    let voters: Vec<NodeId> = args.peers.keys().copied().collect();
    Founding {
        id: args.id,
        voters: if args.join { Vec::new() } else { voters },
        seed: fresh_seed(),
        fast: args.protocol == ProtocolName::FastPaxos,
    }
}

/// Writes down who leads.
async fn report(handle: Handle, leader: watch::Sender<Option<NodeId>>) {
    let id = handle.node();
    let mut events = handle.events();
    while let Some(observed) = events.next().await {
        if let Observed::Event(NodeEvent::Role(change)) = observed {
            leader.send_replace(change.leader);
            let (role, era, why) = (change.role, change.era, change.why);
            complain(&format!("node {}: {role} in term {era}: {why}", id.0));
        }
    }
}

/// Completes with the reason.
async fn told_to_stop(with_stdin: bool) -> &'static str {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate());
    let terminated = async {
        match &mut terminate {
            Ok(signal) => signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => "interrupted",
        _ = terminated => "told to terminate",
        () = end_of_stdin(), if with_stdin => "its standard input has ended",
    }
}

/// On a thread of its own: nothing else can wait for standard input and be left waiting.
async fn end_of_stdin() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        let _either_way = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _nobody_waits = ended.send(());
    });
    let _ended = end.await;
}
