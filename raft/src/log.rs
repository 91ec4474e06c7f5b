//! The log: terms of all of it, entries of its recent part.
//!
//! ```text
//!  compacted | on disk only           | in memory                | open (leader, not sealed)
//!            ^ base                   ^ first chunk              ^            last
//!            |<--------------- runs of terms ------------------->|
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::mem;

use synod_core::{Entries, Entry, EntryKind, LogIndex};

use crate::{Position, Term};

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Log {
    /// The last entry that is gone for good.
    base: Position,
    /// Where each term begins, from the base on; ascending in both. Covers the open entries too.
    runs: VecDeque<Position>,
    /// The entries in memory, in runs that follow each other without a gap up to the open ones.
    chunks: VecDeque<Entries>,
    /// What the leader has taken on and not sealed into a chunk yet.
    open: Vec<Entry>,
    open_weight: usize,
    /// The last entry, open ones included.
    last: LogIndex,
    /// The last entry that is durable here.
    durable: LogIndex,
    /// The weight of the chunks, in bytes.
    bytes: usize,
}

impl Log {
    pub(crate) fn new(base: Position) -> Self {
        Self {
            base,
            runs: VecDeque::new(),
            chunks: VecDeque::new(),
            open: Vec::new(),
            open_weight: 0,
            last: base.index,
            durable: base.index,
            bytes: 0,
        }
    }

    /// Notes a stretch of the stored log without its entries: all of it is durable.
    pub(crate) fn restore_run(&mut self, first: LogIndex, last: LogIndex, term: Term) {
        self.extend_runs(first, term);
        self.last = last;
        self.durable = last;
    }

    /// Takes entries of the stored log into memory, if they reach its end without a gap.
    pub(crate) fn restore_tail(&mut self, tail: Vec<Entries>) {
        let gapless = tail
            .windows(2)
            .all(|pair| pair[0].last().next() == pair[1].first());
        if gapless && tail.last().is_some_and(|run| run.last() == self.last) {
            self.bytes = tail.iter().map(Entries::weight).sum();
            self.chunks = tail.into();
        }
    }

    pub(crate) const fn base(&self) -> Position {
        self.base
    }

    pub(crate) const fn last(&self) -> LogIndex {
        self.last
    }

    pub(crate) const fn durable(&self) -> LogIndex {
        self.durable
    }

