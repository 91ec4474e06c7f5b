//! What will happen, in the order of virtual time.

use alloc::collections::BinaryHeap;
use core::cmp::Reverse;

/// A queue of happenings by time; what is for the same time comes in the order in which it was
/// added. The heap moves small keys only.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<T>>,
    free: Vec<usize>,
    added: u64,
}

impl<T> Agenda<T> {
    pub(crate) const fn new() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            added: 0,
        }
    }

    /// Adds what happens `at` nanoseconds.
    pub(crate) fn push(&mut self, at: u64, what: T) {
        let slot = if let Some(slot) = self.free.pop() {
            self.slots[slot] = Some(what);
            slot
        } else {
            self.slots.push(Some(what));
            self.slots.len() - 1
        };
        self.added += 1;
        self.heap.push(Reverse((at, self.added, slot)));
    }

    /// The next happening and its time.
    pub(crate) fn pop(&mut self) -> Option<(u64, T)> {
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        Some((at, self.slots[slot].take()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_then_order_of_adding() {
        let mut agenda = Agenda::new();
        for (at, what) in [(5, 'c'), (1, 'a'), (5, 'd'), (2, 'b')] {
            agenda.push(at, what);
        }
        let all: Vec<_> = core::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(all, [(1, 'a'), (2, 'b'), (5, 'c'), (5, 'd')]);
    }
}
