//! The application: a map from keys to values. This file is all that is replicated.
use std::collections::BTreeMap;

use bytes::Bytes;
use synod_core::{Chunks, Decode, DecodeError, Encode, LogIndex, MachineError, StateMachine};

/// What changes the map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Put(Bytes),
    Append(Bytes),
    Delete,
    /// Replaces what is there (`None`: nothing) if it is what is expected.
    Cas(Option<Bytes>, Bytes),
}

/// What a change answers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    Done,
    Length(u64),
    Was(bool),
    Malformed,
}

/// How much there is: the same on every replica that has applied the same commands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    /// Commands applied, in the whole life of the map.
    pub(crate) commands: u64,
    pub(crate) keys: u64,
    /// FNV-1a of all keys and values.
    pub(crate) digest: u64,
}

/// What is asked of the map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Query {
    Get(Bytes),
    Summary,
}

/// The map.
#[derive(Default)]
pub(crate) struct Store {
    map: BTreeMap<Bytes, Bytes>,
    commands: u64,
}

impl StateMachine for Store {
    fn apply(&mut self, _: LogIndex, command: &Bytes) -> Bytes {
        self.commands += 1;
        let Ok((key, change)) = <(Bytes, Change)>::decode_all(command.clone()) else {
            return Answer::Malformed.to_bytes();
        };
        self.change(key, change).to_bytes()
    }

    fn query(&self, query: &Bytes) -> Bytes {
        match Query::decode_all(query.clone()) {
            Ok(Query::Get(key)) => self.map.get(&key).cloned().to_bytes(),
            Ok(Query::Summary) => self.summary().to_bytes(),
            Err(_) => Bytes::new(),
        }
    }

    /// Values are shared, so that freezing costs a walk over the map and no copy of its contents.
    fn snapshot(&self) -> Result<Chunks, MachineError> {
        let pairs = self.map.clone().into_iter();
        let pieces = pairs.map(|pair| Ok(pair.to_bytes()));
        let header = Ok(self.commands.to_bytes());
        Ok(Chunks::new(std::iter::once(header).chain(pieces)))
    }

    fn restore(&mut self, snapshot: Chunks) -> Result<(), MachineError> {
        let mut rest = snapshot.collect_bytes()?;
        let damaged = |error: DecodeError| MachineError::new(error.to_string());
        let commands = u64::decode(&mut rest).map_err(damaged)?;
        let mut map = BTreeMap::new();
        while !rest.is_empty() {
            let (key, value) = Decode::decode(&mut rest).map_err(damaged)?;
            map.insert(key, value);
        }
        *self = Self { map, commands };
        Ok(())
    }
}

impl Store {
    fn change(&mut self, key: Bytes, change: Change) -> Answer {
        match change {
            Change::Put(value) => drop(self.map.insert(key, value)),
            Change::Delete => return Answer::Was(self.map.remove(&key).is_some()),
            Change::Cas(expected, value) => {
                let fits = self.map.get(&key) == expected.as_ref();
                if fits {
                    self.map.insert(key, value);
                }
                return Answer::Was(fits);
            }
            Change::Append(tail) => {
                let value = self.map.entry(key).or_default();
                *value = [&value[..], &tail[..]].concat().into();
                return Answer::Length(value.len() as u64);
            }
        }
        Answer::Done
    }

    fn summary(&self) -> Summary {
        let bytes = self.map.iter().flat_map(|(key, value)| [key, value]);
        let bytes = bytes.flat_map(|part| part.iter().chain(&[0]));
        let fnv = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Summary {
            commands: self.commands,
            keys: self.map.len() as u64,
            digest: bytes.fold(0xcbf2_9ce4_8422_2325, fnv),
        }
    }
}
