//! Figures and places, exactly: what a call asks of the disk, what a start reports, where damage is
//! said to be, and what bytes that no log of ours wrote come to.

use std::ops::Range;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{
    Batch, Encode, Entries, Entry, Generation, GroupId, Lane, LogIndex, LogLoad, LogLoaded,
    LogRecord, OldLog, SnapshotId, SnapshotMeta, Stamp, StorageError,
};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Engine, OpenReport, WalConfig};

use crate::wal_support::open;

const FIRST: &str = "log-0000000000000001.wal";
const SECOND: &str = "log-0000000000000002.wal";
const SNAPSHOT: &str = "snapshot-0000000000000001.dat";

fn put(first: u64, lengths: &[usize]) -> LogRecord {
    let entries = lengths
        .iter()
        .map(|len| Entry::command(vec![7; *len].into()));
    LogRecord::Put(Entries::new(LogIndex(first), Stamp::of(1), entries))
}

fn state(len: usize) -> LogRecord {
    LogRecord::State(vec![7; len].into())
}

fn write(engine: &mut Engine, records: impl IntoIterator<Item = LogRecord>) {
    engine.write(records.into_iter().collect()).unwrap();
    engine.collect().unwrap();
}

/// With segments of the usual length.
fn open_wide(files: &SimFiles) -> (Engine, OpenReport) {
    Engine::open(Arc::new(files.clone()), WalConfig::default()).unwrap()
}

/// Where the frames behind the magic lie: the header, then the records.
fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut rest = Bytes::copy_from_slice(&bytes[8..]);
    let mut frames = Vec::new();
    loop {
        let start = bytes.len() - rest.len();
        let limit = rest.len();
        if read_frame(&mut rest, limit).is_err() {
            return frames;
        }
        frames.push(start..bytes.len() - rest.len());
    }
}

/// The frames of a file now.
fn frames_of(files: &SimFiles, name: &str) -> Vec<Range<usize>> {
    frames(&files.contents(name))
}

/// How many operations of a kind on a file there were while `act` ran.
fn count(files: &SimFiles, kind: &str, name: &str, act: impl FnOnce()) -> usize {
    let before = usize::try_from(files.operations()).unwrap();
    act();
    let trace = files.trace();
    let done = trace[before..].iter();
    done.filter(|operation| operation.kind == kind && operation.name == name)
        .count()
}

fn size(files: &SimFiles, name: &str) -> u64 {
    let found = files.files().into_iter().find(|(other, _)| other == name);
    found.unwrap().1
}

/// Where damage is said to be: the file and the offset.
fn damage<T>(outcome: Result<T, StorageError>) -> (String, u64) {
    match outcome.map(|_| ()) {
        Err(StorageError::Corrupt { place, offset, .. }) => (place, offset),
        other => panic!("should be damage: {other:?}"),
    }
}

#[test]
fn a_batch_costs_one_write_and_one_sync() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    let records = engine.stats().records;
    for (kind, expected) in [("write", 1), ("sync", 1)] {
        let batch = [state(10), put(1, &[10, 10, 10]), state(10)];
        let done = count(&files, kind, FIRST, || write(&mut engine, batch));
        assert_eq!(done, expected, "{kind}");
    }
    // Three short entries are one record.
    assert_eq!(engine.stats().records - records, 6);
}

#[test]
fn a_long_batch_is_encoded_a_mebibyte_at_a_time() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open_wide(&files);
    let batch = [state(400 << 10), state(400 << 10), state(400 << 10)];
    let done = count(&files, "write", FIRST, || write(&mut engine, batch));
    assert_eq!(done, 2, "two of them fit in a mebibyte");
    let (engine, _) = open_wide(&files.kill());
    assert_eq!(engine.restored().unwrap().state.unwrap().len(), 400 << 10);
}

