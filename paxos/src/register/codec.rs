//! The bytes of messages and records. Format version 1, carried by the frame around each; see
//! `tests/register/bytes_of.rs` for each in hex.

use alloc::boxed::Box;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

use crate::Ballot;
use crate::register::message::{Accept, Body, Held, Message, Nack, Page, Phase};
use crate::register::record::Record;
use crate::register::types::{Before, Key, State, Vote};

/// Writes a tag and the fields behind it.
macro_rules! put {
    ($out:expr, $tag:expr $(, $field:expr)*) => {{
        $out.put_u8($tag);
        $($field.encode($out);)*
    }};
}

const fn unknown<T>(what: &'static str, tag: u8) -> Result<T, DecodeError> {
    Err(DecodeError::Tag { what, tag })
}

impl Encode for Key {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Configuration => put!(out, 1),
            Self::Data(key) => put!(out, 2, key),
        }
    }
}

impl Decode for Key {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            1 => Ok(Self::Configuration),
            2 => Ok(Self::Data(Decode::decode(input)?)),
            tag => unknown("register key", tag),
        }
    }
}

impl Encode for State {
    fn encode(&self, out: &mut BytesMut) {
        self.version.encode(out);
        match self.before {
            Before::Version(ballot) => put!(out, 1, ballot),
            Before::Nothing(ballot) => put!(out, 2, ballot),
        }
        self.value.encode(out);
    }
}

impl Decode for State {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            version: Decode::decode(input)?,
            before: match u8::decode(input)? {
                1 => Before::Version(Decode::decode(input)?),
                2 => Before::Nothing(Decode::decode(input)?),
                tag => return unknown("register state", tag),
            },
            value: Decode::decode(input)?,
        })
    }
}

impl Encode for Vote {
    fn encode(&self, out: &mut BytesMut) {
        self.ballot.encode(out);
        self.epoch.encode(out);
        self.state.encode(out);
    }
}

impl Decode for Vote {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ballot: Decode::decode(input)?,
            epoch: Decode::decode(input)?,
            state: Decode::decode(input)?,
        })
    }
}

impl Encode for Held {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Vote(vote) => put!(out, 1, vote),
            Self::Nothing(floor) => put!(out, 2, floor),
        }
    }
}

impl Decode for Held {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            1 => Ok(Self::Vote(Decode::decode(input)?)),
            2 => Ok(Self::Nothing(Decode::decode(input)?)),
            tag => unknown("held", tag),
        }
    }
}

impl Encode for Phase {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(match self {
            Self::One => 1,
            Self::Two => 2,
        });
    }
}

impl Decode for Phase {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            1 => Ok(Self::One),
            2 => Ok(Self::Two),
            tag => unknown("phase", tag),
        }
    }
}

impl Encode for Nack {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Promised(ballot) => put!(out, 1, ballot),
            Self::Full => put!(out, 2),
        }
    }
}

impl Decode for Nack {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            1 => Ok(Self::Promised(Decode::decode(input)?)),
            2 => Ok(Self::Full),
            tag => unknown("nack", tag),
        }
    }
}

impl Encode for Accept {
    fn encode(&self, out: &mut BytesMut) {
        self.key.encode(out);
        self.ballot.encode(out);
        self.state.encode(out);
        self.next.encode(out);
    }
}

impl Decode for Accept {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            key: Decode::decode(input)?,
            ballot: Decode::decode(input)?,
            state: Decode::decode(input)?,
            next: Decode::decode(input)?,
        })
    }
}

impl Encode for Message {
    fn encode(&self, out: &mut BytesMut) {
        self.generation.encode(out);
        self.epoch.encode(out);
        self.body.encode(out);
    }
}

impl Decode for Message {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: Decode::decode(input)?,
            epoch: Decode::decode(input)?,
            body: Decode::decode(input)?,
        })
    }
}

/// One tag for each kind of message; a tag is never used again for another.
mod tag {
    pub(super) const PREPARE: u8 = 1;
    pub(super) const PROMISED: u8 = 2;
    pub(super) const ACCEPT: u8 = 3;
    pub(super) const ACCEPTED: u8 = 4;
    pub(super) const REFUSED: u8 = 5;
    pub(super) const PURGE: u8 = 6;
    pub(super) const PURGED: u8 = 7;
    pub(super) const LIST: u8 = 8;
    pub(super) const KEYS: u8 = 9;
    pub(super) const BEHIND: u8 = 10;
    pub(super) const CONFIGURATION: u8 = 11;
    pub(super) const STRANGER: u8 = 12;
}

