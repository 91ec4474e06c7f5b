//! Damage: a flipped bit, a lost or cut file. Either nothing is different, or the file is named.

use bytes::{BufMut, BytesMut};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{
    Batch, Encode, Entries, Entry, GroupId, Lane, LogIndex, LogLoad, LogRecord, Rng, Stamp,
    StorageError, mix,
};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Plant, Reader};

use crate::wal_crash::Story;
use crate::wal_support::{Dump, Progress, Workload, open, prefix};

/// What opening and reading everything came to.
pub(crate) enum Outcome {
    Same,
    /// Less than everything, and whether a repair was reported.
    Prefix {
        records: usize,
        repaired: bool,
    },
    Refused(StorageError),
}

pub(crate) fn look(
    files: &SimFiles,
    workload: &Workload,
    plant: Option<Plant>,
) -> Result<Outcome, String> {
    let all = workload.images.len() - 1;
    let (engine, report) = match open(files, plant) {
        Ok(opened) => opened,
        Err(error) => return Ok(Outcome::Refused(error)),
    };
    let dump = match Dump::of_log(&engine.reader()) {
        Ok(dump) => dump,
        Err(error) => return Ok(Outcome::Refused(error)),
    };
    let anything = Progress {
        acknowledged: 0,
        attempted: all,
        error: None,
    };
    let records = prefix(workload, &anything, &dump)?;
    let repaired = report.repaired.is_some();
    Ok(match records == all {
        true => Outcome::Same,
        false => Outcome::Prefix { records, repaired },
    })
}

/// The damage is named where it is: at the flipped byte or at the beginning of what holds it.
pub(crate) fn names(error: &StorageError, name: &str, offset: u64) -> bool {
    match error {
        StorageError::Corrupt {
            place,
            offset: found,
            what,
        } => place.ends_with(name) && *found <= offset && what.contains("restore"),
        _ => false,
    }
}

/// Flips bits all over a log that ended well. Nothing may be lost without a word.
pub(crate) fn flip_all(seed: u64, plant: Option<Plant>) -> Result<(), (Story, String)> {
    let story = |operation| Story {
        seed,
        operation,
        fault: Fault::Crash,
        plant,
    };
    let workload = Workload::random(seed, 25);
    let files = SimFiles::new(seed);
    let (mut engine, _) = open(&files, plant).map_err(|error| (story(0), error.to_string()))?;
    if let Some(error) = workload.run(&mut engine).error {
        return Err((story(0), error.to_string()));
    }
    drop(engine);
    let files = files.kill();
    let mut rng = Rng::new(mix(seed, 7));
    for (name, len) in files.files() {
        let mut offset = rng.below(5);
        while offset < len {
            let damaged = files.fork();
            let bit = u8::try_from(rng.below(8)).unwrap();
            damaged.flip(&name, offset, bit);
            let wrong = match look(&damaged, &workload, plant) {
                Ok(Outcome::Same) => None,
                Ok(Outcome::Prefix { records, .. }) => {
                    Some(format!("only {records} records are left"))
                }
                Ok(Outcome::Refused(error)) => {
                    (!names(&error, &name, offset)).then(|| format!("refused: {error}"))
                }
                Err(error) => Some(error),
            };
            if let Some(wrong) = wrong {
                return Err((story(offset), format!("bit {bit} of {name}: {wrong}")));
            }
            offset += 1 + rng.below(9);
        }
    }
    Ok(())
}

#[test]
fn a_flipped_bit_changes_nothing_or_is_named() {
    for seed in 0..6 {
        if let Err((story, error)) = flip_all(seed, None) {
            panic!("{story:?}: {error}");
        }
    }
}

