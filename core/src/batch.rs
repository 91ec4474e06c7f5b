//! An ordered list that costs no allocation while it holds one item.

use alloc::vec::Vec;
use core::iter;

/// An ordered list of records, written together. Holds its first item inline, because a write of
/// one record is the common case of a lightly loaded machine.
///
/// ```
/// use synod_core::Batch;
///
/// let mut batch = Batch::from(1);
/// batch.push(2);
/// assert_eq!(batch.len(), 2);
/// assert_eq!(batch.into_iter().collect::<Vec<_>>(), [1, 2]);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Batch<R> {
    head: Option<R>,
    rest: Vec<R>,
}

impl<R> Batch<R> {
    /// A batch with nothing in it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            head: None,
            rest: Vec::new(),
        }
    }

    /// Adds a record behind the others.
    pub fn push(&mut self, record: R) {
        if self.head.is_none() {
            self.head = Some(record);
        } else {
            self.rest.push(record);
        }
    }

    /// How many records it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.head.is_some()) + self.rest.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.head.is_none()
    }

    /// The records in order.
    pub fn iter(&self) -> impl Iterator<Item = &R> {
        self.head.iter().chain(&self.rest)
    }

    /// Keeps the first `count` records, as a storage that tears a write does.
    pub fn truncate(&mut self, count: usize) {
        if count == 0 {
            *self = Self::new();
        } else {
            self.rest.truncate(count - 1);
        }
    }
}

impl<R> Default for Batch<R> {
    fn default() -> Self {
        Self::new()
    }
}

impl<R> From<R> for Batch<R> {
    fn from(record: R) -> Self {
        Self {
            head: Some(record),
            rest: Vec::new(),
        }
    }
}

impl<R> FromIterator<R> for Batch<R> {
    fn from_iter<I: IntoIterator<Item = R>>(records: I) -> Self {
        let mut records = records.into_iter();
        Self {
            head: records.next(),
            rest: records.collect(),
        }
    }
}

impl<R> Extend<R> for Batch<R> {
    fn extend<I: IntoIterator<Item = R>>(&mut self, records: I) {
        records.into_iter().for_each(|record| self.push(record));
    }
}

impl<R> IntoIterator for Batch<R> {
    type Item = R;
    type IntoIter = iter::Chain<core::option::IntoIter<R>, alloc::vec::IntoIter<R>>;

    fn into_iter(self) -> Self::IntoIter {
        self.head.into_iter().chain(self.rest)
    }
}
