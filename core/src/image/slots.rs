//! The entries of a stored log: few large runs in order, gaps allowed.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::hash::{Hash, Hasher};
use core::mem;

use crate::{Entries, Entry, EntryKind, LogIndex, Run, Stamp};

/// Runs grow up to this many entries. Larger ones would save nothing more and make the copy when
/// two are joined dear.
const FULL: usize = 1024;

/// Runs by their first index. They do not overlap and none is empty.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    runs: BTreeMap<LogIndex, Entries>,
    len: u64,
    weight: usize,
}

impl Slots {
    pub(super) const fn len(&self) -> u64 {
        self.len
    }

    pub(super) const fn weight(&self) -> usize {
        self.weight
    }

    pub(super) fn last(&self) -> Option<LogIndex> {
        self.runs.last_key_value().map(|(_, run)| run.last())
    }

    pub(super) fn get(&self, index: LogIndex) -> Option<(Stamp, &Entry)> {
        let (_, run) = self.runs.range(..=index).next_back()?;
        Some((run.stamp(), run.get(index)?))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (LogIndex, Stamp, &Entry)> {
        self.runs
            .values()
            .flat_map(|run| run.iter().map(|(index, entry)| (index, run.stamp(), entry)))
    }

    /// Puts entries at their places, replacing what was there.
    pub(super) fn put(&mut self, run: Entries) {
        if run.is_empty() {
            return;
        }
        self.cut_out(run.first(), run.last());
        self.insert(run);
    }

    /// Drops everything from `index` on.
    pub(super) fn truncate(&mut self, from: LogIndex) {
        if let Some(last) = self.last()
            && last >= from
        {
            self.cut_out(from, last);
        }
    }

    /// Drops everything up to and with `through`.
    pub(super) fn compact(&mut self, through: LogIndex) {
        if let Some((first, _)) = self.runs.first_key_value()
            && *first <= through
        {
            self.cut_out(*first, through);
        }
    }

    /// Empties the places from `first` up to and with `last`.
    fn cut_out(&mut self, first: LogIndex, last: LogIndex) {
        let straddling = self.runs.range(..first).next_back();
        if let Some((&key, run)) = straddling
            && run.last() >= first
        {
            let run = run.clone();
            self.replace(key, run.through(first.previous()));
            if run.last() > last {
                self.replace(last.next(), run.after(last));
            }
        }
        while let Some((&key, run)) = self.runs.range(first..=last).next() {
            let rest = (run.last() > last).then(|| run.after(last));
            self.remove(key);
            if let Some(rest) = rest {
                self.replace(last.next(), rest);
            }
        }
    }

    /// Inserts a run where there is room, joined with its neighbours while they are shorter: every
    /// join at least doubles, so an entry is copied at most log2([`FULL`]) times in its life, and
    /// single appends make a log of few runs.
    fn insert(&mut self, mut run: Entries) {
        while let Some((&key, before)) = self.runs.range(..run.first()).next_back()
            && before.len() <= run.len()
            && let Some(joined) = joined(before, &run)
        {
            self.remove(key);
            run = joined;
        }
        while let Some((&key, behind)) = self.runs.range(run.last().next()..).next()
            && behind.len() <= run.len()
            && let Some(joined) = joined(&run, behind)
        {
            self.remove(key);
            run = joined;
        }
        self.replace(run.first(), run);
    }

    fn replace(&mut self, key: LogIndex, run: Entries) {
        self.remove(key);
        self.len += run.len() as u64;
        self.weight += run.weight();
        self.runs.insert(key, run);
    }

    fn remove(&mut self, key: LogIndex) {
        if let Some(run) = self.runs.remove(&key) {
            self.len -= run.len() as u64;
            self.weight -= run.weight();
        }
    }

    /// Entries behind `after`, up to and with `through` or the first gap, of at most `max_bytes`
    /// but at least one; `None` if the first one is not there.
    pub(super) fn load(
        &self,
        after: LogIndex,
        through: LogIndex,
        max_bytes: usize,
    ) -> Option<Vec<Entries>> {
        let mut next = after.next();
        let mut left = max_bytes;
        let mut parts = Vec::new();
        while next <= through
            && let Some((_, run)) = self.runs.range(..=next).next_back()
            && run.contains(next)
        {
            let wanted = run.through(through);
            let part = wanted.within(next, left);
            if !parts.is_empty() && part.weight() > left {
                break;
            }
            let complete = part.last() == wanted.last();
            next = part.last().next();
            left = left.saturating_sub(part.weight());
            parts.push(part);
            if !complete {
                break;
            }
        }
        (!parts.is_empty()).then(|| join_short(parts))
    }

    /// The last entries, as many as weigh at most `bytes`, gaps left out.
    pub(super) fn tail(&self, bytes: usize) -> Vec<Entries> {
        let mut left = bytes;
        let mut tail = Vec::new();
        for run in self.runs.values().rev() {
            let fits = fitting_end(run, left);
            let complete = fits.len() == run.len();
            left -= fits.weight();
            if !fits.is_empty() {
                tail.push(fits);
            }
            if !complete {
                break;
            }
        }
        tail.reverse();
        tail
    }

    /// The log as stretches of one stamp.
    pub(super) fn stretches(&self) -> Vec<Run> {
        let mut stretches: Vec<Run> = Vec::new();
        for run in self.runs.values() {
            match stretches.last_mut() {
                Some(end) if end.stamp == run.stamp() && end.last.next() == run.first() => {
                    end.last = run.last();
                }
                _ => stretches.push(Run {
                    first: run.first(),
                    last: run.last(),
                    stamp: run.stamp(),
                }),
            }
        }
        stretches
    }

    /// The configuration entries, in order.
    pub(super) fn configs(&self) -> Vec<(LogIndex, bytes::Bytes)> {
        self.iter()
            .filter(|(_, _, entry)| entry.kind == EntryKind::Config)
            .map(|(index, _, entry)| (index, entry.payload.clone()))
            .collect()
    }
}

/// The end of `run` that weighs at most `bytes`.
fn fitting_end(run: &Entries, bytes: usize) -> Entries {
    if run.weight() <= bytes {
        return run.clone();
    }
    let mut total = 0;
    let fits = run.as_slice().iter().rev().take_while(|entry| {
        total += entry.weight();
        total <= bytes
    });
    let count = fits.count() as u64;
    run.after(LogIndex(run.last().0 - count))
}

/// Both as one, if they are adjacent, of one stamp and not too long.
fn joined(one: &Entries, other: &Entries) -> Option<Entries> {
    let fits = one.len() + other.len() <= FULL && one.last().next() == other.first();
    if !fits || one.stamp() != other.stamp() {
        return None;
    }
    Entries::join(&[one.clone(), other.clone()])
}

/// Joins neighbours that are short: who loads sends one run at a time.
fn join_short(parts: Vec<Entries>) -> Vec<Entries> {
    let mut out = Vec::with_capacity(parts.len());
    let mut group: Vec<Entries> = Vec::new();
    let mut len = 0;
    let mut close = |group: &mut Vec<Entries>| {
        let runs = mem::take(group);
        match Entries::join(&runs) {
            Some(run) => out.push(run),
            None => out.extend(runs),
        }
    };
    for part in parts {
        let belongs = group.last().is_some_and(|end| end.stamp() == part.stamp());
        if !belongs || len + part.len() > FULL {
            close(&mut group);
            len = 0;
        }
        len += part.len();
        group.push(part);
    }
    close(&mut group);
    out
}

/// By contents: how the runs are cut makes no difference.
impl PartialEq for Slots {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.weight == other.weight && self.iter().eq(other.iter())
    }
}

impl Eq for Slots {}

impl Hash for Slots {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.len.hash(state);
        self.iter().for_each(|item| item.hash(state));
    }
}
