//! The `omnipaxos` crate.

use bytes::Bytes;
use core::fmt::Debug;

use omnipaxos::messages::Message;
use omnipaxos::storage::{Entry, NoSnapshot};
use omnipaxos::util::LogEntry;
use omnipaxos::{ClusterConfig, OmniPaxos, ServerConfig};
use omnipaxos_storage::memory_storage::MemoryStorage;

use crate::payload::{self, Digest};
use crate::subject::{LEADER, Network, Subject};
use crate::work::Work;

/// An owned payload: a clone copies the contents.
#[derive(Clone, Debug)]
pub(super) struct Boxed(Box<[u8]>);

/// The log entry types that are compared.
pub(super) trait Payload: Clone + Debug {
    fn new(payload: &[u8]) -> Self;
    fn as_slice(&self) -> &[u8];
}

impl Payload for Boxed {
    fn new(payload: &[u8]) -> Self {
        Self(payload.into())
    }

    fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

impl Payload for Bytes {
    fn new(payload: &[u8]) -> Self {
        payload::shared(payload)
    }

    fn as_slice(&self) -> &[u8] {
        self
    }
}

/// What the log holds: the crate asks for a type of the user's own.
#[derive(Clone, Debug)]
pub(super) struct Command<P>(P);

impl<P: Payload> Entry for Command<P> {
    type Snapshot = NoSnapshot;
}

type Node<P> = OmniPaxos<Command<P>, MemoryStorage<Command<P>>>;

/// A cluster of servers; node `i` here has id `i + 1` there.
pub(super) struct Omni<P: Payload> {
    nodes: Vec<Node<P>>,
    network: Network<Message<Command<P>>>,
    outgoing: Vec<Message<Command<P>>>,
}

impl<P: Payload> Omni<P> {
    pub(super) fn new(work: &Work, batch_size: u64) -> Self {
        let ids: Vec<u64> = (1..=work.nodes as u64).collect();
        let cluster = ClusterConfig {
            configuration_id: 1,
            nodes: ids.clone(),
            flexible_quorum: None,
        };
        let node = |&pid: &u64| {
            let server = ServerConfig {
                pid,
                batch_size: usize::try_from(batch_size).expect("a window fits into memory"),
                // A batch that is not full leaves at the first tick; no other timer has anything to do here.
                flush_batch_tick_timeout: 1,
                election_tick_timeout: u64::MAX,
                ..ServerConfig::default()
            };
            cluster
                .clone()
                .build_for_server(server, MemoryStorage::default())
                .expect("the settings are valid")
        };
        let mut omni = Self {
            nodes: ids.iter().map(node).collect(),
            network: Network::new(work.nodes),
            outgoing: vec![],
        };
        omni.nodes[LEADER].try_become_leader();
        while omni.turn() {}
        for node in &omni.nodes {
            assert_eq!(
                node.get_current_leader(),
                Some((1, true)),
                "everybody follows the first node"
            );
        }
        omni
    }

    fn send_all(&mut self, from: usize) {
        self.nodes[from].take_outgoing_messages(&mut self.outgoing);
        for message in self.outgoing.drain(..) {
            let to = usize::try_from(message.get_receiver() - 1)
                .expect("as many nodes as fit into memory");
            self.network.send(to, message);
        }
    }

    fn handle_all(&mut self, at: usize) -> bool {
        let mut any = false;
        while let Some(message) = self.network.receive(at) {
            self.nodes[at].handle_incoming(message);
            any = true;
        }
        any
    }
}

impl<P: Payload> Subject for Omni<P> {
    type Command = Command<P>;

    fn command(payload: &[u8]) -> Self::Command {
        Command(P::new(payload))
    }

    fn propose(&mut self, command: Self::Command) {
        self.nodes[LEADER]
            .append(command)
            .expect("the leader takes proposals");
    }

    fn turn(&mut self) -> bool {
        self.send_all(LEADER);
        let mut any = false;
        for follower in LEADER + 1..self.nodes.len() {
            any |= self.handle_all(follower);
            self.send_all(follower);
        }
        any | self.handle_all(LEADER)
    }

    fn idle(&mut self) {
        self.nodes[LEADER].tick();
    }

    fn committed(&self, node: usize) -> u64 {
        self.nodes[node].get_decided_idx() as u64
    }

    fn messages(&self) -> u64 {
        self.network.sent()
    }

    fn digest(&self, node: usize) -> Option<Digest> {
        let mut digest = Digest::default();
        for entry in self.nodes[node].read_decided_suffix(0).unwrap_or_default() {
            let LogEntry::Decided(Command(payload)) = entry else {
                panic!("node {node} holds something else than a decided command");
            };
            digest.add(payload.as_slice());
        }
        Some(digest)
    }
}
