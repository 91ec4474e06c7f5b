//! Words of the paper that `synod-core` does not have.

use core::fmt;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode, Stamp};

/// A term (Raft §5.1): a period with at most one leader. 0 before the first election.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Term(pub u64);

impl Term {
    /// The term before the first election.
    pub const START: Self = Self(0);

    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The mark that entries of this term carry.
    #[must_use]
    pub const fn stamp(self) -> Stamp {
        Stamp::of(self.0)
    }
}

impl From<Stamp> for Term {
    fn from(stamp: Stamp) -> Self {
        Self(stamp.number)
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "T{}", self.0)
    }
}

impl fmt::Debug for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Encode for Term {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
    }
}

impl Decode for Term {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self)
    }
}

/// A place in the log and the term of the entry there: two logs that agree on one agree on
/// everything before it (Raft §5.3, Log Matching).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Position {
    /// The term of the entry.
    pub term: Term,
    /// Where it is.
    pub index: synod_core::LogIndex,
}

impl Position {
    /// The place before the first entry.
    pub const START: Self = Self {
        term: Term::START,
        index: synod_core::LogIndex::START,
    };

    /// Whether a log that ends here is at least as up to date as one that ends at `other`: the
    /// later term wins, then the longer log (Raft §5.4.1).
    #[must_use]
    pub fn is_up_to_date_with(self, other: Self) -> bool {
        (self.term, self.index) >= (other.term, other.index)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.index, self.term)
    }
}

impl Encode for Position {
    fn encode(&self, out: &mut BytesMut) {
        self.term.encode(out);
        self.index.encode(out);
    }
}

impl Decode for Position {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            term: Decode::decode(input)?,
            index: Decode::decode(input)?,
        })
    }
}
