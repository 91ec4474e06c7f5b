//! What a follower passes on to its leader: proposals and reads (Raft §8, dissertation §6.4).

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;
use synod_core::{Ghost, Instant, LogEvent, LogIndex, NodeId, Refusal, Ticket};

use crate::message::{Denial, Outcome};
use crate::node::Node;
use crate::{Body, Term};

/// What waits to be sent to the leader or for its answer.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Forwards {
    /// Commands that gather for the next message; the first has this ticket.
    commands: Vec<Bytes>,
    first: Ghost<Ticket>,
    /// What gathers and waits, in bytes.
    bytes: usize,
    /// Reads that gather: one question stands for a row of tickets. A read at another level takes a
    /// ticket between two of them and is answered alone.
    reads: Vec<Group>,
    sent: VecDeque<Sent>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Group {
    first: Ghost<Ticket>,
    count: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Sent {
    what: What,
    group: Group,
    bytes: usize,
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum What {
    Proposals,
    Read,
}

impl Forwards {
    /// What gathers and waits for an answer, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn propose(&mut self, ticket: Ticket, command: Bytes) {
        if self.commands.is_empty() {
            self.first = Ghost(ticket);
        }
        self.bytes += weigh(&command);
        self.commands.push(command);
    }

    pub(crate) fn read(&mut self, ticket: Ticket) {
        match self.reads.last_mut() {
            Some(group) if group.first.0.0 + u64::from(group.count) == ticket.0 => {
                group.count += 1;
            }
            _ => self.reads.push(Group {
                first: Ghost(ticket),
                count: 1,
            }),
        }
    }

    /// Sends what has gathered.
    pub(crate) fn flush(&mut self, node: &mut Node, leader: NodeId) {
        let until = node.now + node.config.timing.forward_timeout;
        let limit = node.config.limits.append_bytes;
        let mut commands = mem::take(&mut self.commands).into_iter().peekable();
        while commands.peek().is_some() {
            let (mut bytes, mut part) = (0, Vec::new());
            while let Some(command) =
                commands.next_if(|command| bytes == 0 || bytes + weigh(command) <= limit)
            {
                bytes += weigh(&command);
                part.push(command);
            }
            let count = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let group = Group {
                first: self.first,
                count,
            };
            self.first.0.0 += u64::from(count);
            self.sent.push_back(Sent {
                what: What::Proposals,
                group,
                bytes,
                until,
            });
            let body = Body::Propose {
                life: node.life,
                first: *group.first,
                commands: part,
            };
            // Safe before any write: a command rests on nothing of ours.
            node.send_now(leader, body);
        }
        for group in mem::take(&mut self.reads) {
            self.sent.push_back(Sent {
                what: What::Read,
                group,
                bytes: 0,
                until,
            });
            // Safe before any write, as above.
            node.send_now(
                leader,
                Body::Read {
                    life: node.life,
                    ticket: *group.first,
                },
            );
        }
    }

    /// Whether something gathers.
    pub(crate) fn is_gathering(&self) -> bool {
        !self.commands.is_empty() || !self.reads.is_empty()
    }

    /// The leader is another one, or out of reach: what was not sent did not happen, what became of
    /// the rest nobody will tell.
    pub(crate) fn give_up(&mut self, node: &mut Node) {
        for k in 0..self.commands.len() as u64 {
            node.tell(LogEvent::Refused(
                Ticket(self.first.0.0 + k),
                Refusal::NoLeader,
            ));
        }
        self.commands.clear();
        for group in mem::take(&mut self.reads) {
            refuse_reads(node, group, Refusal::NoLeader);
        }
        for sent in mem::take(&mut self.sent) {
            expire(node, &sent, Refusal::NoLeader);
        }
        self.bytes = 0;
    }

    /// Gives up what was not answered in time.
    pub(crate) fn tick(&mut self, node: &mut Node) {
        while let Some(sent) = self.sent.front()
            && sent.until <= node.now
        {
            self.bytes -= sent.bytes;
            expire(node, sent, Refusal::TimedOut);
            self.sent.pop_front();
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.until)
    }

    fn take(&mut self, what: What, first: Ticket, count: Option<u32>) -> Option<Group> {
        let is = |sent: &Sent| {
            sent.what == what
                && sent.group.first.0 == first
                && count.is_none_or(|count| count == sent.group.count)
        };
        let sent = self.sent.remove(self.sent.iter().position(is)?)?;
        self.bytes -= sent.bytes;
        Some(sent.group)
    }

    /// The leader's answer to proposals; `false` if nobody waits for it.
    pub(crate) fn proposed(
        &mut self,
        node: &mut Node,
        term: Term,
        first: Ticket,
        count: u32,
        outcome: Outcome,
    ) -> bool {
        // A count that is not ours answers nothing: what waits goes on waiting (contract rule 6).
        let Some(group) = self.take(What::Proposals, first, Some(count)) else {
            return false;
        };
        let tickets = (0..u64::from(count)).map(|k| Ticket(first.0 + k));
        match outcome {
            Outcome::Accepted(index) if node.awaits(index, group.count, term) => {
                node.claim_elsewhere(index, group.count, term, first);
            }
            // The answer was overtaken by the commit: the response is gone. Or the place is another
            // proposal's, as no leader of ours would say.
            Outcome::Accepted(_) | Outcome::Unknown => {
                tickets.for_each(|ticket| node.tell(LogEvent::Unknown(ticket)));
            }
            Outcome::Refused(denial) => {
                tickets.for_each(|ticket| node.tell(LogEvent::Refused(ticket, denial.into())));
            }
        }
        true
    }

    /// The leader's answer to reads; `false` if nobody waits for it.
    pub(crate) fn read_at(
        &mut self,
        node: &mut Node,
        ticket: Ticket,
        index: Result<LogIndex, Denial>,
    ) -> bool {
        let Some(group) = self.take(What::Read, ticket, None) else {
            return false;
        };
        match index {
            Ok(index) => node.ripe_at(index, ticket, group.count),
            Err(denial) => refuse_reads(node, group, denial.into()),
        }
        true
    }
}

/// What a command costs until it is answered, in bytes.
fn weigh(command: &Bytes) -> usize {
    command.len() + synod_core::Entry::OVERHEAD
}

fn expire(node: &mut Node, sent: &Sent, refusal: Refusal) {
    match sent.what {
        What::Read => refuse_reads(node, sent.group, refusal),
        What::Proposals => {
            for k in 0..u64::from(sent.group.count) {
                node.tell(LogEvent::Unknown(Ticket(sent.group.first.0.0 + k)));
            }
        }
    }
}

/// A read that was not answered has changed nothing: it may be asked again.
pub(crate) fn refuse(node: &mut Node, first: Ticket, count: u32, refusal: Refusal) {
    for k in 0..u64::from(count) {
        node.pending_reads -= 1;
        node.tell(LogEvent::Refused(Ticket(first.0 + k), refusal));
    }
}

fn refuse_reads(node: &mut Node, group: Group, refusal: Refusal) {
    refuse(node, *group.first, group.count, refusal);
}
