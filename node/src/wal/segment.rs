//! One segment: how it begins, is written and is read back.

use alloc::format;
use alloc::string::ToString;

use bytes::{Bytes, BytesMut};
use synod_core::codec::Decode;
use synod_core::{DecodeError, GroupId, StorageError};

use super::Plant;
use super::config::WalConfig;
use super::dir::{Counters, Dir, Handle};
use super::format::{
    FileName, NEW_SEGMENT, RecordHead, SEGMENT_MAGIC, SegmentHeader, Seq, Stored, advise, read_head,
};
use super::scan::{Found, Scan};

/// How far ahead of the records a segment is filled with zeros at most, in bytes: a sync of bytes
/// that the file already has needs no change of the file system's own records.
const AHEAD: u64 = 1 << 20;

/// Below this many bytes a write is worth filling ahead for.
const SHORT: usize = 64 << 10;

/// A segment as it is found.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Handle,
    pub(super) header: SegmentHeader,
    /// Where the first record begins, in bytes.
    pub(super) begin: u64,
}

impl Segment {
    /// Opens a segment and reads its header. A segment gets its name only when its header is
    /// durable: a bad one is damage, whatever happened before.
    pub(super) fn open(dir: &Dir, group: GroupId, seq: Seq) -> Result<Self, StorageError> {
        let file = dir.open(&FileName::Segment(seq).to_string())?;
        let magic = file.read(0, SEGMENT_MAGIC.len())?;
        if magic != SEGMENT_MAGIC[..] {
            return Err(file.corrupt(0, advise("the segment does not begin as one")));
        }
        let at = SEGMENT_MAGIC.len() as u64;
        let mut scan = Scan::new(file.clone(), at)?;
        let header = match scan.next()? {
            Found::Frame { group: found, .. } if found != group => {
                let what = format!("the segment belongs to {found}, not to {group}");
                return Err(file.corrupt(at, what));
            }
            Found::Frame { body, .. } => SegmentHeader::from_body(body),
            Found::End => Err(DecodeError::Short {
                what: "segment header",
                needed: 1,
                left: 0,
            }),
            Found::Bad(error) => Err(error),
        };
        let header = header.map_err(|error| unreadable(&file, at, "the header", error))?;
        if header.seq != seq {
            let what = format!("this is segment {}, not {seq} as its name says", header.seq);
            return Err(file.corrupt(at, what));
        }
        Ok(Self {
            begin: scan.place(),
            file,
            header,
        })
    }
}

/// The error for bytes with a right checksum that say nothing this build knows.
pub(super) fn unreadable(file: &Handle, at: u64, what: &str, error: DecodeError) -> StorageError {
    match error {
        DecodeError::Version {
            found, supported, ..
        } => StorageError::Version {
            place: file.place().to_string(),
            found,
            supported,
        },
        error => file.corrupt(at, advise(format!("{what} is damaged ({error})"))),
    }
}

/// Reads what a record says, behind its head.
pub(super) fn read_record(mut body: Bytes) -> Result<(RecordHead, Stored), DecodeError> {
    let head = read_head(&mut body)?;
    Ok((head, Stored::decode_all(body)?))
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) file: Handle,
    pub(super) seq: Seq,
    pub(super) salt: u32,
    /// Whether it holds any record.
    pub(super) empty: bool,
    /// Where the next record goes, in bytes.
    pub(super) end: u64,
    /// How long the file is.
    filled: u64,
    /// The step in which it is filled ahead.
    ahead: u64,
}

impl Tail {
    /// Begins a segment with what `bytes` holds, its header and perhaps records: written and synced
    /// under another name, then renamed, so that under its own name it is whole.
    pub(super) fn begin(
        dir: &Dir,
        config: &WalConfig,
        header: &SegmentHeader,
        bytes: &[u8],
    ) -> Result<Self, StorageError> {
        let file = dir.create(NEW_SEGMENT)?;
        file.write(bytes, 0)?;
        file.sync()?;
        let name = FileName::Segment(header.seq).to_string();
        dir.rename(NEW_SEGMENT, &name)?;
        if !config.planted(Plant::SkipDirSync) {
            dir.sync()?;
        }
        Counters::add(&dir.counters.segments, 1);
        Ok(Self {
            file: file.renamed(dir.place(&name)),
            seq: header.seq,
            salt: header.salt,
            empty: header.kept < header.first,
            end: bytes.len() as u64,
            filled: bytes.len() as u64,
            ahead: AHEAD.min(config.segment_bytes()),
        })
    }

    /// Writes records at the end, in one go. Not durable yet. `records` is used up.
    pub(super) fn append(&mut self, records: &mut BytesMut) -> Result<(), StorageError> {
        let end = self.end + records.len() as u64;
        if end > self.filled {
            // A long write changes the file's length once for many records; zeros would double it.
            let ahead = if records.len() < SHORT { self.ahead } else { 1 };
            let filled = end.next_multiple_of(ahead);
            records.resize(
                records.len() + usize::try_from(filled - end).unwrap_or(0),
                0,
            );
            self.filled = filled;
        }
        self.file.write(records, self.end)?;
        self.end = end;
        self.empty = false;
        Ok(())
    }

    /// Ends it: gives back the room that was filled ahead.
    pub(super) fn seal(&self) -> Result<(), StorageError> {
        self.file.set_len(self.end)
    }
}
