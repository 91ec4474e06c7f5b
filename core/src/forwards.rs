//! What a follower passes on to its leader, and the leader's answers: for authors of replicated
//! logs.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    Decode, DecodeError, Encode, Entry, Ghost, Instant, LogIndex, Refusal, Ticket, TicketRange,
};

/// The proposals and reads of a follower that gather for its leader or wait for its answer (Raft §8,
/// dissertation §6.4).
///
/// A log takes a command on by [`propose`](Self::propose), after [`fits`](Self::fits), and a read by
/// [`read`](Self::read); sends what [`next`](Self::next) hands out; gives the leader's answers to
/// [`proposed`](Self::proposed) and [`read_at`](Self::read_at); tells the application what has
/// [expired](Self::expire) and, when the leader is another one or out of reach, what must be
/// [given up](Self::give_up). It has one leader at a time: after a change of the leader, nothing is
/// taken on before the old one's has been given up.
///
/// ```
/// use synod_core::{Forward, Forwards, Instant, Lost, Ticket, TicketRange};
///
/// let (mut forwards, until) = (Forwards::default(), Instant::from_millis(500));
/// forwards.propose(Ticket(1), "a".into());
/// forwards.propose(Ticket(2), "b".into());
/// let commands = vec!["a".into(), "b".into()];
/// let sent = forwards.next(until, 1 << 20);
/// assert_eq!(sent, Some(Forward::Propose { first: Ticket(1), commands }));
///
/// let both = TicketRange { first: Ticket(1), count: 2 };
/// assert_eq!(forwards.expire(until), Some(Lost::Unanswered(both)));
/// assert!(!forwards.proposed(both), "an answer that comes later answers nobody");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Forwards {
    /// Commands that gather for the next message; the first has this ticket.
    commands: VecDeque<Bytes>,
    first: Ghost<Ticket>,
    /// What gathers and waits, in bytes.
    bytes: usize,
    /// Reads that gather: one question stands for a row of tickets. A read at another level takes a
    /// ticket between two of them and is answered alone.
    reads: VecDeque<Group>,
    /// What was sent and is not answered, in the order of time-outs.
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

/// Something to send to the leader. Safe to send before any write: it rests on nothing of the
/// follower's.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Forward {
    /// Commands to propose. The leader answers with the first ticket, how many it is about, and the
    /// [`Outcome`].
    Propose {
        /// The ticket of the first command; each further one has the ticket after it.
        first: Ticket,
        /// The commands; never none.
        commands: Vec<Bytes>,
    },
    /// The question from which index on reads may be answered, however many it stands for here. The
    /// leader answers with the ticket, and the index or a [`Denial`].
    Read {
        /// What the answer is to be called.
        ticket: Ticket,
    },
}

/// What was passed on or was to be, and will not be answered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Lost {
    /// These proposals never left: they did not and will not happen.
    Unsent(TicketRange),
    /// These proposals were sent: nobody will tell what becomes of them.
    Unanswered(TicketRange),
    /// These reads have changed nothing, sent or not: they may be asked again.
    Reads(TicketRange),
}

impl Forwards {
    // What gathers.

    /// What gathers and waits for an answer, in bytes.
    #[inline]
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether this command may be taken on without exceeding `limit`, in bytes of
    /// [`Entry::weight`]. A command always fits where there is no other, or one above the limit
    /// could never leave.
    #[inline]
    #[must_use]
    pub fn fits(&self, command: &Bytes, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + weigh(command) <= limit
    }

    /// Takes a command on. Its ticket is the one after that of the command before, if that gathers
    /// still.
    #[inline]
    pub fn propose(&mut self, ticket: Ticket, command: Bytes) {
        if self.commands.is_empty() {
            self.first = Ghost(ticket);
        }
        debug_assert_eq!(
            ticket.0,
            self.first.0.0 + self.commands.len() as u64,
            "one message carries the tickets of its commands as a row"
        );
        self.bytes += weigh(&command);
        self.commands.push_back(command);
    }

    /// Takes a read on.
    #[inline]
    pub fn read(&mut self, ticket: Ticket) {
        match self.reads.back_mut() {
            Some(group) if group.tickets().end() == ticket => group.count += 1,
            _ => self.reads.push_back(Group {
                first: Ghost(ticket),
                count: 1,
            }),
        }
    }

    /// Whether something gathers.
    #[inline]
    #[must_use]
    pub fn is_gathering(&self) -> bool {
        !self.commands.is_empty() || !self.reads.is_empty()
    }

    // What is sent.

    /// The next message to the leader: commands of at most `limit` bytes of [`Entry::weight`], but at
    /// least one, then reads. An answer is waited for until `until`.
    pub fn next(&mut self, until: Instant, limit: usize) -> Option<Forward> {
        if self.commands.is_empty() {
            let group = self.reads.pop_front()?;
            self.sent.push_back(Sent {
                what: What::Read,
                group,
                bytes: 0,
                until,
            });
            return Some(Forward::Read {
                ticket: *group.first,
            });
        }
        let (first, mut bytes) = (self.first, 0);
        let fitting = self.commands.iter().take_while(|command| {
            let fits = bytes == 0 || bytes + weigh(command) <= limit;
            if fits {
                bytes += weigh(command);
            }
            fits
        });
        let len = fitting.count();
        let commands: Vec<Bytes> = if len == self.commands.len() {
            mem::take(&mut self.commands).into()
        } else {
            self.commands.drain(..len).collect()
        };
        let count = u32::try_from(len).unwrap_or(u32::MAX);
        self.first.0.0 += u64::from(count);
        self.sent.push_back(Sent {
            what: What::Proposals,
            group: Group { first, count },
            bytes,
            until,
        });
        Some(Forward::Propose {
            first: *first,
            commands,
        })
    }

