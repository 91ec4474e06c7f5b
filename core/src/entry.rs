//! Log entries, and runs of them that are shared instead of copied.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::hash::{Hash, Hasher};
use core::ops::RangeInclusive;

use bytes::Bytes;

use crate::LogIndex;

/// A protocol's mark on an entry: who put it there, in the protocol's own order. Raft: the term.
/// ZAB: the epoch. Paxos: the ballot's round, and its proposer in `node`. Storages keep it and never
/// interpret it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stamp {
    /// Term, epoch or round.
    pub number: u64,
    /// What orders equal numbers; 0 where the protocol needs nothing.
    pub node: u64,
}

impl Stamp {
    /// The mark of what lies before the first entry.
    pub const START: Self = Self { number: 0, node: 0 };

    /// The mark of a protocol with one leader per number.
    #[must_use]
    pub const fn of(number: u64) -> Self {
        Self { number, node: 0 }
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.node {
            0 => write!(f, "@{}", self.number),
            node => write!(f, "@{}.{node}", self.number),
        }
    }
}

/// What an entry is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum EntryKind {
    /// A command for the state machine.
    Command,
    /// Nothing: the entry that opens a leadership or fills a gap.
    Blank,
    /// A configuration of the protocol itself.
    Config,
    /// A command behind which the protocol has written whose proposal it is, for itself: a protocol
    /// that has two proposals for one place tells them apart by that, not by their bytes. It is
    /// handed out as a [`Command`](Self::Command), without the name.
    Named,
}

/// One entry, without its place.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Entry {
    /// What it is for.
    pub kind: EntryKind,
    /// The command, or the protocol's encoding of a configuration.
    pub payload: Bytes,
}

impl Entry {
    /// What an entry costs in memory and in frames besides its payload, in bytes: limits by bytes
    /// count it, so that a flood of empty commands is bounded too.
    pub const OVERHEAD: usize = size_of::<Self>();

    /// An entry that carries a command.
    #[must_use]
    pub const fn command(payload: Bytes) -> Self {
        Self {
            kind: EntryKind::Command,
            payload,
        }
    }

    /// An entry that carries nothing.
    #[must_use]
    pub const fn blank() -> Self {
        Self {
            kind: EntryKind::Blank,
            payload: Bytes::new(),
        }
    }

    /// Payload and [`OVERHEAD`](Self::OVERHEAD), in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.payload.len() + Self::OVERHEAD
    }
}

/// Consecutive entries with one stamp. A clone shares them: the leader's log, the messages to its
/// followers, the write and the committed event are one allocation.
///
/// ```
/// use synod_core::{Entries, Entry, LogIndex, Stamp};
///
/// let run = Entries::new(LogIndex(5), Stamp::of(2), [Entry::blank(), Entry::command("x".into())]);
/// assert_eq!((run.first(), run.last(), run.len()), (LogIndex(5), LogIndex(6), 2));
/// let tail = run.after(LogIndex(5));
/// assert_eq!(tail.get(LogIndex(6)).map(|entry| &entry.payload[..]), Some(&b"x"[..]));
/// ```
#[derive(Clone)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "Plain", into = "Plain"))]
pub struct Entries {
    first: LogIndex,
    stamp: Stamp,
    /// `None` while there are no entries, so that an empty run costs nothing.
    shared: Option<Arc<[Entry]>>,
    from: u32,
    to: u32,
    weight: usize,
}

impl Entries {
    /// The entries from `first` on.
    ///
    /// # Panics
    ///
    /// If there are more than `u32::MAX`.
    pub fn new(first: LogIndex, stamp: Stamp, entries: impl IntoIterator<Item = Entry>) -> Self {
        let shared: Arc<[Entry]> = entries.into_iter().collect();
        let to = u32::try_from(shared.len()).expect("a run is far below 2^32 entries");
        let weight = shared.iter().map(Entry::weight).sum();
        Self {
            first,
            stamp,
            shared: (to > 0).then_some(shared),
            from: 0,
            to,
            weight,
        }
    }

    /// No entries, at the place where the next would be.
    #[must_use]
    pub const fn empty(first: LogIndex, stamp: Stamp) -> Self {
        Self {
            first,
            stamp,
            shared: None,
            from: 0,
            to: 0,
            weight: 0,
        }
    }

    /// The place of the first entry, or of the next one if there are none.
    #[must_use]
    pub const fn first(&self) -> LogIndex {
        self.first
    }

    /// The place of the last entry; the one before [`first`](Self::first) if there are none.
    #[must_use]
    pub const fn last(&self) -> LogIndex {
        // In this order: an empty run may lie at the very start.
        LogIndex((self.first.0 + (self.to - self.from) as u64).saturating_sub(1))
    }

