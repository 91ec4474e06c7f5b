//! The bytes of messages. Format version 1, carried by the frame around each; see
//! `tests/it/log/golden.rs` for each message in hex.

use alloc::boxed::Box;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

use super::Epoch;
use super::message::{Accept, Body, Message, Page, Piece};

impl Encode for Message {
    fn encode(&self, out: &mut BytesMut) {
        self.generation.encode(out);
        self.ballot.encode(out);
        self.epoch.0.encode(out);
        self.body.encode(out);
    }
}

impl Decode for Message {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            generation: Decode::decode(input)?,
            ballot: Decode::decode(input)?,
            epoch: Epoch(Decode::decode(input)?),
            body: Decode::decode(input)?,
        })
    }
}

impl Encode for Accept {
    fn encode(&self, out: &mut BytesMut) {
        self.entries.encode(out);
        self.chosen.encode(out);
        self.pushed.encode(out);
        self.round.encode(out);
        self.fast.encode(out);
    }
}

impl Decode for Accept {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            entries: Decode::decode(input)?,
            chosen: Decode::decode(input)?,
            pushed: Decode::decode(input)?,
            round: Decode::decode(input)?,
            fast: Decode::decode(input)?,
        })
    }
}

impl Encode for Page {
    fn encode(&self, out: &mut BytesMut) {
        self.after.encode(out);
        self.through.encode(out);
        self.runs.encode(out);
        self.chosen.encode(out);
        self.last.encode(out);
    }
}

impl Decode for Page {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            after: Decode::decode(input)?,
            through: Decode::decode(input)?,
            runs: Decode::decode(input)?,
            chosen: Decode::decode(input)?,
            last: Decode::decode(input)?,
        })
    }
}

impl Encode for Piece {
    fn encode(&self, out: &mut BytesMut) {
        self.meta.encode(out);
        self.offset.encode(out);
        self.chunk.encode(out);
    }
}

impl Decode for Piece {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            meta: Decode::decode(input)?,
            offset: Decode::decode(input)?,
            chunk: Decode::decode(input)?,
        })
    }
}

/// One tag for each kind of message; a tag is never used again for another.
mod tag {
    pub(super) const ASK: u8 = 1;
    pub(super) const BEAT: u8 = 2;
    pub(super) const TAKE_OVER: u8 = 3;
    pub(super) const PREPARE: u8 = 4;
    pub(super) const PROMISE: u8 = 5;
    pub(super) const NACK: u8 = 6;
    pub(super) const ACCEPT: u8 = 7;
    pub(super) const ACCEPTED: u8 = 8;
    pub(super) const FETCH: u8 = 9;
    pub(super) const PAGE: u8 = 10;
    pub(super) const PIECE: u8 = 11;
    pub(super) const PROPOSE: u8 = 12;
    pub(super) const PROPOSED: u8 = 13;
    pub(super) const READ: u8 = 14;
    pub(super) const READ_AT: u8 = 15;
    pub(super) const STRANGER: u8 = 16;
    pub(super) const QUORUM_READ: u8 = 17;
    pub(super) const QUORUM_READ_AT: u8 = 18;
    pub(super) const FILL: u8 = 19;
    pub(super) const LEASE: u8 = 20;
    pub(super) const GRANTED: u8 = 21;
    pub(super) const OFFER: u8 = 22;
    pub(super) const VOTED: u8 = 23;
}