    /// What the entries in memory weigh, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.open_weight
    }

    pub(crate) fn last_position(&self) -> Position {
        let term = self.runs.back().map_or(self.base.term, |run| run.term);
        Position {
            term,
            index: self.last,
        }
    }

    /// The term of the entry at `index`; `None` behind the end and before the base.
    pub(crate) fn term_at(&self, index: LogIndex) -> Option<Term> {
        if index > self.last || index < self.base.index {
            return None;
        }
        if index == self.base.index {
            return Some(self.base.term);
        }
        // Nearly always asked of the last term.
        self.runs
            .iter()
            .rev()
            .find(|run| run.index <= index)
            .map(|run| run.term)
    }

    /// The last place at or before `index` whose term is at most `term`: where a conflict may end
    /// (Raft §5.3, the optimisation by term). A place before the base where nothing is known of it:
    /// only the snapshot helps then.
    pub(crate) fn last_at_most(&self, index: LogIndex, term: Term) -> Position {
        if index < self.base.index {
            return Position { term, index };
        }
        let mut end = index.min(self.last);
        for run in self.runs.iter().rev() {
            if run.index > end {
                continue;
            }
            if run.term <= term {
                return Position {
                    term: run.term,
                    index: end,
                };
            }
            end = run.index.previous();
        }
        if self.base.term <= term {
            return self.base;
        }
        let index = self.base.index.previous();
        Position { term, index }
    }

    fn extend_runs(&mut self, first: LogIndex, term: Term) {
        if self.runs.back().is_none_or(|run| run.term != term) {
            self.runs.push_back(Position { term, index: first });
        }
    }

    /// Takes on an entry of the leader's own; says where it is.
    pub(crate) fn open(&mut self, term: Term, entry: Entry) -> LogIndex {
        self.last = self.last.next();
        self.extend_runs(self.last, term);
        self.open_weight += entry.weight();
        self.open.push(entry);
        self.last
    }

    /// Makes one shared run of what is open, if anything is.
    pub(crate) fn seal(&mut self, term: Term) -> Option<Entries> {
        if self.open.is_empty() {
            return None;
        }
        let first = LogIndex(self.last.0 + 1 - self.open.len() as u64);
        // Drained, not taken: the vector's memory serves again.
        let chunk = Entries::new(first, term.stamp(), self.open.drain(..));
        self.open_weight = 0;
        self.bytes += chunk.weight();
        self.chunks.push_back(chunk.clone());
        Some(chunk)
    }

    /// Appends a leader's entries behind the last one.
    pub(crate) fn append(&mut self, entries: Entries) {
        debug_assert_eq!(entries.first(), self.last.next(), "a log has no gap");
        debug_assert!(self.open.is_empty(), "only a leader has open entries");
        self.extend_runs(entries.first(), entries.stamp().into());
        self.last = entries.last();
        self.bytes += entries.weight();
        self.chunks.push_back(entries);
    }

    /// Drops everything from `from` on (Raft §5.3: a conflict with the leader's log).
    pub(crate) fn truncate(&mut self, from: LogIndex) {
        assert!(
            from > self.base.index,
            "what is compacted is committed and never truncated"
        );
        self.open.clear();
        self.open_weight = 0;
        while let Some(chunk) = self.chunks.back_mut()
            && chunk.last() >= from
        {
            self.bytes -= chunk.weight();
            if chunk.first() >= from {
                self.chunks.pop_back();
            } else {
                *chunk = chunk.through(from.previous());
                self.bytes += chunk.weight();
            }
        }
        while self.runs.back().is_some_and(|run| run.index >= from) {
            self.runs.pop_back();
        }
        self.last = self.last.min(from.previous());
        self.durable = self.durable.min(self.last);
    }

    /// Learns that everything up to `through` is durable.
    pub(crate) fn persisted(&mut self, through: LogIndex) {
        debug_assert!(
            through <= self.last,
            "notes are clamped when the log is truncated"
        );
        self.durable = self.durable.max(through);
    }

    /// Forgets everything: a snapshot that ends at `base` takes its place.
    pub(crate) fn reset(&mut self, base: Position) {
        *self = Self {
            open: mem::take(&mut self.open),
            ..Self::new(base)
        };
        debug_assert!(self.open.is_empty(), "only a leader has open entries");
        // Durable from when the snapshot is: the caller notes that.
        self.durable = base.index;
    }

    /// Lets go of everything up to `through` for good.
    pub(crate) fn compact(&mut self, through: LogIndex) {
        let Some(term) = self.term_at(through) else {
            return;
        };
        self.base = Position {
            term,
            index: through,
        };
        while let Some(chunk) = self.chunks.front()
            && chunk.last() <= through
        {
            self.bytes -= chunk.weight();
            self.chunks.pop_front();
        }
        while self
            .runs
            .get(1)
            .is_some_and(|run| run.index <= through.next())
        {
            self.runs.pop_front();
        }
        match self.runs.front_mut() {
            Some(_) if self.last == through => self.runs.clear(),
            Some(run) if run.index <= through => run.index = through.next(),
            _ => {}
        }
    }

    /// Lets entries up to `through` leave memory, the oldest first, while it holds more than `limit`
    /// bytes. Only what is durable may go (contract rule 8).
    pub(crate) fn evict(&mut self, limit: usize, through: LogIndex) {
        while self.bytes > limit
            && let Some(chunk) = self.chunks.front()
            && chunk.last() <= self.durable.min(through)
        {
            self.bytes -= chunk.weight();
            self.chunks.pop_front();
        }
    }

    /// The entries from `from` on that are sealed and in memory: as many of one term as weigh at
    /// most `limit` bytes, but at least one. `None` if the first is on disk only.
    pub(crate) fn read(&self, from: LogIndex, through: LogIndex, limit: usize) -> Option<Entries> {
        if let Some(chunk) = self.chunks.back()
            && chunk.first() == from
            && from > self.base.index
            && chunk.last() <= through
            && chunk.weight() <= limit
        {
            // What was sealed last, whole: nearly always.
            return Some(chunk.clone());
        }
        let place = self.find(from)?;
        let chunk = &self.chunks[place];
        let mut part = chunk.within(from, limit);
        if part.last() > through {
            part = part.through(through);
        }
        let follows = self.chunks.get(place + 1);
        if part.last() < chunk.last()
            || part.last() >= through
            || follows.is_none_or(|next| next.stamp() != part.stamp())
        {
            return Some(part);
        }
        self.join(part, place, through, limit)
    }

    /// Goes on with small chunks of the same term: a follower that was behind gets them in one
    /// message.
    fn join(
        &self,
        head: Entries,
        place: usize,
        through: LogIndex,
        limit: usize,
    ) -> Option<Entries> {
        let mut room = limit.saturating_sub(head.weight());
        let stamp = head.stamp();
        let mut parts = alloc::vec![head];
        for chunk in self.chunks.range(place + 1..) {
            if chunk.stamp() != stamp || chunk.first() > through || chunk.weight() > room {
                break;
            }
            room -= chunk.weight();
            parts.push(chunk.through(through));
        }
        Entries::join(&parts)
    }

    /// Which chunk holds `index`.
    fn find(&self, index: LogIndex) -> Option<usize> {
        // A chunk may reach across the base.
        if index <= self.base.index {
            return None;
        }
        // Nearly always asked of the last chunks.
        let end = self.chunks.len();
        for place in (end.saturating_sub(3)..end).rev() {
            if self.chunks[place].contains(index) {
                return Some(place);
            }
        }
        let place = self.chunks.partition_point(|chunk| chunk.last() < index);
        self.chunks
            .get(place)
            .is_some_and(|chunk| chunk.contains(index))
            .then_some(place)
    }

    /// The chunk that holds `index`, from there on and not joined with others.
    pub(crate) fn chunk_from(&self, index: LogIndex) -> Option<Entries> {
        let chunk = &self.chunks[self.find(index)?];
        Some(if chunk.first() == index {
            chunk.clone()
        } else {
            chunk.after(index.previous())
        })
    }

    /// The last sealed entry.
    pub(crate) fn sealed(&self) -> LogIndex {
        LogIndex(self.last.0 - self.open.len() as u64)
    }

    /// What the entries behind `after` up to `through` weigh, as far as they are in memory.
    pub(crate) fn weight(&self, after: LogIndex, through: LogIndex) -> usize {
        let mut total = 0;
        for chunk in self.chunks.iter().rev() {
            if chunk.last() <= after {
                break;
            }
            if chunk.first() > after && chunk.last() <= through {
                total += chunk.weight();
            } else if chunk.first() <= through {
                total += chunk.after(after).through(through).weight();
            }
        }
        total
    }

    /// The configuration entries among those in memory from `from` on.
    pub(crate) fn configs(entries: &Entries) -> impl Iterator<Item = (LogIndex, &Entry)> {
        entries
            .iter()
            .filter(|(_, entry)| entry.kind == EntryKind::Config)
    }

    /// The log's own invariants.
    pub(crate) fn check(&self) {
        let mut next = None;
        for chunk in &self.chunks {
            assert!(!chunk.is_empty(), "a chunk holds entries");
            assert!(
                next.is_none_or(|next| next == chunk.first()),
                "chunks follow each other"
            );
            assert_eq!(
                self.term_at(chunk.last()),
                Some(chunk.stamp().into()),
                "runs tell terms"
            );
            next = Some(chunk.last().next());
        }
        if let Some(next) = next {
            assert_eq!(self.sealed().next(), next, "chunks reach the open entries");
        }
        assert!(
            self.durable <= self.last && self.base.index <= self.durable,
            "bounds are in order"
        );
        let ascending = self
            .runs
            .iter()
            .zip(self.runs.iter().skip(1))
            .all(|(a, b)| a.index < b.index && a.term < b.term);
        assert!(ascending, "terms only rise along the log");
        assert_eq!(
            self.bytes,
            self.chunks.iter().map(Entries::weight).sum::<usize>()
        );
    }
}
