//! Reading a file of frames from front to back, a piece at a time.

use bytes::{Bytes, BytesMut};
use synod_core::frame::{frame_len, read_frame};
use synod_core::{DecodeError, GroupId, StorageError};

use super::dir::Handle;

/// How much is read at once, in bytes.
const PIECE: usize = 1 << 20;

/// What stands at a place in a file.
#[derive(Debug)]
pub(super) enum Found {
    /// A whole frame with the right checksum.
    Frame {
        /// Where it begins, in bytes.
        start: u64,
        group: GroupId,
        /// Shares the memory that was read.
        body: Bytes,
    },
    /// The end of the file.
    End,
    /// Bytes that are no frame.
    Bad(DecodeError),
}

/// A place in a file that moves forward frame by frame.
#[derive(Debug)]
pub(super) struct Scan {
    file: Handle,
    /// Where the next frame begins, in bytes.
    place: u64,
    size: u64,
    /// What was read and not yet consumed, from `place` on.
    ahead: Bytes,
}

impl Scan {
    pub(super) fn new(file: Handle, from: u64) -> Result<Self, StorageError> {
        let size = file.size()?;
        Ok(Self {
            file,
            place: from,
            size,
            ahead: Bytes::new(),
        })
    }

    pub(super) const fn file(&self) -> &Handle {
        &self.file
    }

    /// Where the next frame begins, or what is none, in bytes.
    pub(super) const fn place(&self) -> u64 {
        self.place
    }

    /// The length of the file when the scan began, in bytes.
    pub(super) const fn size(&self) -> u64 {
        self.size
    }

    /// Takes the next frame. Bytes that are none are not passed over.
    pub(super) fn next(&mut self) -> Result<Found, StorageError> {
        if self.place >= self.size {
            return Ok(Found::End);
        }
        self.fill(4)?;
        let left = usize::try_from(self.size - self.place).unwrap_or(usize::MAX);
        let len = match frame_len(&self.ahead, left) {
            Ok(Some(len)) => len,
            Ok(None) => return Ok(Found::Bad(self.cut_off(4))),
            Err(error) => return Ok(Found::Bad(error)),
        };
        if len > left {
            return Ok(Found::Bad(self.cut_off(len as u64)));
        }
        self.fill(len)?;
        if self.ahead.len() < len {
            return Ok(Found::Bad(self.cut_off(len as u64)));
        }
        let mut rest = self.ahead.clone();
        match read_frame(&mut rest, len) {
            Ok((group, body)) => {
                let start = self.place;
                self.place += len as u64;
                self.ahead = rest;
                Ok(Found::Frame { start, group, body })
            }
            Err(error) => Ok(Found::Bad(error)),
        }
    }

    /// Goes back to where a frame began that turned out to be none of ours.
    pub(super) fn back_to(&mut self, start: u64) {
        self.place = start;
        self.ahead = Bytes::new();
    }

    /// Where the bytes that are not zero end; `None` if only zeros follow.
    pub(super) fn written_end(&self) -> Result<Option<u64>, StorageError> {
        let mut at = self.place;
        let mut end = None;
        while at < self.size {
            let piece = self.file.read(at, PIECE)?;
            if piece.is_empty() {
                break;
            }
            let last = piece.iter().rposition(|byte| *byte != 0);
            end = last.map(|last| at + last as u64 + 1).or(end);
            at += piece.len() as u64;
        }
        Ok(end)
    }

    /// Reads until `len` bytes lie ahead or the file ends.
    fn fill(&mut self, len: usize) -> Result<(), StorageError> {
        if self.ahead.len() >= len {
            return Ok(());
        }
        let have = self.ahead.len();
        let left = usize::try_from(self.size - self.place).unwrap_or(usize::MAX);
        let want = len.max(PIECE).min(left) - have;
        let read = self.file.read(self.place + have as u64, want)?;
        if have == 0 {
            self.ahead = read.freeze();
            return Ok(());
        }
        let mut joined = BytesMut::with_capacity(have + read.len());
        joined.extend_from_slice(&self.ahead);
        joined.extend_from_slice(&read);
        self.ahead = joined.freeze();
        Ok(())
    }

    const fn cut_off(&self, needed: u64) -> DecodeError {
        DecodeError::Short {
            what: "frame",
            needed,
            left: self.ahead.len(),
        }
    }
}
