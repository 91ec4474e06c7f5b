//! The slots: whose vote each holds, and the contents of some of them.
//!
//! ```text
//!  compacted | on disk only    | in memory         | open (leader, not sealed)
//!            ^ base            ^ first chunk       ^                          last
//!            |<------ runs of ballots, with gaps where nothing was accepted ->|
//! ```

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use synod_core::{Entries, Entry, EntryKind, LogIndex, Run};

use crate::Ballot;

mod cut;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Slots {
    /// The last slot that is gone for good, and the ballot of the vote that was there.
    base: (LogIndex, Ballot),
    /// Which ballot each slot was accepted in: stretches in order, apart from each other or of
    /// different ballots. Open entries are not in here.
    runs: VecDeque<Run>,
    /// Contents, in order and without overlaps; each lies in one run.
    chunks: VecDeque<Entries>,
    /// What the leader has taken on and not sealed into a chunk yet: behind everything else.
    open: Vec<Entry>,
    open_weight: usize,
    /// The weight of the chunks, in bytes.
    bytes: usize,
}

impl Slots {
    pub(crate) fn new(base: (LogIndex, Ballot)) -> Self {
        Self {
            base,
            runs: VecDeque::new(),
            chunks: VecDeque::new(),
            open: Vec::new(),
            open_weight: 0,
            bytes: 0,
        }
    }

    /// What a disk holds: stretches, and the contents of the last of them.
    pub(crate) fn restore(base: (LogIndex, Ballot), runs: Vec<Run>, tail: Vec<Entries>) -> Self {
        Self {
            runs: runs.into(),
            bytes: tail.iter().map(Entries::weight).sum(),
            chunks: tail.into(),
            ..Self::new(base)
        }
    }

    pub(crate) const fn base(&self) -> LogIndex {
        self.base.0
    }

