//! What is committed: what any node has ever handed out for its state machine.

use alloc::collections::BTreeSet;

use bytes::Bytes;
use synod_core::{EntryKind, LogIndex, Stamp};

use super::{Breach, ensure};
use crate::sessions::Header;

/// One committed entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fact {
    /// The protocol's mark, at the node that was first to hand it out.
    pub stamp: Stamp,
    /// What it is for.
    pub kind: EntryKind,
    /// What it says.
    pub payload: Bytes,
    /// The era of the node that was first to hand it out: it was committed in this era or before.
    pub era: u64,
    /// What the reference state machine answered, as a hash; 0 for what is no command.
    pub response: u64,
}

/// Everything that is committed, and what certainly is not and never will be.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    facts: Vec<Fact>,
    /// Attempts that are in the log.
    present: BTreeSet<u64>,
    /// Attempts of which a node has said that they did not happen and will not.
    disowned: BTreeSet<u64>,
}

impl Ledger {
    /// The last committed entry.
    #[must_use]
    pub fn last(&self) -> LogIndex {
        LogIndex(self.facts.len() as u64)
    }

    /// A committed entry.
    #[must_use]
    pub fn get(&self, index: LogIndex) -> Option<&Fact> {
        let place = usize::try_from(index.0.checked_sub(1)?).ok()?;
        self.facts.get(place)
    }

    /// Everything that is committed, in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (LogIndex, &Fact)> + ExactSizeIterator {
        let numbered = self.facts.iter().enumerate();
        numbered.map(|(place, fact)| (LogIndex(place as u64 + 1), fact))
    }

    /// Notes an entry that was handed out; whether it is the first time. All nodes hand out the same
    /// (Raft figure 3, State Machine Safety).
    pub(crate) fn note(&mut self, index: LogIndex, fact: Fact) -> Result<bool, Breach> {
        if let Some(known) = self.get(index) {
            ensure(
                known.kind == fact.kind && known.payload == fact.payload,
                "all nodes hand out the same entry at an index",
                || format!("at {index}: {known:?}, and now {fact:?}"),
            )?;
            return Ok(false);
        }
        ensure(
            index == self.last().next(),
            "what is handed out follows what was handed out before",
            || format!("{index}, and the last known is {}", self.last()),
        )?;
        if fact.kind == EntryKind::Command
            && let Some((header, _)) = Header::unwrap(fact.payload.clone())
        {
            let attempt = header.attempt;
            ensure(
                self.present.insert(attempt),
                "one proposal becomes one entry",
                || format!("attempt {attempt} is in the log a second time, at {index}"),
            )?;
            ensure(
                !self.disowned.contains(&attempt),
                "what was displaced or refused does not happen",
                || format!("attempt {attempt} was given up for good and is committed at {index}"),
            )?;
        }
        self.facts.push(fact);
        Ok(true)
    }

    pub(crate) fn answered(&mut self, response: u64) {
        if let Some(fact) = self.facts.last_mut() {
            fact.response = response;
        }
    }

    /// Notes that an attempt did not happen and never will.
    pub(crate) fn disown(&mut self, attempt: u64) -> Result<(), Breach> {
        self.disowned.insert(attempt);
        ensure(
            !self.present.contains(&attempt),
            "what was displaced or refused does not happen",
            || format!("attempt {attempt} is committed and is given up now"),
        )
    }
}
