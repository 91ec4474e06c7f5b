//! Linearizable reads by read index: what the leader does with [`LeaderReads`]. A quorum of phase 2
//! that still answers in this ballot meets every quorum of phase 1, so no higher ballot had begun
//! phase 2 when it was asked.
//!
//! [`LeaderReads`]: synod_core::LeaderReads

use synod_core::{Denial, Entry, LogIndex, NodeId, Reader, Refusal, Round, Ticket};

use super::Leader;
use crate::log::message::Body;
use crate::log::node::Node;
use crate::log::planted::planted;

impl Leader {
    /// Takes a read of this node on.
    pub(crate) fn read(&mut self, node: &Node, ticket: Ticket) {
        let round = self.want_round();
        self.reads.here(ticket, self.read_index(node), round);
    }

    /// Takes on a question that a follower has passed on.
    pub(crate) fn on_read(&mut self, node: &mut Node, from: NodeId, life: u64, ticket: Ticket) {
        if node.fast.open.is_some() {
            // What is chosen may be known elsewhere before it is here. Who asks hears at once that slots
            // are open, and asks the voters then.
            let index = Err(Denial::NotLeader);
            return node.send(
                from,
                Body::ReadAt {
                    life,
                    ticket,
                    index,
                },
            );
        }
        if let Some(peer) = self.peer(from) {
            peer.asked = node.config.thrifty.then_some(node.now);
        }
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

    /// Whether this node knows by itself that all that is chosen is known here: it holds a lease, has had
    /// chosen anew what earlier ballots may have chosen, and no change of who votes is under way.
    pub(crate) fn knows_all(&self, node: &Node) -> bool {
        self.changing(node).is_none() && self.lease.is_held(node)
    }

    /// A read sees at least what earlier ballots may have chosen: before all of that is chosen anew,
    /// the leader does not know what is.
    fn read_index(&self, node: &Node) -> LogIndex {
        if planted!(node, ReadBeforeRecovery) {
            return node.chosen;
        }
        node.chosen.max(self.recovered)
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

    /// A quorum has answered `round`: answers what waited for that and for what is chosen.
    fn answer_reads(&mut self, node: &mut Node, round: Round) {
        while let Some(read) = self.reads.next_confirmed(round, node.chosen) {
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

    /// Proposes blanks in the slots up to `through` that nothing is proposed in: somebody has voted
    /// there in a lower ballot that a quorum of phase 1 has not heard of, and readers wait for what
    /// becomes of it.
    pub(crate) fn fill(&mut self, node: &mut Node, through: LogIndex) {
        /// The most for one message: they ask again.
        const MOST: u64 = 1_000;
        if node.fast.open.is_some() {
            return node.fast.seen_through(through.min(node.window()));
        }
        let end = through.min(node.slots.last().plus(MOST));
        while node.slots.last() < end && self.propose(node, Entry::blank()).is_ok() {}
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
