//! What peers exchange.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{
    Denial, Entries, Generation, LogIndex, Outcome, Round, SnapshotId, SnapshotMeta, Ticket,
};

use super::{Cover, Epoch, Name, Votes};
use crate::Ballot;

/// A message: who the sender is by its storage, the ballot it is about, and what it says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The life of the sender's storage: a node that comes back with another one has lost what it
    /// promised.
    pub generation: Generation,
    /// What the sender has promised: it takes part in no lower ballot.
    pub ballot: Ballot,
    /// The configuration that the sender is in: what it promises, proposes and votes for is of that
    /// one, and counts with those alone who are in it, too.
    pub epoch: Epoch,
    /// What it says.
    pub body: Body,
}

/// What a message says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Body {
    /// Are you there, and are you content? Asked of all voters in each round of the election
    /// (ballot leader election of Omni-Paxos).
    Ask {
        /// The asker's round.
        round: Round,
    },
    /// The answer to [`Ask`](Self::Ask).
    Beat {
        /// The round, as asked.
        round: Round,
        /// The ballot that the sender stands with.
        stands: Ballot,
        /// The ballot whose proposer it takes for the leader.
        follows: Ballot,
        /// Whether it is content with that: it hears its leader, or is one with a quorum.
        content: bool,
        /// How much it should lead, compared to others.
        priority: u32,
    },
    /// The leader asks the receiver to take over (`TimeoutNow` in Raft's words).
    TakeOver,
    /// Phase 1a: the sender's ballot begins, for all slots behind `after`.
    Prepare {
        /// The last slot that the sender knows to be chosen, with all before it.
        after: LogIndex,
    },
    /// Phase 1b: the receiver's ballot is promised, durably; and a first page of what was voted for.
    Promise(Page),
    /// A higher ballot was promised.
    Nack,
    /// Phase 2a: these entries in these slots, in the sender's ballot; or none as a heartbeat.
    Accept(Accept),
    /// Phase 2b: what the sender holds of the ballot's entries, durably. Each says all of it.
    Accepted {
        /// Slots that are chosen, or accepted in this ballot.
        held: Cover,
        /// The latest round of the leader that the sender has seen.
        round: Round,
    },
    /// Asks for what is in the slots behind `after`.
    Fetch {
        /// The last slot that is not wanted.
        after: LogIndex,
        /// The last slot that is wanted: with it, no snapshot is sent in their place.
        through: Option<LogIndex>,
        /// Votes that are not known to be chosen, too: of one who has promised this ballot.
        votes: bool,
        /// How much of which snapshot the sender has, if it is receiving one.
        staged: Option<(SnapshotId, u64)>,
    },
    /// The answer to [`Fetch`](Self::Fetch).
    Page(Page),
    /// The answer to [`Fetch`](Self::Fetch) where the slots are compacted: a piece of the snapshot
    /// that covers them. Boxed, because it is rare and large.
    Piece(Box<Piece>),
    /// Commands proposed at a follower, for the leader.
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
        /// What became of them; slots are of the message's ballot. Slot 0: the leader offers them in
        /// open slots under the sender's life and tickets, and nobody knows yet in which ones.
        outcome: Outcome,
    },
    /// Asks the leader from which slot on a linearizable read may be answered.
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
        /// The slot, or why there is none.
        index: Result<LogIndex, Denial>,
    },
    /// Values for open slots, marked with the fast ballot of the leadership: whoever has not voted in a
    /// slot may vote for the one that is offered there (*Fast Paxos*, 2006). To a leader that has opened
    /// none: what to propose in these slots.
    Offer(Entries),
    /// What the sender has voted for in the leadership's fast ballot, durably.
    Voted(Vec<Votes>),
    /// Asks for the last slot that the receiver has voted in: a Paxos quorum read.
    QuorumRead {
        /// One life of the sender's machine.
        life: u64,
        /// The reader's round.
        round: Round,
    },
    /// The answer to [`QuorumRead`](Self::QuorumRead).
    QuorumReadAt {
        /// The reader's life, as asked.
        life: u64,
        /// The round, as asked.
        round: Round,
        /// The last slot that the sender has voted in, in any ballot, or knows to be chosen.
        last: LogIndex,
        /// The last slot that the sender knows to be chosen, with all before it.
        chosen: LogIndex,
    },
    /// The leader asks for a lease: that the receiver lets nobody else prepare for a while.
    Lease {
        /// The leader's round of such questions.
        round: Round,
        /// For how long, in nanoseconds from when this comes; 0 if it gives the lease up.
        nanos: u64,
    },
    /// The answer to [`Lease`](Self::Lease).
    Granted {
        /// The round, as asked.
        round: Round,
        /// For how long, in nanoseconds; no longer than was asked for.
        nanos: u64,
    },
    /// A reader asks the leader to propose something in each slot up to here: somebody has voted in
    /// them, and they stay open.
    Fill {
        /// The last of them.
        through: LogIndex,
    },
    /// Your storage is not the one I know under your name: you must not take part.
    Stranger {
        /// The life of the storage that is known.
        known: Generation,
    },
}

/// Entries to accept, or none.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Accept {
    /// The entries, marked with the ballot.
    pub entries: Entries,
    /// Up to here the leader knows everything to be chosen. Who holds less in this ballot fetches
    /// what it lacks before `pushed`.
    pub chosen: LogIndex,
    /// The first slot that the leader sends by itself.
    pub pushed: LogIndex,
    /// The leader's round: an answer that names it confirms the leadership at a time after the
    /// round began.
    pub round: Round,
    /// The first open slot, if there are any: from there on voters vote for what anybody offers.
    /// The same for the rest of the leadership, once there is one.
    pub fast: Option<LogIndex>,
}