impl Encode for Body {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Prepare { key, ballot, asked } => put!(out, tag::PREPARE, key, ballot, asked),
            Self::Promised {
                key,
                ballot,
                asked,
                held,
            } => put!(out, tag::PROMISED, key, ballot, asked, held),
            Self::Accept(accept) => put!(out, tag::ACCEPT, accept),
            Self::Accepted { key, ballot } => put!(out, tag::ACCEPTED, key, ballot),
            Self::Refused {
                key,
                phase,
                ballot,
                why,
            } => put!(out, tag::REFUSED, key, phase, ballot, why),
            Self::Purge { key, ballot } => put!(out, tag::PURGE, key, ballot),
            Self::Purged { key, ballot } => put!(out, tag::PURGED, key, ballot),
            Self::List { after } => put!(out, tag::LIST, after),
            Self::Keys(page) => {
                put!(out, tag::KEYS, page.after, page.keys, page.end, page.floor);
            }
            Self::Behind => put!(out, tag::BEHIND),
            Self::Configuration(configuration) => put!(out, tag::CONFIGURATION, configuration),
            Self::Stranger { known } => put!(out, tag::STRANGER, known),
        }
    }
}

impl Decode for Body {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let tag = u8::decode(input)?;
        let body = match tag {
            tag::PREPARE => Self::Prepare {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
                asked: Decode::decode(input)?,
            },
            tag::PROMISED => Self::Promised {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
                asked: Decode::decode(input)?,
                held: Decode::decode(input)?,
            },
            tag::ACCEPT => Self::Accept(Box::new(Decode::decode(input)?)),
            tag::ACCEPTED => Self::Accepted {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
            },
            tag::REFUSED => Self::Refused {
                key: Decode::decode(input)?,
                phase: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
                why: Decode::decode(input)?,
            },
            tag::PURGE => Self::Purge {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
            },
            tag::PURGED => Self::Purged {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
            },
            tag::LIST => Self::List {
                after: Decode::decode(input)?,
            },
            tag::KEYS => Self::Keys(Box::new(Page {
                after: Decode::decode(input)?,
                keys: Decode::decode(input)?,
                end: Decode::decode(input)?,
                floor: Decode::decode(input)?,
            })),
            tag::BEHIND => Self::Behind,
            tag::CONFIGURATION => Self::Configuration(Box::new(Decode::decode(input)?)),
            tag::STRANGER => Self::Stranger {
                known: Decode::decode(input)?,
            },
            tag => return unknown("register message", tag),
        };
        Ok(body)
    }
}

impl Encode for Record {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Identity { node, generation } => put!(out, 1, node, generation),
            Self::Rounds { through } => put!(out, 2, through),
            Self::Known { peer, generation } => put!(out, 3, peer, generation),
            Self::Configuration(configuration) => put!(out, 4, configuration),
            Self::Promise { key, ballot } => put!(out, 5, key, ballot),
            Self::Vote {
                key,
                vote,
                promised,
            } => put!(out, 6, key, vote, promised),
            Self::Purge { key, floor } => put!(out, 7, key, floor),
            Self::Floor { floor } => put!(out, 8, floor),
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let tag = u8::decode(input)?;
        let record = match tag {
            1 => Self::Identity {
                node: Decode::decode(input)?,
                generation: Decode::decode(input)?,
            },
            2 => Self::Rounds {
                through: u64::decode(input)?.min(Ballot::LAST_ROUND),
            },
            3 => Self::Known {
                peer: Decode::decode(input)?,
                generation: Decode::decode(input)?,
            },
            4 => Self::Configuration(Box::new(Decode::decode(input)?)),
            5 => Self::Promise {
                key: Decode::decode(input)?,
                ballot: Decode::decode(input)?,
            },
            6 => Self::Vote {
                key: Decode::decode(input)?,
                vote: Decode::decode(input)?,
                promised: Decode::decode(input)?,
            },
            7 => Self::Purge {
                key: Decode::decode(input)?,
                floor: Decode::decode(input)?,
            },
            8 => Self::Floor {
                floor: Decode::decode(input)?,
            },
            tag => return unknown("register record", tag),
        };
        Ok(record)
    }
}
