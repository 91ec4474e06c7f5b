//! Passing proposals and reads on to the leader (Raft §8, dissertation §6.4).

use synod_core::{Forward, LogEvent, LogIndex, Lost, NodeId, Refusal, Ticket, TicketRange};

use crate::message::{Denial, Outcome};
use crate::node::Node;
use crate::raft::Raft;
use crate::{Body, Term};

impl Raft {
    /// Sends the leader what has gathered for it.
    pub(crate) fn send_forwards(&mut self, leader: NodeId) {
        let node = &mut self.node;
        let until = node.now + node.config.timing.forward_timeout;
        let limit = node.config.limits.append_bytes;
        let life = node.life;
        while let Some(forward) = self.forwards.next(until, limit) {
            let body = match forward {
                Forward::Propose { first, commands } => Body::Propose {
                    life,
                    first,
                    commands,
                },
                Forward::Read { ticket } => Body::Read { life, ticket },
            };
            // Safe before any write: what is asked rests on nothing of ours.
            node.send_now(leader, body);
        }
    }

    /// The leader is another one, or out of reach: what was not sent did not happen, what became of
    /// the rest nobody will tell.
    pub(crate) fn give_up_forwards(&mut self) {
        for lost in self.forwards.give_up() {
            lose(&mut self.node, lost, Refusal::NoLeader);
        }
    }

    /// Gives up what the leader has not answered in time.
    pub(crate) fn expire_forwards(&mut self) {
        while let Some(lost) = self.forwards.expire(self.node.now) {
            lose(&mut self.node, lost, Refusal::TimedOut);
        }
    }

    /// The answer of the leader of `term` to proposals.
    pub(crate) fn on_proposed(&mut self, term: Term, first: Ticket, count: u32, outcome: Outcome) {
        let node = &mut self.node;
        let tickets = TicketRange { first, count };
        if !self.forwards.proposed(tickets) {
            return node.drop_message();
        }
        match outcome {
            Outcome::Accepted(index) if node.awaits(index, count, term) => {
                node.claim_elsewhere(index, count, term, first);
            }
            // The answer was overtaken by the commit: the response is gone. Or the place is another
            // proposal's, as no leader of ours would say.
            Outcome::Accepted(_) | Outcome::Unknown => forget(node, tickets),
            Outcome::Refused(denial) => node.refuse(tickets, denial.into()),
        }
    }

    /// The leader's answer to reads.
    pub(crate) fn on_read_at(&mut self, ticket: Ticket, index: Result<LogIndex, Denial>) {
        let node = &mut self.node;
        match (self.forwards.read_at(ticket), index) {
            (Some(tickets), Ok(index)) => node.ripen_at(index, tickets),
            (Some(tickets), Err(denial)) => node.refuse_reads(tickets, denial.into()),
            (None, _) => node.drop_message(),
        }
    }
}

fn lose(node: &mut Node, lost: Lost, refusal: Refusal) {
    match lost {
        Lost::Unsent(tickets) => node.refuse(tickets, refusal),
        Lost::Unanswered(tickets) => forget(node, tickets),
        Lost::Reads(tickets) => node.refuse_reads(tickets, refusal),
    }
}

/// Nobody will tell what becomes of these proposals.
fn forget(node: &mut Node, tickets: TicketRange) {
    for ticket in tickets.iter() {
        node.tell(LogEvent::Unknown(ticket));
    }
}
