//! What a machine must offer to be measured.

use std::collections::VecDeque;

use crate::payload::Digest;

/// The node that leads, in every subject.
pub const LEADER: usize = 0;

/// A cluster of one crate's machines in one thread, already elected, node [`LEADER`] leading.
///
/// A subject moves messages between its nodes without encoding them, keeps its log in memory, and does what the
/// crate's contract asks of its user: write before it sends, apply what is handed out. It does nothing else, and it
/// picks whatever is cheapest for the crate where the contract leaves a choice.
pub trait Subject {
    /// What one proposal carries. Made before the clock starts.
    type Command;

    /// A command that owns a copy of `payload`.
    fn command(payload: &[u8]) -> Self::Command;

    /// Proposes one command at the leader. Nothing needs to be sent before the next [`turn`](Self::turn).
    fn propose(&mut self, command: Self::Command);

    /// One round: the leader's messages leave, every follower handles what arrived and answers, the leader handles
    /// the answers. `false` if no message was delivered.
    fn turn(&mut self) -> bool;

    /// Nothing is under way: lets time pass until a timer has something to send.
    fn idle(&mut self);

    /// Commands that `node` knows to be committed.
    fn committed(&self, node: usize) -> u64;

    /// Messages sent so far, by all nodes.
    fn messages(&self) -> u64;

    /// What `node` holds as committed, read after the clock has stopped; `None` if the crate carries no payload.
    fn digest(&self, node: usize) -> Option<Digest>;
}

/// Messages between nodes: in order, never lost, never encoded.
#[derive(Debug)]
pub struct Network<M> {
    inboxes: Vec<VecDeque<M>>,
    sent: u64,
}

impl<M> Network<M> {
    /// A network of `nodes` nodes, numbered from 0.
    pub fn new(nodes: usize) -> Self {
        Self {
            inboxes: (0..nodes).map(|_| VecDeque::new()).collect(),
            sent: 0,
        }
    }

    /// Puts `message` into the inbox of node `to`.
    pub fn send(&mut self, to: usize, message: M) {
        self.sent += 1;
        self.inboxes[to].push_back(message);
    }

    /// The next message for `node`.
    pub fn receive(&mut self, node: usize) -> Option<M> {
        self.inboxes[node].pop_front()
    }

    /// All messages ever sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}
