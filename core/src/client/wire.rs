//! What a client and a service say to each other. Format version 1; see
//! `tests/it/golden_client.rs` for each of them in hex.

use alloc::string::{String, ToString};
use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    ClientId, Decode, DecodeError, Encode, LogIndex, NodeId, ReadLevel, Refusal, SessionCommand,
    SessionToken,
};

/// The format version that this build writes, and the only one that it reads.
const VERSION: u8 = 1;

/// One request of an application to its [`Client`](super::Client).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct RequestId(pub u64);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One attempt at a request, on its way to a node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientRequest {
    /// Which request; the answer repeats it.
    pub id: RequestId,
    /// Which attempt at it; the answer repeats it.
    pub attempt: u32,
    /// What is asked.
    pub call: ClientCall,
}

/// What a client asks of a node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ClientCall {
    /// See [`SessionCommand::Open`].
    Open {
        /// Drawn at random by the client.
        nonce: u64,
    },
    /// See [`SessionCommand::Command`].
    Command {
        /// Whose.
        client: ClientId,
        /// Which.
        seq: u64,
        /// Answers below are not waited for any more.
        below: u64,
        /// What the state machine is given.
        command: Bytes,
    },
    /// A query, answered at this level.
    Read {
        /// What the state machine is asked.
        query: Bytes,
        /// How fresh the answer must be.
        level: ReadLevel,
    },
    /// See [`SessionCommand::Close`].
    Close {
        /// Whose.
        client: ClientId,
    },
}

impl ClientCall {
    /// What the node proposes to the log, with its own clock in ms since the Unix epoch. `None` for
    /// a read: that is not proposed.
    #[must_use]
    pub fn into_command(self, time: u64) -> Option<SessionCommand> {
        match self {
            Self::Open { nonce } => Some(SessionCommand::Open { nonce, time }),
            Self::Command {
                client,
                seq,
                below,
                command,
            } => Some(SessionCommand::Command {
                client,
                seq,
                below,
                time,
                command,
            }),
            Self::Read { .. } => None,
            Self::Close { client } => Some(SessionCommand::Close { client, time }),
        }
    }
}

/// A node's answer to one attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientResponse {
    /// See [`ClientRequest::id`].
    pub id: RequestId,
    /// See [`ClientRequest::attempt`].
    pub attempt: u32,
    /// The leader, if the node knows one.
    pub leader: Option<NodeId>,
    /// What came of it.
    pub answer: ClientAnswer,
}

/// What came of an attempt.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum ClientAnswer {
    /// The command is committed and was given to the state machine.
    Applied {
        /// Its place in the log.
        index: LogIndex,
        /// What [`Sessions`](crate::Sessions) answered: an encoded
        /// [`SessionResponse`](crate::SessionResponse).
        response: Bytes,
    },
    /// The answer to a query.
    Read {
        /// The last entry that had been applied.
        index: LogIndex,
        /// What the state machine answered.
        response: Bytes,
    },
    /// Nothing has happened and nothing will: another node must be asked.
    NotLeader,
    /// Nothing has happened and nothing will: ask again later.
    Busy,
    /// The node cannot tell what becomes of this attempt.
    Unknown,
    /// Nothing has happened and nothing will, and asking again would not help.
    Refused(String),
}

impl From<Refusal> for ClientAnswer {
    /// What to tell a client whose command or read was refused, on the spot or later.
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NotLeader | Refusal::NoLeader | Refusal::Stopped => Self::NotLeader,
            // Where it was sent on to, it may have been accepted.
            Refusal::TimedOut => Self::Unknown,
            Refusal::Busy { .. } | Refusal::ChangeUnderWay(_) => Self::Busy,
            Refusal::TooLarge { .. } | Refusal::Unsupported(_) | Refusal::BadChange { .. } => {
                Self::Refused(refusal.to_string())
            }
        }
    }
}

