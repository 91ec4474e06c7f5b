//! What two nodes say to each other before the first frame.
//!
//! ```text
//! 0       5     6        8        12
//! | synod | tag | length | crc32  | body ...
//! ```
//!
//! All numbers are little-endian; the checksum covers tag and body. This layout, and what a hello
//! starts with, never change: two versions that have nothing else in common can tell each other so.
//! A later version may add to the end of a hello.

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::codec::need;
use synod_core::{ClusterId, Decode, DecodeError, Encode, GroupId, NodeId};

/// The protocol version that this build speaks.
pub const PROTOCOL: u16 = 1;

/// What every greeting starts with.
pub(crate) const MAGIC: [u8; 5] = *b"synod";

/// The bytes of a greeting before its body.
pub(crate) const HEADER: usize = 12;

/// The longest body that anyone has reason to send.
pub(crate) const LIMIT: usize = 512;

/// The first words of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Greeting {
    /// Who is there. The dialler speaks first; the other answers with its own.
    Hello(Hello),
    /// The connection is refused; the other end closes it and reports why.
    Refuse(Refusal),
    /// The connection is the link between the two nodes from now on, and replaces any other. Only
    /// the greater of the two node ids says so, so that both agree which connection it is; the
    /// number rises with each of its confirmations, so that one that arrives late is known as such.
    Confirm(u64),
}

/// Who is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hello {
    /// The oldest protocol version that the sender speaks.
    pub oldest: u16,
    /// The newest protocol version that the sender speaks.
    pub newest: u16,
    /// The sender's cluster.
    pub cluster: ClusterId,
    /// The groups that the sender wants to talk about.
    pub groups: Groups,
    /// The sender.
    pub from: NodeId,
    /// Whom the sender takes the receiver for.
    pub to: NodeId,
    /// A random number of this life of the sender's transport: tells a restarted node from one that
    /// dials twice.
    pub boot: u64,
    /// The longest frame body, in bytes, that the sender takes.
    pub max_frame: u32,
}

/// Which replicated groups a connection is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Groups {
    /// Only this one.
    One(GroupId),
    /// Many at once: each frame says which. Reserved; this build refuses it.
    Many,
}

/// Why a connection is refused. `ours` and `theirs` are as seen by the one who refuses.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No protocol version is known to both.
    #[error(
        "no common protocol version: ours are {} to {}, theirs are {} to {}",
        ours.0, ours.1, theirs.0, theirs.1
    )]
    Version {
        /// The versions of the one who refuses, oldest and newest.
        ours: (u16, u16),
        /// The versions of the other.
        theirs: (u16, u16),
    },
    /// The other belongs to another cluster.
    #[error("wrong cluster: ours is {ours}, theirs is {theirs}")]
    Cluster {
        /// The cluster of the one who refuses.
        ours: ClusterId,
        /// The cluster of the other.
        theirs: ClusterId,
    },
    /// The other wants to talk about other groups.
    #[error("wrong groups: ours are {ours:?}, theirs are {theirs:?}")]
    Groups {
        /// The groups of the one who refuses.
        ours: Groups,
        /// The groups of the other.
        theirs: Groups,
    },
    /// The other has our own node id: two nodes share an id, or a node has dialled itself.
    #[error("own id: both ends say that they are {0}")]
    OwnId(NodeId),
    /// The other took us for somebody else: its address book is wrong.
    #[error("wrong recipient: this is {ours}, the dialler wanted {wanted}")]
    Recipient {
        /// The one who refuses.
        ours: NodeId,
        /// Whom the other wanted.
        wanted: NodeId,
    },
    /// Somebody else answered than was dialled.
    #[error("unexpected node: dialled {dialled}, {theirs} answered")]
    Unexpected {
        /// Who was dialled.
        dialled: NodeId,
        /// Who answered.
        theirs: NodeId,
    },
    /// The other's certificate is not for the node id that it claims.
    #[error("the certificate does not belong to {0}")]
    Certificate(NodeId),
    /// The other is in no address book of ours.
    #[error("{0} is not a known peer")]
    UnknownPeer(NodeId),
    /// There are as many links as are allowed.
    #[error("no room for another peer: the limit is {0}")]
    Full(u64),
    /// The two nodes have a newer connection.
    #[error("another connection between the two nodes is newer")]
    Superseded,
    /// The node is shutting down.
    #[error("the node is shutting down")]
    Closing,
    /// A reason that this build does not know.
    #[error("a reason unknown to this version (code {0})")]
    Other(u8),
}

impl Encode for Greeting {
    fn encode(&self, out: &mut BytesMut) {
        let start = out.len();
        out.put_slice(&MAGIC);
        let tag = match self {
            Self::Hello(_) => 1,
            Self::Refuse(_) => 2,
            Self::Confirm(_) => 3,
        };
        out.put_u8(tag);
        out.put_bytes(0, HEADER - MAGIC.len() - 1);
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Refuse(refusal) => refusal.encode(out),
            Self::Confirm(number) => number.encode(out),
        }
        let length = u16::try_from(out.len() - start - HEADER).expect("greetings are short");
        out[start + 6..start + 8].copy_from_slice(&length.to_le_bytes());
        let sum = checksum(tag, &out[start + HEADER..]);
        out[start + 8..start + HEADER].copy_from_slice(&sum.to_le_bytes());
    }
}

