//! Is each acknowledged effect there exactly once, and no other?
//!
//! For objects whose final state tells what was done to it: a list to which each operation
//! appends something of its own ([`check_once`]), a counter ([`check_counter`]). An operation of
//! unknown outcome may be there once or not at all; one that failed must not be there.

use alloc::collections::{BTreeMap, BTreeSet};
use core::fmt;

use crate::history::{History, Outcome};

/// What was found of unique effects of type `T`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effects<T> {
    /// How many were acknowledged.
    pub acknowledged: usize,
    /// How many of unknown outcome are there.
    pub surfaced: usize,
    /// Acknowledged, but not there.
    pub lost: Vec<T>,
    /// There more than once.
    pub duplicated: Vec<T>,
    /// Reported as failed, but there.
    pub resurrected: Vec<T>,
    /// There, but never asked for.
    pub strangers: Vec<T>,
}

impl<T> Effects<T> {
    /// Whether all is as it should be.
    #[must_use]
    pub const fn is_exactly_once(&self) -> bool {
        self.lost.is_empty()
            && self.duplicated.is_empty()
            && self.resurrected.is_empty()
            && self.strangers.is_empty()
    }
}

/// One line: `acknowledged=… lost=… duplicated=… resurrected=… strangers=…`.
impl<T> fmt::Display for Effects<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            acknowledged,
            lost,
            duplicated,
            resurrected,
            strangers,
            ..
        } = self;
        let [lost, duplicated] = [lost, duplicated].map(Vec::len);
        let [resurrected, strangers] = [resurrected, strangers].map(Vec::len);
        write!(
            f,
            "acknowledged={acknowledged} lost={lost} duplicated={duplicated} \
             resurrected={resurrected} strangers={strangers}"
        )
    }
}

/// How sure it is that something happened; of several attempts at the same, the surest counts.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Failed,
    Unknown,
    Acknowledged,
}

/// Compares the effects `found` with what `history` asked for. `effect` tells what an operation
/// leaves, unique to it (or to it and its retries); `None` leaves it out.
///
/// ```
/// use synod_sim::history::{ClientId, History, Instant};
/// use synod_sim::linear::once::check_once;
///
/// let mut history = History::new();
/// for item in ["a", "b"] {
///     let append = history.invoke(ClientId(1), item, Instant::ZERO);
///     history.complete(append, (), Instant::ZERO);
/// }
/// let effects = check_once(&history, |item| Some(*item), ["b", "b"]);
/// assert_eq!((effects.lost, effects.duplicated), (vec!["a"], vec!["b"]));
/// ```
pub fn check_once<Op, Ret, T: Ord>(
    history: &History<Op, Ret>,
    effect: impl Fn(&Op) -> Option<T>,
    found: impl IntoIterator<Item = T>,
) -> Effects<T> {
    let mut counts: BTreeMap<T, usize> = BTreeMap::new();
    for effect in found {
        *counts.entry(effect).or_default() += 1;
    }
    let mut fates: BTreeMap<T, Fate> = BTreeMap::new();
    for (_, record) in history.iter() {
        if let Some(effect) = effect(record.op()) {
            let attempt = fate(record.outcome());
            let fate = fates.entry(effect).or_insert(attempt);
            *fate = attempt.max(*fate);
        }
    }
    let mut effects = Effects {
        acknowledged: 0,
        surfaced: 0,
        lost: Vec::new(),
        duplicated: Vec::new(),
        resurrected: Vec::new(),
        strangers: Vec::new(),
    };
    for (effect, fate) in fates {
        let count = counts.remove(&effect).unwrap_or(0);
        effects.acknowledged += usize::from(fate == Fate::Acknowledged);
        effects.surfaced += usize::from(fate == Fate::Unknown && count > 0);
        match (fate, count) {
            (Fate::Acknowledged, 0) => effects.lost.push(effect),
            (Fate::Failed, 1..) => effects.resurrected.push(effect),
            (_, 2..) => effects.duplicated.push(effect),
            _ => {}
        }
    }
    effects.strangers.extend(counts.into_keys());
    effects
}

const fn fate<Ret>(outcome: &Outcome<Ret>) -> Fate {
    match outcome {
        Outcome::Completed(_) => Fate::Acknowledged,
        Outcome::Open | Outcome::Unknown => Fate::Unknown,
        Outcome::Failed => Fate::Failed,
    }
}

/// What a counter's final value says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum CounterVerdict {
    /// Each acknowledged addition and some of the unknown ones give this value.
    Explained,
    /// No choice of unknown additions does.
    Wrong {
        /// The sum of the acknowledged additions, with the initial value.
        acknowledged: i128,
        /// The value found.
        found: i128,
    },
    /// More than [`MAX_SUMS`] sums are possible; this was not decided.
    Unknown,
}

/// How many different sums [`check_counter`] looks at.
pub const MAX_SUMS: usize = 100_000;

/// Whether a counter that started with `initial` can have come to `found` by each acknowledged
/// addition, once, and each unknown one, at most once. `addend` tells what an operation adds;
/// `None` leaves it out.
///
/// An error can hide if additions are alike (one lost, an unknown one there instead); the answers
/// to the additions, or unique appends, tell more.
///
/// ```
/// use synod_sim::history::{ClientId, History, Instant};
/// use synod_sim::linear::once::{CounterVerdict, check_counter};
///
/// let mut history = History::new();
/// let known = history.invoke(ClientId(1), 5, Instant::ZERO);
/// history.complete(known, (), Instant::ZERO);
/// let unknown = history.invoke(ClientId(1), 2, Instant::ZERO);
/// history.unknown(unknown);
/// assert_eq!(check_counter(&history, |by| Some(*by), 0, 7), CounterVerdict::Explained);
/// let wrong = CounterVerdict::Wrong { acknowledged: 5, found: 10 };
/// assert_eq!(check_counter(&history, |by| Some(*by), 0, 10), wrong);
/// ```
pub fn check_counter<Op, Ret>(
    history: &History<Op, Ret>,
    addend: impl Fn(&Op) -> Option<i64>,
    initial: i64,
    found: i64,
) -> CounterVerdict {
    let mut acknowledged = i128::from(initial);
    let mut unknown: Vec<i128> = Vec::new();
    for (_, record) in history.iter() {
        if let Some(by) = addend(record.op()) {
            match fate(record.outcome()) {
                Fate::Acknowledged => acknowledged += i128::from(by),
                Fate::Unknown => unknown.push(by.into()),
                Fate::Failed => {}
            }
        }
    }
    let found = i128::from(found);
    let mut sums = BTreeSet::from([acknowledged]);
    for by in unknown {
        let more: Vec<i128> = sums.iter().map(|sum| sum + by).collect();
        sums.extend(more);
        if sums.len() > MAX_SUMS {
            return CounterVerdict::Unknown;
        }
    }
    if sums.contains(&found) {
        CounterVerdict::Explained
    } else {
        CounterVerdict::Wrong {
            acknowledged,
            found,
        }
    }
}
