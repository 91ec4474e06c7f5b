//! What the log holds, without its contents: the latest state, the marks, and where each entry
//! lies. Both a start, which reads the records back, and the writer, which has just made them
//! durable, keep it by the same [`Catalog::apply`].

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{Entries, EntryKind, Lane, LogIndex, LogRecord, OldLog, Run, SnapshotMeta, Stamp};

use super::format::{Checkpoint, Seq, Serial, Staged, Stored, slot};

/// How many bytes of a segment one item of the index may stand for.
const STRETCH_BYTES: u64 = 64 << 10;

/// Where bytes of the log lie.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) seq: Seq,
    /// In bytes, from the beginning of the segment.
    pub(super) start: u64,
    pub(super) end: u64,
}

/// Entries of one stamp without a gap, whose records lie together: the index is sparse, and a
/// search reads at most one stretch too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Stretch {
    pub(super) first: LogIndex,
    pub(super) last: LogIndex,
    pub(super) stamp: Stamp,
    /// `None` for entries of a segment that a start has not seen.
    pub(super) span: Option<Span>,
    /// The weight of the entries, in bytes; 0 once some of them are gone, so that nobody relies
    /// on it.
    pub(super) weight: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Catalog {
    pub(super) state: Option<Bytes>,
    pub(super) compacted: (LogIndex, Stamp),
    pub(super) snapshot: Option<(Serial, SnapshotMeta)>,
    /// What is being taken, and what is being received.
    pub(super) staged: [Option<Staged>; 2],
    /// By first entry; they never overlap.
    stretches: BTreeMap<LogIndex, Stretch>,
    configs: BTreeMap<LogIndex, Bytes>,
    /// The stretch that the next entries may join.
    open: Option<LogIndex>,
    /// How many stretches lie in each segment.
    live: BTreeMap<Seq, usize>,
}

impl Catalog {
    /// What is known at the beginning of a segment. Entries of earlier segments are not found
    /// until those have been read.
    pub(super) fn from_checkpoint(checkpoint: &Checkpoint) -> Self {
        let mut catalog = Self {
            state: checkpoint.state.as_ref().map(own),
            compacted: checkpoint.compacted,
            snapshot: checkpoint.snapshot.clone(),
            staged: checkpoint.staged,
            ..Self::default()
        };
        for (first, last) in &checkpoint.live {
            catalog.insert(Stretch {
                first: *first,
                last: *last,
                stamp: Stamp::START,
                span: None,
                weight: 0,
            });
        }
        catalog
    }