#[test]
fn short_writes_are_filled_ahead_for_and_long_ones_are_not() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [put(1, &[10])]);
    assert_eq!(size(&files, FIRST), 4096);
    // What has room costs no more room.
    write(&mut engine, [put(2, &[10])]);
    assert_eq!(size(&files, FIRST), 4096);
    write(&mut engine, [put(3, &[3800])]);
    assert_eq!(size(&files, FIRST), 8192);
    // The next segment begins with one long write; the one before gave its room back.
    write(&mut engine, [put(4, &[70_000])]);
    let end = |name| frames_of(&files, name).last().unwrap().end as u64;
    assert_eq!(size(&files, FIRST), end(FIRST));
    assert_eq!(size(&files, SECOND), end(SECOND));
}

#[test]
fn the_room_ahead_of_a_usual_segment_is_a_mebibyte() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open_wide(&files);
    write(&mut engine, [put(1, &[10])]);
    assert_eq!(size(&files, FIRST), 1 << 20);
    // A record of just under 64 KiB is short; what the frame adds makes the other one long.
    write(&mut engine, [put(2, &[(64 << 10) - 100])]);
    assert_eq!(size(&files, FIRST), 1 << 20);
    write(&mut engine, [put(3, &[1 << 20])]);
    let end = frames_of(&files, FIRST).last().unwrap().end as u64;
    assert_eq!(size(&files, FIRST), end);
}

/// A segment whose header alone is longer than a segment should be is not left before anything is
/// in it; one that already holds a long record of the life before is.
#[test]
fn only_a_segment_that_holds_records_is_left_for_the_next() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [state(5000)]);
    drop(engine);
    let (mut engine, _) = open(&files.kill(), None).unwrap();
    let files = SimFiles::clone(&files);
    let begun = engine.stats().segments;
    write(&mut engine, [put(1, &[10])]);
    assert_eq!(engine.stats().segments, begun);
    drop(engine);

    let other = SimFiles::new(1);
    let (mut engine, _) = open(&other, None).unwrap();
    // Written, and never known durable: the next life writes it once more.
    other.fault_at(other.operations() + 1, Fault::Fail);
    let whole = other.fork();
    engine.write(Batch::from(state(5000))).unwrap_err();
    drop((engine, whole));
    let (mut engine, report) = open(&other.kill(), None).unwrap();
    assert_eq!(report.records, 1);
    let begun = engine.stats().segments;
    write(&mut engine, [put(1, &[10])]);
    assert_eq!(engine.stats().segments, begun + 1);
    drop(files);
}

#[test]
fn a_start_counts_what_it_has_read() {
    let files = SimFiles::new(1);
    let (mut engine, report) = open(&files, None).unwrap();
    assert!(report.created);
    assert_eq!((report.segments, report.records, report.bytes), (0, 0, 0));
    for index in 1..=6 {
        write(&mut engine, [put(index, &[1000])]);
    }
    let (_, report) = open(&files.kill(), None).unwrap();
    let records: Vec<usize> = [FIRST, SECOND]
        .iter()
        .flat_map(|name| frames_of(&files, name).split_off(1))
        .map(|frame| frame.len())
        .collect();
    assert_eq!(records.len(), 6);
    let bytes = records.iter().sum::<usize>() as u64;
    assert!(!report.created && !report.watermark_lost);
    assert_eq!((report.segments, report.records), (2, 6));
    assert_eq!((report.bytes, report.repaired), (bytes, None));
}

#[test]
fn a_repair_says_exactly_what_was_cut() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [put(1, &[10])]);
    write(&mut engine, [put(2, &[10]), put(3, &[10]), state(20)]);
    drop(engine);
    let files = files.kill();
    files.lose("durable");
    let frames = frames_of(&files, FIRST);
    let (bad, last) = (frames[3].clone(), frames[4].clone());
    files.flip(FIRST, bad.start as u64 + 20, 0);
    let (_, report) = open(&files, None).unwrap();
    assert!(report.watermark_lost);
    let repair = report.repaired.unwrap();
    assert_eq!(repair.place, format!("sim/{FIRST}"));
    assert_eq!((repair.offset, repair.record), (bad.start as u64, 3));
    assert_eq!(repair.dropped, (last.end - bad.start) as u64);
    let told = format!(
        "cut {} bytes of a torn write at byte {} of sim/{FIRST}, from record 3 on",
        last.end - bad.start,
        bad.start
    );
    assert_eq!(repair.to_string(), told);
}

