//! The client: exactly once, whoever leads and whatever is lost on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::join_all;
use synod_core::mem::{MemNetwork, MemStorage};
use synod_core::{
    Client, ClientConfig, ClientError, ClientRequest, ClientResponse, NodeId, ReadLevel,
    SessionLimits, Sessions, StorageError, mix,
};
use synod_node::client::{
    AskError, ClientCallError, ClientHandle, ClientTransport, Local, connect,
};
use synod_node::{Config, Node, Parts};
use synod_raft::Raft;

use crate::driver_support::{
    Ledger, One, RUNTIMES, Rt, Running, SOON, WallClock, raft_config, spawn, text,
};

/// Three nodes whose ledgers are wrapped in sessions.
fn service(rt: Rt) -> Vec<One> {
    let network = MemNetwork::new(1024);
    let node = |id| {
        let (storage, ledger, clock) = (MemStorage::new(), Ledger::default(), WallClock::new());
        let parts = Parts {
            storage: storage.clone(),
            transport: network.join(NodeId(id)),
            clock,
        };
        let sessions = Sessions::new(ledger.clone(), SessionLimits::default());
        let open = Node::open(parts, sessions, Config::default(), |restored| {
            let raft = Raft::new(
                raft_config(id, &[1, 2, 3]),
                restored,
                synod_core::Clock::now(&clock),
            );
            raft.map_err(|error| StorageError::Failed(error.to_string()))
        });
        let (node, handle) = block_on(open).unwrap();
        One {
            handle,
            storage,
            ledger,
            running: spawn(rt, node.run()),
        }
    };
    (1..=3).map(node).collect()
}

fn local(nodes: &[One]) -> Local {
    Local(nodes.iter().map(|node| node.handle.clone()).collect())
}

fn client(rt: Rt, transport: impl ClientTransport + 'static) -> (Running<()>, ClientHandle) {
    let mut config = ClientConfig::new(vec![NodeId(1), NodeId(2), NodeId(3)], 7);
    config.attempt_timeout = Duration::from_millis(500);
    let machine = Client::new(config).unwrap();
    let (driver, handle) = connect(machine, transport, WallClock::new());
    (spawn(rt, driver.run()), handle)
}

/// Loses some requests on the way there and some answers on the way back.
struct Flaky(Local, AtomicU64);

#[async_trait::async_trait]
impl ClientTransport for Flaky {
    async fn ask(&self, to: NodeId, request: ClientRequest) -> Result<ClientResponse, AskError> {
        let luck = mix(7, self.1.fetch_add(1, Ordering::Relaxed)) % 4;
        if luck == 0 {
            return Err(AskError::Undelivered);
        }
        let answer = self.0.ask(to, request).await?;
        if luck == 1 {
            return Err(AskError::Broken);
        }
        Ok(answer)
    }
}

#[test]
fn a_client_finds_its_way_to_the_leader() {
    for rt in RUNTIMES {
        let nodes = service(rt);
        let (running, client) = client(rt, local(&nodes));
        let done = block_on(client.submit("hello".into(), SOON)).unwrap();
        assert_eq!(text(&done.response), "1");
        let levels = [ReadLevel::Linearizable, ReadLevel::Session(done.token())];
        for level in levels {
            let read = block_on(client.read(Bytes::new(), level, SOON)).unwrap();
            assert_eq!(text(&read.response), "hello");
            assert!(read.token() >= done.token());
        }
        block_on(client.close());
        running.join();
        let late = block_on(client.submit("late".into(), SOON));
        assert_eq!(late, Err(ClientCallError::Closed));
    }
}

#[test]
fn each_command_happens_once_whatever_is_lost() {
    let nodes = service(Rt::Tokio);
    let (_running, client) = client(Rt::Tokio, Flaky(local(&nodes), AtomicU64::new(0)));
    let commands = (0..200).map(|k| client.submit(Bytes::from(format!("c{k}")), SOON));
    for outcome in block_on(join_all(commands)) {
        outcome.unwrap();
    }
    let read = client.read(Bytes::new(), ReadLevel::Linearizable, SOON);
    let read = block_on(read).unwrap();
    let mut lines: Vec<_> = text(&read.response).split(' ').collect();
    lines.sort_unstable();
    let mut expected: Vec<_> = (0..200).map(|k| format!("c{k}")).collect();
    expected.sort_unstable();
    assert_eq!(lines, expected);
}

#[test]
fn commands_survive_the_leader() {
    let mut nodes = service(Rt::Tokio);
    let (_running, client) = client(Rt::Tokio, local(&nodes));
    block_on(client.submit("before".into(), SOON)).unwrap();
    let leader = nodes[0].handle.leader().unwrap();
    let leads = nodes.iter().position(|node| node.handle.node() == leader);
    let dead = nodes.swap_remove(leads.unwrap());
    let during = client.submit("during".into(), SOON);
    drop(dead.running);
    block_on(during).unwrap();
    block_on(client.submit("after".into(), SOON)).unwrap();
    let read = client.read(Bytes::new(), ReadLevel::Linearizable, SOON);
    assert_eq!(block_on(read).unwrap().response, "before during after");
}

#[test]
fn a_deadline_is_kept_and_says_what_is_known() {
    /// A node that never answers.
    struct Silent;

    #[async_trait::async_trait]
    impl ClientTransport for Silent {
        async fn ask(&self, _: NodeId, _: ClientRequest) -> Result<ClientResponse, AskError> {
            futures::future::pending().await
        }
    }

    let (running, client) = client(Rt::Smol, Silent);
    let within = Duration::from_millis(50);
    let read = client.read(Bytes::new(), ReadLevel::Stale, within);
    let submit = client.submit("x".into(), within);
    let timed_out = Err(ClientCallError::Failed(ClientError::TimedOut));
    assert_eq!(block_on(read), timed_out);
    // No session was opened, so the command cannot have left.
    assert_eq!(block_on(submit), timed_out);
    // The last handle is gone: the client ends, though its transport still hangs.
    drop(client);
    running.join();
}

#[test]
fn dropping_the_future_tells_everybody() {
    let nodes = Arc::new(service(Rt::Tokio));
    let (running, client) = client(Rt::Tokio, local(&nodes));
    block_on(client.submit("x".into(), SOON)).unwrap();
    for node in nodes.iter() {
        node.storage.hold();
    }
    let submit = client.submit("y".into(), SOON);
    std::thread::sleep(Duration::from_millis(50));
    drop(running);
    let unknown = Err(ClientCallError::Failed(ClientError::Unknown));
    assert_eq!(block_on(submit), unknown);
}