    /// What the entries in memory weigh, in bytes.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes + self.open_weight
    }

    /// The last sealed slot.
    pub(crate) fn sealed(&self) -> LogIndex {
        self.runs.back().map_or(self.base.0, |run| run.last)
    }

    /// The last slot, open ones included.
    pub(crate) fn last(&self) -> LogIndex {
        self.sealed().plus(self.open.len() as u64)
    }

    /// The ballot of the vote at `index`; `None` in a gap, behind the end, and before the base.
    pub(crate) fn ballot_at(&self, index: LogIndex) -> Option<Ballot> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.run_of(index).map(|run| Ballot::from(run.stamp))
    }

    fn run_of(&self, index: LogIndex) -> Option<Run> {
        let place = match self.runs.back() {
            // Nearly always asked of the last run.
            Some(run) if run.first <= index => self.runs.len() - 1,
            _ => self.runs.partition_point(|run| run.last < index),
        };
        let run = self.runs.get(place).copied();
        run.filter(|run| (run.first..=run.last).contains(&index))
    }

    /// The stretches that hold something of `first..=last`, cut to it.
    pub(crate) fn runs_in(
        &self,
        first: LogIndex,
        last: LogIndex,
    ) -> impl Iterator<Item = Run> + '_ {
        let place = self.runs.partition_point(|run| run.last < first);
        let runs = self.runs.range(place..);
        runs.take_while(move |run| run.first <= last)
            .map(move |run| Run {
                first: run.first.max(first),
                last: run.last.min(last),
                stamp: run.stamp,
            })
    }

    /// The first slot behind `index` that holds a vote.
    pub(crate) fn next_held(&self, index: LogIndex) -> Option<LogIndex> {
        let place = self.runs.partition_point(|run| run.last <= index);
        self.runs.get(place).map(|run| run.first.max(index.next()))
    }

    /// The end of the stretch without a gap that `index` is in.
    pub(crate) fn stretch_end(&self, index: LogIndex) -> LogIndex {
        let place = self.runs.partition_point(|run| run.last < index);
        let mut end = index;
        for run in self.runs.range(place..) {
            if run.first > end.next() {
                break;
            }
            end = end.max(run.last);
        }
        end
    }

    /// Takes on an entry of the leader's own behind everything else; says in which slot.
    pub(crate) fn open(&mut self, entry: Entry) -> LogIndex {
        self.open_weight += entry.weight();
        self.open.push(entry);
        self.last()
    }

    /// Makes one shared run of what is open, if anything is.
    pub(crate) fn seal(&mut self, ballot: Ballot) -> Option<Entries> {
        if self.open.is_empty() {
            return None;
        }
        let first = self.sealed().next();
        // Drained, not taken: the vector's memory serves again.
        let chunk = Entries::new(first, ballot.stamp(), self.open.drain(..));
        self.open_weight = 0;
        self.push(chunk.clone());
        Some(chunk)
    }

    /// Puts entries behind everything else.
    fn push(&mut self, entries: Entries) {
        let run = Run {
            first: entries.first(),
            last: entries.last(),
            stamp: entries.stamp(),
        };
        match self.runs.back_mut() {
            Some(back) if back.stamp == run.stamp && back.last.next() == run.first => {
                back.last = run.last;
            }
            _ => self.runs.push_back(run),
        }
        self.bytes += entries.weight();
        self.chunks.push_back(entries);
    }

    /// Puts entries in their slots, in the place of what was there.
    pub(crate) fn put(&mut self, entries: Entries) {
        debug_assert!(
            self.open.is_empty(),
            "only a leader has open entries, and it puts nothing"
        );
        debug_assert!(
            entries.first() > self.base.0,
            "what is compacted is not touched"
        );
        if entries.is_empty() {
            return;
        }
        if entries.first() > self.sealed() {
            return self.push(entries);
        }
        let (first, last) = (entries.first(), entries.last());
        self.cut_runs(first, last);
        let place = self.runs.partition_point(|run| run.last < first);
        let run = Run {
            first,
            last,
            stamp: entries.stamp(),
        };
        self.runs.insert(place, run);
        self.join_runs(place);
        self.cut_chunks(first, last);
        let place = self.chunks.partition_point(|chunk| chunk.last() < first);
        self.bytes += entries.weight();
        self.chunks.insert(place, entries);
    }

    /// Makes room for `first..=last` among the runs.
    fn cut_runs(&mut self, first: LogIndex, last: LogIndex) {
        let start = self.runs.partition_point(|run| run.last < first);
        let end = self.runs.partition_point(|run| run.first <= last);
        let mut rest = Vec::new();
        for run in self.runs.drain(start..end) {
            if run.first < first {
                let last = first.previous();
                rest.push(Run { last, ..run });
            }
            if run.last > last {
                let first = last.next();
                rest.push(Run { first, ..run });
            }
        }
        for (k, run) in rest.into_iter().enumerate() {
            self.runs.insert(start + k, run);
        }
    }

    /// Makes one of the run at `place` and its neighbours where they are one.
    fn join_runs(&mut self, place: usize) {
        let one = |a: &Run, b: &Run| a.stamp == b.stamp && a.last.next() == b.first;
        if let (Some(run), Some(next)) = (self.runs.get(place), self.runs.get(place + 1))
            && one(run, next)
        {
            self.runs[place].last = next.last;
            self.runs.remove(place + 1);
        }
        if place > 0 && one(&self.runs[place - 1], &self.runs[place]) {
            self.runs[place - 1].last = self.runs[place].last;
            self.runs.remove(place);
        }
    }

    /// Makes room for `first..=last` among the chunks.
    fn cut_chunks(&mut self, first: LogIndex, last: LogIndex) {
        let start = self.chunks.partition_point(|chunk| chunk.last() < first);
        let end = self.chunks.partition_point(|chunk| chunk.first() <= last);
        let mut rest = Vec::new();
        for chunk in self.chunks.drain(start..end) {
            self.bytes -= chunk.weight();
            if chunk.first() < first {
                rest.push(chunk.through(first.previous()));
            }
            if chunk.last() > last {
                rest.push(chunk.after(last));
            }
        }
        for (k, chunk) in rest.into_iter().enumerate() {
            self.bytes += chunk.weight();
            self.chunks.insert(start + k, chunk);
        }
    }

    /// Lets go of everything up to `through` for good; the last vote was in `ballot`.
    pub(crate) fn compact(&mut self, through: LogIndex, ballot: Ballot) {
        self.base = (through, ballot);
        while let Some(chunk) = self.chunks.front_mut()
            && chunk.first() <= through
        {
            self.bytes -= chunk.weight();
            if chunk.last() <= through {
                self.chunks.pop_front();
            } else {
                *chunk = chunk.after(through);
                self.bytes += chunk.weight();
                break;
            }
        }
        while let Some(run) = self.runs.front_mut()
            && run.first <= through
        {
            if run.last <= through {
                self.runs.pop_front();
            } else {
                run.first = through.next();
                break;
            }
        }
    }

    /// Lets entries up to `through` leave memory, the oldest first, while it holds more than `limit`
    /// bytes. Only what is durable may go (contract rule 8).
    pub(crate) fn evict(&mut self, limit: usize, through: LogIndex) {
        while self.bytes > limit
            && let Some(chunk) = self.chunks.front()
            && chunk.last() <= through
        {
            self.bytes -= chunk.weight();
            self.chunks.pop_front();
        }
    }

    /// The first slot in memory.
    pub(crate) fn first_in_memory(&self) -> Option<LogIndex> {
        self.chunks.front().map(Entries::first)
    }

    /// The chunk that holds `index`, from there on; `None` if it is not in memory.
    pub(crate) fn chunk_from(&self, index: LogIndex) -> Option<Entries> {
        let chunk = &self.chunks[self.find(index)?];
        Some(if chunk.first() == index {
            chunk.clone()
        } else {
            chunk.after(index.previous())
        })
    }

    fn find(&self, index: LogIndex) -> Option<usize> {
        // Nearly always asked of the last chunks.
        let end = self.chunks.len();
        for place in (end.saturating_sub(3)..end).rev() {
            if self.chunks[place].contains(index) {
                return Some(place);
            }
        }
        let place = self.chunks.partition_point(|chunk| chunk.last() < index);
        let chunk = self.chunks.get(place);
        chunk
            .is_some_and(|chunk| chunk.contains(index))
            .then_some(place)
    }

    /// The entries from `from` on that are sealed and in memory: as many of one ballot as weigh at
    /// most `limit` bytes, but at least one. `None` if the first is not in memory.
    pub(crate) fn read(&self, from: LogIndex, through: LogIndex, limit: usize) -> Option<Entries> {
        if let Some(chunk) = self.chunks.back()
            && chunk.first() == from
            && chunk.last() <= through
            && chunk.weight() <= limit
        {
            // What was sealed last, whole: nearly always.
            return Some(chunk.clone());
        }
        let place = self.find(from)?;
        let mut part = self.chunks[place].within(from, limit);
        if part.last() > through {
            part = part.through(through);
        }
        if part.last() < self.chunks[place].last() {
            return Some(part);
        }
        // Goes on with small chunks of the same ballot: who was behind gets them in one message.
        let mut room = limit.saturating_sub(part.weight());
        let stamp = part.stamp();
        let mut parts = alloc::vec![part];
        for chunk in self.chunks.range(place + 1..) {
            let follows = parts.last().map(|part| part.last().next()) == Some(chunk.first());
            if chunk.stamp() != stamp
                || !follows
                || chunk.first() > through
                || chunk.weight() > room
            {
                break;
            }
            room -= chunk.weight();
            parts.push(chunk.through(through));
        }
        Entries::join(&parts)
    }

    /// What the sealed entries of `first..=last` weigh, as far as they are in memory.
    pub(crate) fn weight(&self, first: LogIndex, last: LogIndex) -> usize {
        let mut total = 0;
        for chunk in self.chunks.iter().rev() {
            if chunk.last() < first {
                break;
            }
            if chunk.first() >= first && chunk.last() <= last {
                total += chunk.weight();
            } else if chunk.first() <= last {
                total += chunk.after(first.previous()).through(last).weight();
            }
        }
        total
    }

    /// The configuration entries among these.
    pub(crate) fn configs(entries: &Entries) -> impl Iterator<Item = (LogIndex, &Entry)> {
        let all = entries.iter();
        all.filter(|(_, entry)| entry.kind == EntryKind::Config)
    }

    /// The invariants of the slots alone.
    pub(crate) fn check(&self) {
        let mut end = self.base.0;
        let mut stamp = None;
        for run in &self.runs {
            assert!(run.first > end && run.last >= run.first, "runs are apart");
            let one = run.first == end.next() && stamp == Some(run.stamp);
            assert!(!one, "runs that are one are joined");
            (end, stamp) = (run.last, Some(run.stamp));
        }
        let mut end = self.base.0;
        for chunk in &self.chunks {
            assert!(
                !chunk.is_empty() && chunk.first() > end,
                "chunks are in order"
            );
            let run = self.run_of(chunk.first());
            let inside =
                run.is_some_and(|run| run.stamp == chunk.stamp() && chunk.last() <= run.last);
            assert!(inside, "{chunk:?} lies in a run of its ballot, not {run:?}");
            end = chunk.last();
        }
        let bytes = self.chunks.iter().map(Entries::weight).sum::<usize>();
        assert_eq!(self.bytes, bytes, "the weight of what is in memory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use synod_core::{NodeId, Rng};

    fn entries(first: u64, count: u64, round: u64) -> Entries {
        let ballot = Ballot {
            round,
            proposer: NodeId(1),
        };
        let payload = |k: u64| alloc::format!("{}@{round}", first + k).into_bytes();
        let entries = (0..count).map(|k| Entry::command(payload(k).into()));
        Entries::new(LogIndex(first), ballot.stamp(), entries)
    }

    /// Against a map from slots to rounds, by random steps.
    #[test]
    fn slots_hold_what_was_put_last() {
        for seed in 0..500 {
            let mut rng = Rng::new(seed);
            let start = (LogIndex::START, Ballot::START);
            let (mut slots, mut map) = (Slots::new(start), BTreeMap::new());
            let mut gone = 0;
            for round in 1..20 {
                let (first, count) = (rng.within(gone + 1, gone + 20), rng.within(1, 8));
                match rng.below(6) {
                    0 => {
                        let through = rng.within(gone, gone + 6);
                        let ballot = slots.ballot_at(LogIndex(through));
                        slots.compact(LogIndex(through), ballot.unwrap_or(Ballot::START));
                        gone = through;
                        map.retain(|slot, _| *slot > gone);
                    }
                    1 => slots.evict(60, LogIndex(first)),
                    _ => {
                        let round = if rng.chance(300_000) { 1 } else { round };
                        slots.put(entries(first, count, round));
                        map.extend((first..first + count).map(|slot| (slot, round)));
                    }
                }
                slots.check();
                for slot in gone + 1..60 {
                    let at = LogIndex(slot);
                    let round = map.get(&slot).copied();
                    assert_eq!(slots.ballot_at(at).map(|b| b.round), round, "seed {seed}");
                    let next = map
                        .range(slot + 1..)
                        .next()
                        .map(|(slot, _)| LogIndex(*slot));
                    assert_eq!(slots.next_held(at), next, "seed {seed}");
                    let whole = map
                        .range(slot..)
                        .zip(slot..)
                        .take_while(|((a, _), b)| **a == *b);
                    let end = whole.last().map(|(_, slot)| LogIndex(slot));
                    if let Some(end) = end {
                        assert_eq!(slots.stretch_end(at), end, "seed {seed}");
                    }
                    if let Some(part) = slots.read(at, LogIndex(59), rng.below(200) as usize) {
                        assert_eq!(part.first(), at);
                        for (index, entry) in part.iter() {
                            let round = map[&index.0];
                            let expected = alloc::format!("{}@{round}", index.0);
                            assert_eq!(entry.payload, expected.as_bytes(), "seed {seed}");
                        }
                    }
                }
                let last = map.last_key_value().map_or(gone, |(slot, _)| *slot);
                assert_eq!(slots.last(), LogIndex(last.max(gone)), "seed {seed}");
            }
        }
    }

    #[test]
    fn what_is_open_is_sealed_into_one_run() {
        let mut slots = Slots::new((LogIndex(4), Ballot::START));
        let one = || Entry::command("x".into());
        assert_eq!(slots.open(one()), LogIndex(5));
        assert_eq!(slots.open(one()), LogIndex(6));
        assert_eq!((slots.sealed(), slots.last()), (LogIndex(4), LogIndex(6)));
        let ballot = Ballot::START.next_classic(NodeId(1));
        let sealed = slots.seal(ballot).expect("something is open");
        assert_eq!((sealed.first(), sealed.last()), (LogIndex(5), LogIndex(6)));
        assert!(slots.seal(ballot).is_none());
        assert_eq!(slots.bytes(), sealed.weight());
        slots.check();
    }
}
