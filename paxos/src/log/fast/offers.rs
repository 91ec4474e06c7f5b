//! The proposer: every voter, for what it is asked to propose itself.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use synod_core::{Entries, Entry, Instant, LogIndex, Refusal, Ticket, TicketRange};

use super::Name;
use crate::log::message::Body;
use crate::log::multi::{MultiPaxos, Role};
use crate::log::node::Node;

/// What a node offers, and what of it is not settled.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Offers {
    /// Values that are in no slot: new ones, and those whose slot has another value.
    waiting: VecDeque<Offer>,
    /// Values that are offered, each in its one slot, which is not known to be chosen with all before it.
    placed: BTreeMap<LogIndex, Placed>,
    /// Numbers of this node's commands that are chosen and not handed out, and their slots.
    won: BTreeMap<u64, LogIndex>,
    /// Numbers of commands that a leader offers for this node, and until when they may take.
    passed: BTreeMap<u64, Instant>,
    /// What waits and is placed, in bytes.
    bytes: usize,
    /// When what is placed is looked at again.
    resend: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Offer {
    name: Name,
    entry: Entry,
    /// How many slots it has lost.
    losses: u32,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Placed {
    offer: Offer,
    sent: Instant,
}

impl Offers {
    /// Takes a value on.
    pub(crate) fn take_on(&mut self, name: Name, entry: Entry) {
        self.bytes += entry.weight();
        self.waiting.push_back(Offer {
            name,
            entry,
            losses: 0,
        });
    }

    /// Whether so many bytes more are within `limit`; a first value always is.
    pub(crate) const fn fits(&self, bytes: usize, limit: usize) -> bool {
        self.bytes == 0 || self.bytes + bytes <= limit
    }

    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// The first and the last slot that something is offered in.
    pub(crate) fn first(&self) -> Option<LogIndex> {
        self.placed.first_key_value().map(|(at, _)| *at)
    }

    pub(crate) fn last(&self) -> LogIndex {
        self.placed
            .last_key_value()
            .map_or(LogIndex::START, |(at, _)| *at)
    }

    fn place(&mut self, at: LogIndex, offer: Offer, sent: Instant, again: Instant) {
        let before = self.placed.insert(at, Placed { offer, sent });
        assert!(before.is_none(), "one value is offered in a slot");
        self.resend = Some(self.resend.map_or(again, |at| at.min(again)));
    }

    /// What is placed behind a slot.
    fn behind(&self, last: LogIndex) -> Vec<(LogIndex, Entry)> {
        if self.last() <= last {
            return Vec::new();
        }
        let behind = self.placed.range(last.next()..);
        behind
            .map(|(at, placed)| (*at, placed.offer.entry.clone()))
            .collect()
    }

    /// Everything that is placed is to be offered again at once: to another leader's voters.
    pub(crate) fn hurry(&mut self, now: Instant) {
        for placed in self.placed.values_mut() {
            placed.sent = Instant::START;
        }
        if !self.placed.is_empty() {
            self.resend = Some(now);
        }
    }

    /// Planted: takes everything for lost.
    pub(super) fn lose_all(&mut self) {
        while let Some((_, placed)) = self.placed.pop_first() {
            self.lose(placed.offer);
        }
    }

    /// This value is chosen in a slot: if another was offered there, that has lost, and may be offered in
    /// another slot.
    pub(super) fn decided(&mut self, at: LogIndex, name: Name) {
        if self
            .placed
            .get(&at)
            .is_some_and(|placed| placed.offer.name != name)
            && let Some(placed) = self.placed.remove(&at)
        {
            self.lose(placed.offer);
        }
    }

    /// This value is chosen in a slot, and all slots before it are.
    pub(super) fn settled(&mut self, at: LogIndex, name: Option<Name>, life: u64) {
        let Some(placed) = self.placed.remove(&at) else {
            return;
        };
        if name == Some(placed.offer.name) {
            self.bytes -= placed.offer.entry.weight();
            // What it has offered for others is theirs.
            if placed.offer.name.life == life {
                self.won.insert(placed.offer.name.number, at);
            }
        } else {
            self.lose(placed.offer);
        }
    }

    fn lose(&mut self, offer: Offer) {
        let losses = offer.losses + 1;
        let before = |other: &Offer| other.losses > 0 && other.name < offer.name;
        let place = self.waiting.partition_point(before);
        self.waiting.insert(place, Offer { losses, ..offer });
    }

    /// Nobody can tell any more what was chosen where this is offered.
    pub(super) fn abandon_at(&mut self, at: LogIndex) -> Option<Offer> {
        let placed = self.placed.remove(&at)?;
        self.bytes -= placed.offer.entry.weight();
        Some(placed.offer)
    }

    /// A value of this node is handed out; whether somebody here waits for it.
    pub(super) fn handed(&mut self, number: u64) -> bool {
        let passed = self.passed.remove(&number).is_some();
        self.won.remove(&number).is_some() || passed
    }

    /// A leader offers these for this node.
    pub(crate) fn passed_on(&mut self, tickets: TicketRange, until: Instant) {
        self.passed
            .extend(tickets.iter().map(|ticket| (ticket.0, until)));
    }

    /// Whether anything waits for what becomes of it.
    pub(crate) fn any(&self) -> bool {
        !self.waiting.is_empty() || !self.placed.is_empty()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let passed = self.passed.values().min().copied();
        match (self.resend, passed) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// Offers are told apart, and weighed.
    pub(super) fn check(&self) {
        let placed = self.placed.values().map(|placed| &placed.offer);
        let all = || self.waiting.iter().chain(placed.clone());
        let weight: usize = all().map(|offer| offer.entry.weight()).sum();
        assert_eq!(self.bytes, weight, "the weight of what is offered");
        let mut names: Vec<Name> = all().map(|offer| offer.name).collect();
        names.sort_unstable();
        assert!(
            names.is_sorted_by(|a, b| a < b),
            "each value is offered in one slot"
        );
    }
}

impl Node {
    /// Nobody will tell what becomes of this.
    pub(super) fn give_up(&mut self, lost: Option<Offer>) {
        let Some(offer) = lost else { return };
        if offer.name.life != self.life {
            return;
        }
        self.forget([Ticket(offer.name.number)]);
    }

    /// Gives up what this node offers, after it has heard of no leader for too long: what is in a slot may
    /// be chosen there, what is in none will not be.
    pub(crate) fn give_up_offers(&mut self) {
        while let Some(at) = self.fast.offers.first() {
            let lost = self.fast.offers.abandon_at(at);
            self.give_up(lost);
        }
        for offer in core::mem::take(&mut self.fast.offers.waiting) {
            self.fast.offers.bytes -= offer.entry.weight();
            if offer.name.life == self.life {
                let tickets = TicketRange::one(Ticket(offer.name.number));
                self.refuse_tickets(tickets, Refusal::NoLeader);
            }
        }
    }

    /// A snapshot covers everything up to `index`: what of that was this node's nobody will tell.
    pub(crate) fn cover_offers(&mut self, index: LogIndex) {
        while let Some(at) = self.fast.offers.first().filter(|at| *at <= index) {
            let lost = self.fast.offers.abandon_at(at);
            self.give_up(lost);
        }
        let mut covered = Vec::new();
        self.fast.offers.won.retain(|number, at| {
            if *at <= index {
                covered.push(*number);
            }
            *at > index
        });
        self.forget(covered.into_iter().map(Ticket));
    }

    /// Gives up what a leader has offered for this node and has not been seen since.
    pub(crate) fn expire_passed(&mut self) {
        let now = self.now;
        let mut late = Vec::new();
        self.fast.offers.passed.retain(|number, until| {
            if *until <= now {
                late.push(Ticket(*number));
            }
            *until > now
        });
        self.forget(late);
    }

    /// Offers these in the open slots to all voters.
    pub(super) fn offer(&mut self, entries: &Entries) {
        for to in self.membership().voters().to_vec() {
            if to != self.id() {
                // Safe before any write: it names a value and its slot, and promises nothing.
                self.send_now(to, Body::Offer(entries.clone()));
            }
        }
        if self.is_voter() {
            self.on_offer(self.id(), entries);
        }
    }
}

impl MultiPaxos {
    /// Whether this node offers what it is asked to propose.
    pub(crate) fn offers(&self) -> bool {
        let node = &self.node;
        node.fast.open.is_some() && node.leader.is_some() && node.is_voter()
    }

    /// Finds slots for what waits for one.
    pub(crate) fn flush_offers(&mut self) {
        let node = &mut self.node;
        let open = node.fast.open.is_some();
        if !node.fast.offers.any() {
            return;
        }
        match (&mut self.role, node.leader) {
            (Role::Leader(_) | Role::Follower(_), Some(_)) if open => {
                while let Some(entries) = node.next_offer() {
                    node.offer(&entries);
                }
            }
            (Role::Leader(leader), _) => {
                // What is in a slot already stays in that.
                for (at, entry) in node.fast.offers.behind(node.slots.last()) {
                    leader.fill_with(node, at, &entry);
                }
                while node.fast.offers.last() <= node.slots.last()
                    && let Some(offer) = node.fast.offers.waiting.pop_front()
                {
                    match leader.propose(node, offer.entry.clone()) {
                        Ok(at) => node.placed(at, offer),
                        Err(_) => {
                            node.fast.offers.waiting.push_front(offer);
                            break;
                        }
                    }
                }
            }
            (Role::Follower(_), Some(leader)) => {
                // The leader proposes them in these slots, unless it has something there.
                while let Some(losses) = node.fast.offers.waiting.front().map(|offer| offer.losses)
                {
                    // It may be ahead of what is known here: further each time.
                    let at = node.next_free().plus((1 << losses.min(8)) - 1);
                    if at > node.window() {
                        break;
                    }
                    let Some(offer) = node.fast.offers.waiting.pop_front() else {
                        break;
                    };
                    let stamp = node.promised.as_fast().stamp();
                    let entries = Entries::new(at, stamp, [offer.entry.clone()]);
                    node.placed(at, offer);
                    // As above: it promises nothing.
                    node.send_now(leader, Body::Offer(entries));
                }
            }
            (Role::Follower(_) | Role::Candidate(_), _) => {}
        }
    }

    /// Offers again what is not known to be chosen after a round of the election: the offer was lost, or
    /// another leader is there. In the same slot, whatever has happened.
    pub(crate) fn resend_offers(&mut self) {
        let node = &mut self.node;
        let now = node.now;
        if node.fast.offers.resend.is_none_or(|at| at > now) {
            return;
        }
        let round = node.config.timing.round;
        let (open, window) = (node.fast.open, node.window());
        let mut late = Vec::new();
        let Offers { placed, resend, .. } = &mut node.fast.offers;
        *resend = (!placed.is_empty()).then(|| now + round);
        for (at, placed) in placed.range_mut(..=window) {
            let still = !node.fast.decided.contains(*at) && !node.fast.lacking.contains_key(at);
            if still && now.since(placed.sent) >= round / 2 {
                placed.sent = now;
                late.push((*at, placed.offer.entry.clone()));
            }
        }
        let stamp = node.promised.as_fast().stamp();
        match (&mut self.role, node.leader) {
            (Role::Leader(_) | Role::Follower(_), Some(_)) if let Some(open) = open => {
                late.retain(|(at, _)| *at >= open);
                for entries in runs(stamp, late, node.config.limits.accept_bytes) {
                    node.offer(&entries);
                }
            }
            (Role::Leader(leader), _) => {
                for (at, entry) in late {
                    leader.fill_with(node, at, &entry);
                }
            }
            (Role::Follower(_), Some(leader)) => {
                for entries in runs(stamp, late, node.config.limits.accept_bytes) {
                    node.send_now(leader, Body::Offer(entries));
                }
            }
            (Role::Follower(_) | Role::Candidate(_), _) => {}
        }
    }
}

/// Runs of what is in consecutive slots, of about so many bytes each.
pub(super) fn runs(
    stamp: synod_core::Stamp,
    slots: Vec<(LogIndex, Entry)>,
    limit: usize,
) -> Vec<Entries> {
    let (mut all, mut run): (Vec<Entries>, Vec<Entry>) = (Vec::new(), Vec::new());
    let (mut first, mut weight) = (LogIndex::START, 0);
    for (at, entry) in slots {
        if !run.is_empty() && (first.plus(run.len() as u64) != at || weight >= limit) {
            all.push(Entries::new(first, stamp, run.drain(..)));
        }
        if run.is_empty() {
            (first, weight) = (at, 0);
        }
        weight += entry.weight();
        run.push(entry);
    }
    if !run.is_empty() {
        all.push(Entries::new(first, stamp, run));
    }
    all
}

impl Node {
    fn placed(&mut self, at: LogIndex, offer: Offer) {
        let again = self.now + self.config.timing.round;
        self.fast.offers.place(at, offer, self.now, again);
    }

    /// What waits, in the first slots that nothing is known of: as much as one message carries.
    fn next_offer(&mut self) -> Option<Entries> {
        let (first, last) = (self.next_free(), self.window());
        let limit = self.config.limits.accept_bytes;
        let (mut at, mut weight, mut run) = (first, 0, Vec::new());
        while at <= last && weight < limit {
            let Some(offer) = self.fast.offers.waiting.pop_front() else {
                break;
            };
            weight += offer.entry.weight();
            run.push(offer.entry.clone());
            self.placed(at, offer);
            at = at.next();
        }
        let stamp = self.promised.as_fast().stamp();
        (!run.is_empty()).then(|| Entries::new(first, stamp, run))
    }
}
