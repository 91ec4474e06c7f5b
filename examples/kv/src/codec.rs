//! The bytes of the store's commands, queries and answers.

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

use crate::store::{Answer, Change, Query, Summary};

const fn unknown(what: &'static str, tag: u8) -> DecodeError {
    DecodeError::Tag { what, tag }
}

impl Encode for Change {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Put(value) => {
                out.put_u8(0);
                value.encode(out);
            }
            Self::Append(tail) => {
                out.put_u8(1);
                tail.encode(out);
            }
            Self::Delete => out.put_u8(2),
            Self::Cas(expected, value) => {
                out.put_u8(3);
                expected.encode(out);
                value.encode(out);
            }
        }
    }
}

impl Decode for Change {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Put(Decode::decode(input)?),
            1 => Self::Append(Decode::decode(input)?),
            2 => Self::Delete,
            3 => Self::Cas(Decode::decode(input)?, Decode::decode(input)?),
            tag => return Err(unknown("change", tag)),
        })
    }
}

impl Encode for Answer {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Done => out.put_u8(0),
            Self::Length(length) => {
                out.put_u8(1);
                length.encode(out);
            }
            Self::Was(was) => {
                out.put_u8(2);
                was.encode(out);
            }
            Self::Malformed => out.put_u8(3),
        }
    }
}

impl Decode for Answer {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Done,
            1 => Self::Length(Decode::decode(input)?),
            2 => Self::Was(Decode::decode(input)?),
            3 => Self::Malformed,
            tag => return Err(unknown("answer", tag)),
        })
    }
}

impl Encode for Query {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Get(key) => {
                out.put_u8(0);
                key.encode(out);
            }
            Self::Summary => out.put_u8(1),
        }
    }
}

impl Decode for Query {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Get(Decode::decode(input)?),
            1 => Self::Summary,
            tag => return Err(unknown("query", tag)),
        })
    }
}

impl Encode for Summary {
    fn encode(&self, out: &mut BytesMut) {
        self.commands.encode(out);
        self.keys.encode(out);
        self.digest.encode(out);
    }
}

impl Decode for Summary {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            commands: Decode::decode(input)?,
            keys: Decode::decode(input)?,
            digest: Decode::decode(input)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use synod_core::{LogIndex, StateMachine};

    use crate::store::Store;

    fn there_and_back<T: Encode + Decode + PartialEq + core::fmt::Debug>(value: &T) {
        assert_eq!(T::decode_all(value.to_bytes()).as_ref(), Ok(value));
    }

    #[test]
    fn everything_comes_back_as_it_was() {
        there_and_back(&Change::Put("v".into()));
        there_and_back(&Change::Append("v".into()));
        there_and_back(&Change::Delete);
        there_and_back(&Change::Cas(None, "v".into()));
        for answer in [
            Answer::Done,
            Answer::Length(3),
            Answer::Was(true),
            Answer::Malformed,
        ] {
            there_and_back(&answer);
        }
        there_and_back(&Query::Get("k".into()));
        there_and_back(&Query::Summary);
    }

    fn give(store: &mut Store, key: &'static str, change: Change) -> Answer {
        let command = (Bytes::from(key), change).to_bytes();
        Answer::decode_all(store.apply(LogIndex(1), &command)).expect("an answer")
    }

    fn get(store: &Store, key: &'static str) -> Option<Bytes> {
        let answer = store.query(&Query::Get(key.into()).to_bytes());
        Option::decode_all(answer).expect("an answer")
    }

    #[test]
    fn the_store_does_what_it_is_told_and_survives_a_snapshot() {
        let mut store = Store::default();
        assert_eq!(give(&mut store, "a", Change::Put("1".into())), Answer::Done);
        assert_eq!(
            give(&mut store, "a", Change::Append("23".into())),
            Answer::Length(3)
        );
        let swap = Change::Cas(Some("123".into()), "4".into());
        assert_eq!(give(&mut store, "a", swap.clone()), Answer::Was(true));
        assert_eq!(give(&mut store, "a", swap), Answer::Was(false));
        assert_eq!(give(&mut store, "b", Change::Delete), Answer::Was(false));
        assert_eq!(
            give(&mut store, "b", Change::Cas(None, "x".into())),
            Answer::Was(true)
        );

        let mut copy = Store::default();
        let snapshot = store.snapshot().expect("a snapshot");
        copy.restore(snapshot).expect("it was just taken");
        assert_eq!(get(&copy, "a"), Some("4".into()));
        let summary = |store: &Store| store.query(&Query::Summary.to_bytes());
        assert_eq!(summary(&copy), summary(&store));
        let nonsense = store.apply(LogIndex(9), &Bytes::from_static(b"\xff"));
        assert_eq!(Answer::decode_all(nonsense), Ok(Answer::Malformed));
    }
}