impl Encode for Body {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Ask { round } => {
                out.put_u8(tag::ASK);
                round.encode(out);
            }
            Self::Beat {
                round,
                stands,
                follows,
                content,
                priority,
            } => {
                out.put_u8(tag::BEAT);
                round.encode(out);
                stands.encode(out);
                follows.encode(out);
                content.encode(out);
                priority.encode(out);
            }
            Self::TakeOver => out.put_u8(tag::TAKE_OVER),
            Self::Prepare { after } => {
                out.put_u8(tag::PREPARE);
                after.encode(out);
            }
            Self::Promise(page) => {
                out.put_u8(tag::PROMISE);
                page.encode(out);
            }
            Self::Nack => out.put_u8(tag::NACK),
            Self::Accept(accept) => {
                out.put_u8(tag::ACCEPT);
                accept.encode(out);
            }
            Self::Accepted { held, round } => {
                out.put_u8(tag::ACCEPTED);
                held.encode(out);
                round.encode(out);
            }
            Self::Fetch {
                after,
                through,
                votes,
                staged,
            } => {
                out.put_u8(tag::FETCH);
                after.encode(out);
                through.encode(out);
                votes.encode(out);
                staged.encode(out);
            }
            Self::Page(page) => {
                out.put_u8(tag::PAGE);
                page.encode(out);
            }
            Self::Piece(piece) => {
                out.put_u8(tag::PIECE);
                piece.encode(out);
            }
            Self::Propose {
                life,
                first,
                commands,
            } => {
                out.put_u8(tag::PROPOSE);
                life.encode(out);
                first.encode(out);
                commands.encode(out);
            }
            Self::Proposed {
                life,
                first,
                count,
                outcome,
            } => {
                out.put_u8(tag::PROPOSED);
                life.encode(out);
                first.encode(out);
                count.encode(out);
                outcome.encode(out);
            }
            Self::Read { life, ticket } => {
                out.put_u8(tag::READ);
                life.encode(out);
                ticket.encode(out);
            }
            Self::ReadAt {
                life,
                ticket,
                index,
            } => {
                out.put_u8(tag::READ_AT);
                life.encode(out);
                ticket.encode(out);
                index.ok().encode(out);
                if let Err(denial) = index {
                    denial.encode(out);
                }
            }
            Self::Offer(entries) => {
                out.put_u8(tag::OFFER);
                entries.encode(out);
            }
            Self::Voted(votes) => {
                out.put_u8(tag::VOTED);
                votes.encode(out);
            }
            Self::Stranger { known } => {
                out.put_u8(tag::STRANGER);
                known.encode(out);
            }
            Self::QuorumRead { life, round } => {
                out.put_u8(tag::QUORUM_READ);
                life.encode(out);
                round.encode(out);
            }
            Self::QuorumReadAt {
                life,
                round,
                last,
                chosen,
            } => {
                out.put_u8(tag::QUORUM_READ_AT);
                life.encode(out);
                round.encode(out);
                last.encode(out);
                chosen.encode(out);
            }
            Self::Lease { round, nanos } => {
                out.put_u8(tag::LEASE);
                round.encode(out);
                nanos.encode(out);
            }
            Self::Granted { round, nanos } => {
                out.put_u8(tag::GRANTED);
                round.encode(out);
                nanos.encode(out);
            }
            Self::Fill { through } => {
                out.put_u8(tag::FILL);
                through.encode(out);
            }
        }
    }
}

impl Decode for Body {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            tag::ASK => Self::Ask {
                round: Decode::decode(input)?,
            },
            tag::BEAT => Self::Beat {
                round: Decode::decode(input)?,
                stands: Decode::decode(input)?,
                follows: Decode::decode(input)?,
                content: Decode::decode(input)?,
                priority: Decode::decode(input)?,
            },
            tag::TAKE_OVER => Self::TakeOver,
            tag::PREPARE => Self::Prepare {
                after: Decode::decode(input)?,
            },
            tag::PROMISE => Self::Promise(Decode::decode(input)?),
            tag::NACK => Self::Nack,
            tag::ACCEPT => Self::Accept(Decode::decode(input)?),
            tag::ACCEPTED => Self::Accepted {
                held: Decode::decode(input)?,
                round: Decode::decode(input)?,
            },
            tag::FETCH => Self::Fetch {
                after: Decode::decode(input)?,
                through: Decode::decode(input)?,
                votes: Decode::decode(input)?,
                staged: Decode::decode(input)?,
            },
            tag::PAGE => Self::Page(Decode::decode(input)?),
            tag::PIECE => Self::Piece(Box::new(Decode::decode(input)?)),
            tag::PROPOSE => Self::Propose {
                life: Decode::decode(input)?,
                first: Decode::decode(input)?,
                commands: Decode::decode(input)?,
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
                index: match Decode::decode(input)? {
                    Some(index) => Ok(index),
                    None => Err(Decode::decode(input)?),
                },
            },
            tag::OFFER => Self::Offer(Decode::decode(input)?),
            tag::VOTED => Self::Voted(Decode::decode(input)?),
            tag::STRANGER => Self::Stranger {
                known: Decode::decode(input)?,
            },
            tag::QUORUM_READ => Self::QuorumRead {
                life: Decode::decode(input)?,
                round: Decode::decode(input)?,
            },
            tag::QUORUM_READ_AT => Self::QuorumReadAt {
                life: Decode::decode(input)?,
                round: Decode::decode(input)?,
                last: Decode::decode(input)?,
                chosen: Decode::decode(input)?,
            },
            tag::LEASE => Self::Lease {
                round: Decode::decode(input)?,
                nanos: Decode::decode(input)?,
            },
            tag::GRANTED => Self::Granted {
                round: Decode::decode(input)?,
                nanos: Decode::decode(input)?,
            },
            tag::FILL => Self::Fill {
                through: Decode::decode(input)?,
            },
            tag => {
                return Err(DecodeError::Tag {
                    what: "multi-paxos message",
                    tag,
                });
            }
        })
    }
}
