//! Passing proposals and reads on to the leader.

use synod_core::{Denial, Forward, LogIndex, Lost, NodeId, Outcome, Refusal, Ticket, TicketRange};

use super::message::Body;
use super::multi::MultiPaxos;
use super::node::Node;
use crate::Ballot;

impl MultiPaxos {
    /// Sends the leader what has gathered for it.
    pub(crate) fn send_forwards(&mut self, leader: NodeId) {
        let node = &mut self.node;
        let until = node.now + node.config.timing.forward_timeout;
        let limit = node.config.limits.accept_bytes;
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

    /// The answer of the leader of `ballot` to proposals.
    pub(crate) fn on_proposed(
        &mut self,
        ballot: Ballot,
        first: Ticket,
        count: u32,
        outcome: Outcome,
    ) {
        let node = &mut self.node;
        let tickets = TicketRange { first, count };
        if !self.forwards.proposed(tickets) {
            return node.drop_message();
        }
        match outcome {
            Outcome::Accepted(LogIndex::START) => {
                let until = node.now + node.config.timing.forward_timeout;
                node.fast.offers.passed_on(tickets, until);
            }
            Outcome::Accepted(index) if node.awaits(index, count, ballot) => {
                let count = u64::from(count);
                node.tickets.claim(index, count, ballot, first);
                if ballot < node.promised {
                    // The word of it comes late: the ballot is over.
                    node.age_claims();
                }
            }
            // The answer was overtaken by what is chosen: the response is gone. Or the slot is
            // another proposal's, as no leader of ours would say.
            Outcome::Accepted(_) | Outcome::Unknown => node.forget(tickets.iter()),
            Outcome::Refused(denial) => node.refuse_tickets(tickets, denial.into()),
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
        Lost::Unsent(tickets) => node.refuse_tickets(tickets, refusal),
        Lost::Unanswered(tickets) => node.forget(tickets.iter()),
        Lost::Reads(tickets) => node.refuse_reads(tickets, refusal),
    }
}
