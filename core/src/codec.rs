//! Bytes for the wire and the disk: versioned by their frame, length-checked, without copies of
//! payloads.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Writes itself as bytes.
pub trait Encode {
    /// Appends this value to `out`.
    fn encode(&self, out: &mut BytesMut);

    /// This value alone, as bytes.
    fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        self.encode(&mut out);
        out.freeze()
    }
}

/// Reads itself from bytes.
pub trait Decode: Sized {
    /// Takes a value off the front of `input`. Payloads share `input`'s memory.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] for any bytes that [`Encode`] does not write. Never panics, and never
    /// reserves more memory than a small multiple of what `input` holds.
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError>;

    /// Reads a value that must fill `input` exactly.
    ///
    /// # Errors
    ///
    /// [`DecodeError`], also for bytes left over.
    fn decode_all(mut input: Bytes) -> Result<Self, DecodeError> {
        let value = Self::decode(&mut input)?;
        match input.len() {
            0 => Ok(value),
            left => Err(DecodeError::Trailing { left }),
        }
    }
}

/// Why bytes are not what they should be.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends too early.
    #[error("{what} needs {needed} bytes, {left} are left")]
    Short {
        /// What was being read.
        what: &'static str,
        /// How many bytes that takes.
        needed: u64,
        /// How many there are.
        left: usize,
    },
    /// A tag that no version so far has written.
    #[error("{what} has the unknown tag {tag}")]
    Tag {
        /// What was being read.
        what: &'static str,
        /// The tag.
        tag: u8,
    },
    /// A format version that this build does not read.
    #[error("{what} has format version {found}, this build reads {supported}")]
    Version {
        /// What was being read.
        what: &'static str,
        /// What it says.
        found: u8,
        /// What is known.
        supported: u8,
    },
    /// A length or count above its limit.
    #[error("{what} is {len}, the limit is {limit}")]
    TooLong {
        /// What was being read.
        what: &'static str,
        /// What it says.
        len: u64,
        /// The limit.
        limit: u64,
    },
    /// A checksum that does not match.
    #[error("{what} has checksum {found:08x}, its contents have {computed:08x}")]
    Checksum {
        /// What was being read.
        what: &'static str,
        /// What it says.
        found: u32,
        /// What it should say.
        computed: u32,
    },
    /// A value that makes no sense.
    #[error("{what}: {why}")]
    Invalid {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Bytes behind the end.
    #[error("{left} bytes are left over")]
    Trailing {
        /// How many.
        left: usize,
    },
}

/// Checks that `input` holds `needed` more bytes.
///
/// # Errors
///
/// [`DecodeError::Short`].
pub const fn need(input: &Bytes, what: &'static str, needed: usize) -> Result<(), DecodeError> {
    // `Bytes::len` is the remaining length: decoding takes from the front.
    if input.len() < needed {
        return Err(DecodeError::Short {
            what,
            needed: needed as u64,
            left: input.len(),
        });
    }
    Ok(())
}

macro_rules! fixed {
    ($($type:ty, $get:ident, $put:ident;)*) => {$(
        impl Encode for $type {
            fn encode(&self, out: &mut BytesMut) {
                out.$put(*self);
            }
        }

        impl Decode for $type {
            fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
                need(input, stringify!($type), size_of::<$type>())?;
                Ok(input.$get())
            }
        }
    )*};
}

fixed! {
    u8, get_u8, put_u8;
    u16, get_u16_le, put_u16_le;
    u32, get_u32_le, put_u32_le;
    u64, get_u64_le, put_u64_le;
}

impl Encode for bool {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(u8::from(*self));
    }
}

impl Decode for bool {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match u8::decode(input)? {
            0 => Ok(false),
            1 => Ok(true),
            tag => Err(DecodeError::Tag { what: "bool", tag }),
        }
    }
}

/// A length of 4 bytes, then the bytes.
///
/// # Panics
///
/// On 4 GiB or more: limits far below keep such a value from existing.
impl Encode for Bytes {
    fn encode(&self, out: &mut BytesMut) {
        encode_len(self.len(), out);
        out.extend_from_slice(self);
    }
}

impl Decode for Bytes {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let len = u32::decode(input)? as usize;
        need(input, "bytes", len)?;
        Ok(input.split_to(len))
    }
}

impl Encode for str {
    fn encode(&self, out: &mut BytesMut) {
        encode_len(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Encode for String {
    fn encode(&self, out: &mut BytesMut) {
        self.as_str().encode(out);
    }
}

impl Decode for String {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let bytes = Bytes::decode(input)?;
        let text = core::str::from_utf8(&bytes).map_err(|_| DecodeError::Invalid {
            what: "string",
            why: "is not utf-8",
        })?;
        Ok(text.into())
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, out: &mut BytesMut) {
        self.is_some().encode(out);
        if let Some(value) = self {
            value.encode(out);
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(if bool::decode(input)? {
            Some(T::decode(input)?)
        } else {
            None
        })
    }
}

impl<T: Encode> Encode for [T] {
    fn encode(&self, out: &mut BytesMut) {
        encode_len(self.len(), out);
        self.iter().for_each(|item| item.encode(out));
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, out: &mut BytesMut) {
        self.as_slice().encode(out);
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let count = decode_count(input, "list")?;
        let mut items = Self::with_capacity(count.min(64));
        for _ in 0..count {
            items.push(T::decode(input)?);
        }
        Ok(items)
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, out: &mut BytesMut) {
        self.0.encode(out);
        self.1.encode(out);
    }
}

impl<A: Decode, B: Decode> Decode for (A, B) {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok((A::decode(input)?, B::decode(input)?))
    }
}

/// Writes a length or count.
///
/// # Panics
///
/// From 2^32 on: limits far below keep such a value from existing.
pub fn encode_len(len: usize, out: &mut BytesMut) {
    out.put_u32_le(u32::try_from(len).expect("limits keep lengths far below 2^32"));
}

/// Reads a count of items, each of which takes at least one byte: more than that many bytes are
/// left, or the count is wrong.
///
/// # Errors
///
/// [`DecodeError::Short`].
pub fn decode_count(input: &mut Bytes, what: &'static str) -> Result<usize, DecodeError> {
    let count = u32::decode(input)? as usize;
    need(input, what, count)?;
    Ok(count)
}

macro_rules! newtype {
    ($($type:ident)*) => {$(
        impl Encode for crate::$type {
            fn encode(&self, out: &mut BytesMut) {
                self.0.encode(out);
            }
        }

        impl Decode for crate::$type {
            fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
                u64::decode(input).map(Self)
            }
        }
    )*};
}

newtype! { NodeId GroupId ClusterId Generation LogIndex Ticket LinkId }