/// How long the body behind this header is.
///
/// # Errors
///
/// [`DecodeError`] if this is no greeting, or a longer one than there can be.
pub(crate) fn body_len(header: &[u8; HEADER]) -> Result<usize, DecodeError> {
    if header[..MAGIC.len()] != MAGIC {
        return Err(DecodeError::Invalid {
            what: "greeting",
            why: "does not start as this protocol does",
        });
    }
    let len = usize::from(u16::from_le_bytes([header[6], header[7]]));
    if len > LIMIT {
        return Err(DecodeError::TooLong {
            what: "greeting",
            len: len as u64,
            limit: LIMIT as u64,
        });
    }
    Ok(len)
}

impl Decode for Greeting {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        need(input, "greeting", HEADER)?;
        let header = input.split_to(HEADER);
        let header: &[u8; HEADER] = header[..].try_into().expect("the length is checked above");
        let len = body_len(header)?;
        need(input, "greeting", len)?;
        let mut body = input.split_to(len);
        let tag = header[5];
        let found = u32::from_le_bytes([header[8], header[9], header[10], header[11]]);
        let computed = checksum(tag, &body);
        if found != computed {
            return Err(DecodeError::Checksum {
                what: "greeting",
                found,
                computed,
            });
        }
        match tag {
            1 => Hello::decode(&mut body).map(Self::Hello),
            2 => Refusal::decode(&mut body).map(Self::Refuse),
            3 => u64::decode(&mut body).map(Self::Confirm),
            tag => Err(DecodeError::Tag {
                what: "greeting",
                tag,
            }),
        }
    }
}

impl Encode for Hello {
    fn encode(&self, out: &mut BytesMut) {
        self.oldest.encode(out);
        self.newest.encode(out);
        self.cluster.encode(out);
        self.groups.encode(out);
        self.from.encode(out);
        self.to.encode(out);
        self.boot.encode(out);
        self.max_frame.encode(out);
    }
}

impl Decode for Hello {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            oldest: u16::decode(input)?,
            newest: u16::decode(input)?,
            cluster: ClusterId::decode(input)?,
            groups: Groups::decode(input)?,
            from: NodeId::decode(input)?,
            to: NodeId::decode(input)?,
            boot: u64::decode(input)?,
            max_frame: u32::decode(input)?,
        })
    }
}

impl Encode for Groups {
    fn encode(&self, out: &mut BytesMut) {
        // Always nine bytes, so that what follows in a hello stays in its place.
        let (tag, group) = match self {
            Self::One(group) => (0, *group),
            Self::Many => (1, GroupId(0)),
        };
        out.put_u8(tag);
        group.encode(out);
    }
}

impl Decode for Groups {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let tag = u8::decode(input)?;
        let group = GroupId::decode(input)?;
        match tag {
            0 => Ok(Self::One(group)),
            1 => Ok(Self::Many),
            tag => Err(DecodeError::Tag {
                what: "groups",
                tag,
            }),
        }
    }
}

impl Encode for Refusal {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(self.code());
        match self {
            Self::Version { ours, theirs } => (*ours, *theirs).encode(out),
            Self::Cluster { ours, theirs } => (*ours, *theirs).encode(out),
            Self::Groups { ours, theirs } => (*ours, *theirs).encode(out),
            Self::Recipient { ours, wanted } => (*ours, *wanted).encode(out),
            Self::Unexpected { dialled, theirs } => (*dialled, *theirs).encode(out),
            Self::OwnId(node) | Self::Certificate(node) | Self::UnknownPeer(node) => {
                node.encode(out);
            }
            Self::Full(limit) => limit.encode(out),
            Self::Superseded | Self::Closing | Self::Other(_) => {}
        }
    }
}

impl Refusal {
    const fn code(&self) -> u8 {
        match self {
            Self::Version { .. } => 1,
            Self::Cluster { .. } => 2,
            Self::Groups { .. } => 3,
            Self::OwnId(_) => 4,
            Self::Recipient { .. } => 5,
            Self::Unexpected { .. } => 6,
            Self::Certificate(_) => 7,
            Self::UnknownPeer(_) => 8,
            Self::Full(_) => 9,
            Self::Superseded => 10,
            Self::Closing => 11,
            Self::Other(code) => *code,
        }
    }
}

impl Decode for Refusal {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(match u8::decode(input)? {
            1 => {
                let (ours, theirs) = Decode::decode(input)?;
                Self::Version { ours, theirs }
            }
            2 => {
                let (ours, theirs) = Decode::decode(input)?;
                Self::Cluster { ours, theirs }
            }
            3 => {
                let (ours, theirs) = Decode::decode(input)?;
                Self::Groups { ours, theirs }
            }
            4 => Self::OwnId(NodeId::decode(input)?),
            5 => {
                let (ours, wanted) = Decode::decode(input)?;
                Self::Recipient { ours, wanted }
            }
            6 => {
                let (dialled, theirs) = Decode::decode(input)?;
                Self::Unexpected { dialled, theirs }
            }
            7 => Self::Certificate(NodeId::decode(input)?),
            8 => Self::UnknownPeer(NodeId::decode(input)?),
            9 => Self::Full(u64::decode(input)?),
            10 => Self::Superseded,
            11 => Self::Closing,
            code => Self::Other(code),
        })
    }
}

fn checksum(tag: u8, body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&[tag]);
    hasher.update(body);
    hasher.finalize()
}

#[cfg(test)]
#[path = "hello_tests.rs"]
mod tests;
