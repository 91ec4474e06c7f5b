//! The bytes of segments. Format version 1.
//!
//! ```text
//! segment:    "synodwal" | frame(layout, log, segment, first, kept, salt, checkpoint) | record ... | zeros
//! record:     frame(number, back, salt, what)
//! what:       a LogRecord of core, or 0x84: staged(file, snapshot, length),
//!             or 0x82: entries, which the next record goes on with
//! checkpoint: state, compacted, current snapshot and its file, staged, live ranges
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use synod_core::codec::{Decode, DecodeError, Encode};
use synod_core::frame::{self, write_frame};
use synod_core::{Entries, GroupId, Lane, LogIndex, LogRecord, SnapshotId, SnapshotMeta, Stamp};

/// The first bytes of every segment.
pub(super) const SEGMENT_MAGIC: [u8; 8] = *b"synodwal";

/// The version of everything here that core does not version itself.
pub(super) const LAYOUT: u8 = 1;

/// The bytes of a record before what it says.
pub(super) const RECORD_HEADER: usize = frame::HEADER + RecordHead::LEN;

/// The longest record, in bytes: far below what a length of 4 bytes can say.
pub(super) const RECORD_MAX: usize = 1 << 30;

/// The greatest number of anything: a log that counted a billion a second would get there in a
/// hundred years, and nothing that counts on from here overflows.
const NUMBER_MAX: u64 = 1 << 62;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
        pub(super) struct $name(pub(super) u64);

        impl $name {
            pub(super) const fn next(self) -> Self {
                Self(self.0.saturating_add(1))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }

        impl Encode for $name {
            fn encode(&self, out: &mut BytesMut) {
                self.0.encode(out);
            }
        }

        impl Decode for $name {
            fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
                u64::decode(input).map(Self)
            }
        }
    };
}

number! {
    /// The place of a record among all that a log has ever written, from 1 on without a gap.
    Number, ""
}
number! {
    /// The place of a segment among all of a log.
    Seq, ""
}
number! {
    /// The file of a snapshot.
    Serial, ""
}

impl Number {
    pub(super) const fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

/// What a file of the directory is, by its name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FileName {
    Segment(Seq),
    Snapshot(Serial),
    /// A segment that was never finished.
    Unfinished,
}

impl FileName {
    /// Reads a name; `None` for a file that is none of these.
    pub(super) fn parse(name: &str) -> Option<Self> {
        if name == NEW_SEGMENT {
            return Some(Self::Unfinished);
        }
        let (kind, rest) = name.split_once('-')?;
        let (digits, ending) = rest.split_once('.')?;
        let number = u64::from_str_radix(digits, 16).ok()?;
        if number > NUMBER_MAX {
            return None;
        }
        let parsed = match (kind, ending) {
            ("log", "wal") => Self::Segment(Seq(number)),
            ("snapshot", "dat") => Self::Snapshot(Serial(number)),
            _ => return None,
        };
        // One file has one name: "log-1.wal" is not ours.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment(seq) => write!(f, "log-{:016x}.wal", seq.0),
            Self::Snapshot(serial) => write!(f, "snapshot-{:016x}.dat", serial.0),
            Self::Unfinished => f.write_str(NEW_SEGMENT),
        }
    }
}

/// What a segment is called until it is whole.
pub(super) const NEW_SEGMENT: &str = "log-new.tmp";

/// What is known durable, beside the log itself.
pub(super) const WATERMARK: &str = "durable";

/// Held by the process that uses the directory.
pub(super) const LOCK: &str = "lock";

/// A snapshot that is being staged, and how much of it is durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Staged {
    pub(super) lane: Lane,
    pub(super) serial: Serial,
    pub(super) id: SnapshotId,
    pub(super) len: u64,
}

impl Encode for Staged {
    fn encode(&self, out: &mut BytesMut) {
        out.put_u8(slot(self.lane) as u8);
        self.serial.encode(out);
        self.id.encode(out);
        self.len.encode(out);
    }
}