/// A put in parts whose end is torn: all of its parts are cut, from the first one on.
#[test]
fn a_repair_of_a_put_in_parts_counts_all_of_them() {
    for torn in [false, true] {
        let files = SimFiles::new(1);
        let (mut engine, _) = open(&files, None).unwrap();
        write(&mut engine, [put(1, &[10])]);
        files.fault_at(files.operations() + 1, Fault::Fail);
        let long = put(2, &[3000, 3000, 3000]);
        engine.write(Batch::from(long)).unwrap_err();
        drop(engine);
        let files = files.kill();
        let frames = frames_of(&files, FIRST);
        assert_eq!(frames.len(), 5);
        // The last part is bad, or it is not there at all.
        let end = match torn {
            true => {
                files.flip(FIRST, frames[4].start as u64 + 100, 0);
                frames[4].end
            }
            false => {
                files.cut(FIRST, frames[4].start as u64);
                frames[3].end
            }
        };
        let (engine, report) = open(&files, None).unwrap();
        let repair = report.repaired.unwrap();
        assert_eq!((repair.offset, repair.record), (frames[2].start as u64, 2));
        assert_eq!(repair.dropped, (end - frames[2].start) as u64, "{torn}");
        assert_eq!(engine.restored().unwrap().last(), LogIndex(1));
    }
}

/// The note of what is durable: gone, unreadable, of another log, or as it should be.
#[test]
fn a_start_says_whether_it_could_tell_damage_from_a_torn_end() {
    let log = |seed| {
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        for index in 1..=seed {
            write(&mut engine, [put(index, &[10])]);
        }
        drop(engine);
        files.kill()
    };
    let lost = |files: &SimFiles| open(files, None).unwrap().1.watermark_lost;
    assert!(!lost(&log(3)));
    let files = log(3);
    files.lose("durable");
    assert!(lost(&files));
    assert!(!lost(&files.kill()), "it was begun anew");
    let files = log(3);
    files.put("durable", &[9; 5000]);
    assert!(lost(&files));
    assert!(!lost(&files.kill()), "it was begun anew");
    // That of a log that went further proves nothing here, and does not stay.
    let files = log(3);
    files.put("durable", &log(9).contents("durable"));
    assert!(lost(&files));
    let (engine, report) = open(&files.kill(), None).unwrap();
    assert!(!report.watermark_lost);
    assert_eq!(engine.restored().unwrap().last(), LogIndex(3));
}

/// Two places take turns, also from one life to the next: a torn write of one leaves the other,
/// and the newest is never the one that is written over.
#[test]
fn the_note_of_what_is_durable_has_two_places() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [put(1, &[10])]);
    write(&mut engine, [put(2, &[10])]);
    drop(engine);
    let files = files.kill();
    let before = files.contents("durable");
    let place = |bytes: &[u8], at: usize| bytes[at..(at + 41).min(bytes.len())].to_vec();
    for at in [0, 4096] {
        assert_ne!(place(&before, at), [0; 41]);
        let torn = files.fork();
        torn.flip("durable", at as u64 + 20, 0);
        assert!(!open(&torn, None).unwrap().1.watermark_lost);
    }
    // Starts, and writes nothing: of three notes, the last two are there.
    drop(open(&files, None).unwrap());
    let after = files.contents("durable");
    let kept = [0, 4096].map(|at| place(&before, at) == place(&after, at));
    assert_eq!(kept.iter().filter(|kept| **kept).count(), 1, "{kept:?}");
    // The newest of before is the one that stayed: alone, it still tells damage from a torn end.
    let newest = if kept[0] { 0 } else { 4096 };
    let only = files.fork();
    only.flip("durable", 4096 - newest + 20, 0);
    let bad = frames_of(&only, FIRST)[2].start as u64;
    only.flip(FIRST, bad + 20, 0);
    assert!(matches!(
        open(&only, None),
        Err(StorageError::Corrupt { .. })
    ));
}

