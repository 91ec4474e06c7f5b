//! Who waits for which ticket.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::Ticket;

use super::outcomes::held;
use crate::handle::ProposeError;
use crate::handle::request::{Answer, Outcome};
use crate::handle::slot::Promise;
use crate::sync::Wakers;

/// Somebody who waits for a proposal or a membership change.
pub(super) enum Waiter {
    /// For just that.
    One(Promise<Outcome>),
    /// For it among several.
    Member { group: u32, place: u32 },
}

/// Somebody who waits, with a query, for the moment when it may be answered.
pub(super) type Reader = (Bytes, Promise<Answer>);

/// Those who wait for tickets of one kind. Tickets are handed out in ascending order and mostly
/// resolve in that order, so they are a ring and a lookup is a subtraction. The few that take long
/// move out of the way.
pub(super) struct Waiters<W> {
    /// The ticket of the first place in the ring.
    base: u64,
    ring: VecDeque<Option<W>>,
    /// Waiters in the ring.
    live: usize,
    late: BTreeMap<u64, W>,
}

impl<W> Default for Waiters<W> {
    fn default() -> Self {
        Self {
            base: 0,
            ring: VecDeque::new(),
            live: 0,
            late: BTreeMap::new(),
        }
    }
}

impl<W> Waiters<W> {
    /// A ring may be this much longer than what lives in it.
    const SLACK: usize = 1024;

    /// Notes who waits for `ticket`, which is the highest so far.
    pub(super) fn insert(&mut self, ticket: Ticket, waiter: W) {
        if self.ring.is_empty() {
            self.base = ticket.0;
        }
        let end = self.base + self.ring.len() as u64;
        assert!(ticket.0 >= end, "tickets are handed out in ascending order");
        if ticket.0 - end > Self::SLACK as u64 {
            while !self.ring.is_empty() {
                self.retire_front();
            }
            self.base = ticket.0;
        }
        // Tickets that the machine used for something else leave a gap.
        for _ in self.base + self.ring.len() as u64..ticket.0 {
            self.ring.push_back(None);
        }
        self.ring.push_back(Some(waiter));
        self.live += 1;
        while self.ring.len() > 2 * self.live + Self::SLACK {
            self.retire_front();
        }
    }

    /// Moves the first waiter out of the ring, so that one that waits long does not keep places for
    /// all that came after it.
    fn retire_front(&mut self) {
        if let Some(Some(waiter)) = self.ring.pop_front() {
            self.late.insert(self.base, waiter);
            self.live -= 1;
        }
        self.base += 1;
        self.trim();
    }

    fn trim(&mut self) {
        while let Some(None) = self.ring.front() {
            self.ring.pop_front();
            self.base += 1;
        }
    }

    /// Takes who waits for `ticket`.
    pub(super) fn take(&mut self, ticket: Ticket) -> Option<W> {
        let Some(offset) = ticket.0.checked_sub(self.base) else {
            return self.late.remove(&ticket.0);
        };
        let place = self.ring.get_mut(usize::try_from(offset).ok()?)?;
        let waiter = place.take()?;
        self.live -= 1;
        if offset == 0 {
            self.ring.pop_front();
            self.base += 1;
            self.trim();
        }
        Some(waiter)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live == 0 && self.late.is_empty()
    }

    /// Takes everyone.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = W> + use<W> {
        self.live = 0;
        let late = core::mem::take(&mut self.late).into_values();
        let ring = core::mem::take(&mut self.ring);
        late.chain(ring.into_iter().flatten())
    }
}

struct Group {
    outcomes: Vec<Outcome>,
    open: usize,
    promise: Promise<Vec<Outcome>>,
}

/// Proposals that were made together and are answered together.
#[derive(Default)]
pub(super) struct Groups {
    groups: Vec<Option<Group>>,
    free: Vec<u32>,
}

impl Groups {
    /// A group of `size` proposals, none of them decided.
    pub(super) fn open(&mut self, size: usize, promise: Promise<Vec<Outcome>>) -> u32 {
        let group = Group {
            outcomes: core::iter::repeat_with(|| Err(ProposeError::Unknown))
                .take(size)
                .collect(),
            open: size,
            promise,
        };
        if let Some(id) = self.free.pop() {
            self.groups[id as usize] = Some(group);
            return id;
        }
        self.groups.push(Some(group));
        u32::try_from(self.groups.len() - 1).expect("requests are limited far below 2^32")
    }

    /// Decides one of a group; with the last one the group is answered.
    pub(super) fn decide(&mut self, id: u32, place: u32, outcome: Outcome, wakers: &mut Wakers) {
        let Some(group) = &mut self.groups[id as usize] else {
            debug_assert!(false, "a group lives until its last member is decided");
            return;
        };
        group.outcomes[place as usize] = outcome;
        group.open -= 1;
        if group.open == 0
            && let Some(group) = self.groups[id as usize].take()
        {
            self.free.push(id);
            let bytes = group.outcomes.iter().map(held).sum();
            group.promise.resolve_holding(group.outcomes, bytes, wakers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::inbox::Permit;
    use crate::handle::slot::slot;

    #[test]
    fn tickets_find_their_waiters_in_any_order() {
        let mut waiters = Waiters::default();
        for ticket in [5, 6, 9, 10] {
            waiters.insert(Ticket(ticket), ticket);
        }
        assert_eq!(waiters.take(Ticket(9)), Some(9));
        assert_eq!(waiters.take(Ticket(9)), None);
        assert_eq!(waiters.take(Ticket(7)), None);
        assert_eq!(waiters.take(Ticket(5)), Some(5));
        assert_eq!(waiters.take(Ticket(6)), Some(6));
        assert!(!waiters.is_empty());
        assert_eq!(waiters.take(Ticket(10)), Some(10));
        assert!(waiters.is_empty());
        waiters.insert(Ticket(11), 11);
        assert_eq!(waiters.take(Ticket(11)), Some(11));
    }

    #[test]
    fn a_machine_may_number_as_it_likes_as_long_as_it_ascends() {
        let mut waiters = Waiters::default();
        let tickets = [1, 1 << 40, 1 << 63, u64::MAX - 1];
        for ticket in tickets {
            waiters.insert(Ticket(ticket), ticket);
        }
        for ticket in tickets {
            assert_eq!(waiters.take(Ticket(ticket)), Some(ticket));
        }
        assert!(waiters.is_empty());
    }

    #[test]
    fn one_that_waits_long_does_not_hold_up_memory() {
        let mut waiters = Waiters::default();
        waiters.insert(Ticket(1), 1);
        for ticket in 2..100_000 {
            waiters.insert(Ticket(ticket), 0);
            assert!(waiters.take(Ticket(ticket)).is_some());
            assert!(waiters.ring.len() <= Waiters::<u64>::SLACK + 4);
        }
        assert_eq!(waiters.take(Ticket(1)), Some(1));
        assert!(waiters.is_empty());
    }

    #[test]
    fn a_group_is_answered_in_order_when_the_last_is_decided() {
        let (promise, answer) = slot(Permit::FREE);
        let mut groups = Groups::default();
        let mut wakers = Wakers::new();
        let id = groups.open(2, promise);
        groups.decide(id, 1, Err(ProposeError::Displaced), &mut wakers);
        groups.decide(id, 0, Err(ProposeError::Stopped), &mut wakers);
        let outcomes = futures::executor::block_on(answer).unwrap();
        let expected = [Err(ProposeError::Stopped), Err(ProposeError::Displaced)];
        assert_eq!(outcomes, expected);
    }
}
