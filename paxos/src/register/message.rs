//! What peers exchange.

use alloc::boxed::Box;
use alloc::vec::Vec;

use synod_core::{Generation, NodeId};

use crate::Ballot;
use crate::register::{Configuration, Key, State, Vote};

/// A message: who the sender is by its storage, its configuration, and what it says.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Message {
    /// The life of the sender's storage: a node that comes back with another one has lost what it
    /// promised, and which ballots it has used.
    pub generation: Generation,
    /// The sender's configuration; `None` for a node that waits for its first.
    pub epoch: Option<u64>,
    /// What it says.
    pub body: Body,
}

/// What a message says (CASPaxos §2.2). Answers repeat what they answer, so that late ones are
/// known.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Body {
    /// Promise to accept nothing below this ballot, and tell what you have accepted.
    Prepare {
        /// Of which register.
        key: Key,
        /// The sender's.
        ballot: Ballot,
        /// How often the sender has asked this before in this ballot, for another change.
        asked: u64,
    },
    /// Promised.
    Promised {
        /// Of which register.
        key: Key,
        /// What was asked.
        ballot: Ballot,
        /// Which time.
        asked: u64,
        /// What it has accepted, or up to which ballot it may have forgotten some.
        held: Held,
    },
    /// Accept this.
    Accept(Box<Accept>),
    /// Accepted.
    Accepted {
        /// Of which register.
        key: Key,
        /// What was asked.
        ballot: Ballot,
    },
    /// The conflict of the paper, or no room.
    Refused {
        /// Of which register.
        key: Key,
        /// Whether it is of phase 1 or 2.
        phase: Phase,
        /// What was asked.
        ballot: Ballot,
        /// Why not.
        why: Nack,
    },
    /// Forget the tombstone that you have accepted in this ballot: every acceptor has.
    Purge {
        /// Of which register.
        key: Key,
        /// The tombstone's.
        ballot: Ballot,
    },
    /// It is forgotten, or something newer is there.
    Purged {
        /// Of which register.
        key: Key,
        /// What was asked.
        ballot: Ballot,
    },
    /// Of which registers have you accepted something, behind this one?
    List {
        /// The last one that is known.
        after: Option<Key>,
    },
    /// These.
    Keys(Box<Page>),
    /// Which configuration is yours?
    Behind,
    /// This one, and it was chosen.
    Configuration(Box<Configuration>),
    /// The sender's storage is not the one that the receiver knows.
    Stranger {
        /// The one that it knows.
        known: Generation,
    },
}

/// A proposal.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Accept {
    /// For which register.
    pub key: Key,
    /// The sender's.
    pub ballot: Ballot,
    /// What is proposed.
    pub state: State,
    /// A prepare of the sender that rides on it (§2.2.1): who accepts promises this.
    pub next: Ballot,
}

/// Some of the registers of which an acceptor holds something.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Page {
    /// What was asked.
    pub after: Option<Key>,
    /// Ascending.
    pub keys: Vec<Key>,
    /// Whether there are no more.
    pub end: bool,
    /// What it has promised for every register that is not there.
    pub floor: Ballot,
}

/// What an acceptor holds of a register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Held {
    /// What it has accepted.
    Vote(Vote),
    /// Nothing. It may have forgotten what it accepted up to this ballot.
    Nothing(Ballot),
}

/// Which phase of a round.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Phase {
    /// Prepare.
    One,
    /// Accept.
    Two,
}

/// Why an acceptor does not do what it is asked.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Nack {
    /// It has promised or accepted this ballot.
    Promised(Ballot),
    /// It has no room for another register, or for a longer value.
    Full,
}

impl Message {
    /// Whether this can be a message of `from` at all.
    pub(crate) fn is_plausible(&self, from: NodeId) -> bool {
        /// Far beyond what any cluster reaches in its lifetime.
        const LAST_EPOCH: u64 = 1 << 62;
        let sane = |ballot: &Ballot| ballot.round <= Ballot::LAST_ROUND && !ballot.is_fast();
        let mine = |ballot: &Ballot| sane(ballot) && ballot.proposer == from && ballot.round > 0;
        self.epoch.is_none_or(|epoch| epoch <= LAST_EPOCH)
            && match &self.body {
                Body::Prepare { ballot, .. } => mine(ballot),
                Body::Accept(accept) => {
                    mine(&accept.ballot)
                        && mine(&accept.next)
                        && accept.next > accept.ballot
                        && accept.state.is_of(accept.ballot)
                }
                Body::Promised { ballot, held, .. } => {
                    sane(ballot)
                        && match held {
                            Held::Vote(vote) => {
                                vote.ballot <= *ballot
                                    && vote.epoch <= LAST_EPOCH
                                    && vote.state.is_of(vote.ballot)
                            }
                            Held::Nothing(floor) => floor <= ballot,
                        }
                }
                Body::Refused { ballot, why, .. } => {
                    sane(ballot)
                        && match why {
                            Nack::Promised(promised) => sane(promised) && promised >= ballot,
                            Nack::Full => true,
                        }
                }
                Body::Accepted { ballot, .. } | Body::Purged { ballot, .. } => sane(ballot),
                Body::Purge { key, ballot } => *key != Key::Configuration && sane(ballot),
                Body::Keys(page) => {
                    let first = page.keys.first();
                    page.keys.windows(2).all(|pair| pair[0] < pair[1])
                        && first.is_none_or(|first| Some(first) > page.after.as_ref())
                        && sane(&page.floor)
                }
                Body::Configuration(configuration) => {
                    configuration.epoch() <= LAST_EPOCH && sane(&configuration.floor())
                }
                Body::List { .. } | Body::Behind | Body::Stranger { .. } => true,
            }
    }
}

impl State {
    /// Whether it can have been proposed in `ballot`: made in it or before, from what was before
    /// that.
    fn is_of(&self, ballot: Ballot) -> bool {
        let before = match self.before {
            super::Before::Version(before) | super::Before::Nothing(before) => before,
        };
        let made =
            self.version <= ballot && (self.version == Ballot::START || before <= self.version);
        let unmade = self.version == Ballot::START && self.value.is_some();
        made && before <= ballot && !unmade
    }
}
