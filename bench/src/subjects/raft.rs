//! TiKV's `raft` crate.

#[cfg(not(any(feature = "raft-prost", feature = "raft-rust-protobuf")))]
compile_error!("the raft crate needs a codec: enable the feature raft-prost or raft-rust-protobuf");
#[cfg(all(feature = "raft-prost", feature = "raft-rust-protobuf"))]
compile_error!(
    "the raft crate has one codec at a time: enable raft-rust-protobuf with --no-default-features"
);

use raft::eraftpb::{Entry, Message};
use raft::{Config, RawNode, StateRole};
use slog::{Discard, Logger, o};

use super::raft_storage::VecStorage;
use crate::payload::Digest;
use crate::subject::{LEADER, Network, Subject};
use crate::work::Work;

/// What the subjects of this family differ in; everything else is the crate's default.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// Appends to a message that has not left yet instead of sending another.
    pub(super) batch_append: bool,
    /// Followers learn a commit with the next append or heartbeat, not by a broadcast.
    pub(super) skip_bcast_commit: bool,
    /// Bytes of entries in one message; 0, the default, means one entry.
    pub(super) max_size_per_msg: u64,
}

/// A cluster of `RawNode`s; node `i` here has id `i + 1` there.
pub(super) struct Tikv {
    nodes: Vec<RawNode<VecStorage>>,
    network: Network<Message>,
    /// Commands that each node's application was handed as committed.
    applied: Vec<u64>,
    /// The entry that the leader put first in its term: commands come after it.
    base: u64,
}

impl Tikv {
    pub(super) fn new(work: &Work, settings: Settings) -> Self {
        let voters: Vec<u64> = (1..=work.nodes as u64).collect();
        let logger = Logger::root(Discard, o!());
        let node = |&id: &u64| {
            let config = Config {
                id,
                batch_append: settings.batch_append,
                skip_bcast_commit: settings.skip_bcast_commit,
                max_size_per_msg: settings.max_size_per_msg,
                ..Config::default()
            };
            RawNode::new(&config, VecStorage::new(voters.clone()), &logger)
                .expect("the settings are valid")
        };
        let mut cluster = Self {
            nodes: voters.iter().map(node).collect(),
            network: Network::new(work.nodes),
            applied: vec![0; work.nodes],
            base: 0,
        };
        cluster.elect();
        cluster
    }

    /// Makes the first node leader and lets every node commit the empty entry of its term.
    fn elect(&mut self) {
        self.nodes[LEADER]
            .campaign()
            .expect("a node that is no leader may campaign");
        while self
            .nodes
            .iter()
            .any(|node| node.raft.raft_log.committed == 0)
        {
            if !self.turn() {
                self.idle();
            }
        }
        while self.turn() {}
        assert_eq!(self.nodes[LEADER].raft.state, StateRole::Leader);
        self.base = self.nodes[LEADER].raft.raft_log.committed;
    }

    /// Does everything that the crate's `Ready` asks for, in the order that its documentation asks for.
    fn ready(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        if !node.has_ready() {
            return;
        }
        let mut ready = node.ready();
        for message in ready.take_messages() {
            self.network.send(position(&message), message);
        }
        self.applied[at] += commands(&ready.take_committed_entries());
        let storage = node.mut_store();
        storage.append(ready.take_entries());
        if let Some(state) = ready.hs() {
            storage.set_hard_state(state.clone());
        }
        for message in ready.take_persisted_messages() {
            self.network.send(position(&message), message);
        }
        let mut light = node.advance(ready);
        for message in light.take_messages() {
            self.network.send(position(&message), message);
        }
        self.applied[at] += commands(&light.take_committed_entries());
        node.advance_apply();
    }

    fn step_all(&mut self, at: usize) -> bool {
        let mut any = false;
        while let Some(message) = self.network.receive(at) {
            self.nodes[at]
                .step(message)
                .expect("a message of a live peer in order is accepted");
            any = true;
        }
        any
    }
}

fn position(message: &Message) -> usize {
    usize::try_from(message.to - 1).expect("as many nodes as fit into memory")
}

fn commands(committed: &[Entry]) -> u64 {
    committed
        .iter()
        .filter(|entry| !entry.data.is_empty())
        .count() as u64
}

impl Subject for Tikv {
    type Command = Vec<u8>;

    fn command(payload: &[u8]) -> Vec<u8> {
        payload.to_vec()
    }

    fn propose(&mut self, command: Vec<u8>) {
        self.nodes[LEADER]
            .propose(vec![], command)
            .expect("the leader takes proposals");
    }

    fn turn(&mut self) -> bool {
        self.ready(LEADER);
        let mut any = false;
        for follower in LEADER + 1..self.nodes.len() {
            any |= self.step_all(follower);
            self.ready(follower);
        }
        any | self.step_all(LEADER)
    }

    fn idle(&mut self) {
        // Followers hear from the leader long before their own timers matter, so only its clock moves.
        while !self.nodes[LEADER].has_ready() {
            self.nodes[LEADER].tick();
        }
    }

    fn committed(&self, node: usize) -> u64 {
        self.nodes[node]
            .raft
            .raft_log
            .committed
            .saturating_sub(self.base)
    }

    fn messages(&self) -> u64 {
        self.network.sent()
    }

    fn digest(&self, node: usize) -> Option<Digest> {
        let mut digest = Digest::default();
        let raft = &self.nodes[node].raft;
        for entry in raft.store().through(raft.raft_log.committed) {
            if !entry.data.is_empty() {
                digest.add(&entry.data);
            }
        }
        // The leader hands out what it has committed at its next round only; the count may lag by one batch.
        let unapplied = raft.raft_log.committed - raft.raft_log.applied;
        assert_eq!(
            self.applied[node] + unapplied,
            digest.count,
            "node {node} was handed out another number"
        );
        Some(digest)
    }
}