/// What a node holds of `after < slot <= through`: all of it, or all that is chosen if it was asked
/// for that.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Page {
    /// The slot before the first it is about.
    pub after: LogIndex,
    /// The last slot it is about.
    pub through: LogIndex,
    /// What is in them, each run marked with the ballot that its votes were cast in. A slot that is
    /// in none is empty at the sender.
    pub runs: Vec<Entries>,
    /// The last slot that the sender knows to be chosen, with all before it.
    pub chosen: LogIndex,
    /// The last slot that it holds anything in.
    pub last: LogIndex,
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
}

impl Message {
    /// Whether this can be a message of Multi-Paxos at all: its numbers leave room to count on, and
    /// no vote is of a later ballot than the sender has promised.
    pub(crate) fn is_plausible(&self) -> bool {
        /// Far beyond what can happen, far from the end of the numbers.
        const LIMIT: u64 = Ballot::LAST_ROUND;
        let ballots = match &self.body {
            Body::Beat {
                stands, follows, ..
            } => stands.round.max(follows.round),
            Body::Accept(accept) => {
                let own = accept.entries.is_empty()
                    || Ballot::from(accept.entries.stamp()) == self.ballot;
                if !own {
                    return false;
                }
                0
            }
            Body::Promise(page) | Body::Page(page) => {
                if !page.is_plausible(self.ballot) {
                    return false;
                }
                0
            }
            Body::Offer(entries) => {
                let own = Ballot::from(entries.stamp()) == self.ballot.as_fast();
                if !own || entries.is_empty() || !are_named(entries) {
                    return false;
                }
                0
            }
            Body::Ask { .. }
            | Body::TakeOver
            | Body::Prepare { .. }
            | Body::Nack
            | Body::Accepted { .. }
            | Body::Fetch { .. }
            | Body::Piece(_)
            | Body::Propose { .. }
            | Body::Proposed { .. }
            | Body::Read { .. }
            | Body::ReadAt { .. }
            | Body::Voted(_)
            | Body::QuorumRead { .. }
            | Body::QuorumReadAt { .. }
            | Body::Lease { .. }
            | Body::Granted { .. }
            | Body::Fill { .. }
            | Body::Stranger { .. } => 0,
        };
        let greatest = self.greatest().max(self.epoch.0);
        // What is promised is a classic ballot; fast ones are never promised by themselves.
        !self.ballot.is_fast() && self.ballot.round.max(ballots).max(greatest) <= LIMIT
    }

    /// The greatest of its slots and counters.
    fn greatest(&self) -> u64 {
        match &self.body {
            Body::Ask { round } | Body::Beat { round, .. } => round.0,
            Body::Prepare { after } => after.0,
            Body::Promise(page) | Body::Page(page) => {
                page.through.0.max(page.chosen.0).max(page.last.0)
            }
            Body::Accept(accept) => {
                let entries = &accept.entries;
                let slots = entries.last().0.max(entries.first().0);
                let slots = slots.max(accept.chosen.0).max(accept.pushed.0);
                let slots = slots.max(accept.fast.map_or(0, |first| first.0));
                slots.max(accept.round.0)
            }
            Body::Offer(entries) => entries.last().0.max(entries.first().0),
            Body::Voted(votes) => votes
                .iter()
                .map(|run| run.last().0.max(run.first.0))
                .max()
                .unwrap_or(0),
            Body::Accepted { held, round } => held.last().0.max(round.0),
            Body::Fetch {
                after,
                through,
                staged,
                ..
            } => {
                let staged = staged.map_or(0, |(id, bytes)| id.index.0.max(bytes));
                let through = through.map_or(0, |through| through.0);
                after.0.max(through).max(staged)
            }
            Body::Piece(piece) => {
                let end = piece.offset.max(piece.meta.size);
                end.max(piece.meta.index().0).max(piece.meta.stamp.number)
            }
            Body::Propose { first, .. } => first.0,
            Body::Proposed { first, outcome, .. } => match outcome {
                Outcome::Accepted(index) => index.0.max(first.0),
                Outcome::Refused(_) | Outcome::Unknown => first.0,
            },
            // A ticket of a read is only compared.
            Body::ReadAt { index, .. } => index.map_or(0, |at| at.0),
            Body::QuorumRead { round, .. } => round.0,
            Body::QuorumReadAt {
                round,
                last,
                chosen,
                ..
            } => round.0.max(last.0).max(chosen.0),
            Body::Lease { round, nanos } | Body::Granted { round, nanos } => round.0.max(*nanos),
            Body::Fill { through } => through.0,
            Body::TakeOver | Body::Nack | Body::Read { .. } | Body::Stranger { .. } => 0,
        }
    }
}

impl Page {
    /// Whether its runs are in order, within its bounds and of no later ballot than `promised`.
    fn is_plausible(&self, promised: Ballot) -> bool {
        let mut end = self.after;
        let in_order = self.runs.iter().all(|run| {
            let follows = !run.is_empty() && run.first() > end;
            end = run.last();
            let ballot = Ballot::from(run.stamp());
            let named = !ballot.is_fast() || are_named(run);
            follows && named && ballot.rank() <= promised.rank()
        });
        in_order && end <= self.through && self.through.0 <= Ballot::LAST_ROUND
    }
}

/// Whether each of these says whose it is, as everything does that was offered.
fn are_named(entries: &Entries) -> bool {
    entries
        .as_slice()
        .iter()
        .all(|entry| Name::of(entry).is_some())
}
