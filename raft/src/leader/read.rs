//! Linearizable reads by read index (dissertation §6.4): what the leader does with [`LeaderReads`].
//!
//! [`LeaderReads`]: synod_core::LeaderReads

use synod_core::{LogIndex, NodeId, Reader, Refusal, Ticket};

use super::Leader;
use crate::Round;
use crate::message::{Body, Denial};
use crate::node::Node;
use crate::planted::planted;

impl Leader {
    /// Takes a read of this node on.
    pub(crate) fn read(&mut self, node: &Node, ticket: Ticket) {
        let round = self.want_round();
        self.reads.here(ticket, self.read_index(node), round);
    }

    /// Takes on a question that a follower has passed on.
    pub(crate) fn on_read(&mut self, node: &mut Node, from: NodeId, life: u64, ticket: Ticket) {
        let limit = node.config.limits.pending_reads;
        if self.reads.len() >= limit {
            let index = Err(Denial::Busy {
                limit: u32::try_from(limit).unwrap_or(u32::MAX),
            });
            return node.send(
                from,
                Body::ReadAt {
                    life,
                    ticket,
                    index,
                },
            );
        }
        let round = self.want_round();
        self.reads
            .peer(from, life, ticket, self.read_index(node), round);
    }

    /// A read sees at least the entry that opened the term: before that is committed, the leader
    /// does not know what is (dissertation §6.4, step 1).
    fn read_index(&self, node: &Node) -> LogIndex {
        if planted!(node, ReadBeforeFirstCommit) {
            return node.commit;
        }
        node.commit.max(self.opened)
    }

    /// The next round: it begins with the next messages.
    fn want_round(&mut self) -> Round {
        self.round_wanted = true;
        self.due = true;
        Round(self.round.0 + 1)
    }

    /// Answers the reads that a quorum has confirmed.
    pub(super) fn confirm_reads(&mut self, node: &mut Node) {
        let Some(next) = self.reads.next_round() else {
            return;
        };
        if planted!(node, ReadUnconfirmed) {
            return self.answer_reads(node, Round(u64::MAX));
        }
        let own = self.round.0;
        let round = Round(self.held_by_quorum(node, own, |peer| peer.round_acked.0));
        if round >= next {
            self.answer_reads(node, round);
        }
    }

    /// A quorum has answered `round`: answers what waited for that and for what is committed.
    fn answer_reads(&mut self, node: &mut Node, round: Round) {
        while let Some(read) = self.reads.next_confirmed(round, node.commit) {
            match read.reader {
                Reader::Here(tickets) => node.ripen_at(read.index, tickets),
                Reader::Peer {
                    node: to,
                    life,
                    ticket,
                } => {
                    let body = Body::ReadAt {
                        life,
                        ticket,
                        index: Ok(read.index),
                    };
                    // Safe before any write: a quorum has just confirmed it.
                    node.send_now(to, body);
                }
            }
        }
    }

    /// This node leads no more: no read that waits was answered, all may be asked again.
    pub(crate) fn end_reads(&mut self, node: &mut Node) {
        for reader in self.reads.end() {
            match reader {
                Reader::Here(tickets) => node.refuse_reads(tickets, Refusal::NotLeader),
                Reader::Peer {
                    node: to,
                    life,
                    ticket,
                } => {
                    let body = Body::ReadAt {
                        life,
                        ticket,
                        index: Err(Denial::NotLeader),
                    };
                    node.send(to, body);
                }
            }
        }
    }
}
