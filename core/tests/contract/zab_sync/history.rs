//! A history in memory: where each epoch begins and ends, and the entries that are not durable yet.

use alloc::collections::VecDeque;

use synod_core::{Entries, LogIndex, Restored, Run, SnapshotMeta, Stamp};

use super::Zxid;

pub(super) struct History {
    compacted: Zxid,
    /// By epoch, ascending and without a gap.
    runs: Vec<Run>,
    /// What a load may not find yet.
    fresh: VecDeque<Entries>,
    durable: LogIndex,
    snapshot: Option<SnapshotMeta>,
}

impl History {
    pub(super) fn restore(disk: Restored) -> Self {
        Self {
            durable: disk.last(),
            compacted: disk.compacted,
            runs: disk.runs,
            fresh: VecDeque::new(),
            snapshot: disk.snapshot,
        }
    }

    pub(super) const fn compacted(&self) -> Zxid {
        self.compacted
    }

    pub(super) const fn durable(&self) -> LogIndex {
        self.durable
    }

    pub(super) const fn snapshot(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    pub(super) fn last(&self) -> Zxid {
        let last = self.runs.last().map(|run| (run.last, run.stamp));
        last.unwrap_or(self.compacted)
    }

    pub(super) fn stamp_at(&self, index: LogIndex) -> Option<Stamp> {
        if index == self.compacted.0 {
            return Some(self.compacted.1);
        }
        let run = self.runs.iter().rfind(|run| run.first <= index)?;
        (index <= run.last).then_some(run.stamp)
    }

    /// The last entry of an epoch.
    pub(super) fn end_of(&self, epoch: Stamp) -> Option<LogIndex> {
        let run = self.runs.iter().find(|run| run.stamp == epoch);
        let compacted = (self.compacted.1 == epoch).then_some(self.compacted.0);
        run.map(|run| run.last).or(compacted)
    }

    /// All of it by epochs, the last compacted entry included: that is committed, so a leader has
    /// it, while it may have nothing of what follows.
    pub(super) fn runs(&self) -> Vec<Run> {
        let (at, stamp) = self.compacted;
        let compacted = Run {
            first: at,
            last: at,
            stamp,
        };
        let compacted = (at > LogIndex::START).then_some(compacted);
        compacted.into_iter().chain(self.runs.clone()).collect()
    }

    /// The last entry that this history shares with another. An index and an epoch name one entry
    /// and all before it: an epoch has one leader, which appends to one history.
    pub(super) fn shared_with(&self, runs: &[Run]) -> LogIndex {
        let shared = runs.iter().rev().find_map(|run| {
            let end = self.end_of(run.stamp)?.min(run.last);
            (end >= run.first).then_some(end)
        });
        shared.unwrap_or(LogIndex::START)
    }

    pub(super) fn append(&mut self, entries: Entries) {
        let (first, last, stamp) = (entries.first(), entries.last(), entries.stamp());
        match self.runs.last_mut() {
            Some(run) if run.stamp == stamp => run.last = last,
            _ => self.runs.push(Run { first, last, stamp }),
        }
        self.fresh.push_back(entries);
    }

    /// Entries behind `index` that are still in memory.
    pub(super) fn fresh_after(&self, index: LogIndex) -> impl Iterator<Item = Entries> {
        let behind = self.fresh.iter().map(move |entries| entries.after(index));
        behind.filter(|entries| !entries.is_empty())
    }

    pub(super) fn truncate(&mut self, after: LogIndex) {
        self.runs.retain(|run| run.first <= after);
        if let Some(run) = self.runs.last_mut() {
            run.last = run.last.min(after);
        }
        self.fresh.retain(|entries| entries.first() <= after);
        if let Some(entries) = self.fresh.back_mut() {
            *entries = entries.through(after);
        }
    }

    pub(super) fn clamp_durable(&mut self, after: LogIndex) {
        self.durable = self.durable.min(after);
    }

    pub(super) fn set_durable(&mut self, through: LogIndex) {
        self.durable = self.durable.max(through);
        let durable = self.durable;
        self.fresh.retain(|entries| entries.last() > durable);
    }

    /// Only what a snapshot covers goes.
    pub(super) fn compact(&mut self, meta: SnapshotMeta) {
        let through = meta.index();
        self.runs.retain(|run| run.last > through);
        if let Some(run) = self.runs.first_mut() {
            run.first = run.first.max(through.next());
        }
        self.compacted = (through, meta.stamp);
        self.snapshot = Some(meta);
    }

    pub(super) fn replace(&mut self, meta: SnapshotMeta) {
        self.runs.clear();
        self.fresh.clear();
        self.compact(meta);
    }
}
