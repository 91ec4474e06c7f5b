//! What must be durable, and what a restart reads back.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::{Generation, NodeId};

use crate::Ballot;
use crate::register::{Configuration, Key, Vote};

/// One thing to store. Each is whole by itself, so a write may be torn between any two; a later one
/// of the same [`slot`](Self::slot) takes the place of an earlier one, [`Floor`](Self::Floor) and
/// [`Configuration`](Self::Configuration) may empty other slots as well ([`Restored::apply`]).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum Record {
    /// Whose storage it is: the first record of all.
    Identity {
        /// The node.
        node: NodeId,
        /// The life of the storage.
        generation: Generation,
    },
    /// Every round up to this may have been used by this node as a proposer.
    Rounds {
        /// The last.
        through: u64,
    },
    /// The life of a peer's storage.
    Known {
        /// The peer.
        peer: NodeId,
        /// Its.
        generation: Generation,
    },
    /// The configuration that is in force here.
    Configuration(Box<Configuration>),
    /// A promise.
    Promise {
        /// Of which register.
        key: Key,
        /// Nothing below it.
        ballot: Ballot,
    },
    /// A vote and the promise that came with it: one record, so that they never part.
    Vote {
        /// Of which register.
        key: Key,
        /// What was accepted.
        vote: Vote,
        /// Nothing below it.
        promised: Ballot,
    },
    /// A register is gone.
    Purge {
        /// Which one.
        key: Key,
        /// Promised for every register that is not there.
        floor: Ballot,
    },
    /// Promises of registers that hold nothing are folded into one.
    Floor {
        /// Promised for every register that is not there.
        floor: Ballot,
    },
}

/// Where a [`Record`] goes in a storage that keeps the latest of each.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Slot {
    /// [`Record::Identity`].
    Identity,
    /// [`Record::Rounds`].
    Rounds,
    /// [`Record::Known`].
    Known(NodeId),
    /// [`Record::Configuration`].
    Configuration,
    /// [`Record::Floor`], and the floor of [`Record::Purge`].
    Floor,
    /// [`Record::Promise`], [`Record::Vote`]; emptied by [`Record::Purge`].
    Register(Key),
}

/// What a storage holds: an empty one is the default. A storage that is a log applies its records
/// in order to get here; [`records`](Self::records) is what a log can be replaced by.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Restored {
    /// Whose it is, and its life.
    pub identity: Option<(NodeId, Generation)>,
    /// Every round up to this may have been used.
    pub rounds: u64,
    /// The lives of peers' storages.
    pub known: BTreeMap<NodeId, Generation>,
    /// The configuration in force.
    pub configuration: Option<Box<Configuration>>,
    /// Promised for every register that is not there.
    pub floor: Ballot,
    /// The registers.
    pub registers: BTreeMap<Key, Register>,
}

/// What an acceptor has promised and accepted for one register.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Register {
    /// Nothing below it will be accepted.
    pub promised: Ballot,
    /// The last that was.
    pub vote: Option<Vote>,
}

impl Record {
    /// Where it goes.
    #[must_use]
    pub fn slot(&self) -> Slot {
        match self {
            Self::Identity { .. } => Slot::Identity,
            Self::Rounds { .. } => Slot::Rounds,
            Self::Known { peer, .. } => Slot::Known(*peer),
            Self::Configuration(_) => Slot::Configuration,
            Self::Promise { key, .. } | Self::Vote { key, .. } | Self::Purge { key, .. } => {
                Slot::Register(key.clone())
            }
            Self::Floor { .. } => Slot::Floor,
        }
    }
}

impl Restored {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record. The node does the same to its own state when it writes one: what it
    /// is and what a restart would read cannot differ.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Identity { node, generation } => self.identity = Some((node, generation)),
            Record::Rounds { through } => self.rounds = self.rounds.max(through),
            Record::Known { peer, generation } => {
                self.known.insert(peer, generation);
            }
            Record::Configuration(configuration) => self.adopt(configuration),
            Record::Promise { key, ballot } => {
                let empty = Register {
                    promised: ballot,
                    vote: None,
                };
                self.registers.entry(key).or_insert(empty).promised = ballot;
            }
            Record::Vote {
                key,
                vote,
                promised,
            } => {
                let vote = Some(vote);
                self.registers.insert(key, Register { promised, vote });
            }
            Record::Purge { key, floor } => {
                self.registers.remove(&key);
                self.floor = self.floor.max(floor);
            }
            Record::Floor { floor } => {
                self.floor = self.floor.max(floor);
                self.registers
                    .retain(|_, register| register.vote.is_some() || register.promised > floor);
            }
        }
    }

    /// A node that was no acceptor in between starts empty: what it held may have been purged
    /// everywhere else since, and would come back to life with it. What it has promised it keeps.
    fn adopt(&mut self, configuration: Box<Configuration>) {
        let before = self.configuration.as_ref().map(|it| it.epoch());
        let me = self.identity.map(|(node, _)| node);
        let since = me.and_then(|me| configuration.member_since(me));
        if since.is_none() || before.is_none_or(|before| since > Some(before)) {
            self.floor = self.floor.max(self.highest());
            self.registers.clear();
        }
        self.floor = self.floor.max(configuration.floor());
        self.configuration = Some(configuration);
    }

    /// The highest ballot that was promised or accepted.
    fn highest(&self) -> Ballot {
        let promised = self.registers.values().map(|register| register.promised);
        promised.max().unwrap_or(Ballot::START)
    }

    /// The same as few records.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if let Some((node, generation)) = self.identity {
            records.push(Record::Identity { node, generation });
        }
        let through = self.rounds;
        records.push(Record::Rounds { through });
        let known = self.known.iter();
        records.extend(known.map(|(&peer, &generation)| Record::Known { peer, generation }));
        records.extend(self.configuration.clone().map(Record::Configuration));
        records.push(Record::Floor { floor: self.floor });
        records.extend(self.registers.iter().map(|(key, register)| {
            let (key, promised) = (key.clone(), register.promised);
            match register.vote.clone() {
                Some(vote) => Record::Vote {
                    key,
                    vote,
                    promised,
                },
                None => Record::Promise {
                    key,
                    ballot: promised,
                },
            }
        }));
        records
    }

    /// What is promised and accepted for `key`.
    pub(crate) fn view(&self, key: &Key) -> (Ballot, Option<&Vote>) {
        match self.registers.get(key) {
            Some(Register {
                promised,
                vote: Some(vote),
            }) => (*promised, Some(vote)),
            Some(register) => (register.promised.max(self.floor), None),
            None => (self.floor, None),
        }
    }
}
