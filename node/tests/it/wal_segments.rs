//! Segments come and go, and what they held that still counts does not.

use synod_core::{
    Batch, Entries, Entry, Generation, Lane, LogIndex, LogRecord, OldLog, SnapshotId, SnapshotMeta,
    Stamp,
};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Engine, Plant};

use crate::wal_support::{Dump, open};

fn put(index: u64, len: usize) -> LogRecord {
    let entry = Entry::command(vec![7; len].into());
    LogRecord::Put(Entries::new(LogIndex(index), Stamp::of(1), [entry]))
}

/// Stages, activates and compacts through `index`.
fn snapshot(index: u64) -> Batch<LogRecord> {
    let id = SnapshotId {
        origin: Generation(1),
        index: LogIndex(index),
    };
    let records = [
        LogRecord::Stage {
            lane: Lane::Received,
            id,
            offset: 0,
            chunk: "contents".into(),
        },
        LogRecord::Activate {
            meta: SnapshotMeta {
                id,
                stamp: Stamp::of(1),
                config: "members".into(),
                size: 8,
            },
            log: OldLog::Keep,
        },
        LogRecord::Compact {
            through: LogIndex(index),
            stamp: Stamp::of(1),
        },
    ];
    records.into_iter().collect()
}

fn segments(files: &SimFiles) -> usize {
    let names = files.files().into_iter().map(|(name, _)| name);
    names.filter(|name| name.starts_with("log-")).count()
}

fn write(engine: &mut Engine, batch: impl Into<Batch<LogRecord>>) {
    engine.write(batch.into()).unwrap();
    engine.collect().unwrap();
}

/// Writes the state once, then so much that its segment goes.
pub(crate) fn state_outlives_its_segment(plant: Option<Plant>) -> Result<(), String> {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, plant).unwrap();
    write(&mut engine, LogRecord::State("vote".into()));
    for index in 1..=20 {
        write(&mut engine, put(index, 1000));
    }
    assert!(segments(&files) > 3);
    write(&mut engine, snapshot(20));
    assert!(segments(&files) == 1, "{:?}", files.files());
    let (engine, _) = open(&files.kill(), plant).unwrap();
    let restored = engine.restored().unwrap();
    assert_eq!(restored.compacted, (LogIndex(20), Stamp::of(1)));
    assert_eq!(restored.snapshot.unwrap().index(), LogIndex(20));
    match restored.state {
        Some(state) if state == "vote" => Ok(()),
        other => Err(format!("the state is {other:?}")),
    }
}

#[test]
fn the_state_and_the_marks_outlive_their_segment() {
    assert_eq!(state_outlives_its_segment(None), Ok(()));
}

#[test]
fn a_segment_stays_while_an_entry_in_it_is_live() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    for index in 1..=20 {
        write(&mut engine, put(index, 1000));
    }
    let before = segments(&files);
    write(&mut engine, snapshot(8));
    let after = segments(&files);
    assert!(after < before && after > 1, "{before} then {after}");
    // Truncated from the front of what is left: all but the newest segment can go.
    write(&mut engine, LogRecord::Truncate { from: LogIndex(9) });
    assert_eq!(segments(&files), 1);
    let (engine, _) = open(&files.kill(), None).unwrap();
    assert_eq!(engine.restored().unwrap().last(), LogIndex(8));
}

#[test]
fn starts_that_write_nothing_leave_nothing_behind() {
    let mut files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, put(1, 10));
    drop(engine);
    let mut counts = Vec::new();
    for _ in 0..10 {
        files = files.kill();
        drop(open(&files, None).unwrap());
        counts.push(files.files().len());
    }
    assert_eq!(counts.first(), counts.last(), "{counts:?}");
}

#[test]
fn a_batch_longer_than_a_segment_is_written_whole() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    write(&mut engine, put(1, 10));
    write(&mut engine, put(2, 50_000));
    write(&mut engine, put(3, 10));
    assert_eq!(segments(&files), 2);
    let (engine, report) = open(&files.kill(), None).unwrap();
    assert_eq!(engine.restored().unwrap().last(), LogIndex(3));
    assert_eq!((report.records, report.repaired), (3, None));
}

#[test]
fn staging_resumes_where_it_was_durable() {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    let id = SnapshotId {
        origin: Generation(3),
        index: LogIndex(5),
    };
    let stage = |offset, chunk: &'static str| LogRecord::Stage {
        lane: Lane::Received,
        id,
        offset,
        chunk: chunk.into(),
    };
    write(&mut engine, stage(0, "abc"));
    write(&mut engine, stage(3, "de"));
    let files = files.kill();
    let (mut engine, _) = open(&files, None).unwrap();
    assert_eq!(engine.restored().unwrap().staged, Some((id, 5)));
    write(&mut engine, stage(5, "f"));
    let meta = SnapshotMeta {
        id,
        stamp: Stamp::of(1),
        config: "".into(),
        size: 6,
    };
    write(
        &mut engine,
        LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        },
    );
    let (engine, _) = open(&files.kill(), None).unwrap();
    let restored = engine.restored().unwrap();
    assert_eq!((restored.staged, restored.snapshot), (None, Some(meta)));
    let load = synod_core::LogLoad::Snapshot {
        id,
        offset: 2,
        max_bytes: 3,
    };
    let Some(synod_core::LogLoaded::Snapshot { chunk, .. }) = engine.reader().load(&load).unwrap()
    else {
        panic!("the snapshot is current");
    };
    assert_eq!(chunk, "cde");
}

