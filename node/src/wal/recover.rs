//! Opening a log: find the segments, read them, judge the end, repair it, begin a new segment.
//!
//! Every life writes segments of its own. A torn end is not even cut: the next segment says which
//! record it begins with, and what lies behind the one before that is never looked at again.
//!
//! What nothing proves durable, at most the last batch, is written once more, into the new
//! segment: after a failed sync the system may hold bytes in memory that read back well, and that
//! no later sync writes (Rebello et al., ATC 2020). Into a new file, because writing over bytes
//! that may be durable could tear them.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;
use std::sync::Mutex;

use bytes::BytesMut;
use synod_core::StorageError;

use super::catalog::{Catalog, Span};
use super::config::WalConfig;
use super::dir::Dir;
use super::engine::{Engine, Staging, salt};
use super::format::{
    FileName, LOCK, Number, RecordHead, SegmentHeader, Seq, Serial, WATERMARK, advise, write_record,
};
use super::live::Live;
use super::replay::{Replay, replay};
use super::report::{OpenReport, Repair};
use super::rules::Rules;
use super::segment::{Segment, Tail};
use super::snapshot::{Owner, SnapshotFile};
use super::watermark::{Mark, Watermark};

/// The files of a directory.
#[derive(Debug, Default)]
struct Inventory {
    segments: BTreeSet<Seq>,
    snapshots: BTreeSet<Serial>,
}

impl Inventory {
    fn of(names: &[String]) -> Self {
        let mut inventory = Self::default();
        for name in names {
            match FileName::parse(name) {
                Some(FileName::Segment(seq)) => _ = inventory.segments.insert(seq),
                Some(FileName::Snapshot(serial)) => _ = inventory.snapshots.insert(serial),
                // Written over when the next segment begins.
                Some(FileName::Unfinished) | None => {}
            }
        }
        inventory
    }

    /// The segments up to the newest without a gap, and older ones before a gap. A crash may undo
    /// some removals and not others, so a gap alone proves nothing: whether an entry is missing
    /// does.
    fn chain(&self) -> (Vec<Seq>, Vec<Seq>) {
        let mut chain: Vec<Seq> = Vec::new();
        let mut older = Vec::new();
        for seq in self.segments.iter().rev() {
            match chain.last() {
                // Behind a gap nothing is next to the chain again: numbers only fall from here on.
                Some(next) if seq.next() != *next => older.push(*seq),
                Some(_) | None => chain.push(*seq),
            }
        }
        chain.reverse();
        (chain, older)
    }
}

/// Opens the log in `dir`.
pub(super) fn recover(dir: Dir, config: WalConfig) -> Result<(Engine, OpenReport), StorageError> {
    let lock = dir.lock(LOCK)?;
    let names = dir.list()?;
    let inventory = Inventory::of(&names);
    let mark = Watermark::read(&dir, config.group(), &names)?;
    let (chain, older) = inventory.chain();
    let mut report = OpenReport {
        created: chain.is_empty(),
        segments: chain.len() as u64,
        watermark_lost: !chain.is_empty() && !matches!(mark, Mark::At { .. }),
        ..OpenReport::default()
    };
    let mut found = if chain.is_empty() {
        check_new(&dir, &inventory, mark)?;
        Replay::empty(dir.random())
    } else {
        let segments = open_chain(&dir, &config, &chain)?;
        replay(&config, segments, mark, &mut report)?
    };
    let owner = Owner {
        group: config.group(),
        log: found.log,
    };
    let (header, bytes) = begin_segment(&dir, &config, &mut found);
    check_complete(&dir, &chain, &found.catalog)?;
    check_snapshots(&dir, &inventory, &found.catalog, report.repaired.as_ref())?;
    let (snapshot, staged) = open_snapshots(&dir, owner, &found.catalog)?;
    // One of another log, or of a beginning that came to nothing, is of no use.
    let mark = match report.created || report.watermark_lost {
        true => Mark::Unreadable,
        false => mark,
    };
    // Before the segment gets its name: what makes that durable makes the name of this file so, too.
    let mut watermark = Watermark::resume(&dir, owner.group, owner.log, mark)?;
    let tail = Tail::begin(&dir, &config, &header, &bytes)?;
    if let Some((file, end)) = &found.last {
        // Only gives back room; if it took the place of this file, nobody sees it.
        file.set_len(*end)?;
    }
    for seq in older {
        dir.remove(&FileName::Segment(seq).to_string())?;
    }
    watermark.advance(header.kept)?;

    let mut segments: BTreeMap<_, _> = found.segments;
    segments.insert(tail.seq, tail.file.clone());
    let rules = Rules::of(&found.catalog);
    let live = Live::new(found.catalog, segments, snapshot);
    let mut engine = Engine {
        dir,
        config,
        owner,
        live: Arc::new(Mutex::new(live)),
        rules,
        tail,
        next: header.kept.next(),
        watermark,
        staging: Staging {
            current: [None, staged],
            dirty: [false; 2],
            unnamed: false,
            activated: None,
            next: inventory
                .snapshots
                .last()
                .map_or(Serial(1), |last| last.next()),
            on_disk: inventory.snapshots,
        },
        batch: Vec::new(),
        begin: 0,
        buffer: BytesMut::new(),
        owed: false,
        _lock: lock,
    };
    engine.collect()?;
    Ok((engine, report))
}

