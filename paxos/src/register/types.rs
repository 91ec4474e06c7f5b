//! What a register holds, and what may be asked of it.

use core::fmt;

use bytes::Bytes;

use crate::Ballot;

/// Which register: one of the application's, or the one that holds the cluster's configuration.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Key {
    /// Holds the [`Configuration`](crate::register::Configuration) in force, once it has been changed.
    Configuration,
    /// A register of the application.
    Data(Bytes),
}

impl Key {
    /// What it weighs against [`max_bytes`](crate::register::ConfigBuilder::max_bytes).
    pub(crate) const fn weight(&self) -> usize {
        match self {
            Self::Configuration => 0,
            Self::Data(key) => key.len(),
        }
    }
}

/// Names one content of a register for ever: the ballot in which the change that made it was
/// proposed. Later contents of a register have greater versions, also after it was deleted and made
/// anew; nothing else can be told from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Version(pub Ballot);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.0.round, self.0.proposer.0)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The content of a register that is there.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Versioned {
    /// Names it.
    pub version: Version,
    /// What it is.
    pub value: Bytes,
}

/// When a change is to be made; otherwise it is refused, and the caller learns what there is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Condition {
    /// Whatever there is.
    Always,
    /// If there is nothing.
    Absent,
    /// If there is something.
    Present,
    /// If this version is there: compare and set.
    Version(Version),
    /// If this value is there, in whatever version. A value can go and come back in between.
    Value(Bytes),
}

/// What to do to a register: the change functions of the paper (§2.2), as data.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Change {
    /// Nothing, and tell what there is.
    Read,
    /// Puts a value.
    Write {
        /// What.
        value: Bytes,
        /// When.
        when: Condition,
    },
    /// Takes it away. What is not there stays away.
    Delete {
        /// When.
        when: Condition,
    },
    /// The application computes what to do: [`Event::Ask`](crate::register::Event::Ask) tells it
    /// what there is, [`Command::Decide`](crate::register::Command::Decide) says what shall be. After
    /// a conflict it is asked again.
    Custom,
}

/// The application's answer to [`Event::Ask`](crate::register::Event::Ask).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Decision {
    /// It stays.
    Keep,
    /// This is to be there.
    Write(Bytes),
    /// Nothing is to be there.
    Delete,
}

/// What acceptors vote for: a value, or that there is none, and where it comes from.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct State {
    /// The ballot of the change that made it; later rounds carry it on. [`Ballot::START`]: nobody
    /// has made anything, as far as is known.
    pub version: Ballot,
    /// What was there before.
    pub before: Before,
    /// The value; `None` is the paper's empty value, a tombstone.
    pub value: Option<Bytes>,
}

/// What a state was made from: it lets a proposer find out what became of its own proposals.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Before {
    /// From the state of this version.
    Version(Ballot),
    /// From nothing. States of ballots up to this may have been there and been purged.
    Nothing(Ballot),
}

impl State {
    /// What a register is of which acceptors hold nothing.
    pub(crate) const fn nothing(floor: Ballot) -> Self {
        Self {
            version: Ballot::START,
            before: Before::Nothing(floor),
            value: None,
        }
    }

    /// What a change in `ballot` makes of it.
    pub(crate) fn followed_by(&self, ballot: Ballot, value: Option<Bytes>) -> Self {
        let before = if self.version == Ballot::START {
            self.before
        } else {
            Before::Version(self.version)
        };
        Self {
            version: ballot,
            before,
            value,
        }
    }

    /// What the application sees of it.
    pub(crate) fn seen(&self) -> Option<Versioned> {
        self.value.as_ref().map(|value| Versioned {
            version: Version(self.version),
            value: value.clone(),
        })
    }

    pub(crate) fn weight(&self) -> usize {
        self.value.as_ref().map_or(0, Bytes::len)
    }
}

/// What an acceptor has accepted last.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vote {
    /// In which ballot.
    pub ballot: Ballot,
    /// Under which configuration.
    pub epoch: u64,
    /// What.
    pub state: State,
}

impl Condition {
    pub(crate) fn holds(&self, state: &State) -> bool {
        match self {
            Self::Always => true,
            Self::Absent => state.value.is_none(),
            Self::Present => state.value.is_some(),
            Self::Version(version) => state.value.is_some() && state.version == version.0,
            Self::Value(value) => state.value.as_ref() == Some(value),
        }
    }
}

impl Change {
    /// The longest value in it, in bytes.
    pub(crate) fn len(&self) -> usize {
        let condition = |when: &Condition| match when {
            Condition::Value(value) => value.len(),
            Condition::Always | Condition::Absent | Condition::Present | Condition::Version(_) => 0,
        };
        match self {
            Self::Write { value, when } => value.len().max(condition(when)),
            Self::Delete { when } => condition(when),
            Self::Read | Self::Custom => 0,
        }
    }
}
