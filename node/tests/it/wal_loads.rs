//! Reading back, compared with the image that defines what a read answers.

use synod_core::{LogImage, LogIndex, LogLoad, LogLoaded, Rng, SnapshotId, mix};
use synod_node::wal::Reader;
use synod_node::wal::sim_files::SimFiles;

use crate::wal_support::{Dump, Workload, flat_answer, open};

fn entries(rng: &mut Rng, image: &LogImage) -> LogLoad {
    let last = image.last().0;
    let after = rng.below(last + 2);
    LogLoad::Entries {
        after: LogIndex(after),
        through: LogIndex(rng.within(after.saturating_sub(1), last + 2)),
        max_bytes: match rng.below(4) {
            0 => 0,
            1 => usize::MAX,
            _ => usize::try_from(rng.below(3000)).unwrap(),
        },
    }
}

fn piece(rng: &mut Rng, image: &LogImage) -> LogLoad {
    let meta = image.snapshot();
    let id = meta.map_or(
        SnapshotId {
            origin: synod_core::Generation(0),
            index: LogIndex(1),
        },
        |meta| meta.id,
    );
    LogLoad::Snapshot {
        id,
        offset: rng.below(meta.map_or(1, |meta| meta.size) + 3),
        max_bytes: usize::try_from(rng.below(2000)).unwrap(),
    }
}

/// Compares answers to random questions.
fn compare(reader: &Reader, image: &LogImage, rng: &mut Rng) {
    for _ in 0..20 {
        let load = entries(rng, image);
        let answer = flat_answer(reader.load(&load).unwrap());
        assert_eq!(answer, flat_answer(image.load(&load)), "{load:?}");
        let load = piece(rng, image);
        assert_eq!(reader.load(&load).unwrap(), image.load(&load), "{load:?}");
    }
}

#[test]
fn every_load_answers_as_the_image_does() {
    for seed in 0..20 {
        let mut rng = Rng::new(mix(seed, 1));
        let workload = Workload::random(seed, 80);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        let mut count = 0;
        for batch in &workload.batches {
            count += batch.len();
            engine.write(batch.clone()).unwrap();
            engine.collect().unwrap();
            compare(&engine.reader(), &workload.images[count], &mut rng);
        }
        assert_eq!(Dump::of_log(&engine.reader()).unwrap(), *workload.last());
        let (engine, _) = open(&files.kill(), None).unwrap();
        compare(&engine.reader(), &workload.images[count], &mut rng);
    }
}

/// A loaded payload is a part of what was read, not a copy.
#[test]
fn payloads_share_the_memory_that_was_read() {
    use synod_core::{Batch, Entries, Entry, LogRecord, Stamp};
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, None).unwrap();
    let many = (0..10u8).map(|byte| Entry::command(vec![byte; 100].into()));
    let run = Entries::new(LogIndex(1), Stamp::of(1), many);
    engine.write(Batch::from(LogRecord::Put(run))).unwrap();
    let load = LogLoad::Entries {
        after: LogIndex::START,
        through: LogIndex(10),
        max_bytes: usize::MAX,
    };
    let Some(LogLoaded::Entries { runs, .. }) = engine.reader().load(&load).unwrap() else {
        panic!("the entries are there");
    };
    let place = |index: usize| runs[0].as_slice()[index].payload.as_ptr() as usize;
    // Kind and length lie between the payloads in the segment, and so they do in memory.
    assert!((0..9).all(|index| place(index + 1) - place(index) == 105));
}
