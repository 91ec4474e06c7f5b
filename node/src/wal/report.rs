//! What opening a log has found and done.

use alloc::string::String;
use core::fmt;

/// What opening a log has found and done.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct OpenReport {
    /// There was no log: a new one was begun.
    pub created: bool,
    /// Segments that were read.
    pub segments: u64,
    /// Records that were read and checked.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The torn end that was cut, if the last life ended within a write.
    pub repaired: Option<Repair>,
    /// The note of what is known durable was unreadable: this start could not tell damage at the
    /// very end of the log from a torn write.
    pub watermark_lost: bool,
}

/// A write that never became durable, and was not acknowledged, is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Repair {
    /// The file that was cut.
    pub place: String,
    /// Where it was cut, in bytes.
    pub offset: u64,
    /// How many bytes were written behind that.
    pub dropped: u64,
    /// The number of the first record that is gone, counted over the whole life of the log.
    pub record: u64,
}

impl fmt::Display for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cut {} bytes of a torn write at byte {} of {}, from record {} on",
            self.dropped, self.offset, self.place, self.record
        )
    }
}
