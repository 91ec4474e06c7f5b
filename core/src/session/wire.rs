//! What a session's commands and answers look like in the log. Format version 1; see
//! `tests/it/golden_client.rs` for each of them in hex.

use core::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::SessionLimits;
use crate::{Decode, DecodeError, Encode, LogIndex};

/// The format version that this build writes, and the only one that it reads.
const VERSION: u8 = 1;

/// A client with a session: named by the place in the log where the session was opened, so that no
/// name is ever used again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ClientId(pub LogIndex);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "client{}", self.0.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A command for a state machine that is wrapped in [`Sessions`](super::Sessions).
///
/// `time` is the clock of whoever proposes it, in milliseconds since the Unix epoch: the server's,
/// not the client's, so that a wrong clock of a client expires nobody.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SessionCommand {
    /// A command outside of any session: applied each time it comes.
    Plain(Bytes),
    /// Opens a session. A second one with the same nonce finds the session of the first.
    Open {
        /// Drawn at random by the client.
        nonce: u64,
        /// In ms.
        time: u64,
    },
    /// A command that is applied once, however often it comes.
    Command {
        /// Whose.
        client: ClientId,
        /// Which of this client's. Any order, no number twice.
        seq: u64,
        /// The client waits for no answer below this one any more: they need not be kept.
        below: u64,
        /// In ms.
        time: u64,
        /// What the state machine is given.
        command: Bytes,
    },
    /// Ends a session.
    Close {
        /// Whose.
        client: ClientId,
        /// In ms.
        time: u64,
    },
    /// Changes the limits of the table, on all replicas at the same place.
    Limits(SessionLimits),
}

/// The answer to a [`SessionCommand`].
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum SessionResponse {
    /// A plain command was applied.
    Plain(Bytes),
    /// The session is open.
    Opened(ClientId),
    /// The command has been applied, once, now or before, with this response.
    Done(Bytes),
    /// The command has been applied, once, but its response is not kept any more.
    Stale,
    /// There is no such session (any more): this command was not applied now. Whether an earlier
    /// copy was is not known.
    Expired,
    /// The sequence number is too far ahead of what the client has acknowledged: not applied now.
    Ahead,
    /// The session is closed.
    Closed,
    /// The limits are changed.
    Limited,
    /// The bytes are no [`SessionCommand`]: not applied.
    Malformed,
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

impl Encode for ClientId {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
    }
}

impl Decode for ClientId {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        LogIndex::decode(input).map(Self)
    }
}

impl Encode for SessionCommand {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        match self {
            Self::Plain(command) => {
                out.put_u8(0);
                command.encode(out);
            }
            Self::Open { nonce, time } => {
                out.put_u8(1);
                nonce.encode(out);
                time.encode(out);
            }
            Self::Command {
                client,
                seq,
                below,
                time,
                command,
            } => {
                out.put_u8(2);
                client.encode(out);
                seq.encode(out);
                below.encode(out);
                time.encode(out);
                command.encode(out);
            }
            Self::Close { client, time } => {
                out.put_u8(3);
                client.encode(out);
                time.encode(out);
            }
            Self::Limits(limits) => {
                out.put_u8(4);
                limits.encode(out);
            }
        }
    }
}

impl Decode for SessionCommand {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        version(input, "session command")?;
        Ok(match u8::decode(input)? {
            0 => Self::Plain(Decode::decode(input)?),
            1 => Self::Open {
                nonce: Decode::decode(input)?,
                time: Decode::decode(input)?,
            },
            2 => Self::Command {
                client: Decode::decode(input)?,
                seq: Decode::decode(input)?,
                below: Decode::decode(input)?,
                time: Decode::decode(input)?,
                command: Decode::decode(input)?,
            },
            3 => Self::Close {
                client: Decode::decode(input)?,
                time: Decode::decode(input)?,
            },
            4 => Self::Limits(Decode::decode(input)?),
            tag => {
                return Err(DecodeError::Tag {
                    what: "session command",
                    tag,
                });
            }
        })
    }
}

impl Encode for SessionResponse {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(VERSION);
        match self {
            Self::Plain(response) => {
                out.put_u8(0);
                response.encode(out);
            }
            Self::Opened(client) => {
                out.put_u8(1);
                client.encode(out);
            }
            Self::Done(response) => {
                out.put_u8(2);
                response.encode(out);
            }
            Self::Stale => out.put_u8(3),
            Self::Expired => out.put_u8(4),
            Self::Ahead => out.put_u8(5),
            Self::Closed => out.put_u8(6),
            Self::Limited => out.put_u8(7),
            Self::Malformed => out.put_u8(8),
        }
    }
}

impl Decode for SessionResponse {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        version(input, "session response")?;
        Ok(match u8::decode(input)? {
            0 => Self::Plain(Decode::decode(input)?),
            1 => Self::Opened(Decode::decode(input)?),
            2 => Self::Done(Decode::decode(input)?),
            3 => Self::Stale,
            4 => Self::Expired,
            5 => Self::Ahead,
            6 => Self::Closed,
            7 => Self::Limited,
            8 => Self::Malformed,
            tag => {
                return Err(DecodeError::Tag {
                    what: "session response",
                    tag,
                });
            }
        })
    }
}

impl Encode for SessionLimits {
    fn encode(&self, out: &mut BytesMut) {
        self.ttl_ms.encode(out);
        self.sessions.encode(out);
        self.window.encode(out);
        self.cached_bytes.encode(out);
    }
}

impl Decode for SessionLimits {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            ttl_ms: Decode::decode(input)?,
            sessions: Decode::decode(input)?,
            window: Decode::decode(input)?,
            cached_bytes: Decode::decode(input)?,
        })
    }
}
