//! Which proposal of this node is in which slot, until that is settled.

use alloc::collections::VecDeque;

use synod_core::{Entries, Ghost, Instant, LogIndex, Ticket};

use super::slots::Slots;
use crate::Ballot;

/// Read tickets are numbered apart from proposals, so that reads between proposals do not break up
/// their runs.
const READS: u64 = 1 << 63;

/// The proposals of this node that are in a slot somewhere and not settled.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Tickets {
    proposals: Ghost<u64>,
    reads: Ghost<u64>,
    claims: VecDeque<Claim>,
    /// No claim is given up before.
    by: Option<Instant>,
}

/// Consecutive proposals in consecutive slots, put there in one ballot. Slot and ballot name a value
/// for ever, so a claim is settled when its slot is chosen with the value of that ballot. A later
/// ballot may propose the same value again, under its own name: then only the bytes are left to
/// compare, and where they are the same nobody can tell whose they are.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Claim {
    first: LogIndex,
    count: u64,
    ballot: Ballot,
    ticket: Ghost<u64>,
    /// What was proposed, as far as that is known: kept once another ballot may replace it.
    armed: Option<Entries>,
    /// When it is given up: another ballot has begun since, and may have left its slot alone.
    until: Option<Instant>,
}

/// What became of tickets, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Settled {
    /// These entries are chosen; the first has this ticket, and each further one the next.
    Committed(Entries, Option<Ticket>),
    /// Another value was chosen in the place of this one.
    Displaced(Ticket),
    /// The same bytes were chosen by way of another ballot, or nobody knows what was proposed.
    Unknown(Ticket),
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

    /// Whether a proposal waits for what becomes of its slot.
    pub(crate) fn any_claimed(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Notes where `count` proposals from `ticket` on are.
    pub(crate) fn claim(&mut self, first: LogIndex, count: u64, ballot: Ballot, ticket: Ticket) {
        if let Some(claim) = self.claims.back_mut()
            && claim.ballot == ballot
            && claim.armed.is_none()
            && claim.first.plus(claim.count) == first
            && claim.ticket.0 + claim.count == ticket.0
        {
            claim.count += count;
            return;
        }
        self.claims.push_back(Claim {
            first,
            count,
            ballot,
            ticket: Ghost(ticket.0),
            armed: None,
            until: None,
        });
    }

    /// Whether none of these slots is claimed for this ballot.
    pub(crate) fn is_free(&self, first: LogIndex, count: u64, ballot: Ballot) -> bool {
        let end = first.plus(count);
        self.claims.iter().all(|claim| {
            claim.ballot != ballot || end <= claim.first || claim.first.plus(claim.count) <= first
        })
    }

    /// Another ballot begins: keeps what was proposed in the one that ends, while it is here.
    pub(crate) fn arm(&mut self, slots: &Slots, ballot: Ballot) {
        let mut split = VecDeque::with_capacity(self.claims.len());
        for mut claim in self.claims.drain(..) {
            while claim.ballot == ballot && claim.armed.is_none() && claim.count > 0 {
                let end = claim.first.plus(claim.count - 1);
                let known = slots.chunk_from(claim.first);
                let known = known.filter(|chunk| Ballot::from(chunk.stamp()) == ballot);
                let Some(known) = known else { break };
                let known = known.through(end);
                let count = known.len() as u64;
                split.push_back(Claim {
                    count,
                    armed: Some(known),
                    ..claim.clone()
                });
                claim.shrink(count);
            }
            if claim.count > 0 {
                split.push_back(claim);
            }
        }
        self.claims = split;
    }

    /// Settles what is claimed among these chosen entries, which are handed out in order.
    pub(crate) fn settle(&mut self, entries: Entries, mut tell: impl FnMut(Settled)) {
        if self.claims.is_empty() {
            return tell(Settled::Committed(entries, None));
        }
        let ballot = Ballot::from(entries.stamp());
        // The common case of a lightly loaded leader: just these, and all of them.
        if self.claims.len() == 1
            && self.claims[0].first == entries.first()
            && self.claims[0].count == entries.len() as u64
            && self.claims[0].ballot == ballot
        {
            let ticket = Ticket(self.claims[0].ticket.0);
            self.claims.clear();
            return tell(Settled::Committed(entries, Some(ticket)));
        }
        self.lose(&entries, ballot, &mut tell);
        let mut rest = entries;
        while !rest.is_empty() {
            let claimed = self
                .claims
                .iter_mut()
                .filter(|claim| claim.ballot == ballot);
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

    /// Settles the claims of other ballots to slots that these entries have taken.
    fn lose(&mut self, entries: &Entries, ballot: Ballot, tell: &mut impl FnMut(Settled)) {
        for claim in &mut self.claims {
            while claim.ballot != ballot && claim.count > 0 && claim.first <= entries.last() {
                let ticket = Ticket(claim.ticket.0);
                let proposed = claim
                    .armed
                    .as_ref()
                    .and_then(|armed| armed.get(claim.first));
                tell(match (proposed, entries.get(claim.first)) {
                    (Some(proposed), Some(chosen)) if proposed != chosen => {
                        Settled::Displaced(ticket)
                    }
                    (Some(_) | None, Some(_) | None) => Settled::Unknown(ticket),
                });
                claim.shrink(1);
            }
        }
        self.claims.retain(|claim| claim.count > 0);
    }

    /// Gives up the claims up to `through`, whose slots this node will never see.
    pub(crate) fn abandon(&mut self, through: LogIndex, mut tell: impl FnMut(Ticket)) {
        for claim in &mut self.claims {
            while claim.count > 0 && claim.first <= through {
                tell(Ticket(claim.ticket.0));
                claim.shrink(1);
            }
        }
        self.claims.retain(|claim| claim.count > 0);
    }

    /// A leader of `ballot` is there: what was proposed in lower ones and it has not found may wait
    /// for ever in slots that nobody fills, so it waits no longer than `until`.
    pub(crate) fn age(&mut self, ballot: Ballot, until: Instant) {
        for claim in &mut self.claims {
            if claim.ballot < ballot && claim.until.is_none() {
                claim.until = Some(until);
                self.by = Some(self.by.map_or(until, |by| by.min(until)));
            }
        }
    }

    /// When the first claim is given up.
    pub(crate) const fn deadline(&self) -> Option<Instant> {
        self.by
    }

    /// Gives up what has waited long enough.
    pub(crate) fn expire(&mut self, now: Instant, mut tell: impl FnMut(Ticket)) {
        if self.by.is_none_or(|by| by > now) {
            return;
        }
        for claim in &mut self.claims {
            while claim.count > 0 && claim.until.is_some_and(|until| until <= now) {
                tell(Ticket(claim.ticket.0));
                claim.shrink(1);
            }
        }
        self.claims.retain(|claim| claim.count > 0);
        self.by = self.claims.iter().filter_map(|claim| claim.until).min();
    }
}

impl Claim {
    fn shrink(&mut self, count: u64) {
        self.first = self.first.plus(count);
        self.ticket.0 += count;
        self.count -= count;
    }
}
