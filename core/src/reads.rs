//! Reads that wait at a leader until a quorum has confirmed it: for authors of replicated logs.
//!
//! Linearizable reads by read index (Raft dissertation §6.4). A read is given the index up to which
//! the leader knows the log to be committed when the read arrives, and is answered once the state
//! machine is there and a quorum has confirmed, after the read arrived, that this node still led.
//! The confirmation is a [`Round`]: a counter that goes out with what the leader sends and comes
//! back with every answer. A read waits for the first round that began after it arrived, so an
//! answer that was delayed or repeated can only confirm what came before the round it names: the
//! stale-read schedule of etcd-io/etcd #20418 has no place to happen.

use alloc::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::{Decode, DecodeError, Encode, LogIndex, NodeId, Ticket, TicketRange};

/// Counts a leader's requests for confirmation within its term, ballot or epoch (Raft dissertation
/// §6.4). Reads wait for a round, not for an answer to a message of their own, so a delayed or
/// repeated answer confirms nothing that came later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Round(pub u64);

impl Encode for Round {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
    }
}

impl Decode for Round {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self)
    }
}

/// The reads that wait at a leader, in the order of their rounds.
///
/// A leader takes a read on with the index that it must see and the first round that begins after
/// it: [`here`](Self::here) for its own, [`peer`](Self::peer) for a question that a follower has
/// passed on. When a quorum has answered a round, or more is committed, it takes out what is
/// [`confirmed`](Self::next_confirmed); when it leads no more, it [ends](Self::end) the rest.
///
/// ```
/// use synod_core::{LeaderReads, LogIndex, Reader, Round, Ticket, TicketRange};
///
/// let mut reads = LeaderReads::default();
/// reads.here(Ticket(1), LogIndex(5), Round(1));
/// reads.here(Ticket(2), LogIndex(5), Round(1));
/// assert_eq!(reads.next_confirmed(Round(1), LogIndex(4)), None, "its index is not committed");
///
/// let read = reads.next_confirmed(Round(1), LogIndex(5)).unwrap();
/// let both = TicketRange { first: Ticket(1), count: 2 };
/// assert_eq!((read.reader, read.index), (Reader::Here(both), LogIndex(5)));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct LeaderReads {
    waiting: VecDeque<LeaderRead>,
}

/// A read that waits at a leader.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct LeaderRead {
    /// Who is to have the answer.
    pub reader: Reader,
    /// From which index on it may be answered.
    pub index: LogIndex,
    /// The round that confirms it.
    pub round: Round,
}

/// Who is to have the answer to a read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Reader {
    /// Reads of this node.
    Here(TicketRange),
    /// One question of a follower, which may stand for several reads there.
    Peer {
        /// The follower.
        node: NodeId,
        /// The life of its machine that has asked.
        life: u64,
        /// What the answer is to be called.
        ticket: Ticket,
    },
}

impl LeaderReads {
    /// How many answers are owed: what a limit is compared to. Reads of this node in a row, for one
    /// index and round, are one.
    #[inline]
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether no read waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A read of this node, confirmed by `round` and good from `index` on.
    #[inline]
    pub fn here(&mut self, ticket: Ticket, index: LogIndex, round: Round) {
        if let Some(LeaderRead {
            reader: Reader::Here(tickets),
            index: at,
            round: by,
        }) = self.waiting.back_mut()
            && *at == index
            && *by == round
            && tickets.extend(ticket)
        {
            return;
        }
        let reader = Reader::Here(TicketRange::one(ticket));
        self.push(LeaderRead {
            reader,
            index,
            round,
        });
    }

    /// A question of a follower, confirmed by `round` and good from `index` on.
    #[inline]
    pub fn peer(&mut self, node: NodeId, life: u64, ticket: Ticket, index: LogIndex, round: Round) {
        let reader = Reader::Peer { node, life, ticket };
        self.push(LeaderRead {
            reader,
            index,
            round,
        });
    }

    fn push(&mut self, read: LeaderRead) {
        debug_assert!(
            self.waiting
                .back()
                .is_none_or(|last| last.round <= read.round && last.index <= read.index),
            "rounds and what is committed only grow: the first read is the first to be answered"
        );
        self.waiting.push_back(read);
    }

    /// The first round that a read still waits for: until a quorum has answered that one, there is
    /// nothing to take out.
    #[inline]
    #[must_use]
    pub fn next_round(&self) -> Option<Round> {
        self.waiting.front().map(|read| read.round)
    }

    /// Takes out the first read, if a quorum has answered `round`, `commit` is committed, and it
    /// waited for neither more.
    #[inline]
    pub fn next_confirmed(&mut self, round: Round, commit: LogIndex) -> Option<LeaderRead> {
        self.waiting
            .pop_front_if(|read| read.round <= round && read.index <= commit)
    }

    /// Takes out all that wait, in order: this node leads no more. Nothing here was answered, all may
    /// be asked again.
    pub fn end(&mut self) -> impl Iterator<Item = Reader> {
        self.waiting.drain(..).map(|read| read.reader)
    }
}