/// Without the watermark the log's own evidence still protects all but the last batch.
#[test]
fn without_the_watermark_only_the_last_batch_can_pass_for_torn() {
    for seed in 0..4 {
        let workload = Workload::random(seed, 25);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        workload.run(&mut engine);
        drop(engine);
        let files = files.kill();
        files.lose("durable");
        let before_last = workload.images.len() - 1 - workload.batches.last().unwrap().len();
        let mut rng = Rng::new(mix(seed, 8));
        let mut torn = 0;
        for (name, len) in files.files() {
            for offset in (0..len).filter(|_| rng.chance(200_000)).collect::<Vec<_>>() {
                let damaged = files.fork();
                damaged.flip(&name, offset, 3);
                match look(&damaged, &workload, None).unwrap() {
                    Outcome::Same => {}
                    Outcome::Prefix { records, repaired } => {
                        assert!(records >= before_last, "{name} at {offset}: {records}");
                        assert!(repaired, "{name} at {offset} was cut without a word");
                        torn += 1;
                    }
                    Outcome::Refused(error) => {
                        assert!(names(&error, &name, offset), "{name} at {offset}: {error}");
                        // The last batch replaced a snapshot, and its file is gone: that the batch
                        // was durable shows all the same.
                        torn += u32::from(error.to_string().contains("which it replaced"));
                    }
                }
            }
        }
        assert!(torn > 0, "the last batch of seed {seed} was never hit");
    }
}

#[test]
fn a_lost_file_is_named() {
    for seed in 0..6 {
        let workload = Workload::random(seed, 40);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        workload.run(&mut engine);
        drop(engine);
        let files = files.kill();
        let taken = workload.images.last().unwrap().staged_in(Lane::Taken);
        let mut unmissed = Vec::new();
        for (name, _) in files.files() {
            let damaged = files.fork();
            damaged.lose(&name);
            match look(&damaged, &workload, None).unwrap() {
                Outcome::Same => unmissed.push(name),
                Outcome::Prefix { records, .. } => {
                    panic!("seed {seed}: without {name} only {records} records are left")
                }
                // A lost newest segment shows as the end of the one before.
                Outcome::Refused(StorageError::Corrupt { what, .. }) => {
                    assert!(what.contains("restore"), "{what}");
                }
                Outcome::Refused(error) => panic!("seed {seed}: without {name}: {error}"),
            }
        }
        // What was being taken is forgotten by a start anyway.
        let forgotten = |name: &String| taken.is_some() && name.starts_with("snapshot-");
        unmissed.pop_if(|name| forgotten(name));
        assert_eq!(unmissed, ["durable"], "seed {seed}");
    }
}

#[test]
fn a_cut_file_is_named() {
    for seed in 0..4 {
        let workload = Workload::random(seed, 25);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        workload.run(&mut engine);
        drop(engine);
        let files = files.kill();
        let mut rng = Rng::new(mix(seed, 9));
        for (name, len) in files.files() {
            for cut in (0..len).filter(|_| rng.chance(30_000)).collect::<Vec<_>>() {
                let damaged = files.fork();
                damaged.cut(&name, cut);
                match look(&damaged, &workload, None).unwrap() {
                    Outcome::Same => {}
                    Outcome::Prefix { records, .. } => {
                        panic!("{name} cut at {cut}: only {records} records are left")
                    }
                    Outcome::Refused(error) => {
                        assert!(names(&error, &name, cut), "{name} cut at {cut}: {error}");
                    }
                }
            }
        }
    }
}

/// A payload made to look like a record that was written later does not turn a torn write into
/// damage: it does not know the segment's secret.
#[test]
fn a_forged_record_inside_a_payload_is_no_evidence() {
    let mut forged = BytesMut::new();
    for salt in 0..50u32 {
        write_frame(GroupId(0), &mut forged, |out| {
            1000u64.encode(out);
            1u32.encode(out);
            out.put_u32_le(salt);
            LogRecord::State("forged".into()).encode(out);
        });
    }
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    engine
        .write(Batch::from(LogRecord::State("kept".into())))
        .unwrap();
    let torn = LogRecord::State(forged.freeze());
    engine.write(Batch::from(torn)).unwrap();
    drop(engine);
    let files = files.kill();
    files.lose("durable");
    let name = "log-0000000000000001.wal";
    let bytes = files.contents(name);
    let at = bytes.windows(6).position(|part| part == b"forged").unwrap();
    files.flip(name, at as u64, 0);
    let (engine, report) = open(&files, None).unwrap();
    let repaired = report.repaired.unwrap();
    assert_eq!(
        (repaired.record, repaired.place.as_str()),
        (2, "sim/log-0000000000000001.wal")
    );
    assert_eq!(engine.restored().unwrap().state, Some("kept".into()));
}

