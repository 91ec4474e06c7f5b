//! From a part without an order to the few operations that show why.
//!
//! Every step only *weakens* what is demanded, and keeps the weaker demand if there is still no
//! order, so the operations that are left are evidence by themselves:
//!
//! 1. Cut the end: nothing after the first answer that no order gets past.
//! 2. Cut the start: operations invoked before the cut may have happened or not, and the state
//!    at the cut may be any that the whole search ever met. The latest cut that still has no
//!    order is kept.
//! 3. Of what is left, one operation after the other is dropped (if it changes nothing) or allowed
//!    to happen or not, at any time in the window and with any answer.

use super::Model;
use super::memo::States;
use super::partition::Entry;
use super::plant::{Bug, planted};
use super::search::{End, Stuck, search};

/// The operations of `entries`, which have no order, that cannot be explained together. At most
/// `limit` steps are spent; with fewer, more operations are left.
pub(super) fn minimise<M: Model>(
    model: &M,
    entries: &[Entry<'_, M::Op, M::Ret>],
    states: &mut States<M::State>,
    stuck: Stuck,
    limit: u64,
) -> Core {
    let met = states.all_met();
    let mut window = Window {
        model,
        entries,
        end: 0,
        states,
        met,
        steps: 0,
        limit,
    };
    let stuck = window.find_end(stuck);
    let (demanded, start) = window.find_start(entries[stuck as usize].call);
    let ops = if planted(Bug::WindowTooShort) {
        demanded[1..].to_vec()
    } else if planted(Bug::WindowNotCut) {
        demanded
    } else {
        window.thin_out(demanded, start)
    };
    Core { ops, stuck, start }
}

/// What cannot be explained.
#[derive(Debug)]
pub(super) struct Core {
    /// Indexes of entries, in the order of their invocations.
    pub(super) ops: Vec<u32>,
    /// The one of them whose answer no order gets past.
    pub(super) stuck: u32,
    pub(super) start: Start,
}

/// Where a window starts.
#[derive(Clone, Copy, Debug)]
pub(super) enum Start {
    /// With the first operation, in the initial state.
    Initial,
    /// With the invocation at this place, in any state that was ever met.
    Cut(u32),
}

impl Start {
    const fn place(self) -> u32 {
        match self {
            Self::Initial => 0,
            Self::Cut(place) => place,
        }
    }
}

struct Window<'a, 'h, M: Model> {
    model: &'a M,
    entries: &'a [Entry<'h, M::Op, M::Ret>],
    /// The place of the last answer.
    end: u32,
    /// Number 0 is the initial one.
    states: &'a mut States<M::State>,
    /// The states that the search of the whole part met.
    met: Vec<u32>,
    steps: u64,
    limit: u64,
}

impl<M: Model> Window<'_, '_, M> {
    /// Ends the window with the first answer that no order gets past; returns whose it is.
    fn find_end(&mut self, stuck: Stuck) -> u32 {
        let indexes = (0..).zip(self.entries);
        let ends = indexes.filter_map(|(index, entry)| Some((entry.by?, index)));
        let mut ends: Vec<(u32, u32)> = ends.collect();
        ends.sort_unstable();
        ends.retain(|&(by, _)| Some(by) >= self.entries[stuck.at as usize].by);
        let mut last = 0;
        if stuck.looked_ahead && !planted(Bug::EndTooEarly) {
            let fails = |it| {
                let (by, _) = ends[it];
                self.end = by;
                let demanded = self.demanded(Start::Initial);
                self.has_no_order(&demanded, Start::Initial)
            };
            last = first(ends.len(), fails).unwrap_or(ends.len() - 1);
        }
        let (by, index) = ends[last];
        self.end = by;
        index
    }

