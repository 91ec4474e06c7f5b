//! A write-ahead log is written, its files are damaged as the bytes say, and it is opened again:
//! it says what is wrong, or holds only what was written.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use bytes::{Bytes, BytesMut};
use synod_core::frame::{HEADER, frame_len, write_frame};
use synod_core::{
    Entries, Entry, Generation, GroupId, Lane, LogIndex, LogLoad, LogLoaded, LogRecord, OldLog,
    SnapshotId, SnapshotMeta, Stamp,
};
use synod_node::wal::sim_files::SimFiles;
use synod_node::wal::{Engine, Files, WalConfig};

/// Small, so that a short log has several segments.
fn config() -> WalConfig {
    let builder = WalConfig::builder().segment_bytes(4096).tail_bytes(500);
    builder.build().expect("the settings are valid")
}

/// The bytes are a script: what is written, then what is damaged.
///
/// # Panics
///
/// If the log breaks a promise.
pub fn open_damaged(data: &[u8]) {
    // A script that is too short says nothing more.
    _ = run(&mut Unstructured::new(data));
}

fn run(script: &mut Unstructured<'_>) -> Result<()> {
    let files = SimFiles::new(7);
    let written = write(&files, script)?;
    let mut files = files.kill();
    let mut forged = false;
    while !script.is_empty() && !files.files().is_empty() {
        forged |= damage(&files, script)?;
    }
    // Twice: what the first start repairs, the second finds in order.
    for _ in 0..2 {
        match Engine::open(Arc::new(files.clone()), config()) {
            Ok((engine, _)) if forged => use_it(engine),
            Ok((engine, _)) => check(&engine, written),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        files = files.kill();
    }
    Ok(())
}

/// What belongs at a place, so that anything else is noticed.
fn payload(index: LogIndex) -> Bytes {
    Bytes::from(vec![index.0 as u8; 30 + (index.0 as usize * 37) % 400])
}

fn contents(len: usize) -> Bytes {
    Bytes::from(vec![0xab; len])
}

/// Writes a log; the last entry that it has.
fn write(files: &SimFiles, script: &mut Unstructured<'_>) -> Result<LogIndex> {
    let (mut engine, _) =
        Engine::open(Arc::new(files.clone()), config()).expect("an empty directory can be opened");
    let mut last = LogIndex::START;
    for _ in 0..script.int_in_range(1..=12)? {
        let batch = match script.int_in_range(0..=5)? {
            0 => vec![LogRecord::State(contents(script.int_in_range(0..=40)?))],
            1 if last > LogIndex::START => snapshot(last),
            _ => {
                // Now and then more than a segment, which is stored in parts.
                let count = match script.int_in_range(0..=7)? {
                    0 => 25,
                    _ => script.int_in_range(1..=4)?,
                };
                let indexes = (1..=count).map(|k| last.plus(k));
                let entries = indexes.map(|index| Entry::command(payload(index)));
                let put = Entries::new(last.next(), Stamp::of(1), entries);
                last = last.plus(count);
                vec![LogRecord::Put(put)]
            }
        };
        engine
            .write(batch.into_iter().collect())
            .expect("a sound disk takes what keeps the contract");
        engine.collect().expect("a sound disk");
    }
    Ok(last)
}

/// A snapshot of everything so far, and the log before it away.
fn snapshot(through: LogIndex) -> Vec<LogRecord> {
    let id = SnapshotId {
        origin: Generation(1),
        index: through,
    };
    let chunk = contents(700);
    let meta = SnapshotMeta {
        id,
        stamp: Stamp::of(1),
        config: Bytes::new(),
        size: chunk.len() as u64,
    };
    let stage = LogRecord::Stage {
        lane: Lane::Taken,
        id,
        offset: 0,
        chunk,
    };
    let log = OldLog::Keep;
    let stamp = Stamp::of(1);
    vec![
        stage,
        LogRecord::Activate { meta, log },
        LogRecord::Compact { through, stamp },
    ]
}

/// Whether what was damaged has a right checksum now.
fn damage(files: &SimFiles, script: &mut Unstructured<'_>) -> Result<bool> {
    let there = files.files();
    let (name, len) = script.choose(&there)?;
    let place = script.arbitrary::<u16>()?;
    match script.int_in_range(0..=6)? {
        0..=2 if *len > 0 => {
            files.flip(name, u64::from(place) % len, script.int_in_range(0..=7)?);
        }
        3 => files.cut(name, u64::from(place).min(*len)),
        4 => {
            // Any bytes anywhere, as a stray write would leave them.
            let stray = script.int_in_range(0..=64)?;
            let stray = script.bytes(stray)?;
            let file = files.open(name).expect("the file is there");
            file.write_at(stray, u64::from(place).min(*len))
                .and_then(|()| file.sync_data())
                .expect("no fault is planned");
        }
        5 if place % 4 == 0 => files.lose(name),
        6 => return forge(files, script, name),
        _ => {}
    }
    Ok(false)
}

/// Changes a frame and gives it a right checksum: what it says can be anything.
fn forge(files: &SimFiles, script: &mut Unstructured<'_>, name: &str) -> Result<bool> {
    let bytes = files.contents(name);
    let mut frames = Vec::new();
    // Behind the magic; the watermark has none.
    let mut at = if name == "durable" { 0 } else { 8 };
    while let Some(rest) = bytes.get(at..)
        && let Ok(Some(total)) = frame_len(rest, rest.len())
        && total <= rest.len()
    {
        frames.push((at, total));
        at += total;
    }
    if frames.is_empty() {
        return Ok(false);
    }
    let (at, total) = *script.choose(&frames)?;
    let mut frame = bytes[at..at + total].to_vec();
    for _ in 0..script.int_in_range(1..=8)? {
        let place = script.int_in_range(HEADER - 8..=total - 1)?;
        frame[place] = script.arbitrary()?;
    }
    let (group, body) = frame[HEADER - 8..].split_at(8);
    let group = group.try_into().expect("it has 8 bytes");
    let mut forged = BytesMut::new();
    write_frame(GroupId(u64::from_le_bytes(group)), &mut forged, |out| {
        out.extend_from_slice(body);
    });
    let file = files.open(name).expect("the file is there");
    file.write_at(&forged, at as u64)
        .and_then(|()| file.sync_data())
        .expect("no fault is planned");
    Ok(true)
}

/// Nothing is known of what a forged log holds, but it can be read and written, or says why not.
fn use_it(mut engine: Engine) {
    let Ok(restored) = engine.restored() else {
        return;
    };
    let reader = engine.reader();
    let (compacted, _) = restored.compacted;
    let entries = LogLoad::Entries {
        after: compacted,
        through: restored.last(),
        max_bytes: 5000,
    };
    let snapshot = restored.snapshot.as_ref().map(|meta| LogLoad::Snapshot {
        id: meta.id,
        offset: 0,
        max_bytes: 1000,
    });
    for load in [entries].into_iter().chain(snapshot) {
        _ = reader.load(&load);
    }
    if restored.last().0 < u64::MAX / 2 {
        let put = Entries::new(
            restored.last().next(),
            Stamp::of(2),
            [Entry::command(contents(9))],
        );
        _ = engine.write([LogRecord::Put(put)].into_iter().collect());
        _ = engine.collect();
    }
}

/// What a log that opened hands out is what was written, in its place.
fn check(engine: &Engine, written: LogIndex) {
    let reader = engine.reader();
    let Ok(restored) = engine.restored() else {
        return;
    };
    assert!(restored.last() <= written, "nothing is made up");
    for entries in &restored.tail {
        check_entries(entries);
    }
    let (compacted, _) = restored.compacted;
    let load = LogLoad::Entries {
        after: compacted,
        through: restored.last(),
        max_bytes: usize::MAX,
    };
    if let Ok(Some(LogLoaded::Entries { runs, .. })) = reader.load(&load) {
        runs.iter().for_each(check_entries);
    }
    if let Some(meta) = restored.snapshot {
        let load = LogLoad::Snapshot {
            id: meta.id,
            offset: 0,
            max_bytes: usize::MAX,
        };
        if let Ok(Some(LogLoaded::Snapshot { chunk, .. })) = reader.load(&load) {
            assert!(chunk.iter().all(|byte| *byte == 0xab), "no bad byte");
        }
    }
}

fn check_entries(entries: &Entries) {
    for (index, entry) in entries.iter() {
        assert_eq!(entry.payload, payload(index), "no bad byte at {index}");
    }
}
