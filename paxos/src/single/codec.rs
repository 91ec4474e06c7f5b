//! The bytes of messages and records. Format version 1, carried by the frame around each; see
//! `tests/single/golden.rs` for each of them in hex.

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

use super::{Body, Message, Record, Vote};

impl Encode for Message {
    fn encode(&self, out: &mut BytesMut) {
        self.generation.encode(out);
        self.body.encode(out);
    }
}

impl Decode for Message {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: Decode::decode(input)?,
            body: Decode::decode(input)?,
        })
    }
}

impl Encode for Vote {
    fn encode(&self, out: &mut BytesMut) {
        self.ballot.encode(out);
        self.value.encode(out);
    }
}

impl Decode for Vote {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ballot: Decode::decode(input)?,
            value: Decode::decode(input)?,
        })
    }
}

/// One tag for each kind; a tag is never used again for another.
mod tag {
    pub(super) const PREPARE: u8 = 1;
    pub(super) const PROMISE: u8 = 2;
    pub(super) const ACCEPT: u8 = 3;
    pub(super) const ANY: u8 = 4;
    pub(super) const ACCEPTED: u8 = 5;
    pub(super) const REFUSED: u8 = 6;
    pub(super) const PROPOSE: u8 = 7;
    pub(super) const CHOSEN: u8 = 8;
    pub(super) const ASK: u8 = 9;
    pub(super) const COMPLETE: u8 = 10;
    pub(super) const STRANGER: u8 = 11;
}

/// Writes a tag and the fields behind it.
macro_rules! put {
    ($out:expr, $tag:expr $(, $field:expr)*) => {{
        $out.put_u8($tag);
        $($field.encode($out);)*
    }};
}

impl Encode for Body {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Prepare { ballot } => put!(out, tag::PREPARE, ballot),
            Self::Promise { ballot, vote } => put!(out, tag::PROMISE, ballot, vote),
            Self::Accept { ballot, value } => put!(out, tag::ACCEPT, ballot, value),
            Self::Any { ballot } => put!(out, tag::ANY, ballot),
            Self::Accepted { vote, promised } => put!(out, tag::ACCEPTED, vote, promised),
            Self::Refused { ballot, promised } => put!(out, tag::REFUSED, ballot, promised),
            Self::Propose { value } => put!(out, tag::PROPOSE, value),
            Self::Chosen { value } => put!(out, tag::CHOSEN, value),
            Self::Ask => put!(out, tag::ASK),
            Self::Complete => put!(out, tag::COMPLETE),
            Self::Stranger { known } => put!(out, tag::STRANGER, known),
        }
    }
}

impl Decode for Body {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let body = match u8::decode(input)? {
            tag::PREPARE => Self::Prepare {
                ballot: Decode::decode(input)?,
            },
            tag::PROMISE => Self::Promise {
                ballot: Decode::decode(input)?,
                vote: Decode::decode(input)?,
            },
            tag::ACCEPT => Self::Accept {
                ballot: Decode::decode(input)?,
                value: Decode::decode(input)?,
            },
            tag::ANY => Self::Any {
                ballot: Decode::decode(input)?,
            },
            tag::ACCEPTED => Self::Accepted {
                vote: Decode::decode(input)?,
                promised: Decode::decode(input)?,
            },
            tag::REFUSED => Self::Refused {
                ballot: Decode::decode(input)?,
                promised: Decode::decode(input)?,
            },
            tag::PROPOSE => Self::Propose {
                value: Decode::decode(input)?,
            },
            tag::CHOSEN => Self::Chosen {
                value: Decode::decode(input)?,
            },
            tag::ASK => Self::Ask,
            tag::COMPLETE => Self::Complete,
            tag::STRANGER => Self::Stranger {
                known: Decode::decode(input)?,
            },
            tag => {
                let what = "paxos message";
                return Err(DecodeError::Tag { what, tag });
            }
        };
        Ok(body)
    }
}

/// As [`tag`], for what is on disk.
mod kept {
    pub(super) const STORAGE: u8 = 1;
    pub(super) const BALLOT: u8 = 2;
    pub(super) const PROMISED: u8 = 3;
    pub(super) const VOTED: u8 = 4;
    pub(super) const CHOSEN: u8 = 5;
    pub(super) const KNOWN: u8 = 6;
    pub(super) const FENCED: u8 = 7;
}

impl Encode for Record {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Storage { node, generation } => put!(out, kept::STORAGE, node, generation),
            Self::Ballot(ballot) => put!(out, kept::BALLOT, ballot),
            Self::Promised(ballot) => put!(out, kept::PROMISED, ballot),
            Self::Voted { vote, promised } => put!(out, kept::VOTED, vote, promised),
            Self::Chosen(value) => put!(out, kept::CHOSEN, value),
            Self::Known { node, generation } => put!(out, kept::KNOWN, node, generation),
            Self::Fenced { known } => put!(out, kept::FENCED, known),
        }
    }
}

impl Decode for Record {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let record = match u8::decode(input)? {
            kept::STORAGE => Self::Storage {
                node: Decode::decode(input)?,
                generation: Decode::decode(input)?,
            },
            kept::BALLOT => Self::Ballot(Decode::decode(input)?),
            kept::PROMISED => Self::Promised(Decode::decode(input)?),
            kept::VOTED => Self::Voted {
                vote: Decode::decode(input)?,
                promised: Decode::decode(input)?,
            },
            kept::CHOSEN => Self::Chosen(Decode::decode(input)?),
            kept::KNOWN => Self::Known {
                node: Decode::decode(input)?,
                generation: Decode::decode(input)?,
            },
            kept::FENCED => Self::Fenced {
                known: Decode::decode(input)?,
            },
            tag => {
                let what = "paxos record";
                return Err(DecodeError::Tag { what, tag });
            }
        };
        Ok(record)
    }
}
