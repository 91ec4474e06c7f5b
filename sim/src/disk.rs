//! What a disk holds, as a value: the meaning of a machine's records.

use alloc::collections::BTreeMap;
use core::convert::Infallible;
use core::fmt;

use synod_core::{LogImage, LogLoad, LogLoaded, LogRecord, Restored};

/// What a node's disk holds. The simulator gives it records one by one, in order; of what was under
/// way at a crash it gives it a prefix.
///
/// Ready-made: [`LogImage`] for replicated logs, [`Latest`] for machines whose records replace each
/// other (an acceptor, a register), [`Journal`] for machines that read all their records again.
pub trait Disk: Clone + Default + fmt::Debug {
    /// What is written.
    type Record: Clone + fmt::Debug;
    /// What can be read back while the machine runs.
    type Load: fmt::Debug;
    /// The answer.
    type Loaded: fmt::Debug;
    /// What a start finds.
    type Restored: fmt::Debug;

    /// Writes one record.
    ///
    /// # Errors
    ///
    /// Which rule of its contract the record breaks: a failure of the run.
    fn apply(&mut self, record: Self::Record) -> Result<(), String>;

    /// Reads back; `None` if that is gone.
    fn load(&self, load: &Self::Load) -> Option<Self::Loaded>;

    /// What a start finds. A disk that reads back only the end of what it holds stops at about
    /// `most_bytes` bytes, which are drawn for each start.
    fn restored(&self, most_bytes: usize) -> Self::Restored;

    /// Whether a start may find this on a disk that holds what this one does: what a [`Device`] of
    /// yours has read is compared so.
    ///
    /// [`Device`]: crate::Device
    fn explains(&self, found: &Self::Restored) -> bool;

    /// A start forgets what means nothing without what was in memory before.
    fn restart(&mut self) {}

    /// Whether a machine binds itself by this record, as by a vote or a promise: nodes crash right
    /// behind such records more often.
    fn binds(record: &Self::Record) -> bool {
        let _ = record;
        true
    }
}

impl Disk for LogImage {
    type Record = LogRecord;
    type Load = LogLoad;
    type Loaded = LogLoaded;
    type Restored = Restored;

    fn apply(&mut self, record: LogRecord) -> Result<(), String> {
        Self::apply(self, record).map_err(|error| error.to_string())
    }

    fn load(&self, load: &LogLoad) -> Option<LogLoaded> {
        Self::load(self, load)
    }

    fn restored(&self, most_bytes: usize) -> Restored {
        Self::restored(self, most_bytes)
    }

    /// How much of the log's end it hands back is the storage's own affair.
    fn explains(&self, found: &Restored) -> bool {
        let expected = Self::restored(self, 0);
        let same = found.state == expected.state
            && found.snapshot == expected.snapshot
            && found.staged == expected.staged
            && found.compacted == expected.compacted
            && found.runs == expected.runs
            && found.configs == expected.configs;
        let mut tail = found.tail.iter().flat_map(|entries| {
            let numbered = entries.as_slice().iter().zip(entries.first().0..);
            numbered.map(|(entry, index)| (index, entries.stamp(), entry))
        });
        same && tail.all(|(index, stamp, entry)| {
            self.get(synod_core::LogIndex(index)) == Some((stamp, entry))
        })
    }

    fn restart(&mut self) {
        Self::restart(self);
    }

    fn binds(record: &LogRecord) -> bool {
        matches!(record, LogRecord::State(_))
    }
}

/// A record that takes the place of the one before under the same key.
pub trait Keyed: Clone + PartialEq + fmt::Debug {
    /// Which one it replaces: `()` if there is only one, as an acceptor's promise.
    type Key: Ord + Clone + fmt::Debug;

    /// The key of this one.
    fn key(&self) -> Self::Key;

    /// Whether it only removes what was there.
    fn removes(&self) -> bool {
        false
    }
}

/// The latest record under each key. A start finds them in the order of their keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Latest<R: Keyed>(BTreeMap<R::Key, R>);

impl<R: Keyed> Latest<R> {
    /// The record under this key.
    #[must_use]
    pub fn get(&self, key: &R::Key) -> Option<&R> {
        self.0.get(key)
    }

    /// All records, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.0.values()
    }
}

impl<R: Keyed> Default for Latest<R> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<R: Keyed> Disk for Latest<R> {
    type Record = R;
    type Load = Infallible;
    type Loaded = Infallible;
    type Restored = Vec<R>;

    fn apply(&mut self, record: R) -> Result<(), String> {
        if record.removes() {
            self.0.remove(&record.key());
        } else {
            self.0.insert(record.key(), record);
        }
        Ok(())
    }

    fn load(&self, load: &Infallible) -> Option<Infallible> {
        match *load {}
    }

    fn restored(&self, _: usize) -> Vec<R> {
        self.iter().cloned().collect()
    }

    fn explains(&self, found: &Vec<R>) -> bool {
        self.iter().eq(found)
    }
}

/// All records, in order: for machines that read them all again when they start, and for those that
/// have none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal<R>(Vec<R>);

impl<R> Journal<R> {
    /// All records, in order.
    #[must_use]
    pub fn records(&self) -> &[R] {
        &self.0
    }
}

impl<R> Default for Journal<R> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<R: Clone + PartialEq + fmt::Debug> Disk for Journal<R> {
    type Record = R;
    type Load = Infallible;
    type Loaded = Infallible;
    type Restored = Vec<R>;

    fn apply(&mut self, record: R) -> Result<(), String> {
        self.0.push(record);
        Ok(())
    }

    fn load(&self, load: &Infallible) -> Option<Infallible> {
        match *load {}
    }

    fn restored(&self, _: usize) -> Vec<R> {
        self.0.clone()
    }

    fn explains(&self, found: &Vec<R>) -> bool {
        self.0 == *found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, PartialEq, Debug)]
    struct Vote(u8, Option<u64>);

    impl Keyed for Vote {
        type Key = u8;

        fn key(&self) -> u8 {
            self.0
        }

        fn removes(&self) -> bool {
            self.1.is_none()
        }
    }

    #[test]
    fn the_latest_record_of_each_key_is_found() {
        let mut disk = Latest::default();
        for vote in [
            Vote(2, Some(1)),
            Vote(1, Some(7)),
            Vote(2, Some(3)),
            Vote(3, Some(9)),
        ] {
            assert_eq!(Disk::apply(&mut disk, vote), Ok(()));
        }
        assert_eq!(Disk::apply(&mut disk, Vote(3, None)), Ok(()));
        let found = disk.restored(0);
        assert_eq!(found, [Vote(1, Some(7)), Vote(2, Some(3))]);
        assert_eq!(disk.get(&2), Some(&Vote(2, Some(3))));
        assert!(disk.explains(&found) && !disk.explains(&found[..1].to_vec()));
    }

    #[test]
    fn a_journal_keeps_all_in_order() {
        let mut disk = Journal::default();
        for record in [2, 1, 2] {
            assert_eq!(Disk::apply(&mut disk, record), Ok(()));
        }
        assert_eq!(disk.restored(0), [2, 1, 2]);
        assert!(disk.explains(&vec![2, 1, 2]) && !disk.explains(&vec![2, 1]));
    }
}