/// A log that was closed in good order knows after any loss of power how far it went.
#[test]
fn a_closed_log_proves_its_last_record_after_a_loss_of_power() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [put(1, &[10])]);
    let open_still = files.fork();
    drop(engine);
    let last = frames_of(&files, FIRST)[1].start as u64;
    let mut judged = [Vec::new(), Vec::new()];
    for (files, judged) in [&files, &open_still].iter().zip(&mut judged) {
        for lost in files.power_losses(8) {
            lost.flip(FIRST, last + 20, 0);
            judged.push(open(&lost, None).is_err());
        }
    }
    assert!(judged[0].iter().all(|refused| *refused), "{judged:?}");
    // Without that a loss of power may leave nothing that proves it.
    assert!(judged[1].contains(&false), "{judged:?}");
}

/// A directory without segments is new only if nothing in it says that there were any.
#[test]
fn what_is_left_of_a_log_without_segments_is_refused() {
    let files = SimFiles::new(1);
    drop(open(&files, None).unwrap());
    let empty = files.kill();
    empty.lose(FIRST);
    assert!(
        open(&empty, None).unwrap().1.created,
        "it never held anything"
    );

    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [staged(1, 0, "abc")]);
    drop(engine);
    let files = files.kill();
    files.lose(FIRST);
    assert_eq!(damage(open(&files, None)), ("sim/durable".into(), 0));
    files.lose("durable");
    assert_eq!(damage(open(&files, None)), (format!("sim/{SNAPSHOT}"), 0));
}

fn id(index: u64) -> SnapshotId {
    SnapshotId {
        origin: Generation(1),
        index: LogIndex(index),
    }
}

fn staged(index: u64, offset: u64, chunk: impl Into<Bytes>) -> LogRecord {
    LogRecord::Stage {
        lane: Lane::Received,
        id: id(index),
        offset,
        chunk: chunk.into(),
    }
}

/// What is needed of a file that was damaged while the log was open is named when it is read: the
/// segment by the name that it has now, and the record.
#[test]
fn damage_that_comes_later_is_named_by_the_read() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    for index in 1..=3 {
        write(&mut engine, [put(index, &[10])]);
    }
    let frames = frames_of(&files, FIRST);
    let load = |engine: &Engine| {
        engine.reader().load(&LogLoad::Entries {
            after: LogIndex::START,
            through: LogIndex(3),
            max_bytes: usize::MAX,
        })
    };
    let Some(LogLoaded::Entries { runs, .. }) = load(&engine).unwrap() else {
        panic!("the entries are there");
    };
    assert_eq!(runs.iter().map(Entries::len).sum::<usize>(), 3);
    files.flip(FIRST, frames[2].start as u64 + 30, 0);
    let bad = (format!("sim/{FIRST}"), frames[2].start as u64);
    assert_eq!(damage(load(&engine)), bad);
    assert!(matches!(load(&engine), Err(StorageError::Failed(_))));
}

#[test]
fn a_refused_record_names_the_segment() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    let refused = engine.write(Batch::from(staged(1, 7, "x"))).unwrap_err();
    let StorageError::Io {
        operation,
        place,
        reason,
    } = refused
    else {
        panic!("{refused}");
    };
    assert_eq!((operation, place), ("write", format!("sim/{FIRST}")));
    assert!(reason.contains("does not continue"), "{reason}");
}

/// A removal may have happened before a crash that nobody remembers; another failure is one.
#[test]
fn to_remove_what_is_gone_is_no_failure_and_any_other_is() {
    for fault in [false, true] {
        let files = SimFiles::new(1);
        let (mut engine, _) = open(&files, None).unwrap();
        for index in 1..=6 {
            write(&mut engine, [put(index, &[1000])]);
        }
        engine
            .write(Batch::from(LogRecord::Truncate { from: LogIndex(1) }))
            .unwrap();
        match fault {
            true => files.fault_at(files.operations(), Fault::Fail),
            false => files.lose(FIRST),
        }
        let collected = engine.collect();
        assert_eq!(collected.is_err(), fault, "{collected:?}");
        assert_eq!(engine.restored().is_err(), fault);
    }
}