impl Decode for Staged {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        let lane = match u8::decode(input)? {
            0 => Lane::Taken,
            1 => Lane::Received,
            tag => {
                return Err(DecodeError::Tag {
                    what: "snapshot lane",
                    tag,
                });
            }
        };
        Ok(Self {
            lane,
            serial: Decode::decode(input)?,
            id: Decode::decode(input)?,
            len: Decode::decode(input)?,
        })
    }
}

/// Where what is staged in a lane is kept.
pub(super) const fn slot(lane: Lane) -> usize {
    match lane {
        Lane::Taken => 0,
        Lane::Received => 1,
    }
}

/// What a segment repeats from those before it, so that they can be deleted.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Checkpoint {
    pub(super) state: Option<Bytes>,
    pub(super) compacted: (LogIndex, Stamp),
    pub(super) snapshot: Option<(Serial, SnapshotMeta)>,
    pub(super) staged: [Option<Staged>; 2],
    /// The places of the entries that are live and lie in earlier segments, as ranges: a start
    /// that misses one of those segments notices.
    pub(super) live: Vec<(LogIndex, LogIndex)>,
}

impl Encode for Checkpoint {
    fn encode(&self, out: &mut BytesMut) {
        self.state.encode(out);
        self.compacted.encode(out);
        self.snapshot.encode(out);
        self.staged.iter().for_each(|staged| staged.encode(out));
        self.live.encode(out);
    }
}

impl Decode for Checkpoint {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            state: Decode::decode(input)?,
            compacted: Decode::decode(input)?,
            snapshot: Decode::decode(input)?,
            staged: [Decode::decode(input)?, Decode::decode(input)?],
            live: Decode::decode(input)?,
        })
    }
}

/// What a segment says of itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct SegmentHeader {
    /// Which log, drawn when it was begun: a file that strayed in from another one is noticed.
    pub(super) log: u64,
    pub(super) seq: Seq,
    /// The number of its first record.
    pub(super) first: Number,
    /// The last record that was in it when it got its name; the one before `first` if none was.
    pub(super) kept: Number,
    /// A secret of this segment that each of its records carries: neither bytes of another
    /// segment nor a payload can pass for one of them.
    pub(super) salt: u32,
    pub(super) checkpoint: Checkpoint,
}

impl SegmentHeader {
    /// The beginning of the segment's file.
    pub(super) fn to_bytes(&self, group: GroupId) -> BytesMut {
        let mut out = BytesMut::from(&SEGMENT_MAGIC[..]);
        write_frame(group, &mut out, |out| {
            out.put_u8(LAYOUT);
            self.log.encode(out);
            self.seq.encode(out);
            self.first.encode(out);
            self.kept.encode(out);
            self.salt.encode(out);
            self.checkpoint.encode(out);
        });
        out
    }

    /// Reads the body of the header's frame.
    pub(super) fn from_body(mut body: Bytes) -> Result<Self, DecodeError> {
        check_layout(&mut body, "segment")?;
        let header = Self {
            log: Decode::decode(&mut body)?,
            seq: Decode::decode(&mut body)?,
            first: Decode::decode(&mut body)?,
            kept: Decode::decode(&mut body)?,
            salt: Decode::decode(&mut body)?,
            checkpoint: Decode::decode(&mut body)?,
        };
        done(&body)?;
        // Records count from 1.
        if header.first == Number(0)
            || header.kept < header.first.previous()
            || header.kept > Number(NUMBER_MAX)
            || header.seq > Seq(NUMBER_MAX)
        {
            return Err(DecodeError::Invalid {
                what: "segment header",
                why: "number out of range",
            });
        }
        Ok(header)
    }
}

/// Takes the layout version off the front.
pub(super) fn check_layout(body: &mut Bytes, what: &'static str) -> Result<(), DecodeError> {
    match u8::decode(body)? {
        LAYOUT => Ok(()),
        found => Err(DecodeError::Version {
            what,
            found,
            supported: LAYOUT,
        }),
    }
}

const fn done(rest: &Bytes) -> Result<(), DecodeError> {
    match rest.len() {
        0 => Ok(()),
        left => Err(DecodeError::Trailing { left }),
    }
}

/// Where a record belongs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecordHead {
    pub(super) number: Number,
    /// How far back the last record lies that was durable when this one was written: at least 1.
    pub(super) back: u32,
    pub(super) salt: u32,
}

