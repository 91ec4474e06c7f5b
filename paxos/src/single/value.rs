//! What is proposed, and how one proposal is told from another.

use core::fmt;

use bytes::{Bytes, BytesMut};
use synod_core::{Decode, DecodeError, Encode};

/// Who proposed a value, and the how manyth of its values it is.
///
/// Values are compared by this and never by their bytes: two clients that propose the same bytes
/// have proposed two values, and a client that proposes the same one again, to whichever node, has
/// proposed one. Whoever gives out names sees to it that no two clients share one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ValueId {
    /// The client.
    pub client: u64,
    /// Which of its values.
    pub sequence: u64,
}

impl fmt::Display for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}.{}", self.client, self.sequence)
    }
}

impl fmt::Debug for ValueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A value: its identity and its bytes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Value {
    /// What it is compared by.
    pub id: ValueId,
    /// What it says; the protocol does not look into it.
    pub payload: Bytes,
}

impl Value {
    /// The `sequence`-th value of `client`.
    #[must_use]
    pub const fn new(client: u64, sequence: u64, payload: Bytes) -> Self {
        Self {
            id: ValueId { client, sequence },
            payload,
        }
    }
}

/// 16 bytes: client and sequence.
impl Encode for ValueId {
    fn encode(&self, out: &mut BytesMut) {
        self.client.encode(out);
        self.sequence.encode(out);
    }
}

impl Decode for ValueId {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            client: Decode::decode(input)?,
            sequence: Decode::decode(input)?,
        })
    }
}

impl Encode for Value {
    fn encode(&self, out: &mut BytesMut) {
        self.id.encode(out);
        self.payload.encode(out);
    }
}

impl Decode for Value {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            id: Decode::decode(input)?,
            payload: Decode::decode(input)?,
        })
    }
}
