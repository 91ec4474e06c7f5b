//! What peers exchange.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
pub use synod_core::{Denial, Outcome, Round};
use synod_core::{Entries, Generation, LogIndex, SnapshotId, SnapshotMeta, Stamp, Ticket};

use crate::{Position, Term};

/// A message: who the sender is by its storage, its term, and what it says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The life of the sender's storage: a node that comes back with another one has lost what it
    /// promised.
    pub generation: Generation,
    /// The sender's current term.
    pub term: Term,
    /// What it says.
    pub body: Body,
}

impl Message {
    /// Whether this can be a message of Raft at all.
    pub(crate) fn is_plausible(&self) -> bool {
        self.has_room() && self.rises()
    }

    /// Whether terms rise along the log, and none is above the sender's (Raft §5.3).
    fn rises(&self) -> bool {
        let of_term = |stamp: Stamp| stamp.node == 0 && stamp.number <= self.term.0;
        match &self.body {
            Body::Append(append) => {
                let stamp = append.entries.stamp();
                append.before <= self.term
                    && (append.entries.is_empty()
                        || of_term(stamp) && stamp.number >= append.before.0)
            }
            Body::Snapshot(piece) => of_term(piece.meta.stamp),
            Body::Vote { last, .. } => last.term <= self.term,
            // A hint may be of a term that the asked one is not above; the rest names no entries.
            Body::Conflict { hint, .. } => hint.term <= self.term,
            Body::Voted { .. }
            | Body::Appended { .. }
            | Body::SnapshotGot { .. }
            | Body::Propose { .. }
            | Body::Proposed { .. }
            | Body::Read { .. }
            | Body::ReadAt { .. }
            | Body::Stranger { .. } => true,
        }
    }

    /// Whether its numbers leave room to count on: no cluster reaches the others in its lifetime,
    /// and one that is taken on would overflow later, in an election or at the end of the log.
    fn has_room(&self) -> bool {
        /// Far beyond what can happen, far from the end of the numbers.
        const LIMIT: u64 = 1 << 62;
        let position = |at: &Position| at.term.0.max(at.index.0);
        let greatest = match &self.body {
            Body::Vote { last, .. } => position(last),
            Body::Voted { candidacy, .. } => candidacy.0,
            Body::Append(append) => {
                let entries = &append.entries;
                let places = entries.last().0.max(entries.first().0).max(append.commit.0);
                let terms = append.before.0.max(entries.stamp().number);
                places.max(terms).max(append.round.0)
            }
            Body::Appended { matched, round } => matched.0.max(round.0),
            Body::Conflict { asked, hint, round } => asked.0.max(position(hint)).max(round.0),
            Body::Snapshot(piece) => {
                let end = piece.offset.max(piece.meta.size).max(piece.round.0);
                end.max(piece.meta.index().0).max(piece.meta.stamp.number)
            }
            Body::SnapshotGot { id, offset, round } => id.index.0.max(*offset).max(round.0),
            Body::Propose { first, .. } => first.0,
            Body::Proposed { first, outcome, .. } => match outcome {
                Outcome::Accepted(index) => index.0.max(first.0),
                Outcome::Refused(_) | Outcome::Unknown => first.0,
            },
            // A ticket of a read is only compared.
            Body::ReadAt { index, .. } => index.map_or(0, |at| at.0),
            Body::Read { .. } | Body::Stranger { .. } => 0,
        };
        self.term.0.max(greatest) <= LIMIT
    }
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Body {
    /// Asks for a vote in the message's term (Raft §5.2, `RequestVote`), or, as a pre-vote, whether
    /// there would be one in the term after it (dissertation §9.6). A pre-vote changes nobody's
    /// term.
    Vote {
        /// Whether this only asks what would be.
        pre: bool,
        /// The end of the candidate's log.
        last: Position,
    },
    /// The answer to [`Vote`](Self::Vote).
    Voted {
        /// Whether it answers a pre-vote.
        pre: bool,
        /// The term that was voted for: with a pre-vote, the candidate's next term.
        candidacy: Term,
        /// Whether the vote is the candidate's.
        granted: bool,
    },
    /// Entries, or none as a heartbeat (Raft §5.3, `AppendEntries`).
    Append(Append),
    /// The answer to an [`Append`](Self::Append) or a complete snapshot that fits: this much of the
    /// follower's log matches the leader's and is durable.
    Appended {
        /// The last entry of which that holds.
        matched: LogIndex,
        /// The latest round of the leader that the follower has seen.
        round: Round,
    },
    /// The answer to an [`Append`](Self::Append) that does not fit.
    Conflict {
        /// The place before the refused entries, as asked.
        asked: LogIndex,
        /// Where to look next: the last place of the follower's log whose term is not above the
        /// asked one, so that one round trip skips a whole term (Raft §5.3, end).
        hint: Position,
        /// The latest round of the leader that the follower has seen.
        round: Round,
    },
    /// A piece of a snapshot (Raft §7, `InstallSnapshot`).
    ///
    /// Boxed, because it is rare and large: every message is moved a few times.
    Snapshot(Box<Piece>),
    /// The answer to a piece: what is durable, so where to go on.
    SnapshotGot {
        /// Which snapshot.
        id: SnapshotId,
        /// The next byte wanted.
        offset: u64,
        /// The latest round of the leader that the follower has seen.
        round: Round,
    },
    /// Commands proposed at a follower, for the leader (Raft §8).
    Propose {
        /// One life of the sender's machine, so that a repeated message is told from a new one.
        life: u64,
        /// The ticket of the first command; each further one has the ticket after it.
        first: Ticket,
        /// The commands.
        commands: Vec<Bytes>,
    },
    /// The answer to [`Propose`](Self::Propose).
    Proposed {
        /// The sender's life, as asked.
        life: u64,
        /// The ticket of the first command.
        first: Ticket,
        /// How many commands it is about.
        count: u32,
        /// What became of them.
        outcome: Outcome,
    },
    /// Asks the leader from which index on a linearizable read may be answered (dissertation §6.4).
    Read {
        /// One life of the sender's machine.
        life: u64,
        /// What the answer is to be called.
        ticket: Ticket,
    },
    /// The answer to [`Read`](Self::Read).
    ReadAt {
        /// The sender's life, as asked.
        life: u64,
        /// What was asked.
        ticket: Ticket,
        /// The index, or why there is none.
        index: Result<LogIndex, Denial>,
    },
    /// Your storage is not the one I know under your name: you must not take part.
    Stranger {
        /// The life of the storage that is known.
        known: Generation,
    },
}

/// Entries to append, or none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Append {
    /// The term of the entry before them: the follower must have it (Raft §5.3).
    pub before: Term,
    /// The entries, all of one term; the entry before them is at the place before the first.
    pub entries: Entries,
    /// The last entry that the leader knows to be committed.
    pub commit: LogIndex,
    /// The leader's round: an answer that names it confirms the leadership at a time after the
    /// round began.
    pub round: Round,
}

/// A piece of a snapshot.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Piece {
    /// Which snapshot.
    pub meta: SnapshotMeta,
    /// Where the piece belongs, in bytes.
    pub offset: u64,
    /// The piece.
    pub chunk: Bytes,
    /// The leader's round.
    pub round: Round,
}