    // What comes of it.

    /// The leader's answer to proposals: whether they were waited for, and are no more. An answer
    /// with a count that is not theirs answers nothing, so what waits goes on waiting (contract
    /// rule 6).
    pub fn proposed(&mut self, tickets: TicketRange) -> bool {
        self.take(What::Proposals, tickets.first, Some(tickets.count))
            .is_some()
    }

    /// The leader's answer to a question: the reads that have waited for it.
    pub fn read_at(&mut self, ticket: Ticket) -> Option<TicketRange> {
        self.take(What::Read, ticket, None)
    }

    fn take(&mut self, what: What, first: Ticket, count: Option<u32>) -> Option<TicketRange> {
        let is = |sent: &Sent| {
            sent.what == what
                && sent.group.first.0 == first
                && count.is_none_or(|count| count == sent.group.count)
        };
        let sent = self.sent.remove(self.sent.iter().position(is)?)?;
        self.bytes -= sent.bytes;
        Some(sent.group.tickets())
    }

    /// Takes out one message that was not answered in time.
    pub fn expire(&mut self, now: Instant) -> Option<Lost> {
        let sent = self.sent.pop_front_if(|sent| sent.until <= now)?;
        self.bytes -= sent.bytes;
        Some(sent.lost())
    }

    /// When [`expire`](Self::expire) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.until)
    }

    /// Takes out everything: the leader is another one, or out of reach.
    pub fn give_up(&mut self) -> Vec<Lost> {
        let mut lost = Vec::new();
        if !self.commands.is_empty() {
            lost.push(Lost::Unsent(TicketRange {
                first: *self.first,
                count: u32::try_from(self.commands.len()).unwrap_or(u32::MAX),
            }));
        }
        let reads = self.reads.drain(..);
        lost.extend(reads.map(|group| Lost::Reads(group.tickets())));
        lost.extend(self.sent.drain(..).map(|sent| sent.lost()));
        self.commands.clear();
        self.bytes = 0;
        lost
    }
}

impl Group {
    const fn tickets(self) -> TicketRange {
        TicketRange {
            first: self.first.0,
            count: self.count,
        }
    }
}

impl Sent {
    const fn lost(&self) -> Lost {
        match self.what {
            What::Proposals => Lost::Unanswered(self.group.tickets()),
            What::Read => Lost::Reads(self.group.tickets()),
        }
    }
}

/// What a command costs until it is answered, in bytes.
const fn weigh(command: &Bytes) -> usize {
    command.len() + Entry::OVERHEAD
}

/// What became of forwarded commands: a leader's answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Outcome {
    /// They are in the leader's log, in the message's term or ballot, from this index on.
    Accepted(LogIndex),
    /// They did not and will not happen.
    Refused(Denial),
    /// They arrived late or again; what became of them was said before.
    Unknown,
}

/// Why a leader refused what was forwarded to it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Denial {
    /// It does not lead.
    NotLeader,
    /// Its limit on what is under way is reached.
    Busy {
        /// The limit, in bytes or reads.
        limit: u32,
    },
    /// A command is longer than its limit.
    TooLarge {
        /// The length, in bytes.
        len: u32,
        /// The limit, in bytes.
        limit: u32,
    },
    /// It proposes nothing until this change of the membership is committed.
    ChangeUnderWay(LogIndex),
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::NotLeader => Self::NotLeader,
            Denial::Busy { limit } => Self::Busy {
                what: "what is under way at the leader",
                limit: limit as usize,
            },
            Denial::TooLarge { len, limit } => Self::TooLarge {
                len: len as usize,
                limit: limit as usize,
            },
            Denial::ChangeUnderWay(index) => Self::ChangeUnderWay(index),
        }
    }
}
impl Encode for Denial {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::NotLeader => out.put_u8(1),
            Self::Busy { limit } => {
                out.put_u8(2);
                limit.encode(out);
            }
            Self::TooLarge { len, limit } => {
                out.put_u8(3);
                len.encode(out);
                limit.encode(out);
            }
            Self::ChangeUnderWay(index) => {
                out.put_u8(4);
                index.encode(out);
            }
        }
    }
}

impl Decode for Denial {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            1 => Self::NotLeader,
            2 => Self::Busy {
                limit: Decode::decode(input)?,
            },
            3 => Self::TooLarge {
                len: Decode::decode(input)?,
                limit: Decode::decode(input)?,
            },
            4 => Self::ChangeUnderWay(Decode::decode(input)?),
            tag => {
                return Err(DecodeError::Tag {
                    what: "denial",
                    tag,
                });
            }
        })
    }
}

impl Encode for Outcome {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Accepted(index) => {
                out.put_u8(1);
                index.encode(out);
            }
            Self::Refused(denial) => {
                out.put_u8(2);
                denial.encode(out);
            }
            Self::Unknown => out.put_u8(3),
        }
    }
}

impl Decode for Outcome {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            1 => Self::Accepted(Decode::decode(input)?),
            2 => Self::Refused(Decode::decode(input)?),
            3 => Self::Unknown,
            tag => {
                return Err(DecodeError::Tag {
                    what: "outcome",
                    tag,
                });
            }
        })
    }
}