/// A whole record behind the last one that is not its next: of another segment or group it is what
/// a crash may leave, and cut; of this one, out of order, it is damage.
#[test]
fn a_whole_record_that_does_not_belong_is_cut_or_named() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, [state(5)]);
    drop(engine);
    let files = files.kill();
    let bytes = files.contents(FIRST);
    let last = frames(&bytes)[1].clone();
    let salt = u32::from_le_bytes(bytes[last.start + 29..last.start + 33].try_into().unwrap());
    let append = |group, number: u64, salt: u32, trailing: &[u8]| {
        let mut record = BytesMut::new();
        write_frame(GroupId(group), &mut record, |out| {
            number.encode(out);
            1u32.encode(out);
            out.put_u32_le(salt);
            LogRecord::State("strange".into()).encode(out);
            out.extend_from_slice(trailing);
        });
        let files = files.fork();
        let mut bytes = bytes.clone();
        bytes[last.end..last.end + record.len()].copy_from_slice(&record);
        files.put(FIRST, &bytes);
        open(&files, None)
    };
    for (group, salt) in [(0, !salt), (1, salt)] {
        let (engine, report) = append(group, 2, salt, &[]).unwrap();
        assert_eq!(report.repaired.unwrap().offset, last.end as u64);
        assert_eq!(engine.restored().unwrap().state.unwrap(), vec![7; 5]);
    }
    let (engine, report) = append(0, 2, salt, &[]).unwrap();
    assert_eq!((report.records, report.repaired), (2, None));
    assert_eq!(engine.restored().unwrap().state.unwrap(), "strange");
    let here = (format!("sim/{FIRST}"), last.end as u64);
    assert_eq!(damage(append(0, 3, salt, &[])), here);
    assert_eq!(damage(append(0, 1, salt, &[])), here);
    assert_eq!(damage(append(0, 2, salt, b"x")), here);
}

/// Longer than what a start reads at once, with records across the seams.
#[test]
fn a_segment_of_several_mebibytes_reads_back() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open_wide(&files);
    for index in 1..=12 {
        write(&mut engine, [put(index, &[300_001])]);
    }
    let before = engine.restored().unwrap();
    drop(engine);
    let (engine, report) = open_wide(&files.kill());
    assert_eq!((report.records, report.repaired), (12, None));
    assert_eq!(engine.restored().unwrap(), before);
}

/// A torn end longer than what is searched at once.
#[test]
fn a_long_torn_end_is_cut_to_its_last_byte() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open_wide(&files);
    write(&mut engine, [state(3)]);
    write(
        &mut engine,
        [state(5), state(1 << 20), state(900 << 10), state(600 << 10)],
    );
    drop(engine);
    let files = files.kill();
    files.lose("durable");
    let frames = frames_of(&files, FIRST);
    files.flip(FIRST, frames[2].start as u64 + 20, 0);
    let (engine, report) = open_wide(&files);
    let repair = report.repaired.unwrap();
    assert_eq!(repair.offset, frames[2].start as u64);
    assert_eq!(repair.dropped, (frames[5].end - frames[2].start) as u64);
    assert_eq!(engine.restored().unwrap().state.unwrap(), vec![7; 3]);
}

/// What proves that a bad record was durable may lie far behind it: across the seam of what is
/// searched at once, and at the very end of the file.
#[test]
fn a_record_far_behind_proves_that_a_bad_one_was_durable() {
    // The header of the witness begins `before` bytes before the seam.
    for before in [0, 1, 10, 20, 32, 33, 34] {
        let files = SimFiles::new(1);
        let (mut engine, _) = open_wide(&files);
        write(&mut engine, [state(5)]);
        let bad = frames_of(&files, FIRST)[1].clone();
        drop(engine);
        // Of the same batch as the bad one: it proves nothing.
        let overhead = bad.len() - 5;
        let fill = (1 << 20) - before - bad.len() - overhead;
        let files = SimFiles::new(1);
        let (mut engine, _) = open_wide(&files);
        write(&mut engine, [state(5), state(fill)]);
        write(&mut engine, [state(6)]);
        drop(engine);
        let files = files.kill();
        files.lose("durable");
        let frames = frames_of(&files, FIRST);
        assert_eq!(frames[3].start, bad.start + (1 << 20) - before);
        files.flip(FIRST, bad.start as u64 + 20, 0);
        let there = (format!("sim/{FIRST}"), bad.start as u64);
        let opened = Engine::open(Arc::new(files.fork()), WalConfig::default());
        assert_eq!(damage(opened), there, "{before}");
        // Also without the zeros that a short write fills ahead.
        files.cut(FIRST, frames[3].end as u64);
        let opened = Engine::open(Arc::new(files.fork()), WalConfig::default());
        assert_eq!(damage(opened), there, "{before}");
        // Cut short it proves nothing.
        files.cut(FIRST, frames[3].end as u64 - 1);
        let (_, report) = open_wide(&files);
        assert!(report.repaired.is_some(), "{before}");
    }
}