    /// What the next segment must repeat.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let mut live: Vec<(LogIndex, LogIndex)> = Vec::new();
        for stretch in self.stretches.values() {
            match live.last_mut() {
                Some((_, last)) if last.next() == stretch.first => *last = stretch.last,
                _ => live.push((stretch.first, stretch.last)),
            }
        }
        Checkpoint {
            state: self.state.clone(),
            compacted: self.compacted,
            snapshot: self.snapshot.clone(),
            staged: self.staged,
            live,
        }
    }

    /// Takes in a record that is durable at `span`.
    pub(super) fn apply(&mut self, stored: &Stored, span: Span) {
        match stored {
            Stored::Log(LogRecord::State(state)) => self.state = Some(own(state)),
            Stored::Log(LogRecord::Put(entries)) | Stored::Part(entries) => {
                self.put(entries, span);
            }
            Stored::Log(LogRecord::Truncate { from }) => {
                self.open = None;
                self.remove(*from, LogIndex(u64::MAX));
            }
            // Never stored, `Staged` takes its place.
            Stored::Log(LogRecord::Stage { .. }) => {}
            Stored::Log(LogRecord::Activate { meta, log }) => self.activate(meta, *log),
            Stored::Log(LogRecord::Compact { through, stamp }) => {
                if *through > self.compacted.0 {
                    self.compacted = (*through, *stamp);
                    self.open = None;
                    self.remove(LogIndex::START, *through);
                }
            }
            Stored::Staged(staged) => self.staged[slot(staged.lane)] = Some(*staged),
        }
    }

    fn activate(&mut self, meta: &SnapshotMeta, log: OldLog) {
        let complete = |staged: &&mut Option<Staged>| {
            staged.is_some_and(|staged| staged.id == meta.id && staged.len == meta.size)
        };
        let Some(staged) = self.staged.iter_mut().find(complete).and_then(Option::take) else {
            return;
        };
        if !self.is_newer(meta.index()) {
            return;
        }
        self.snapshot = Some((staged.serial, meta.clone()));
        if log == OldLog::Replace {
            self.compacted = (meta.index(), meta.stamp);
            self.open = None;
            self.remove(LogIndex::START, LogIndex(u64::MAX));
        }
    }

    /// Whether a snapshot of `index` reaches further than the current one.
    fn is_newer(&self, index: LogIndex) -> bool {
        let current = self.snapshot.as_ref().map(|(_, meta)| meta.index());
        index > self.compacted.0 && Some(index) > current
    }

    /// Goes on behind a segment that was read to its end. What is staged is the checkpoint's to
    /// say: the life that wrote it may have forgotten a snapshot that was being taken.
    pub(super) const fn enter(&mut self, checkpoint: &Checkpoint) {
        self.staged = checkpoint.staged;
    }

    /// Forgets a snapshot that was being taken: whoever took it is gone.
    pub(super) fn forget_taken(&mut self) {
        self.staged[slot(Lane::Taken)] = None;
    }

    /// What is being received.
    pub(super) fn received(&self) -> Option<&Staged> {
        self.staged[slot(Lane::Received)].as_ref()
    }

    fn put(&mut self, entries: &Entries, span: Span) {
        let entries = entries.after(self.compacted.0);
        if entries.is_empty() {
            return;
        }
        if self.last() >= entries.first() {
            self.remove(entries.first(), entries.last());
        }
        for (index, entry) in entries.iter() {
            if entry.kind == EntryKind::Config {
                self.configs.insert(index, own(&entry.payload));
            }
        }
        if !self.join(&entries, span) {
            self.open = Some(entries.first());
            self.insert(Stretch {
                first: entries.first(),
                last: entries.last(),
                stamp: entries.stamp(),
                span: Some(span),
                weight: entries.weight(),
            });
        }
    }

    /// Extends the open stretch by entries that follow it.
    fn join(&mut self, entries: &Entries, span: Span) -> bool {
        let Some(open) = self.open.and_then(|first| self.stretches.get_mut(&first)) else {
            return false;
        };
        let Some(place) = &mut open.span else {
            return false;
        };
        let follows = open.last.next() == entries.first()
            && open.stamp == entries.stamp()
            && place.seq == span.seq
            && span.end - place.start <= STRETCH_BYTES;
        if follows {
            open.last = entries.last();
            open.weight += entries.weight();
            place.end = span.end;
        }
        follows
    }

    fn insert(&mut self, stretch: Stretch) {
        if let Some(span) = stretch.span {
            *self.live.entry(span.seq).or_default() += 1;
        }
        self.stretches.insert(stretch.first, stretch);
    }

    fn take(&mut self, first: LogIndex) -> Option<Stretch> {
        let stretch = self.stretches.remove(&first)?;
        if let Some(span) = stretch.span
            && let Some(count) = self.live.get_mut(&span.seq)
        {
            *count -= 1;
            if *count == 0 {
                self.live.remove(&span.seq);
            }
        }
        Some(stretch)
    }

    /// Forgets the entries from `first` up to and with `last`.
    fn remove(&mut self, first: LogIndex, last: LogIndex) {
        let from = self.stretch_at(first).map_or(first, |hit| hit.first);
        let hit: Vec<LogIndex> = self
            .stretches
            .range(from..=last)
            .map(|(at, _)| *at)
            .collect();
        for at in hit {
            // A stretch that loses entries takes no more: its bytes still hold them.
            self.open = self.open.filter(|open| *open != at);
            let Some(old) = self.take(at) else { continue };
            if old.first < first {
                self.insert(Stretch {
                    last: first.previous(),
                    weight: 0,
                    ..old
                });
            }
            if old.last > last {
                self.insert(Stretch {
                    first: last.next(),
                    weight: 0,
                    ..old
                });
            }
        }
        let gone: Vec<LogIndex> = self
            .configs
            .range(first..=last)
            .map(|(at, _)| *at)
            .collect();
        gone.iter().for_each(|index| {
            self.configs.remove(index);
        });
    }

    /// The stretch that holds the entry at `index`.
    pub(super) fn stretch_at(&self, index: LogIndex) -> Option<&Stretch> {
        let (_, stretch) = self.stretches.range(..=index).next_back()?;
        (stretch.last >= index).then_some(stretch)
    }

    /// The stretches from the one that holds `index` on, as far as there is no gap.
    pub(super) fn stretches_from(&self, index: LogIndex) -> impl Iterator<Item = &Stretch> {
        let mut next = index;
        let first = self.stretch_at(index).map_or(index, |hit| hit.first);
        self.stretches
            .range(first..)
            .map(|(_, stretch)| stretch)
            .take_while(move |stretch| {
                let adjacent = stretch.first <= next;
                next = stretch.last.next();
                adjacent
            })
    }

    /// All stretches, the last one first.
    pub(super) fn stretches_back(&self) -> impl Iterator<Item = &Stretch> {
        self.stretches.values().rev()
    }

    /// An entry that should be there and lies in no segment that was read.
    pub(super) fn missing(&self) -> Option<LogIndex> {
        let lost = |stretch: &&Stretch| stretch.span.is_none();
        self.stretches.values().find(lost).map(|lost| lost.first)
    }

    /// The last entry; the last compacted one if there is none.
    pub(super) fn last(&self) -> LogIndex {
        let last = self.stretches.last_key_value();
        last.map_or(self.compacted.0, |(_, stretch)| stretch.last)
    }

    /// Whether a segment holds entries that are live.
    pub(super) fn is_live(&self, seq: Seq) -> bool {
        self.live.contains_key(&seq)
    }

    /// The stored log as stretches of one stamp.
    pub(super) fn runs(&self) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for stretch in self.stretches.values() {
            match runs.last_mut() {
                Some(run) if run.last.next() == stretch.first && run.stamp == stretch.stamp => {
                    run.last = stretch.last;
                }
                _ => runs.push(Run {
                    first: stretch.first,
                    last: stretch.last,
                    stamp: stretch.stamp,
                }),
            }
        }
        runs
    }

    /// The configuration entries in the stored log.
    pub(super) fn configs(&self) -> Vec<(LogIndex, Bytes)> {
        let copy = |(index, config): (&LogIndex, &Bytes)| (*index, config.clone());
        self.configs.iter().map(copy).collect()
    }
}

/// A copy of its own: a slice would keep the whole piece alive that it was read with.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

#[cfg(test)]
mod tests;