#[test]
fn a_file_of_another_log_is_refused() {
    let (one, other) = (SimFiles::new(1), SimFiles::new(2));
    for files in [&one, &other] {
        let (mut engine, _) = open(files, None).unwrap();
        let entries = Entries::new(LogIndex(1), Stamp::of(1), [Entry::blank()]);
        engine.write(Batch::from(LogRecord::Put(entries))).unwrap();
    }
    let (one, other) = (one.kill(), other.kill());
    drop(open(&one, None).unwrap());
    let one = one.kill();
    let stray = "log-0000000000000002.wal";
    drop(open(&other, None).unwrap());
    one.put(stray, &other.contents(stray));
    let error = open(&one, None).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("another log"), "{error}");
}

/// Any bytes are a log, or an error; never a panic, and never more memory than the files hold.
#[test]
fn mangled_files_are_read_or_refused() {
    let mut refused = 0;
    for seed in 0..500 {
        let mut rng = Rng::new(mix(seed, 10));
        let workload = Workload::random(seed % 10, 15);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        workload.run(&mut engine);
        drop(engine);
        let files = files.kill();
        for (name, _) in files.files() {
            if rng.chance(400_000) {
                let mut bytes = files.contents(&name);
                mangle(&mut bytes, &mut rng);
                files.put(&name, &bytes);
            }
        }
        refused += match open(&files, None) {
            Ok((engine, _)) => usize::from(read_some(&engine.reader()).is_err()),
            Err(_) => 1,
        };
    }
    assert!(refused > 100, "{refused}");
}

/// Reads both ends of each run: mangled ones may claim any length.
fn read_some(reader: &Reader) -> Result<(), StorageError> {
    let restored = reader.restored()?;
    for run in &restored.runs {
        for after in [
            run.first.previous(),
            run.first,
            run.last.previous(),
            run.last,
        ] {
            reader.load(&LogLoad::Entries {
                after,
                through: run.last,
                max_bytes: 1000,
            })?;
        }
    }
    for id in restored.snapshot.iter().map(|meta| meta.id) {
        reader.load(&LogLoad::Snapshot {
            id,
            offset: 0,
            max_bytes: 1000,
        })?;
    }
    Ok(())
}

/// Overwrites, cuts out, doubles, swaps or repairs the checksum of what it has changed.
fn mangle(bytes: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..=rng.below(3) {
        let len = bytes.len() as u64;
        let from = usize::try_from(rng.below(len + 1)).unwrap();
        let to = usize::try_from(rng.within(from as u64, len.min(from as u64 + 200))).unwrap();
        match rng.below(4) {
            0 => bytes[from..to]
                .iter_mut()
                .for_each(|byte| *byte = rng.next_u64() as u8),
            1 => _ = bytes.drain(from..to),
            2 => {
                let part = bytes[from..to].to_vec();
                bytes.splice(from..from, part);
            }
            _ => reseal(bytes, rng),
        }
    }
}

/// Changes a whole frame and gives it a right checksum: what no accident does.
fn reseal(bytes: &mut Vec<u8>, rng: &mut Rng) {
    let mut rest = bytes::Bytes::copy_from_slice(bytes.get(8..).unwrap_or_default());
    let mut frames = Vec::new();
    loop {
        let (start, len) = (bytes.len() - rest.len(), rest.len());
        let Ok((group, body)) = read_frame(&mut rest, len) else {
            break;
        };
        frames.push((start..bytes.len() - rest.len(), group, body));
    }
    let Some((place, group, body)) = rng.pick(&frames) else {
        return;
    };
    let mut body = body.to_vec();
    for _ in 0..=rng.below(3) {
        let at = usize::try_from(rng.below(body.len() as u64)).unwrap();
        let byte = rng.next_u64() as u8;
        if let Some(place) = body.get_mut(at) {
            *place = *rng.pick(&[0, 1, 0x7f, 0xff, byte]).unwrap();
        }
    }
    let mut frame = BytesMut::new();
    write_frame(*group, &mut frame, |out| out.extend_from_slice(&body));
    bytes.splice(place.clone(), frame);
}
