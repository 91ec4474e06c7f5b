//! What the search needs to know of a part before it starts: who may be taken when, and where
//! what was taken is noted.

use alloc::collections::{BTreeMap, BTreeSet};

use super::memo::States;
use super::outlook::Outlook;
use super::partition::Entry;
use super::{Effect, Leaves, Model, Needs};

/// Entries in the order of their invocations, from which single ones can be lifted out and put
/// back in reverse order at no cost (the doubly linked list of Lowe 2017, §3).
#[derive(Debug)]
pub(super) struct Links {
    next: Vec<u32>,
    previous: Vec<u32>,
}

impl Links {
    /// Of `members`, ascending numbers below `len`.
    fn new(len: usize, members: impl Iterator<Item = u32>) -> Self {
        let end = len as u32;
        let mut links = Self {
            next: vec![end; len + 1],
            previous: vec![end; len + 1],
        };
        for member in members {
            let last = links.previous[len];
            links.next[last as usize] = member;
            links.previous[member as usize] = last;
            links.previous[len] = member;
        }
        links
    }

    /// The first one left.
    pub(super) fn first(&self) -> Option<u32> {
        self.after(self.end())
    }

    /// The next one left.
    pub(super) fn after(&self, member: u32) -> Option<u32> {
        let next = self.next[member as usize];
        (next != self.end()).then_some(next)
    }

    pub(super) fn lift(&mut self, member: u32) {
        let (previous, next) = self.beside(member);
        self.next[previous] = next as u32;
        self.previous[next] = previous as u32;
    }

    /// Undoes the last [`lift`](Self::lift) that is not undone.
    pub(super) fn put_back(&mut self, member: u32) {
        let (previous, next) = self.beside(member);
        self.next[previous] = member;
        self.previous[next] = member;
    }

    fn beside(&self, member: u32) -> (usize, usize) {
        let member = member as usize;
        (self.previous[member] as usize, self.next[member] as usize)
    }

    fn end(&self) -> u32 {
        (self.next.len() - 1) as u32
    }
}

/// How the search treats an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It took effect; noted in this slot while it is ahead of the front. Two that can be noted at
    /// once have different slots, as clients of a register allocator have.
    Certain {
        /// Where it is noted.
        slot: u32,
    },
    /// It may have taken effect; noted for good under this number if it is used.
    Possible {
        /// Where it is noted.
        number: u32,
        /// The one before it that asks for the same.
        twin: Option<u32>,
    },
    /// It may have taken effect, which nobody would have seen.
    Idle,
}

impl Kind {
    pub(super) const fn is_certain(self) -> bool {
        matches!(self, Self::Certain { .. })
    }
}

/// A part, prepared.
#[derive(Debug)]
pub(super) struct Plan {
    /// Entries that took effect, in the order of the places by which they did.
    pub(super) order: Vec<u32>,
    /// Those places.
    pub(super) by: Vec<u32>,
    pub(super) kinds: Vec<Kind>,
    /// With states by number.
    pub(super) effects: Vec<Effect<u32>>,
    /// What lies ahead when nothing is taken.
    pub(super) outlook: Outlook,
    pub(super) certain: Links,
    pub(super) possible: Links,
    pub(super) slots: usize,
    pub(super) possibles: usize,
}

impl Plan {
    pub(super) fn new<M: Model>(
        model: &M,
        entries: &[Entry<'_, M::Op, M::Ret>],
        states: &mut States<M::State>,
    ) -> Self {
        let effects = entries.iter().map(|entry| effect(model, entry, states));
        let effects: Vec<Effect<u32>> = effects.collect();
        let (slots, slot_of) = slots(entries);
        let mut outlook = Outlook::new(states.len());
        let mut kinds = Vec::with_capacity(entries.len());
        let mut possibles: Vec<u32> = Vec::new();
        for (index, (entry, &effect)) in (0..).zip(entries.iter().zip(&effects)) {
            let kind = match slot_of.get(&index) {
                Some(&slot) => Kind::Certain { slot },
                None if effect.leaves == Leaves::Same => Kind::Idle,
                None => {
                    let number = possibles.len() as u32;
                    let twin = twin(entries, &possibles, entry);
                    possibles.push(index);
                    Kind::Possible { number, twin }
                }
            };
            kinds.push(kind);
            if kind != Kind::Idle {
                outlook.add(effect, kind.is_certain());
            }
        }
        let indexes = (0..).zip(entries);
        let ends = indexes.filter_map(|(index, entry)| Some((entry.by?, index)));
        let mut ends: Vec<(u32, u32)> = ends.collect();
        ends.sort_unstable();
        Self {
            by: ends.iter().map(|&(by, _)| by).collect(),
            order: ends.into_iter().map(|(_, index)| index).collect(),
            kinds,
            effects,
            outlook,
            certain: Links::new(entries.len(), slot_of.keys().copied()),
            possible: Links::new(entries.len(), possibles.iter().copied()),
            slots,
            possibles: possibles.len(),
        }
    }
}

/// What the model says of `entry`. Of what certainly happened with an unknown answer it only says
/// what would be if it changed something, which is the truth for writes alone.
fn effect<M: Model>(
    model: &M,
    entry: &Entry<'_, M::Op, M::Ret>,
    states: &mut States<M::State>,
) -> Effect<u32> {
    let Effect { needs, leaves } = model.effect(entry.op, entry.ret);
    let is_known = entry.ret.is_some() || entry.by.is_none();
    if !is_known && needs != Needs::Nothing && leaves != Leaves::Same {
        return Effect::UNSPECIFIED;
    }
    Effect {
        needs: match needs {
            Needs::Exactly(state) => Needs::Exactly(states.number(state)),
            Needs::Nothing => Needs::Nothing,
            Needs::Unspecified => Needs::Unspecified,
        },
        leaves: match leaves {
            Leaves::Exactly(state) => Leaves::Exactly(states.met(state)),
            Leaves::Same => Leaves::Same,
            Leaves::Unspecified => Leaves::Unspecified,
        },
    }
}

/// The last of `possibles` that asks for the same as `entry`, both with any answer, as its number
/// among them.
fn twin<Op: PartialEq, Ret>(
    entries: &[Entry<'_, Op, Ret>],
    possibles: &[u32],
    entry: &Entry<'_, Op, Ret>,
) -> Option<u32> {
    let is_twin = |&index: &u32| {
        let other = &entries[index as usize];
        other.ret.is_none() && entry.ret.is_none() && other.op == entry.op
    };
    possibles
        .iter()
        .rposition(is_twin)
        .map(|number| number as u32)
}

/// A slot for each entry that took effect, such that no two of which each was invoked before the
/// other was over share one; and how many there are.
fn slots<Op, Ret>(entries: &[Entry<'_, Op, Ret>]) -> (usize, BTreeMap<u32, u32>) {
    let certain = (0..).zip(entries).filter(|(_, entry)| entry.by.is_some());
    let mut events: Vec<(u32, bool, u32)> = Vec::new();
    for (index, entry) in certain {
        events.push((entry.call, true, index));
        events.extend(entry.by.map(|by| (by, false, index)));
    }
    events.sort_unstable();
    let mut slot_of = BTreeMap::new();
    let (mut slots, mut free) = (0, BTreeSet::new());
    for (_, is_call, index) in events {
        if is_call {
            let slot = free.pop_first().unwrap_or_else(|| {
                slots += 1;
                slots - 1
            });
            slot_of.insert(index, slot);
        } else {
            free.insert(slot_of[&index]);
        }
    }
    (slots as usize, slot_of)
}
