//! The envelope of every message on a wire and every record in a log: length, checksum, format
//! version and group, from the first version on.
//!
//! ```text
//! 0        4        8   9          17
//! | length | crc32  | v | group    | body ...
//! ```
//!
//! All numbers are little-endian. `length` counts what follows the checksum (version, group and
//! body), and the checksum (CRC-32, IEEE 802.3) covers the same bytes and the length.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::{Decode, DecodeError, Encode, GroupId};

/// The format version that this build writes, and the only one that it reads.
pub const VERSION: u8 = 1;

/// The bytes of a frame before its body.
pub const HEADER: usize = 17;

/// The part of the header that the length does not count.
const PREFIX: usize = 8;

/// Appends a frame around the bytes that `body` writes.
///
/// # Panics
///
/// If the body takes 4 GiB or more.
pub fn write_frame(group: GroupId, out: &mut BytesMut, body: impl FnOnce(&mut BytesMut)) {
    let start = out.len();
    out.put_u64_le(0);
    out.put_u8(VERSION);
    group.encode(out);
    body(out);
    let length =
        u32::try_from(out.len() - start - PREFIX).expect("limits keep frames far below 4 GiB");
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    let sum = checksum(length, &out[start + PREFIX..]);
    out[start + 4..start + PREFIX].copy_from_slice(&sum.to_le_bytes());
}

/// How many bytes the frame at the front of `input` takes in all; `None` while that is not known.
///
/// # Errors
///
/// [`DecodeError`] if the frame is shorter than a header or its body longer than `limit` bytes.
pub fn frame_len(input: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = u32::from_le_bytes(*length) as usize;
    let Some(body) = length.checked_sub(HEADER - PREFIX) else {
        return Err(DecodeError::Invalid {
            what: "frame",
            why: "is shorter than its header",
        });
    };
    if body > limit {
        return Err(DecodeError::TooLong {
            what: "frame",
            len: body as u64,
            limit: limit as u64,
        });
    }
    Ok(Some(PREFIX + length))
}

/// Takes the frame off the front of `input`: its group and body.
///
/// # Errors
///
/// [`DecodeError`] if the frame is incomplete, too long, damaged or of another version; `input` is
/// then in no particular state.
pub fn read_frame(input: &mut Bytes, limit: usize) -> Result<(GroupId, Bytes), DecodeError> {
    let short = |needed: usize, left: usize| DecodeError::Short {
        what: "frame",
        needed: needed as u64,
        left,
    };
    let total = frame_len(input, limit)?.ok_or_else(|| short(HEADER, input.len()))?;
    if input.len() < total {
        return Err(short(total, input.len()));
    }
    let mut frame = input.split_to(total);
    let length = frame.get_u32_le();
    let found = frame.get_u32_le();
    let computed = checksum(length, &frame);
    if found != computed {
        return Err(DecodeError::Checksum {
            what: "frame",
            found,
            computed,
        });
    }
    let version = frame.get_u8();
    if version != VERSION {
        return Err(DecodeError::Version {
            what: "frame",
            found: version,
            supported: VERSION,
        });
    }
    Ok((GroupId::decode(&mut frame)?, frame))
}

fn checksum(length: u32, contents: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length.to_le_bytes());
    hasher.update(contents);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        write_frame(GroupId(7), &mut out, |out| out.extend_from_slice(body));
        out
    }

    #[test]
    fn a_frame_reads_back() {
        let bytes = framed(b"body");
        assert_eq!(frame_len(&bytes, 4), Ok(Some(HEADER + 4)));
        let read = read_frame(&mut bytes.freeze(), 4);
        assert_eq!(read, Ok((GroupId(7), Bytes::from_static(b"body"))));
    }

    #[test]
    fn every_damaged_bit_is_noticed() {
        let whole = framed(b"body");
        for bit in 0..whole.len() * 8 {
            let mut damaged = whole.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_frame(&mut damaged.freeze(), 64).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = framed(b"body").freeze();
        for len in 0..whole.len() {
            assert!(
                read_frame(&mut whole.slice(..len), 64).is_err(),
                "{len} bytes"
            );
        }
    }

    #[test]
    fn a_body_above_the_limit_is_refused_before_it_arrives() {
        let refused = frame_len(&framed(b"body")[..4], 3);
        assert_eq!(
            refused,
            Err(DecodeError::TooLong {
                what: "frame",
                len: 4,
                limit: 3
            })
        );
    }
}
