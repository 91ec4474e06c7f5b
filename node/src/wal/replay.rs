//! Reading the segments of a log from the oldest to the newest.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::ToString;
use alloc::vec::Vec;

use bytes::Bytes;
use synod_core::{DecodeError, StorageError};

use super::Plant;
use super::catalog::{Catalog, Span};
use super::config::WalConfig;
use super::dir::Handle;
use super::format::{Number, RecordHead, Seq, Stored, advise};
use super::report::{OpenReport, Repair};
use super::scan::{Found, Scan};
use super::segment::{Segment, read_record, unreadable};
use super::verdict::{Ending, Suspect};
use super::watermark::Mark;

/// What was read.
#[derive(Debug)]
pub(super) struct Replay {
    pub(super) log: u64,
    /// What is proven durable.
    pub(super) catalog: Catalog,
    pub(super) segments: BTreeMap<Seq, Handle>,
    /// The next segment. It takes the place of the last one if nothing in that is proven.
    pub(super) seq: Seq,
    /// The number of the first record that is not proven.
    pub(super) first: Number,
    /// Whole records that may be in the memory of the system only: the last batch of the last
    /// life, or a part of it. They go into the next segment.
    pub(super) unproven: Vec<Stored>,
    /// The last segment and where the proven records in it end, in bytes.
    pub(super) last: Option<(Handle, u64)>,
}

impl Replay {
    /// A log that begins now.
    pub(super) fn empty(log: u64) -> Self {
        Self {
            log,
            catalog: Catalog::default(),
            segments: BTreeMap::new(),
            seq: Seq(1),
            first: Number(1),
            unproven: Vec::new(),
            last: None,
        }
    }
}

/// Reads `segments`, which follow each other; there is at least one.
pub(super) fn replay(
    config: &WalConfig,
    segments: Vec<Segment>,
    mark: Mark,
    report: &mut OpenReport,
) -> Result<Replay, StorageError> {
    let (oldest, newest) = (&segments[0], &segments[segments.len() - 1]);
    let log = oldest.header.log;
    let mut reading = Reading {
        config,
        catalog: Catalog::from_checkpoint(&oldest.header.checkpoint),
        next: oldest.header.first,
        proven: Number(0),
        report,
    };
    match mark {
        Mark::At {
            log: of, number, ..
        } if of == log => reading.proven = number,
        Mark::At { .. } => reading.report.watermark_lost = true,
        Mark::Absent | Mark::Unreadable => {}
    }
    for pair in segments.windows(2) {
        reading.sealed(&pair[0], &pair[1])?;
        reading.catalog.enter(&pair[1].header.checkpoint);
    }
    let (unproven, end) = reading.last(newest)?;
    let first = Number(reading.next.0 - unproven.len() as u64);
    let seq = match first == newest.header.first {
        true => newest.header.seq,
        false => newest.header.seq.next(),
    };
    Ok(Replay {
        log,
        catalog: reading.catalog,
        seq,
        first,
        unproven,
        last: Some((newest.file.clone(), end)),
        segments: segments
            .into_iter()
            .map(|segment| (segment.header.seq, segment.file))
            .collect(),
    })
}

struct Reading<'a> {
    config: &'a WalConfig,
    catalog: Catalog,
    /// The number of the next record.
    next: Number,
    /// The last record that something besides itself says was durable.
    proven: Number,
    report: &'a mut OpenReport,
}

/// A whole record.
struct Taken {
    span: Span,
    head: RecordHead,
    stored: Stored,
}

