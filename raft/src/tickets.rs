//! Which proposal of this node is at which place of the log, until that is settled.

use alloc::collections::VecDeque;

use synod_core::{Entries, Ghost, LogIndex, Ticket};

use crate::Term;

/// Read tickets are numbered apart from proposals, so that reads between proposals do not break up
/// their runs.
const READS: u64 = 1 << 63;

/// The proposals of this node that are in a log somewhere and not settled.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Tickets {
    proposals: Ghost<u64>,
    reads: Ghost<u64>,
    claims: VecDeque<Claim>,
}

/// Consecutive proposals at consecutive places, put there in one term. Term and place name an entry
/// for ever (Raft §5.3), so a claim is settled when the entry at its place is committed: by its
/// term it is the same or another. A truncation settles nothing: the entry may live on elsewhere
/// and come back.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Claim {
    first: LogIndex,
    count: u64,
    term: Term,
    ticket: Ghost<u64>,
}

/// What became of tickets, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    /// These entries are committed; the first has this ticket, and each further one the next.
    Committed(Entries, Option<Ticket>),
    /// Another entry is committed in the place of this one.
    Displaced(Ticket),
}

impl Tickets {
    pub(crate) fn next_proposal(&mut self) -> Ticket {
        self.proposals.0 += 1;
        Ticket(self.proposals.0)
    }

    pub(crate) fn next_read(&mut self) -> Ticket {
        self.reads.0 += 1;
        Ticket(READS | self.reads.0)
    }

    /// Whether a proposal waits for what becomes of its place.
    pub(crate) fn any_claimed(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Notes where `count` proposals from `ticket` on are.
    pub(crate) fn claim(&mut self, first: LogIndex, count: u64, term: Term, ticket: Ticket) {
        if let Some(claim) = self.claims.back_mut()
            && claim.term == term
            && claim.first.plus(claim.count) == first
            && claim.ticket.0 + claim.count == ticket.0
        {
            claim.count += count;
            return;
        }
        self.claims.push_back(Claim {
            first,
            count,
            term,
            ticket: Ghost(ticket.0),
        });
    }

    /// Whether none of these places is claimed for an entry of this term.
    pub(crate) fn is_free(&self, first: LogIndex, count: u64, term: Term) -> bool {
        let end = first.plus(count);
        self.claims.iter().all(|claim| {
            claim.term != term || end <= claim.first || claim.first.plus(claim.count) <= first
        })
    }

    /// Settles what is claimed among these committed entries, which are handed out in order.
    pub(crate) fn settle(&mut self, entries: Entries, mut tell: impl FnMut(Settled)) {
        if self.claims.is_empty() {
            return tell(Settled::Committed(entries, None));
        }
        // The common case of a lightly loaded leader: just these, and all of them.
        if self.claims.len() == 1
            && self.claims[0].first == entries.first()
            && self.claims[0].count == entries.len() as u64
            && self.claims[0].term == Term::from(entries.stamp())
        {
            let ticket = Ticket(self.claims[0].ticket.0);
            self.claims.clear();
            return tell(Settled::Committed(entries, Some(ticket)));
        }
        let term = Term::from(entries.stamp());
        self.displace(entries.last(), term, |ticket| {
            tell(Settled::Displaced(ticket));
        });
        let mut rest = entries;
        while !rest.is_empty() {
            let claimed = self.claims.iter_mut().filter(|claim| claim.term == term);
            let Some(claim) = claimed.min_by_key(|claim| claim.first) else {
                break;
            };
            if claim.first > rest.last() {
                break;
            }
            if claim.first > rest.first() {
                let before = claim.first.previous();
                tell(Settled::Committed(rest.through(before), None));
                rest = rest.after(before);
            }
            let (end, ticket) = (claim.first.plus(claim.count - 1), Ticket(claim.ticket.0));
            let part = rest.through(end);
            rest = rest.after(end.min(rest.last()));
            claim.shrink(part.len() as u64);
            tell(Settled::Committed(part, Some(ticket)));
            self.claims.retain(|claim| claim.count > 0);
        }
        if !rest.is_empty() {
            tell(Settled::Committed(rest, None));
        }
    }

    /// Settles the claims to places up to `last`, which entries of `term` have taken, and those of an
    /// earlier term to any place: terms only grow along a log (Raft §5.3), so behind a committed
    /// entry there is none of an earlier term. Without this a claim behind the end of the log would
    /// wait for the log to grow.
    pub(crate) fn displace(&mut self, last: LogIndex, term: Term, mut tell: impl FnMut(Ticket)) {
        let mut any = false;
        for claim in &mut self.claims {
            let reached = |claim: &Claim| claim.first <= last || claim.term < term;
            while claim.term != term && claim.count > 0 && reached(claim) {
                tell(Ticket(claim.ticket.0));
                claim.shrink(1);
                any = true;
            }
        }
        if any {
            self.claims.retain(|claim| claim.count > 0);
        }
    }

    /// Gives up the claims up to `through`, whose entries this node will never see.
    pub(crate) fn abandon(&mut self, through: LogIndex, mut tell: impl FnMut(Ticket)) {
        for claim in &mut self.claims {
            while claim.count > 0 && claim.first <= through {
                tell(Ticket(claim.ticket.0));
                claim.shrink(1);
            }
        }
        self.claims.retain(|claim| claim.count > 0);
    }
}

impl Claim {
    fn shrink(&mut self, count: u64) {
        self.first = self.first.plus(count);
        self.ticket.0 += count;
        self.count -= count;
    }
}
