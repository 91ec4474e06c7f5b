//! What is known to be durable, kept apart from the log.
//!
//! A record that was never synced may be torn by a crash; one that was synced may not, and if it
//! is bad then the disk is. The log alone cannot tell the two apart at its very end. So after each
//! sync the number of the last durable record is written here, and not synced: after the end of a
//! process it is exact, after a loss of power it may lag behind (or be gone) and the log's own
//! evidence counts. It is never ahead, so whatever it says is true.
//!
//! Two places take turns, each in a block of its own: a torn write leaves the other.

use alloc::string::String;

use bytes::BytesMut;
use synod_core::codec::{Decode, Encode};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{DecodeError, GroupId, StorageError};

use super::dir::{Dir, Handle};
use super::format::{Number, WATERMARK};

/// A multiple of every block size in use.
const BLOCK: u64 = 4096;

/// More than a place takes.
const LONGEST: usize = 64;

#[derive(Debug)]
pub(super) struct Watermark {
    file: Handle,
    group: GroupId,
    log: u64,
    turn: bool,
    buffer: BytesMut,
}

/// What was found of a watermark.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mark {
    /// No file.
    Absent,
    /// A file that says nothing: both places are bad.
    Unreadable,
    /// The log with this identity was durable up to and with this record.
    At {
        log: u64,
        number: Number,
        /// Whether the second place says so.
        second: bool,
    },
}

impl Watermark {
    /// Reads what an earlier life left.
    pub(super) fn read(dir: &Dir, group: GroupId, names: &[String]) -> Result<Mark, StorageError> {
        if !names.iter().any(|name| name == WATERMARK) {
            return Ok(Mark::Absent);
        }
        let file = dir.open(WATERMARK)?;
        let mut best = Mark::Unreadable;
        for (second, place) in [(false, 0), (true, BLOCK)] {
            let bytes = file.read(place, LONGEST)?;
            if let Ok((log, number)) = decode(group, bytes)
                && !matches!(best, Mark::At { number: other, .. } if other >= number)
            {
                best = Mark::At {
                    log,
                    number,
                    second,
                };
            }
        }
        Ok(best)
    }

    /// Goes on from what was found; what is of no use is replaced.
    pub(super) fn resume(
        dir: &Dir,
        group: GroupId,
        log: u64,
        found: Mark,
    ) -> Result<Self, StorageError> {
        let (file, turn) = match found {
            Mark::At { second, .. } => (dir.open(WATERMARK)?, !second),
            Mark::Absent | Mark::Unreadable => (dir.create(WATERMARK)?, false),
        };
        Ok(Self {
            file,
            group,
            log,
            turn,
            buffer: BytesMut::with_capacity(LONGEST),
        })
    }

    /// Says that everything up to and with `number` is durable.
    pub(super) fn advance(&mut self, number: Number) -> Result<(), StorageError> {
        let (log, group) = (self.log, self.group);
        self.buffer.clear();
        write_frame(group, &mut self.buffer, |out| {
            log.encode(out);
            number.encode(out);
        });
        let place = if self.turn { BLOCK } else { 0 };
        self.turn = !self.turn;
        self.file.write(&self.buffer, place)
    }

    /// Makes it survive a loss of power, when a log is closed.
    pub(super) fn sync(&self) -> Result<(), StorageError> {
        self.file.sync()
    }
}

fn decode(group: GroupId, bytes: BytesMut) -> Result<(u64, Number), DecodeError> {
    let mut input = bytes.freeze();
    let (found, mut body) = read_frame(&mut input, LONGEST)?;
    if found != group {
        return Err(DecodeError::Invalid {
            what: "watermark",
            why: "belongs to another group",
        });
    }
    Ok((Decode::decode(&mut body)?, Decode::decode(&mut body)?))
}