    /// The mark that all of them carry.
    #[must_use]
    pub const fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        (self.to - self.from) as usize
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.from == self.to
    }

    /// The sum of their [`Entry::weight`]s, in bytes.
    #[must_use]
    pub const fn weight(&self) -> usize {
        self.weight
    }

    /// Whether there is an entry at `index`.
    #[must_use]
    pub const fn contains(&self, index: LogIndex) -> bool {
        index.0 >= self.first.0 && index.0 - self.first.0 < (self.to - self.from) as u64
    }

    /// The entry at `index`.
    #[must_use]
    pub fn get(&self, index: LogIndex) -> Option<&Entry> {
        let offset = usize::try_from(index.0.checked_sub(self.first.0)?).ok()?;
        self.as_slice().get(offset)
    }

    /// The entries in order.
    #[must_use]
    pub fn as_slice(&self) -> &[Entry] {
        match &self.shared {
            Some(shared) => &shared[self.from as usize..self.to as usize],
            None => &[],
        }
    }

    /// The entries with their places.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (LogIndex, &Entry)> {
        let first = self.first;
        self.as_slice()
            .iter()
            .enumerate()
            .map(move |(k, entry)| (first.plus(k as u64), entry))
    }

    /// The part behind `index`.
    #[must_use]
    pub fn after(&self, index: LogIndex) -> Self {
        if index < self.first {
            return self.clone();
        }
        self.range(index.next()..=self.last())
    }

    /// The part up to and with `index`.
    #[must_use]
    pub fn through(&self, index: LogIndex) -> Self {
        if index >= self.last() {
            return self.clone();
        }
        self.range(self.first..=index)
    }

    /// The part from `index` on that weighs at most `bytes`, but at least one entry if there is
    /// one: else an entry above the limit could never move.
    #[must_use]
    pub fn within(&self, index: LogIndex, bytes: usize) -> Self {
        let rest = self.after(index.previous());
        if rest.weight <= bytes {
            return rest;
        }
        let mut total = 0;
        let fits = rest.as_slice().iter().take_while(|entry| {
            total += entry.weight();
            total <= bytes
        });
        let count = fits.count().max(1) as u64;
        rest.through(LogIndex(rest.first.0 + count - 1))
    }

    /// The part in `range`, as far as there is one.
    fn range(&self, range: RangeInclusive<LogIndex>) -> Self {
        let (start, end) = (
            *range.start().max(&self.first),
            *range.end().min(&self.last()),
        );
        if start > end {
            return Self::empty(start, self.stamp);
        }
        let offset = |index: LogIndex| u32::try_from(index.0 - self.first.0).unwrap_or(u32::MAX);
        let mut part = self.clone();
        part.first = start;
        part.from = self.from + offset(start);
        part.to = self.from + offset(end) + 1;
        // Sum the shorter side: a log trims and a leader sends at the ends of long runs.
        let weigh = |entries: &[Entry]| entries.iter().map(Entry::weight).sum::<usize>();
        part.weight = if part.len() * 2 <= self.len() {
            weigh(part.as_slice())
        } else {
            let all = self.as_slice();
            let front = (part.from - self.from) as usize;
            self.weight - weigh(&all[..front]) - weigh(&all[front + part.len()..])
        };
        part
    }

    /// One run of several adjacent ones with the same stamp; `None` if they are not.
    #[must_use]
    pub fn join(runs: &[Self]) -> Option<Self> {
        let (head, rest) = runs.split_first()?;
        if rest.is_empty() {
            return Some(head.clone());
        }
        let adjacent = runs
            .windows(2)
            .all(|pair| pair[0].last().next() == pair[1].first && pair[0].stamp == pair[1].stamp);
        if !adjacent {
            return None;
        }
        let mut entries = Vec::with_capacity(runs.iter().map(Self::len).sum());
        runs.iter()
            .for_each(|run| entries.extend_from_slice(run.as_slice()));
        Some(Self::new(head.first, head.stamp, entries))
    }
}

/// How `serde` sees [`Entries`].
#[cfg(feature = "serde")]
#[derive(serde::Serialize, serde::Deserialize)]
struct Plain {
    first: LogIndex,
    stamp: Stamp,
    entries: Vec<Entry>,
}

#[cfg(feature = "serde")]
impl From<Entries> for Plain {
    fn from(run: Entries) -> Self {
        Self {
            first: run.first,
            stamp: run.stamp,
            entries: run.as_slice().to_vec(),
        }
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Plain> for Entries {
    type Error = &'static str;

    fn try_from(plain: Plain) -> Result<Self, Self::Error> {
        let len = plain.entries.len() as u64;
        if plain.first == LogIndex::START || plain.first.0.checked_add(len).is_none() {
            return Err("entries: index out of range");
        }
        Ok(Self::new(plain.first, plain.stamp, plain.entries))
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        self.first == other.first
            && self.stamp == other.stamp
            && self.as_slice() == other.as_slice()
    }
}

impl Eq for Entries {}

impl Hash for Entries {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.first.hash(state);
        self.stamp.hash(state);
        self.as_slice().hash(state);
    }
}

impl fmt::Debug for Entries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}..={} {:?}]", self.first, self.last(), self.stamp)
    }
}
