//! What the search has been through: sets of operations as bits, states by number, and which
//! combinations of them need no second visit.

use alloc::rc::Rc;
use core::hash::{BuildHasherDefault, Hash, Hasher};
use std::collections::{HashMap, HashSet};

use super::plant::{Bug, planted};

/// A small set of small numbers.
pub(super) trait Bits: Clone + Eq + Hash {
    /// The empty set of numbers below `len`.
    fn empty(len: usize) -> Self;
    fn insert(&mut self, number: usize);
    fn remove(&mut self, number: usize);
    fn contains(&self, number: usize) -> bool;
    fn is_subset(&self, of: &Self) -> bool;
}

/// Up to 64 numbers: nearly every history.
impl Bits for u64 {
    fn empty(len: usize) -> Self {
        debug_assert!(len <= 64, "a set of {len} does not fit into 64 bits");
        0
    }

    fn insert(&mut self, number: usize) {
        *self |= 1 << number;
    }

    fn remove(&mut self, number: usize) {
        *self &= !(1 << number);
    }

    fn contains(&self, number: usize) -> bool {
        self & (1 << number) != 0
    }

    fn is_subset(&self, of: &Self) -> bool {
        self & !of == 0
    }
}

/// Any number of numbers.
impl Bits for Box<[u64]> {
    fn empty(len: usize) -> Self {
        vec![0; len.div_ceil(64)].into()
    }

    fn insert(&mut self, number: usize) {
        self[number / 64].insert(number % 64);
    }

    fn remove(&mut self, number: usize) {
        self[number / 64].remove(number % 64);
    }

    fn contains(&self, number: usize) -> bool {
        self[number / 64].contains(number % 64)
    }

    fn is_subset(&self, of: &Self) -> bool {
        self.iter()
            .zip(of)
            .all(|(mine, theirs)| mine.is_subset(theirs))
    }
}

/// Multiply and rotate: keys are our own small numbers, so nobody can choose them to collide.
#[derive(Default)]
pub(super) struct Mix(u64);

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(word.into());
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(26) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
}

type MixBuild = BuildHasherDefault<Mix>;

/// States by number, each kept once.
#[derive(Debug)]
pub(super) struct States<S> {
    numbers: HashMap<Rc<S>, u32>,
    states: Vec<Rc<S>>,
    /// Whether the object can have been in this state.
    possible: Vec<bool>,
}

impl<S: Eq + Hash> States<S> {
    pub(super) fn new() -> Self {
        Self {
            numbers: HashMap::new(),
            states: Vec::new(),
            possible: Vec::new(),
        }
    }

    /// The number of a state that the object can have been in.
    pub(super) fn met(&mut self, state: S) -> u32 {
        let number = self.number(state);
        self.possible[number as usize] = true;
        number
    }

    /// The number of a state that the object may never have been in.
    pub(super) fn number(&mut self, state: S) -> u32 {
        if let Some(&number) = self.numbers.get(&state) {
            return number;
        }
        let number = u32::try_from(self.states.len()).expect("memory ends before 2^32 states");
        let state = Rc::new(state);
        self.states.push(Rc::clone(&state));
        self.possible.push(false);
        self.numbers.insert(state, number);
        number
    }

    pub(super) fn state(&self, number: u32) -> &S {
        &self.states[number as usize]
    }

    /// How many states have numbers.
    pub(super) const fn len(&self) -> usize {
        self.states.len()
    }

    /// The numbers of all states that the object can have been in.
    pub(super) fn all_met(&self) -> Vec<u32> {
        let numbers = (0..).zip(&self.possible);
        numbers
            .filter(|(_, is_met)| **is_met)
            .map(|(number, _)| number)
            .collect()
    }
}

/// A partial linearization, but for the unknown operations in it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Place<B> {
    /// How many operations, in the order of their answers, are linearized without a gap.
    pub(super) front: u32,
    /// Which operations beyond the front are linearized, by slot.
    pub(super) early: B,
    /// The state's number.
    pub(super) state: u32,
}

/// Places that need no second visit.
pub(super) enum Memo<B> {
    /// Where all operations must happen.
    Certain(HashSet<Place<B>, MixBuild>),
    /// With the sets of unknown operations used up, of which none contains another.
    Unknown(HashMap<Place<B>, Vec<B>, MixBuild>),
}

impl<B: Bits> Memo<B> {
    pub(super) fn new(any_unknown: bool) -> Self {
        if any_unknown {
            Self::Unknown(HashMap::default())
        } else {
            Self::Certain(HashSet::default())
        }
    }

    /// Whether this is the first visit of `place` with `used`; remembers it.
    ///
    /// A place that was visited with a subset of the unknown operations used up need not be
    /// visited again: whatever can follow could have followed then.
    pub(super) fn is_new(&mut self, mut place: Place<B>, used: &B) -> bool {
        if planted(Bug::MemoWithoutState) {
            place.state = 0;
        }
        if planted(Bug::MemoWithoutSet) {
            place.early = B::empty(64);
        }
        match self {
            Self::Certain(places) => places.insert(place),
            Self::Unknown(places) => {
                let seen = places.entry(place).or_default();
                if seen.iter().any(|seen| covers(seen, used)) {
                    return false;
                }
                seen.retain(|seen| !used.is_subset(seen));
                seen.push(used.clone());
                true
            }
        }
    }
}

fn covers<B: Bits>(seen: &B, used: &B) -> bool {
    if planted(Bug::CoverReversed) {
        return used.is_subset(seen);
    }
    seen.is_subset(used)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_set_of<B: Bits>(len: usize, numbers: &[usize]) -> B {
        let mut set = B::empty(len);
        for &number in numbers {
            set.insert(number);
        }
        set
    }

    fn behaves_like_a_set<B: Bits>(len: usize) {
        let all: Vec<usize> = (0..len).collect();
        let even: Vec<usize> = (0..len).step_by(2).collect();
        let (full, half) = (a_set_of::<B>(len, &all), a_set_of::<B>(len, &even));
        assert!(half.is_subset(&full) && !full.is_subset(&half));
        assert!(half.is_subset(&half) && B::empty(len).is_subset(&half));
        for number in 0..len {
            assert_eq!(half.contains(number), number % 2 == 0);
        }
        let mut none = full.clone();
        all.iter().for_each(|&number| none.remove(number));
        assert!(none == B::empty(len) && full != half);
    }

    #[test]
    fn small_and_large_sets_behave_alike() {
        behaves_like_a_set::<u64>(64);
        behaves_like_a_set::<Box<[u64]>>(64);
        behaves_like_a_set::<Box<[u64]>>(131);
    }

    #[test]
    fn fewer_used_operations_cover_more() {
        let place = || Place {
            front: 3,
            early: 5_u64,
            state: 1,
        };
        let mut memo = Memo::new(true);
        assert!(memo.is_new(place(), &0b110));
        assert!(!memo.is_new(place(), &0b111));
        assert!(memo.is_new(place(), &0b011));
        assert!(memo.is_new(place(), &0b010));
        assert!(!memo.is_new(place(), &0b110));
        assert!(memo.is_new(
            Place {
                front: 4,
                ..place()
            },
            &0b110
        ));
    }

    #[test]
    fn a_state_has_one_number() {
        let mut states = States::new();
        let [a, b] = ["a", "b"].map(|state| states.number(state));
        assert_ne!(a, b);
        assert_eq!(states.number("a"), a);
        assert_eq!(states.met("b"), b);
        assert_eq!((*states.state(a), *states.state(b)), ("a", "b"));
        assert_eq!((states.len(), states.all_met()), (2, vec![b]));
    }
}
