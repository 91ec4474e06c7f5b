//! The `noraft` crate.

use noraft::{Action, Message, Node, NodeId, Role};

use crate::payload::Digest;
use crate::subject::{LEADER, Network, Subject};
use crate::work::Work;

/// A cluster of nodes with the same numbers there as here.
pub(super) struct NoRaft {
    nodes: Vec<Node>,
    network: Network<Message>,
    /// The position of the leader's first entry: commands come after it.
    base: u64,
}

impl NoRaft {
    pub(super) fn new(work: &Work) -> Self {
        let ids: Vec<NodeId> = (0..work.nodes as u64).map(NodeId::new).collect();
        let nodes = ids.iter().copied().map(Node::start).collect();
        let mut cluster = Self {
            nodes,
            network: Network::new(work.nodes),
            base: 0,
        };
        cluster.nodes[LEADER].create_cluster(&ids);
        while cluster.turn() {}
        cluster.idle();
        while cluster.turn() {}
        assert_eq!(cluster.nodes[LEADER].role(), Role::Leader);
        cluster.base = cluster.nodes[LEADER].log().last_position().index.get();
        for node in &cluster.nodes {
            assert_eq!(
                node.commit_index().get(),
                cluster.base,
                "everybody has committed the start of the term"
            );
        }
        cluster
    }

    /// Executes a node's actions. What it asks to be saved is saved already: its own memory is the storage.
    fn act(&mut self, at: usize) {
        while let Some(action) = self.nodes[at].actions_mut().next() {
            match action {
                Action::BroadcastMessage(message) => self.broadcast(at, message),
                Action::SendMessage(to, message) => self.network.send(position(to), message),
                Action::SetElectionTimeout
                | Action::SaveCurrentTerm
                | Action::SaveVotedFor
                | Action::AppendLogEntries(_) => {}
                Action::InstallSnapshot(_) => unreachable!("nothing was compacted"),
            }
        }
    }

    fn broadcast(&mut self, from: usize, message: Message) {
        let nodes = self.nodes.len();
        let last = if from == nodes - 1 {
            nodes - 2
        } else {
            nodes - 1
        };
        for to in (0..last).filter(|&to| to != from) {
            self.network.send(to, message.clone());
        }
        self.network.send(last, message);
    }

    fn handle_all(&mut self, at: usize) -> bool {
        let mut any = false;
        while let Some(message) = self.network.receive(at) {
            self.nodes[at]
                .handle_message(&message)
                .expect("no snapshot, so none that conflicts");
            any = true;
        }
        any
    }
}

fn position(id: NodeId) -> usize {
    usize::try_from(id.get()).expect("as many nodes as fit into memory")
}

impl Subject for NoRaft {
    /// Nothing: the application would keep its commands by position, outside of the machine.
    type Command = ();

    fn command(_payload: &[u8]) {}

    fn propose(&mut self, (): ()) {
        self.nodes[LEADER].propose_command();
    }

    fn turn(&mut self) -> bool {
        self.act(LEADER);
        let mut any = false;
        for follower in LEADER + 1..self.nodes.len() {
            any |= self.handle_all(follower);
            self.act(follower);
        }
        any | self.handle_all(LEADER)
    }

    fn idle(&mut self) {
        self.nodes[LEADER].heartbeat();
    }

    fn committed(&self, node: usize) -> u64 {
        self.nodes[node]
            .commit_index()
            .get()
            .saturating_sub(self.base)
    }

    fn messages(&self) -> u64 {
        self.network.sent()
    }

    fn digest(&self, _node: usize) -> Option<Digest> {
        None
    }
}