fn version(input: &mut Bytes, what: &'static str) -> Result<(), DecodeError> {
    match u8::decode(input)? {
        VERSION => Ok(()),
        found => Err(DecodeError::Version {
            what,
            found,
            supported: VERSION,
        }),
    }
}

impl Encode for RequestId {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
    }
}

impl Decode for RequestId {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        u64::decode(input).map(Self)
    }
}

impl Encode for ReadLevel {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Linearizable => out.put_u8(0),
            Self::Lease => out.put_u8(1),
            Self::Session(token) => {
                out.put_u8(2);
                token.0.encode(out);
            }
            Self::Stale => out.put_u8(3),
        }
    }
}

impl Decode for ReadLevel {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            0 => Self::Linearizable,
            1 => Self::Lease,
            2 => Self::Session(SessionToken(Decode::decode(input)?)),
            3 => Self::Stale,
            tag => {
                return Err(DecodeError::Tag {
                    what: "read level",
                    tag,
                });
            }
        })
    }
}

impl Encode for ClientRequest {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        self.id.encode(out);
        self.attempt.encode(out);
        match &self.call {
            ClientCall::Open { nonce } => {
                out.put_u8(0);
                nonce.encode(out);
            }
            ClientCall::Command {
                client,
                seq,
                below,
                command,
            } => {
                out.put_u8(1);
                client.encode(out);
                seq.encode(out);
                below.encode(out);
                command.encode(out);
            }
            ClientCall::Read { query, level } => {
                out.put_u8(2);
                level.encode(out);
                query.encode(out);
            }
            ClientCall::Close { client } => {
                out.put_u8(3);
                client.encode(out);
            }
        }
    }
}

impl Decode for ClientRequest {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        version(input, "client request")?;
        let id = Decode::decode(input)?;
        let attempt = Decode::decode(input)?;
        let call = match u8::decode(input)? {
            0 => ClientCall::Open {
                nonce: Decode::decode(input)?,
            },
            1 => ClientCall::Command {
                client: Decode::decode(input)?,
                seq: Decode::decode(input)?,
                below: Decode::decode(input)?,
                command: Decode::decode(input)?,
            },
            2 => ClientCall::Read {
                level: Decode::decode(input)?,
                query: Decode::decode(input)?,
            },
            3 => ClientCall::Close {
                client: Decode::decode(input)?,
            },
            tag => {
                return Err(DecodeError::Tag {
                    what: "client request",
                    tag,
                });
            }
        };
        Ok(Self { id, attempt, call })
    }
}

impl Encode for ClientResponse {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        self.id.encode(out);
        self.attempt.encode(out);
        self.leader.encode(out);
        match &self.answer {
            ClientAnswer::Applied { index, response } => {
                out.put_u8(0);
                index.encode(out);
                response.encode(out);
            }
            ClientAnswer::Read { index, response } => {
                out.put_u8(1);
                index.encode(out);
                response.encode(out);
            }
            ClientAnswer::NotLeader => out.put_u8(2),
            ClientAnswer::Busy => out.put_u8(3),
            ClientAnswer::Unknown => out.put_u8(4),
            ClientAnswer::Refused(reason) => {
                out.put_u8(5);
                reason.encode(out);
            }
        }
    }
}

impl Decode for ClientResponse {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        version(input, "client response")?;
        Ok(Self {
            id: Decode::decode(input)?,
            attempt: Decode::decode(input)?,
            leader: Decode::decode(input)?,
            answer: match u8::decode(input)? {
                0 => ClientAnswer::Applied {
                    index: Decode::decode(input)?,
                    response: Decode::decode(input)?,
                },
                1 => ClientAnswer::Read {
                    index: Decode::decode(input)?,
                    response: Decode::decode(input)?,
                },
                2 => ClientAnswer::NotLeader,
                3 => ClientAnswer::Busy,
                4 => ClientAnswer::Unknown,
                5 => ClientAnswer::Refused(Decode::decode(input)?),
                tag => {
                    return Err(DecodeError::Tag {
                        what: "client response",
                        tag,
                    });
                }
            },
        })
    }
}
