//! Streams of committed entries: who waits for what, and what is read for them.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use synod_core::{Entries, LogIndex, LogLoad};

use crate::handle::request::{Compacted, Fetched};
use crate::handle::slot::Promise;
use crate::sync::Wakers;

struct Fetch {
    after: LogIndex,
    promise: Promise<Fetched>,
}

#[derive(Default)]
pub(super) struct Fetches {
    /// Those who have seen all that is committed.
    parked: Vec<Fetch>,
    /// Those who want what must be read.
    queued: VecDeque<Fetch>,
    reading: BTreeMap<u64, Fetch>,
    keys: u64,
}

impl Fetches {
    /// `committed` is the last entry that is committed and durable here.
    pub(super) fn push(&mut self, after: LogIndex, promise: Promise<Fetched>, committed: LogIndex) {
        let fetch = Fetch { after, promise };
        if after < committed {
            self.queued.push_back(fetch);
        } else {
            self.park(fetch);
        }
    }

    /// Streams come and go while nothing is committed: those that have gone make room when as many
    /// again have come.
    fn park(&mut self, fetch: Fetch) {
        if self.parked.len() == self.parked.capacity() {
            self.parked.retain(|fetch| !fetch.promise.is_abandoned());
        }
        self.parked.push(fetch);
    }

    /// These have just been committed: who waits for just these gets them from memory, unless they
    /// are more than a portion.
    pub(super) fn committed(&mut self, entries: &Entries, max_bytes: usize, wakers: &mut Wakers) {
        if self.parked.is_empty() {
            return;
        }
        for fetch in core::mem::take(&mut self.parked) {
            if fetch.promise.is_abandoned() {
                continue;
            }
            let next = fetch.after.next();
            if next > entries.last() {
                self.parked.push(fetch);
            } else if next >= entries.first() && entries.weight() <= max_bytes {
                let rest = entries.after(fetch.after);
                fetch.promise.resolve(Ok(alloc::vec![rest]), wakers);
            } else {
                self.queued.push_back(fetch);
            }
        }
    }

    /// Everything up to `through` is committed, without having come one by one.
    pub(super) fn skip_to(&mut self, through: LogIndex) {
        let (reached, parked) = core::mem::take(&mut self.parked)
            .into_iter()
            .partition(|fetch| fetch.after < through);
        self.parked = parked;
        self.queued.extend::<Vec<Fetch>>(reached);
    }

    pub(super) fn next_load(
        &mut self,
        committed: LogIndex,
        max_bytes: usize,
    ) -> Option<(u64, LogLoad)> {
        let fetch = loop {
            let fetch = self.queued.pop_front()?;
            if !fetch.promise.is_abandoned() {
                break fetch;
            }
        };
        self.keys += 1;
        let load = LogLoad::Entries {
            after: fetch.after,
            through: committed,
            max_bytes,
        };
        self.reading.insert(self.keys, fetch);
        Some((self.keys, load))
    }

    /// The answer to a load; `compacted` is the last entry that is gone.
    pub(super) fn loaded(
        &mut self,
        key: u64,
        runs: Option<Vec<Entries>>,
        compacted: LogIndex,
        wakers: &mut Wakers,
    ) {
        let Some(fetch) = self.reading.remove(&key) else {
            return;
        };
        let runs = runs.filter(|runs| runs.iter().any(|run| !run.is_empty()));
        let first = compacted.next();
        let fetched = runs.ok_or(Compacted { first });
        fetch.promise.resolve(fetched, wakers);
    }

    /// Forgets everyone: a dropped promise says that the node has stopped.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
