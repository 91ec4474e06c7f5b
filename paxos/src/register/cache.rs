//! What a proposer knows of the registers that it changed last (CASPaxos §2.2.1).

use alloc::collections::BTreeMap;

use synod_quorum::NodeSet;

use crate::Ballot;
use crate::register::types::State;
use crate::register::{Configuration, Key};

/// A content, and a ballot of this proposer that acceptors have promised along with it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Cache {
    /// Has carried no proposal yet.
    pub(crate) next: Ballot,
    pub(crate) state: State,
    /// The ballot in which it was accepted, whose late answers count.
    pub(crate) ballot: Ballot,
    /// How often phase 1 of `next` was asked.
    pub(crate) asked: u64,
    /// Who has promised `next` and holds nothing above `state`.
    pub(crate) promised: NodeSet,
}

impl Cache {
    /// Whether phase 1 of `next` is done: in flexible systems those who accept need not be a
    /// quorum of phase 1, and with fewer another proposer could have come in between unnoticed.
    pub(crate) fn is_prepared(&self, configuration: &Configuration) -> bool {
        let phase1 = configuration.phases().phase1();
        phase1.is_quorum(self.promised)
    }
}

/// The caches of all registers; the oldest goes when there are too many.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Caches {
    of: BTreeMap<Key, (u64, Cache)>,
    ages: BTreeMap<u64, Key>,
    clock: u64,
    limit: usize,
}

impl Caches {
    pub(crate) const fn new(limit: usize) -> Self {
        Self {
            of: BTreeMap::new(),
            ages: BTreeMap::new(),
            clock: 0,
            limit,
        }
    }

    pub(crate) fn put(&mut self, key: Key, cache: Cache) {
        if self.limit == 0 {
            return;
        }
        self.take(&key);
        while self.of.len() >= self.limit
            && let Some((_, oldest)) = self.ages.pop_first()
        {
            self.of.remove(&oldest);
        }
        // From the start again when nothing is there: an idle node is like any other.
        self.clock = if self.of.is_empty() {
            0
        } else {
            self.clock + 1
        };
        self.ages.insert(self.clock, key.clone());
        self.of.insert(key, (self.clock, cache));
    }

    /// Whoever takes it out uses the ballot: it goes back only with another.
    pub(crate) fn take(&mut self, key: &Key) -> Option<Cache> {
        let (age, cache) = self.of.remove(key)?;
        self.ages.remove(&age);
        Some(cache)
    }

    pub(crate) fn get_mut(&mut self, key: &Key) -> Option<&mut Cache> {
        self.of.get_mut(key).map(|(_, cache)| cache)
    }

    pub(crate) fn clear(&mut self) {
        self.of.clear();
        self.ages.clear();
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.of.len(), self.ages.len(), "each cache has one age");
        assert!(self.of.len() <= self.limit, "caches are bounded");
    }
}
