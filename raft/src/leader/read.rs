//! Linearizable reads by read index (dissertation §6.4).
//!
//! A read is given the leader's commit index when it arrives, and is answered once the state
//! machine is there and a quorum has confirmed, after the read arrived, that this node still led.
//! The confirmation is a round: a counter that goes out with every append and comes back with every
//! answer. A read waits for the first round that began after it arrived, so an answer that was
//! delayed or repeated can only confirm what came before the round it names: the stale-read
//! schedule of etcd-io/etcd #20418 has no place to happen.

use alloc::collections::VecDeque;

use synod_core::{LogIndex, NodeId, Refusal, Ticket};

use crate::forward;
use crate::message::{Body, Denial, Round};
use crate::node::Node;

/// The reads that wait at a leader, in the order of their rounds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Reads {
    waiting: VecDeque<Read>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Read {
    who: Who,
    index: LogIndex,
    round: Round,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Who {
    /// Reads of this node: the first ticket and how many.
    Here(Ticket, u32),
    /// One question of a follower.
    Peer(NodeId, u64, Ticket),
}

impl Reads {
    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A read of this node, confirmed by `round` and good from `index` on.
    pub(crate) fn here(&mut self, ticket: Ticket, index: LogIndex, round: Round) {
        if let Some(Read {
            who: Who::Here(first, count),
            index: at,
            round: by,
        }) = self.waiting.back_mut()
            && *at == index
            && *by == round
            && first.0 + u64::from(*count) == ticket.0
        {
            *count += 1;
            return;
        }
        self.waiting.push_back(Read {
            who: Who::Here(ticket, 1),
            index,
            round,
        });
    }

    /// A question of a follower, confirmed by `round` and good from `index` on.
    pub(crate) fn peer(
        &mut self,
        from: NodeId,
        life: u64,
        ticket: Ticket,
        index: LogIndex,
        round: Round,
    ) {
        self.waiting.push_back(Read {
            who: Who::Peer(from, life, ticket),
            index,
            round,
        });
    }

    /// The first round that a read still waits for.
    pub(crate) fn next_round(&self) -> Option<Round> {
        self.waiting.front().map(|read| read.round)
    }

    /// A quorum has answered `round`, and `commit` is committed: answers what waited for both.
    pub(crate) fn confirm(&mut self, node: &mut Node, round: Round, commit: LogIndex) {
        while let Some(read) = self.waiting.front()
            && read.round <= round
            && read.index <= commit
        {
            match read.who {
                Who::Here(first, count) => node.ripe_at(read.index, first, count),
                Who::Peer(to, life, ticket) => {
                    // Safe before any write: a quorum has just confirmed it.
                    node.send_now(
                        to,
                        Body::ReadAt {
                            life,
                            ticket,
                            index: Ok(read.index),
                        },
                    );
                }
            }
            self.waiting.pop_front();
        }
    }

    /// This node leads no more: nothing here was answered, all may be asked again.
    pub(crate) fn fail(&mut self, node: &mut Node) {
        for read in self.waiting.drain(..) {
            match read.who {
                Who::Here(first, count) => {
                    forward::refuse(node, first, count, Refusal::NotLeader);
                }
                Who::Peer(to, life, ticket) => {
                    let index = Err(Denial::NotLeader);
                    node.send(
                        to,
                        Body::ReadAt {
                            life,
                            ticket,
                            index,
                        },
                    );
                }
            }
        }
    }
}
