//! Our own machines, `synod-raft` and `synod-paxos`.

use bytes::Bytes;
use synod_core::{
    Entries, EntryKind, Envelope, Instant, Link, LinkId, LogEvent, NodeId, Output, ReplicatedLog,
    Restored, Role,
};
use synod_paxos::log::MultiPaxos;
use synod_raft::Raft;

use crate::payload::{self, Digest};
use crate::subject::{LEADER, Network, Subject};
use crate::work::Work;

/// Starts a node of a cluster with the default settings.
pub(super) type Start<L> = fn(NodeId, &[NodeId]) -> L;

pub(super) fn raft(id: NodeId, ids: &[NodeId]) -> Raft {
    let config = synod_raft::Config::builder(id)
        .voters(ids.iter().copied())
        .seed(id.0)
        .build()
        .expect("the defaults are valid");
    Raft::new(config, Restored::default(), Instant::START).expect("an empty storage")
}

pub(super) fn multi_paxos(id: NodeId, ids: &[NodeId]) -> MultiPaxos {
    let config = synod_paxos::log::Config::builder(id)
        .voters(ids.iter().copied())
        .seed(id.0)
        .build()
        .expect("the defaults are valid");
    MultiPaxos::new(config, Restored::default(), Instant::START).expect("an empty storage")
}

/// A cluster with the default limits; node `k` here is `NodeId(k + 1)` there.
pub(super) struct Synod<L: ReplicatedLog> {
    nodes: Vec<L>,
    network: Network<Envelope<L::Message>>,
    now: Instant,
    /// What each node has handed out: the runs themselves, which are shared and not copied.
    handed: Vec<Vec<Entries>>,
    committed: Vec<u64>,
}

impl<L: ReplicatedLog> Synod<L> {
    pub(super) fn new(work: &Work, start: Start<L>) -> Self {
        let ids: Vec<NodeId> = (1..=work.nodes as u64).map(NodeId).collect();
        let mut cluster = Self {
            nodes: ids.iter().map(|id| start(*id, &ids)).collect(),
            network: Network::new(work.nodes),
            now: Instant::START,
            handed: vec![Vec::new(); work.nodes],
            committed: vec![0; work.nodes],
        };
        for (at, id) in ids.iter().enumerate() {
            for peer in ids.iter().filter(|peer| *peer != id) {
                cluster.nodes[at].link(cluster.now, *peer, Link::Up(LinkId(1)));
            }
        }
        // Node 1 times out first: nobody else is told the time.
        cluster.now = Instant::from_millis(10_000);
        cluster.nodes[LEADER].tick(cluster.now);
        while cluster.turn() {}
        for _ in 0..4 {
            cluster.idle();
            while cluster.turn() {}
        }
        assert_eq!(cluster.nodes[LEADER].status().role, Role::Leader);
        cluster
    }

    /// Carries out what a node asks for. A write is durable at once: the handed out records are the storage, and
    /// the log that the bench reads at the end is what was handed out to the state machine.
    fn act(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        while let Some(output) = node.poll() {
            match output {
                Output::Send(envelope) => {
                    self.network.send(position(envelope.to), envelope);
                }
                Output::Persist(write, _records) => node.persisted(self.now, write),
                Output::Event(LogEvent::Committed(committed)) => {
                    let commands = committed
                        .iter()
                        .filter(|(_, kind, ..)| *kind == EntryKind::Command);
                    self.committed[at] += commands.count() as u64;
                    node.applied(self.now, committed.last());
                    self.handed[at].push(committed.entries);
                }
                Output::Event(_) => {}
                Output::Load(..) => unreachable!("nothing has left memory"),
            }
        }
    }

    fn handle_all(&mut self, at: usize) -> bool {
        let mut any = false;
        while let Some(envelope) = self.network.receive(at) {
            self.nodes[at].step(self.now, envelope);
            any = true;
        }
        any
    }
}

fn position(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("as many nodes as fit into memory")
}

impl<L: ReplicatedLog> Subject for Synod<L> {
    type Command = Bytes;

    fn command(payload: &[u8]) -> Bytes {
        payload::shared(payload)
    }

    fn propose(&mut self, command: Bytes) {
        self.nodes[LEADER]
            .propose(self.now, command)
            .expect("the window is below the limits");
    }

    fn turn(&mut self) -> bool {
        self.act(LEADER);
        let mut any = false;
        for follower in LEADER + 1..self.nodes.len() {
            any |= self.handle_all(follower);
            self.act(follower);
        }
        any |= self.handle_all(LEADER);
        self.act(LEADER);
        any
    }

    fn idle(&mut self) {
        if let Some(wake) = self.nodes[LEADER].deadline() {
            self.now = self.now.max(wake.at);
            self.nodes[LEADER].tick(self.now);
        }
    }

    fn committed(&self, node: usize) -> u64 {
        self.committed[node]
    }

    fn messages(&self) -> u64 {
        self.network.sent()
    }

    fn digest(&self, node: usize) -> Option<Digest> {
        let mut digest = Digest::default();
        for (_, entry) in self.handed[node].iter().flat_map(Entries::iter) {
            if entry.kind == EntryKind::Command {
                digest.add(&entry.payload);
            }
        }
        Some(digest)
    }
}