impl Reading<'_> {
    /// Reads a segment that `next` follows. All that is before that was durable when it began.
    fn sealed(&mut self, segment: &Segment, next: &Segment) -> Result<(), StorageError> {
        let mut scan = Scan::new(segment.file.clone(), segment.begin)?;
        while self.next < next.header.first {
            let bad = match self.take(&mut scan, segment)? {
                Ok(taken) => {
                    self.apply(&taken, segment);
                    continue;
                }
                Err(Some(error)) => format!("is damaged ({error})"),
                Err(None) => "is missing".to_string(),
            };
            if self.config.planted(Plant::IgnoreGaps) {
                self.next = next.header.first;
                break;
            }
            let what = format!("record {} {bad}", self.next);
            return Err(segment.file.corrupt(scan.place(), advise(what)));
        }
        Ok(())
    }

    /// Reads the last segment and judges its end. Returns the records that are not proven and
    /// where they begin.
    fn last(&mut self, segment: &Segment) -> Result<(Vec<Stored>, u64), StorageError> {
        let mut scan = Scan::new(segment.file.clone(), segment.begin)?;
        let mut unproven: Vec<Taken> = Vec::new();
        self.proven = self.proven.max(segment.header.kept);
        let bad = loop {
            match self.take(&mut scan, segment)? {
                Ok(taken) => {
                    self.proven = self.proven.max(taken.head.durable());
                    unproven.push(taken);
                }
                Err(bad) => break bad,
            }
            let proven = unproven.partition_point(|taken| taken.head.number <= self.proven);
            for taken in unproven.drain(..proven) {
                self.apply(&taken, segment);
            }
        };
        self.judge_end(&scan, segment, bad.as_ref())?;
        let mut end = scan.place();
        if !self.config.planted(Plant::KeepParts)
            && let Some(cut) = self.cut_parts(&mut unproven, segment, end)
        {
            end = cut;
        }
        if self.config.planted(Plant::TrustCache) {
            for taken in unproven.drain(..) {
                self.apply(&taken, segment);
            }
        }
        let end = unproven.first().map_or(end, |taken| taken.span.start);
        let unproven = unproven.into_iter().map(|taken| taken.stored);
        Ok((unproven.collect(), end))
    }

    /// Takes in a record. Those up to `kept` are of the life before, whose unfinished snapshot ends
    /// with it.
    fn apply(&mut self, taken: &Taken, segment: &Segment) {
        self.catalog.apply(&taken.stored, taken.span);
        if taken.head.number == segment.header.kept {
            self.catalog.forget_taken();
        }
    }

    /// Takes away the parts at the end of what is not proven whose last part is missing, and says
    /// where they begin. They cannot be proven: a batch is acknowledged with all of its records.
    fn cut_parts(&mut self, unproven: &mut Vec<Taken>, segment: &Segment, end: u64) -> Option<u64> {
        let is_part = |taken: &Taken| matches!(taken.stored, Stored::Part(_));
        let whole = unproven.iter().rposition(|taken| !is_part(taken));
        let parts = unproven.split_off(whole.map_or(0, |last| last + 1));
        let cut = parts.first()?;
        self.next = cut.head.number;
        let behind = self.report.repaired.as_ref();
        let end = behind.map_or(end, |torn| torn.offset + torn.dropped);
        self.report.repaired = Some(Repair {
            place: segment.file.place().to_string(),
            offset: cut.span.start,
            dropped: end - cut.span.start,
            record: self.next.0,
        });
        Some(cut.span.start)
    }

    fn judge_end(
        &mut self,
        scan: &Scan,
        segment: &Segment,
        bad: Option<&DecodeError>,
    ) -> Result<(), StorageError> {
        let suspect = Suspect {
            number: self.next,
            group: self.config.group(),
            salt: segment.header.salt,
            proven: self.proven,
        };
        let ending = match self.config.planted(Plant::CutAnything) {
            true => Ending::of(scan)?,
            false => suspect.judge(scan, bad)?,
        };
        if let Ending::Torn { end } = ending {
            self.report.repaired = Some(Repair {
                place: segment.file.place().to_string(),
                offset: scan.place(),
                dropped: end - scan.place(),
                record: self.next.0,
            });
        }
        Ok(())
    }

    /// Reads the next record. Inside: what is wrong with the bytes that should be it, or `None` at
    /// the end of the file.
    fn take(
        &mut self,
        scan: &mut Scan,
        segment: &Segment,
    ) -> Result<Result<Taken, Option<DecodeError>>, StorageError> {
        let (start, group, body) = match scan.next()? {
            Found::Frame { start, group, body } => (start, group, body),
            Found::End => return Ok(Err(None)),
            // The checksum was right.
            Found::Bad(error @ DecodeError::Version { .. }) => {
                return Err(unreadable(&segment.file, scan.place(), "a record", error));
            }
            Found::Bad(error) => return Ok(Err(Some(error))),
        };
        if group != self.config.group() || salt_of(&body) != Some(segment.header.salt) {
            scan.back_to(start);
            return Ok(Err(Some(DecodeError::Invalid {
                what: "record",
                why: "was written for another segment",
            })));
        }
        let record = read_record(body);
        let (head, stored) =
            record.map_err(|error| unreadable(&segment.file, start, "a record", error))?;
        if head.number != self.next && !self.config.planted(Plant::IgnoreGaps) {
            let what = format!("record {} follows where {} should", head.number, self.next);
            return Err(segment.file.corrupt(start, advise(what)));
        }
        let span = Span {
            seq: segment.header.seq,
            start,
            end: scan.place(),
        };
        self.next = head.number.next();
        self.report.records += 1;
        self.report.bytes += span.end - span.start;
        Ok(Ok(Taken { span, head, stored }))
    }
}

/// The salt that a record carries.
fn salt_of(body: &Bytes) -> Option<u32> {
    let bytes = body.get(12..)?.first_chunk::<4>()?;
    Some(u32::from_le_bytes(*bytes))
}