#[test]
fn what_the_contract_forbids_is_refused_and_not_written() {
    let broken = [
        LogRecord::Truncate {
            from: LogIndex::START,
        },
        LogRecord::Stage {
            lane: Lane::Received,
            id: SnapshotId {
                origin: Generation(1),
                index: LogIndex(1),
            },
            offset: 7,
            chunk: "x".into(),
        },
        LogRecord::Compact {
            through: LogIndex(1),
            stamp: Stamp::of(1),
        },
    ];
    for record in broken {
        let files = SimFiles::new(1);
        let (mut engine, _) = open(&files, None).unwrap();
        write(&mut engine, put(1, 10));
        let batch = [LogRecord::State("s".into()), record];
        assert!(engine.write(batch.into_iter().collect()).is_err());
        let (engine, report) = open(&files.kill(), None).unwrap();
        assert_eq!((report.records, report.repaired), (1, None));
        assert_eq!(engine.restored().unwrap().state, None);
    }
}

fn staged(lane: Lane, id: SnapshotId, offset: u64, chunk: &'static str) -> LogRecord {
    LogRecord::Stage {
        lane,
        id,
        offset,
        chunk: chunk.into(),
    }
}

/// A start forgets what was being taken, and so must every start after it: otherwise the same
/// snapshot, received later, is looked for in the file that was thrown away.
#[test]
fn what_was_taken_in_an_earlier_life_is_forgotten_for_good() {
    let id = SnapshotId {
        origin: Generation(1),
        index: LogIndex(4),
    };
    let meta = SnapshotMeta {
        id,
        stamp: Stamp::of(1),
        config: "members".into(),
        size: 5,
    };
    // With the last batch proven, and with one that the next life must write once more.
    for lost_sync in [false, true] {
        let mut files = SimFiles::new(1);
        let (mut engine, _) = open(&files, None).unwrap();
        write(&mut engine, put(1, 10));
        write(&mut engine, staged(Lane::Received, id, 0, "ab"));
        if lost_sync {
            // The last of its operations: create, write, write, sync, sync the name, write, sync.
            files.fault_at(files.operations() + 6, Fault::Fail);
        }
        let taken = staged(Lane::Taken, id, 0, "taken");
        assert_eq!(engine.write(taken.into()).is_err(), lost_sync);

        files = files.kill();
        let (mut engine, _) = open(&files, None).unwrap();
        write(&mut engine, staged(Lane::Received, id, 2, "cde"));
        let log = OldLog::Keep;
        let meta = meta.clone();
        write(&mut engine, LogRecord::Activate { meta, log });
        let before = Dump::of_log(&engine.reader()).unwrap();

        for _ in 0..2 {
            files = files.kill();
            let (engine, _) = open(&files, None).unwrap();
            let after = Dump::of_log(&engine.reader()).unwrap();
            assert_eq!(after, before, "lost_sync: {lost_sync}");
        }
    }
}

/// A put longer than a segment, of which the disk has kept the first part and not the last. The
/// machine wrote it as one record, so it is there as a whole or not at all.
pub(crate) fn half_of_a_put_is_cut(plant: Option<Plant>) -> Result<(), String> {
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, plant).unwrap();
    write(&mut engine, put(1, 10));
    let entries = (0..10).map(|_| Entry::command(vec![7; 1000].into()));
    let long = LogRecord::Put(Entries::new(LogIndex(2), Stamp::of(1), entries));
    let before = engine.stats().records;
    let whole = files.fork();
    // Nobody is told that it is there: the sync fails.
    files.fault_at(files.operations() + 1, Fault::Fail);
    engine.write(long.clone().into()).unwrap_err();
    drop(engine);
    for cut in [5_000, 8_500, 9_000] {
        let files = files.fork().kill();
        let name = "log-0000000000000001.wal";
        files.cut(name, cut);
        let (engine, report) = open(&files, plant).unwrap();
        let last = engine.restored().unwrap().last();
        let repair = report
            .repaired
            .map(|repair| (repair.record, repair.offset < 1000));
        if (last, repair) != (LogIndex(1), Some((2, true))) {
            return Err(format!("cut at {cut}: {last}, {repair:?}"));
        }
        drop(engine);
        let (engine, report) = open(&files.kill(), plant).unwrap();
        assert_eq!(engine.restored().unwrap().last(), LogIndex(1));
        assert_eq!(report.repaired, None);
    }
    // With the end it is all there.
    let (engine, _) = open(&files.kill(), plant).unwrap();
    assert_eq!(engine.restored().unwrap().last(), LogIndex(11));
    // And it was stored in parts.
    let (mut engine, _) = open(&whole.kill(), plant).unwrap();
    write(&mut engine, long);
    assert!(
        engine.stats().records >= 3,
        "{before} then {:?}",
        engine.stats()
    );
    Ok(())
}

#[test]
fn a_long_put_is_there_as_a_whole_or_not_at_all() {
    assert_eq!(half_of_a_put_is_cut(None), Ok(()));
}