impl RecordHead {
    const LEN: usize = 16;

    /// That of the first record of a batch.
    pub(super) const fn first(number: Number, salt: u32) -> Self {
        Self {
            number,
            back: 1,
            salt,
        }
    }

    /// That of the next record of the same batch.
    pub(super) const fn following(&self) -> Self {
        Self {
            number: self.number.next(),
            back: self.back.saturating_add(1),
            salt: self.salt,
        }
    }

    /// The last record that was durable when this one was written.
    pub(super) const fn durable(&self) -> Number {
        Number(self.number.0.saturating_sub(self.back as u64))
    }

    fn decode(body: &mut Bytes) -> Result<Self, DecodeError> {
        Ok(Self {
            number: Decode::decode(body)?,
            back: Decode::decode(body)?,
            salt: Decode::decode(body)?,
        })
    }
}

/// What a record says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Stored {
    /// A record of the machine as it came; all but [`LogRecord::Stage`].
    Log(LogRecord),
    /// In place of a [`LogRecord::Stage`]: its piece is durable in the snapshot's own file.
    Staged(Staged),
    /// A part of a long [`LogRecord::Put`] that the next record goes on with. A start takes all
    /// parts or none, as a storage may tear a write only between the machine's records.
    Part(Entries),
}

impl Stored {
    /// The entries that it puts.
    pub(super) fn into_entries(self) -> Option<Entries> {
        match self {
            Self::Log(LogRecord::Put(entries)) | Self::Part(entries) => Some(entries),
            Self::Log(_) | Self::Staged(_) => None,
        }
    }

    /// About what it takes when encoded, in bytes.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Log(record) => record_size(record),
            Self::Part(entries) => entries.weight(),
            Self::Staged(_) => 0,
        }
    }
}

/// About what a record takes when encoded, in bytes; what is always short is not counted.
pub(super) fn record_size(record: &LogRecord) -> usize {
    match record {
        LogRecord::State(state) => state.len(),
        LogRecord::Put(entries) => entries.weight(),
        LogRecord::Stage { chunk, .. } => chunk.len(),
        LogRecord::Activate { meta, .. } => meta.config.len(),
        LogRecord::Truncate { .. } | LogRecord::Compact { .. } => 0,
    }
}

/// With the highest bit, which sets our own records apart from those of core: those count up from 1.
const PART: u8 = 0x82;
const STAGED: u8 = 0x84;

impl Encode for Stored {
    fn encode(&self, out: &mut BytesMut) {
        match self {
            Self::Log(record) => record.encode(out),
            Self::Staged(staged) => {
                out.put_u8(STAGED);
                staged.encode(out);
            }
            Self::Part(entries) => {
                out.put_u8(PART);
                entries.encode(out);
            }
        }
    }
}

impl Decode for Stored {
    fn decode(input: &mut Bytes) -> Result<Self, DecodeError> {
        match input.first() {
            Some(&STAGED) => {
                input.advance(1);
                Staged::decode(input).map(Self::Staged)
            }
            Some(&PART) => {
                input.advance(1);
                Entries::decode(input).map(Self::Part)
            }
            _ => LogRecord::decode(input).map(Self::Log),
        }
    }
}

/// Appends a record.
pub(super) fn write_record(group: GroupId, head: RecordHead, what: &Stored, out: &mut BytesMut) {
    write_frame(group, out, |out| {
        head.number.encode(out);
        head.back.encode(out);
        head.salt.encode(out);
        what.encode(out);
    });
}

/// Reads the body of a record's frame up to what it says.
pub(super) fn read_head(body: &mut Bytes) -> Result<RecordHead, DecodeError> {
    RecordHead::decode(body)
}

/// The end of every message about damage: what the one who reads it can do.
pub(super) const ADVICE: &str = "restore the directory from an intact copy, or remove it and let \
                                 this node rejoin as a new member";

/// An explanation of damage that ends in what to do.
pub(super) fn advise(what: impl fmt::Display) -> String {
    alloc::format!("{what}; {ADVICE}")
}

#[cfg(test)]
mod tests;
