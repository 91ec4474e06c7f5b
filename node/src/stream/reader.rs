//! Cuts a stream of bytes into frames, with memory that follows what has really arrived.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::mem;

use bytes::Bytes;
use synod_core::{DecodeError, frame};

/// The part of memory that a connection reads into, for as long as it lives.
const BUFFER: usize = 64 << 10;

/// Takes bytes through [`space`](Self::space) and [`filled`](Self::filled), gives frames by
/// [`next`](Self::next).
///
/// Each frame gets memory of its own and of just its size: a payload that is kept for long must not
/// keep 64 KiB of neighbours with it.
#[derive(Debug)]
pub(crate) struct FrameReader {
    limit: usize,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    large: Option<Large>,
}

/// A frame that does not fit into the buffer.
#[derive(Debug)]
struct Large {
    bytes: Vec<u8>,
    filled: usize,
    total: usize,
}

impl FrameReader {
    /// A reader that refuses frame bodies longer than `limit` bytes.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            large: None,
        }
    }

    /// Where to put the next bytes; never empty after [`next`](Self::next) has said that a frame is
    /// not complete.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        match &mut self.large {
            Some(large) => large.space(),
            None => &mut self.buffer[self.end..],
        }
    }

    /// Says that `count` bytes have been put at the front of [`space`](Self::space).
    pub(crate) const fn filled(&mut self, count: usize) {
        match &mut self.large {
            Some(large) => large.filled += count,
            None => self.end += count,
        }
    }

    /// The next frame that is complete.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if no frame starts as the next bytes do, or it is too long; there is no way
    /// on.
    pub(crate) fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        if let Some(large) = self.large.take_if(|large| large.filled == large.total) {
            return Ok(Some(Bytes::from(large.bytes)));
        }
        if self.large.is_some() {
            return Ok(None);
        }
        let here = &self.buffer[self.start..self.end];
        let total = frame::frame_len(here, self.limit)?;
        match total {
            Some(total) if here.len() >= total => {
                let frame = Bytes::copy_from_slice(&here[..total]);
                self.start += total;
                Ok(Some(frame))
            }
            Some(total) if total > BUFFER => {
                self.large = Some(Large {
                    bytes: here.to_vec(),
                    filled: here.len(),
                    total,
                });
                (self.start, self.end) = (0, 0);
                Ok(None)
            }
            _ => {
                self.buffer.copy_within(self.start..self.end, 0);
                self.end -= mem::take(&mut self.start);
                Ok(None)
            }
        }
    }
}

impl Large {
    fn space(&mut self) -> &mut [u8] {
        if self.filled == self.bytes.len() {
            // Twice what has arrived, not what the header claims: a liar gets no memory for free.
            let len = self.total.min((self.filled * 2).max(BUFFER));
            self.bytes.reserve_exact(len - self.filled);
            self.bytes.resize(len, 0);
        }
        &mut self.bytes[self.filled..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BytesMut;
    use synod_core::{GroupId, Rng};

    fn frames(sizes: &[usize]) -> (BytesMut, Vec<Bytes>) {
        let mut whole = BytesMut::new();
        let mut bodies = Vec::new();
        for (place, size) in sizes.iter().enumerate() {
            let body = Bytes::from(vec![u8::try_from(place).unwrap(); *size]);
            frame::write_frame(GroupId(1), &mut whole, |out| out.extend_from_slice(&body));
            bodies.push(body);
        }
        (whole, bodies)
    }

    fn read(reader: &mut FrameReader, bytes: &mut &[u8], step: usize) -> Vec<Bytes> {
        let mut bodies = Vec::new();
        while !bytes.is_empty() {
            let space = reader.space();
            let count = space.len().min(step).min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            reader.filled(count);
            *bytes = &bytes[count..];
            while let Some(mut frame) = reader.next().unwrap() {
                bodies.push(frame::read_frame(&mut frame, 1 << 20).unwrap().1);
            }
        }
        bodies
    }

    #[test]
    fn frames_come_out_whole_however_the_bytes_are_cut() {
        let mut rng = Rng::new(1);
        for round in 0..60 {
            let sizes: Vec<usize> = (0..12)
                .map(|_| match rng.below(4) {
                    0 => 0,
                    1 => usize::try_from(rng.below(100)).unwrap(),
                    2 => usize::try_from(rng.within(65_000, 66_000)).unwrap(),
                    _ => usize::try_from(rng.below(300_000)).unwrap(),
                })
                .collect();
            let (whole, bodies) = frames(&sizes);
            let step = usize::try_from(rng.within(1, 200_000)).unwrap();
            let mut reader = FrameReader::new(1 << 20);
            assert_eq!(
                read(&mut reader, &mut &whole[..], step),
                bodies,
                "round {round}"
            );
        }
    }

    #[test]
    fn memory_follows_what_has_arrived() {
        let (whole, _) = frames(&[1 << 20]);
        let mut reader = FrameReader::new(1 << 20);
        read(&mut reader, &mut &whole[..70_000], usize::MAX);
        let _ = reader.space();
        assert!(reader.large.as_ref().unwrap().bytes.capacity() <= 140_000);
    }

    #[test]
    fn a_frame_has_memory_of_its_own_size() {
        let (whole, _) = frames(&[200_000]);
        let mut reader = FrameReader::new(1 << 20);
        let mut rest = &whole[..];
        while !rest.is_empty() {
            let count = reader.space().len().min(rest.len());
            reader.space()[..count].copy_from_slice(&rest[..count]);
            reader.filled(count);
            rest = &rest[count..];
            if let Some(frame) = reader.next().unwrap() {
                let vec = Vec::from(frame);
                assert_eq!((vec.len(), vec.capacity()), (whole.len(), whole.len()));
            }
        }
    }

    #[test]
    fn a_frame_above_the_limit_is_refused_by_its_first_bytes() {
        let (whole, _) = frames(&[1001]);
        let mut reader = FrameReader::new(1000);
        reader.space()[..4].copy_from_slice(&whole[..4]);
        reader.filled(4);
        assert!(matches!(
            reader.next(),
            Err(DecodeError::TooLong {
                len: 1001,
                limit: 1000,
                ..
            })
        ));
    }
}
