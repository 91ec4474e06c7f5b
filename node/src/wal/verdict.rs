//! Torn or damaged: what the first bad bytes of a log mean.
//!
//! A write that a crash interrupts leaves any mixture of old and new sectors, so records behind a
//! bad one may be whole although the write as a whole never became durable. What tells the two
//! apart is proof that the bad record had been durable: the watermark says so, or a whole record
//! further on was written when it already was (each record says what was durable then, and the
//! next batch begins only when the one before is synced). With proof the disk is damaged and the
//! start stops, because what was acknowledged is gone. Without it nobody has been told about the
//! record, and it is cut.

use alloc::format;

use bytes::Buf;
use synod_core::frame::{VERSION, read_frame};
use synod_core::{DecodeError, GroupId, StorageError};

use super::dir::Handle;
use super::format::{Number, RECORD_HEADER, RecordHead, advise, read_head};
use super::scan::Scan;

/// How much is searched at once, in bytes.
const PIECE: usize = 1 << 20;

/// A record that should be at some place of the last segment and is not whole.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    /// Which one it would be.
    pub(super) number: Number,
    pub(super) group: GroupId,
    pub(super) salt: u32,
    /// The last record that is known to have been durable.
    pub(super) proven: Number,
}

/// The end of the last segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Ending {
    /// Nothing follows the last record.
    Clean,
    /// What follows was being written and never acknowledged.
    Torn {
        /// Where it ends, in bytes from the beginning of the file.
        end: u64,
    },
}

impl Ending {
    /// Of what was never acknowledged.
    pub(super) fn of(scan: &Scan) -> Result<Self, StorageError> {
        let end = scan.written_end()?;
        Ok(end.map_or(Self::Clean, |end| Self::Torn { end }))
    }
}

impl Suspect {
    /// Judges what stands where the record should be; `bad` is what is wrong with it.
    pub(super) fn judge(
        &self,
        scan: &Scan,
        bad: Option<&DecodeError>,
    ) -> Result<Ending, StorageError> {
        let number = self.number;
        if self.proven >= number {
            let what = match bad {
                Some(error) => format!("record {number} was durable and is damaged ({error})"),
                None => format!(
                    "the log ends before record {number}, but record {} was durable",
                    self.proven
                ),
            };
            return Err(scan.file().corrupt(scan.place(), advise(what)));
        }
        let ending = Ending::of(scan)?;
        if let Ending::Torn { end } = ending
            && let Some(witness) = self.witness(scan, end)?
        {
            let what = format!(
                "record {number} is damaged, but record {} behind it was written when {} was already durable",
                witness.number,
                witness.durable()
            );
            return Err(scan.file().corrupt(scan.place(), advise(what)));
        }
        Ok(ending)
    }

    /// A whole record behind the place that was written after the suspect had become durable.
    fn witness(&self, scan: &Scan, end: u64) -> Result<Option<RecordHead>, StorageError> {
        let file = scan.file();
        let mut at = scan.place();
        while at < end {
            let piece = file.read(at, PIECE + RECORD_HEADER)?;
            // A record is longer than its header.
            let heads = piece.len().saturating_sub(RECORD_HEADER);
            for offset in 0..heads.min(PIECE) {
                if self.looks_like(&piece[offset..offset + RECORD_HEADER])
                    && let Some(head) = self.whole(file, at + offset as u64, scan.size())?
                    && head.durable() >= self.number
                {
                    return Ok(Some(head));
                }
            }
            at += PIECE as u64;
        }
        Ok(None)
    }

    /// Whether a record of this segment may begin with these bytes. The salt is what makes a
    /// chance hit rare and a forged one impossible.
    fn looks_like(&self, header: &[u8]) -> bool {
        header[29..33] == self.salt.to_le_bytes()
            && header[8] == VERSION
            && header[9..17] == self.group.0.to_le_bytes()
    }

    /// Reads the record at `at`, if it is whole.
    fn whole(&self, file: &Handle, at: u64, size: u64) -> Result<Option<RecordHead>, StorageError> {
        let left = usize::try_from(size - at).unwrap_or(usize::MAX);
        let mut length = file.read(at, 4)?;
        if length.len() < 4 {
            return Ok(None);
        }
        let total = (length.get_u32_le() as usize).saturating_add(8);
        if total > left {
            return Ok(None);
        }
        let mut input = file.read(at, total)?.freeze();
        let Ok((_, mut body)) = read_frame(&mut input, total) else {
            return Ok(None);
        };
        Ok(read_head(&mut body).ok())
    }
}
