//! Whose proposal a value is.

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, Entries, Entry, EntryKind, LogIndex};

/// Whose proposal a value is: one life of a proposer, and a number that it uses once. Two clients that ask
/// for the same bytes want two things, so values of fast rounds are compared by name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Name {
    /// One life of the proposer's machine.
    pub life: u64,
    /// Which of its proposals: the ticket of a command.
    pub number: u64,
}

impl Name {
    /// What fills a gap: it is nobody's, and always the same.
    pub const BLANK: Self = Self { life: 0, number: 0 };

    /// How many bytes a name takes at the end of an entry.
    const BYTES: usize = 16;

    /// A command under this name. This copies it: its name is written behind it, to be one with it on
    /// every disk.
    pub(crate) fn command(self, command: &Bytes) -> Entry {
        let mut payload = BytesMut::with_capacity(command.len() + Self::BYTES);
        payload.extend_from_slice(command);
        self.encode(&mut payload);
        Entry {
            kind: EntryKind::Named,
            payload: payload.freeze(),
        }
    }

    /// The name of an entry; `None` if it has none.
    pub(crate) fn of(entry: &Entry) -> Option<Self> {
        match entry.kind {
            EntryKind::Blank if entry.payload.is_empty() => Some(Self::BLANK),
            EntryKind::Named => Self::decode_all(split(&entry.payload)?.1).ok(),
            EntryKind::Blank | EntryKind::Command | EntryKind::Config => None,
        }
    }

    /// The entry as it is handed out, without its name.
    pub(crate) fn strip(entry: &Entry) -> Entry {
        if entry.kind != EntryKind::Named {
            return entry.clone();
        }
        let plain = split(&entry.payload).map_or_else(|| entry.payload.clone(), |(plain, _)| plain);
        Entry::command(plain)
    }

    /// The name that many after this one.
    pub(crate) const fn plus(self, count: u64) -> Self {
        if self.life == 0 && self.number == 0 {
            return self;
        }
        Self {
            life: self.life,
            number: self.number.wrapping_add(count),
        }
    }
}

/// What comes before the name, and the name.
fn split(payload: &Bytes) -> Option<(Bytes, Bytes)> {
    let at = payload.len().checked_sub(Name::BYTES)?;
    Some((payload.slice(..at), payload.slice(at..)))
}

/// 16 bytes.
impl Encode for Name {
    fn encode(&self, out: &mut BytesMut) {
        self.life.encode(out);
        self.number.encode(out);
    }
}

impl Decode for Name {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            life: Decode::decode(input)?,
            number: Decode::decode(input)?,
        })
    }
}

/// Votes in consecutive slots for consecutive names, or for blanks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Votes {
    /// The first slot.
    pub first: LogIndex,
    /// How many slots.
    pub count: u32,
    /// What was voted for in the first; in each further one the next number of the same life. Blanks
    /// have no numbers.
    pub name: Name,
}

impl Votes {
    /// The last slot, which a peer may have put anywhere.
    pub(crate) const fn last(&self) -> LogIndex {
        LogIndex(
            self.first
                .0
                .saturating_add(self.count as u64)
                .saturating_sub(1),
        )
    }

    /// Adds a vote behind others.
    pub(crate) fn push(all: &mut alloc::vec::Vec<Self>, at: LogIndex, name: Name) {
        if let Some(run) = all.last_mut()
            && run.last().next() == at
            && run.name.plus(u64::from(run.count)) == name
        {
            run.count += 1;
            return;
        }
        all.push(Self {
            first: at,
            count: 1,
            name,
        });
    }

    /// Adds the votes for these.
    pub(crate) fn extend(all: &mut alloc::vec::Vec<Self>, entries: &Entries) {
        for (at, entry) in entries.iter() {
            if let Some(name) = Name::of(entry) {
                Self::push(all, at, name);
            }
        }
    }
}

impl Encode for Votes {
    fn encode(&self, out: &mut BytesMut) {
        self.first.encode(out);
        self.count.encode(out);
        self.name.encode(out);
    }
}

impl Decode for Votes {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            first: Decode::decode(input)?,
            count: Decode::decode(input)?,
            name: Decode::decode(input)?,
        })
    }
}