    /// The operations demanded by the latest cut, not after the invocation at `latest`, that has
    /// no order; and that cut.
    fn find_start(&mut self, latest: u32) -> (Vec<u32>, Start) {
        let is_possible = |entry: &&Entry<'_, M::Op, M::Ret>| {
            entry.call <= latest && entry.by.is_some_and(|by| by <= self.end)
        };
        let entries = self.entries.iter().rev().filter(is_possible);
        let starts: Vec<Start> = entries.map(|entry| Start::Cut(entry.call)).collect();
        // An earlier cut demands more.
        let fails = |it| {
            let demanded = self.demanded(starts[it]);
            self.has_no_order(&demanded, starts[it])
        };
        let start = first(starts.len(), fails).map_or(Start::Initial, |it| starts[it]);
        (self.demanded(start), start)
    }

    /// What of `demanded` remains when all that can be is weakened: as many at once as go, halves of
    /// what does not go. What is kept was once needed by more, so it still is by fewer.
    fn thin_out(&mut self, demanded: Vec<u32>, start: Start) -> Vec<u32> {
        let mut kept: Vec<u32> = Vec::new();
        let mut chunks = vec![demanded];
        while let Some(mut chunk) = chunks.pop() {
            let mut others: Vec<u32> = chunks.concat();
            others.extend(&kept);
            others.sort_unstable();
            if self.has_no_order(&others, start) {
                continue;
            }
            if chunk.len() <= 1 {
                kept.append(&mut chunk);
            } else {
                let half = chunk.split_off(chunk.len() / 2);
                chunks.push(half);
                chunks.push(chunk);
            }
        }
        kept
    }

    /// The operations that happened for sure between `start` and the end.
    fn demanded(&self, start: Start) -> Vec<u32> {
        let indexes = (0..).zip(self.entries);
        let demanded = indexes.filter(|(_, entry)| self.is_demanded(entry, start));
        demanded.map(|(index, _)| index).collect()
    }

    fn is_demanded(&self, entry: &Entry<'_, M::Op, M::Ret>, start: Start) -> bool {
        entry.call >= start.place() && entry.by.is_some_and(|by| by <= self.end)
    }

    /// Whether there certainly is no order if of all that happened for sure between `start` and
    /// the end only `demanded`, in ascending order, did so.
    fn has_no_order(&mut self, demanded: &[u32], start: Start) -> bool {
        let mut entries = Vec::new();
        for (index, &entry) in (0..).zip(self.entries) {
            if demanded.binary_search(&index).is_ok() {
                entries.push(entry);
            } else if entry.call < self.end && entry.by.is_none_or(|by| by >= start.place()) {
                entries.push(self.weakened(entry, start));
            }
        }
        entries.sort_by_key(|entry| entry.call);
        let starts: &[u32] = match start {
            Start::Initial => &[0],
            Start::Cut(_) => &self.met,
        };
        let Self {
            model,
            states,
            steps,
            limit,
            ..
        } = self;
        matches!(
            search(*model, &entries, states, starts, steps, *limit),
            End::None(_)
        )
    }

    /// `entry`, as one that need not have happened: with the answer that it has, if that only came
    /// after the end; with any and at any time, if it is one that was demanded.
    fn weakened<'h>(
        &self,
        entry: Entry<'h, M::Op, M::Ret>,
        start: Start,
    ) -> Entry<'h, M::Op, M::Ret> {
        let mut weakened = Entry { by: None, ..entry };
        if self.is_demanded(&entry, start) {
            (weakened.ret, weakened.call) = (None, start.place());
        }
        weakened
    }
}

/// The first number below `len` for which `holds`, if it holds for all from some number on. Small
/// numbers are tried first: strides double until it holds, then the last one is halved.
fn first(len: usize, mut holds: impl FnMut(usize) -> bool) -> Option<usize> {
    let (mut low, mut high) = (0, 0);
    while !holds(high) {
        low = high + 1;
        if low >= len {
            return None;
        }
        high = (2 * low).min(len - 1);
    }
    while low < high {
        let middle = low.midpoint(high);
        if holds(middle) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    Some(high)
}

#[cfg(test)]
mod tests {
    use super::first;

    #[test]
    fn the_first_is_found_with_few_questions() {
        for len in 1..40 {
            for at in 0..len {
                let mut asked = 0;
                let found = first(len, |it| {
                    asked += 1;
                    it >= at
                });
                assert_eq!(found, Some(at));
                assert!(asked <= 11, "{asked} questions for {at} of {len}");
            }
            assert_eq!(first(len, |_| false), None);
        }
    }
}
