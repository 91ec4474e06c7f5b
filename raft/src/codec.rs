//! The bytes of messages. Format version 1, carried by the frame around each; see
//! `tests/it/golden.rs` for each message in hex.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

use crate::message::{Append, Body, Message, Piece};

impl Encode for Message {
    fn encode(&self, out: &mut BytesMut) {
        self.generation.encode(out);
        self.term.encode(out);
        self.body.encode(out);
    }
}

impl Decode for Message {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: Decode::decode(input)?,
            term: Decode::decode(input)?,
            body: Decode::decode(input)?,
        })
    }
}

impl Encode for Append {
    fn encode(&self, out: &mut BytesMut) {
        self.before.encode(out);
        self.entries.encode(out);
        self.commit.encode(out);
        self.round.encode(out);
    }
}

impl Decode for Append {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            before: Decode::decode(input)?,
            entries: Decode::decode(input)?,
            commit: Decode::decode(input)?,
            round: Decode::decode(input)?,
        })
    }
}

/// One tag for each kind of message; a tag is never used again for another.
mod tag {
    pub(super) const VOTE: u8 = 1;
    pub(super) const VOTED: u8 = 2;
    pub(super) const APPEND: u8 = 3;
    pub(super) const APPENDED: u8 = 4;
    pub(super) const CONFLICT: u8 = 5;
    pub(super) const SNAPSHOT: u8 = 6;
    pub(super) const SNAPSHOT_GOT: u8 = 7;
    pub(super) const PROPOSE: u8 = 8;
    pub(super) const PROPOSED: u8 = 9;
    pub(super) const READ: u8 = 10;
    pub(super) const READ_AT: u8 = 11;
    pub(super) const STRANGER: u8 = 12;
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
            Self::Vote { pre, last } => put!(out, tag::VOTE, pre, last),
            Self::Voted {
                pre,
                candidacy,
                granted,
            } => {
                put!(out, tag::VOTED, pre, candidacy, granted);
            }
            Self::Append(append) => put!(out, tag::APPEND, append),
            Self::Appended { matched, round } => put!(out, tag::APPENDED, matched, round),
            Self::Conflict { asked, hint, round } => put!(out, tag::CONFLICT, asked, hint, round),
            Self::Snapshot(piece) => put!(
                out,
                tag::SNAPSHOT,
                piece.meta,
                piece.offset,
                piece.chunk,
                piece.round
            ),
            Self::SnapshotGot { id, offset, round } => {
                put!(out, tag::SNAPSHOT_GOT, id, offset, round);
            }
            Self::Propose {
                life,
                first,
                commands,
            } => {
                put!(out, tag::PROPOSE, life, first, commands);
            }
            Self::Proposed {
                life,
                first,
                count,
                outcome,
            } => {
                put!(out, tag::PROPOSED, life, first, count, outcome);
            }
            Self::Read { life, ticket } => put!(out, tag::READ, life, ticket),
            Self::ReadAt {
                life,
                ticket,
                index,
            } => {
                put!(out, tag::READ_AT, life, ticket, index.ok(), index.err());
            }
            Self::Stranger { known } => put!(out, tag::STRANGER, known),
        }
    }
}

impl Decode for Body {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let body = match u8::decode(input)? {
            tag::VOTE => Self::Vote {
                pre: Decode::decode(input)?,
                last: Decode::decode(input)?,
            },
            tag::VOTED => Self::Voted {
                pre: Decode::decode(input)?,
                candidacy: Decode::decode(input)?,
                granted: Decode::decode(input)?,
            },
            tag::APPEND => Self::Append(Decode::decode(input)?),
            tag::APPENDED => Self::Appended {
                matched: Decode::decode(input)?,
                round: Decode::decode(input)?,
            },
            tag::CONFLICT => Self::Conflict {
                asked: Decode::decode(input)?,
                hint: Decode::decode(input)?,
                round: Decode::decode(input)?,
            },
            tag::SNAPSHOT => Self::Snapshot(Box::new(Piece {
                meta: Decode::decode(input)?,
                offset: Decode::decode(input)?,
                chunk: Decode::decode(input)?,
                round: Decode::decode(input)?,
            })),
            tag::SNAPSHOT_GOT => Self::SnapshotGot {
                id: Decode::decode(input)?,
                offset: Decode::decode(input)?,
                round: Decode::decode(input)?,
            },
            tag::PROPOSE => Self::Propose {
                life: Decode::decode(input)?,
                first: Decode::decode(input)?,
                commands: Vec::decode(input)?,
            },
            tag::PROPOSED => Self::Proposed {
                life: Decode::decode(input)?,
                first: Decode::decode(input)?,
                count: Decode::decode(input)?,
                outcome: Decode::decode(input)?,
            },
            tag::READ => Self::Read {
                life: Decode::decode(input)?,
                ticket: Decode::decode(input)?,
            },
            tag::READ_AT => Self::ReadAt {
                life: Decode::decode(input)?,
                ticket: Decode::decode(input)?,
                index: match (Option::decode(input)?, Option::decode(input)?) {
                    (Some(index), None) => Ok(index),
                    (None, Some(denial)) => Err(denial),
                    (None, None) | (Some(_), Some(_)) => {
                        let why = "is neither an index nor a denial";
                        return Err(DecodeError::Invalid {
                            what: "read answer",
                            why,
                        });
                    }
                },
            },
            tag::STRANGER => Self::Stranger {
                known: Decode::decode(input)?,
            },
            tag => {
                return Err(DecodeError::Tag {
                    what: "raft message",
                    tag,
                });
            }
        };
        Ok(body)
    }
}