/// A snapshot of several pieces in one chunk, and what a start reads of it: where each piece is if
/// it is the current one, all of it if it is still being received.
#[test]
fn a_start_checks_the_contents_of_a_snapshot_only_while_it_is_received() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open_wide(&files);
    let contents: Vec<u8> = (0..600 << 10).map(|at: u32| (at / 7) as u8).collect();
    write(&mut engine, [staged(9, 0, contents.clone())]);
    drop(engine);
    let files = files.kill();
    let mut opened = None;
    let reads = count(&files, "read", SNAPSHOT, || {
        opened = Some(open_wide(&files))
    });
    assert_eq!(reads, 1 + 2 * 3);
    let (mut engine, _) = opened.unwrap();
    let meta = SnapshotMeta {
        id: id(9),
        stamp: Stamp::of(1),
        config: Bytes::new(),
        size: contents.len() as u64,
    };
    let log = OldLog::Keep;
    write(&mut engine, [LogRecord::Activate { meta, log }]);
    drop(engine);
    let files = files.kill();
    let mut opened = None;
    let reads = count(&files, "read", SNAPSHOT, || {
        opened = Some(open_wide(&files))
    });
    assert_eq!(reads, 1 + 3);
    let (engine, _) = opened.unwrap();
    for (offset, max_bytes) in [
        (0, 10),
        (1000, 256 << 10),
        (0, 600 << 10),
        (256 << 10, 256 << 10),
        ((256 << 10) - 1, 2),
        ((600 << 10) - 3, 10),
        (600 << 10, 10),
    ] {
        let load = LogLoad::Snapshot {
            id: id(9),
            offset: offset as u64,
            max_bytes,
        };
        let Some(LogLoaded::Snapshot { chunk, .. }) = engine.reader().load(&load).unwrap() else {
            panic!("the snapshot is current");
        };
        let end = contents.len().min(offset + max_bytes);
        assert!(chunk == contents[offset..end], "{offset} {max_bytes}");
    }
    // A damaged length leads astray, and still the piece that it is of is named.
    let piece = frames_of(&files, SNAPSHOT)[2].start as u64;
    drop(engine);
    let files = files.kill();
    files.flip(SNAPSHOT, piece, 1);
    assert_eq!(
        damage(Engine::open(Arc::new(files), WalConfig::default())),
        (format!("sim/{SNAPSHOT}"), piece)
    );
}

/// A whole piece with a right checksum that another group wrote is none of this snapshot.
#[test]
fn a_piece_of_another_group_is_refused_when_it_is_read() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    let meta = SnapshotMeta {
        id: id(9),
        stamp: Stamp::of(1),
        config: Bytes::new(),
        size: 3,
    };
    let log = OldLog::Keep;
    let batch = [staged(9, 0, "abc"), LogRecord::Activate { meta, log }];
    write(&mut engine, batch);
    let bytes = files.contents(SNAPSHOT);
    let piece = frames(&bytes)[1].clone();
    let mut strange = BytesMut::from(&bytes[..piece.start]);
    write_frame(GroupId(5), &mut strange, |out| {
        out.extend_from_slice(&bytes[piece.start + 17..piece.end]);
    });
    let load = LogLoad::Snapshot {
        id: id(9),
        offset: 0,
        max_bytes: 3,
    };
    assert!(engine.reader().load(&load).unwrap().is_some());
    files.put(SNAPSHOT, &strange);
    let here = (format!("sim/{SNAPSHOT}"), piece.start as u64);
    assert_eq!(damage(engine.reader().load(&load)), here);
}