/// The first segment of this life: its header, and what it holds from the beginning.
///
/// What was being taken when the last life ended is taken anew, so it is forgotten here; and the
/// segment says so, because every later start must forget it at the same place.
fn begin_segment(dir: &Dir, config: &WalConfig, found: &mut Replay) -> (SegmentHeader, BytesMut) {
    let unproven = mem::take(&mut found.unproven);
    if unproven.is_empty() {
        found.catalog.forget_taken();
    }
    let header = SegmentHeader {
        log: found.log,
        seq: found.seq,
        first: found.first,
        kept: Number(found.first.0 + unproven.len() as u64 - 1),
        salt: salt(dir),
        checkpoint: found.catalog.checkpoint(),
    };
    let mut bytes = header.to_bytes(config.group());
    let mut head = RecordHead::first(header.first, header.salt);
    for stored in &unproven {
        let start = bytes.len() as u64;
        write_record(config.group(), head, stored, &mut bytes);
        head = head.following();
        let span = Span {
            seq: header.seq,
            start,
            end: bytes.len() as u64,
        };
        found.catalog.apply(stored, span);
    }
    found.catalog.forget_taken();
    (header, bytes)
}

/// Makes sure that every entry that should be there lies in a segment that is.
fn check_complete(dir: &Dir, chain: &[Seq], catalog: &Catalog) -> Result<(), StorageError> {
    let (Some(oldest), Some(index)) = (chain.first(), catalog.missing()) else {
        return Ok(());
    };
    let lost = FileName::Segment(Seq(oldest.0.saturating_sub(1)));
    Err(StorageError::Corrupt {
        place: dir.place(&lost.to_string()),
        offset: 0,
        what: advise(format!("the segment is missing, and entry {index} with it")),
    })
}

/// Makes sure that a directory without segments never had any.
fn check_new(dir: &Dir, inventory: &Inventory, mark: Mark) -> Result<(), StorageError> {
    let trace = match (mark, inventory.snapshots.first()) {
        (Mark::At { number, .. }, _) if number > Number(0) => Some((
            WATERMARK.to_string(),
            format!("says that record {number} was durable"),
        )),
        (_, Some(serial)) => Some((
            FileName::Snapshot(*serial).to_string(),
            "belongs to a log".to_string(),
        )),
        _ => None,
    };
    let Some((name, why)) = trace else {
        return Ok(());
    };
    Err(StorageError::Corrupt {
        place: dir.place(&name),
        offset: 0,
        what: advise(format!("the file {why}, but there is no segment of it")),
    })
}

/// Opens segments that follow each other.
fn open_chain(dir: &Dir, config: &WalConfig, chain: &[Seq]) -> Result<Vec<Segment>, StorageError> {
    let mut segments: Vec<Segment> = Vec::with_capacity(chain.len());
    for seq in chain {
        let segment = Segment::open(dir, config.group(), *seq)?;
        if let Some(before) = segments.last() {
            let header = &segment.header;
            let wrong = if header.log != before.header.log {
                Some("belongs to another log than the segments before it")
            } else if header.first < before.header.first {
                Some("begins with an older record than the segment before it")
            } else {
                None
            };
            if let Some(wrong) = wrong {
                return Err(segment
                    .file
                    .corrupt(0, advise(format!("the segment {wrong}"))));
            }
        }
        segments.push(segment);
    }
    Ok(segments)
}

/// Makes sure that the files of the current snapshot and of the one that is being received are there.
///
/// A file goes only when the record that replaces its snapshot is durable. So if records were cut as
/// torn and a file is missing that was needed before them, they had been durable: it is they that
/// are damaged.
fn check_snapshots(
    dir: &Dir,
    inventory: &Inventory,
    catalog: &Catalog,
    cut: Option<&Repair>,
) -> Result<(), StorageError> {
    let current = catalog.snapshot.as_ref();
    let current = current.map(|(serial, _)| (*serial, "current"));
    let staged = catalog.received().map(|staged| (staged.serial, "staged"));
    let mut needed = current.into_iter().chain(staged);
    let Some((serial, what)) = needed.find(|(serial, _)| !inventory.snapshots.contains(serial))
    else {
        return Ok(());
    };
    let missing = dir.place(&FileName::Snapshot(serial).to_string());
    Err(match cut {
        Some(cut) => StorageError::Corrupt {
            place: cut.place.clone(),
            offset: cut.offset,
            what: advise(format!(
                "record {} is damaged, and it or one behind it was durable: {missing}, which it replaced, is gone",
                cut.record
            )),
        },
        None => StorageError::Corrupt {
            place: missing,
            offset: 0,
            what: advise(format!("the file of the {what} snapshot is missing")),
        },
    })
}

type Snapshots = (Option<Arc<SnapshotFile>>, Option<(SnapshotFile, u64)>);

/// Opens the current snapshot and the one that is being received.
fn open_snapshots(dir: &Dir, owner: Owner, catalog: &Catalog) -> Result<Snapshots, StorageError> {
    let mut snapshot = None;
    if let Some((serial, meta)) = &catalog.snapshot {
        // Its contents are checked when they are read, which a start does anyway.
        let file = SnapshotFile::open(dir, owner, (*serial, meta.id), meta.size, false)?;
        snapshot = Some(Arc::new(file));
    }
    let mut staging = None;
    if let Some(staged) = catalog.received() {
        // Checked now: to find out after it became the current one would be too late.
        let file = SnapshotFile::open(dir, owner, (staged.serial, staged.id), staged.len, true)?;
        staging = Some((file, staged.len));
    }
    Ok((snapshot, staging))
}
