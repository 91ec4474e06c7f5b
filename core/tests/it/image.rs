//! The image of a disk, against an obviously right one.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use synod_core::{
    Entries, Entry, EntryKind, Generation, ImageError, Lane, LogImage, LogIndex, LogLoad,
    LogLoaded, LogRecord, OldLog, Run, SnapshotId, SnapshotMeta, Stamp,
};

use crate::strategies::run;

/// One entry per node, nothing shared, nothing clever.
#[derive(Default)]
struct Dumb {
    entries: BTreeMap<u64, (Stamp, Entry)>,
    compacted: (u64, Stamp),
}

impl Dumb {
    fn put(&mut self, run: &Entries) {
        for (index, entry) in run.iter() {
            self.entries.insert(index.0, (run.stamp(), entry.clone()));
        }
    }

    fn stamp_at(&self, index: u64) -> Option<Stamp> {
        if index == self.compacted.0 {
            return Some(self.compacted.1);
        }
        self.entries.get(&index).map(|(stamp, _)| *stamp)
    }

    fn stretches(&self) -> Vec<Run> {
        let mut stretches: Vec<Run> = Vec::new();
        for (&index, &(stamp, _)) in &self.entries {
            match stretches.last_mut() {
                Some(run) if run.stamp == stamp && run.last.0 + 1 == index => run.last.0 = index,
                _ => stretches.push(Run {
                    first: LogIndex(index),
                    last: LogIndex(index),
                    stamp,
                }),
            }
        }
        stretches
    }

    /// The same entries that a load must answer with.
    fn load(&self, after: u64, through: u64, max: usize) -> Option<Vec<(u64, Stamp, Entry)>> {
        (after >= self.compacted.0).then_some(())?;
        let mut found: Vec<(u64, Stamp, Entry)> = Vec::new();
        let mut total = 0;
        for index in after + 1..=through {
            let Some((stamp, entry)) = self.entries.get(&index) else {
                break;
            };
            total += entry.weight();
            if total > max && !found.is_empty() {
                break;
            }
            found.push((index, *stamp, entry.clone()));
        }
        (!found.is_empty()).then_some(found)
    }
}

#[derive(Clone, Debug)]
enum Op {
    Put(Entries),
    Append(Entries),
    Truncate(u64),
    Compact(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => run(60, 12).prop_map(Op::Put),
        4 => run(2, 4).prop_map(Op::Append),
        1 => (1..70_u64).prop_map(Op::Truncate),
        1 => (1..40_u64).prop_map(Op::Compact),
    ]
}

pub(crate) fn meta(index: u64, size: u64) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(9),
            index: LogIndex(index),
        },
        stamp: Stamp::of(1),
        config: Bytes::from_static(b"config"),
        size,
    }
}

pub(crate) fn stage(meta: &SnapshotMeta, offset: u64, chunk: &'static [u8]) -> LogRecord {
    LogRecord::Stage {
        lane: Lane::Received,
        id: meta.id,
        offset,
        chunk: Bytes::from_static(chunk),
    }
}

fn blanks(first: u64, term: u64, count: usize) -> Entries {
    Entries::new(
        LogIndex(first),
        Stamp::of(term),
        vec![Entry::blank(); count],
    )
}

/// A snapshot that covers everything that the tests compact.
fn covered() -> LogImage {
    let mut image = LogImage::new();
    let meta = meta(1000, 0);
    image.apply(stage(&meta, 0, b"")).unwrap();
    image
        .apply(LogRecord::Activate {
            meta,
            log: OldLog::Keep,
        })
        .unwrap();
    image
}

fn play(image: &mut LogImage, dumb: &mut Dumb, op: Op) {
    let compacted = image.compacted().0;
    let put = |image: &mut LogImage, dumb: &mut Dumb, run: Entries| {
        let applied = image.apply(LogRecord::Put(run.clone()));
        if run.is_empty() || run.first() > compacted {
            assert_eq!(applied, Ok(()));
            dumb.put(&run);
        } else {
            assert!(matches!(applied, Err(ImageError::Compacted { .. })));
        }
    };
    match op {
        Op::Put(run) => put(image, dumb, run),
        Op::Append(run) => {
            let next = image.last().next();
            let run = Entries::new(next, run.stamp(), run.as_slice().to_vec());
            put(image, dumb, run);
        }
        Op::Truncate(from) => {
            let from = LogIndex(from);
            let applied = image.apply(LogRecord::Truncate { from });
            assert_eq!(applied.is_ok(), from > compacted);
            if applied.is_ok() {
                dumb.entries.split_off(&from.0);
            }
        }
        Op::Compact(through) => {
            let stamp = Stamp::of(through);
            let through = LogIndex(through);
            let applied = image.apply(LogRecord::Compact { through, stamp });
            assert_eq!(applied.is_ok(), through >= compacted, "{applied:?}");
            if applied.is_ok() {
                dumb.entries = dumb.entries.split_off(&through.next().0);
                dumb.compacted = (through.0, stamp);
            }
        }
    }
}

fn flat(runs: &[Entries]) -> Vec<(u64, Stamp, Entry)> {
    let entries = runs.iter().flat_map(|run| {
        run.iter()
            .map(|(index, entry)| (index.0, run.stamp(), entry.clone()))
    });
    entries.collect()
}

proptest! {
    #[test]
    fn entries_are_what_an_obvious_map_holds(
        ops in vec(op(), 0..60),
        loads in vec((0..90_u64, 0..20_u64, 0..1500_usize), 20),
        tail in 0..4000_usize,
    ) {
        let (mut image, mut dumb) = (covered(), Dumb::default());
        for op in ops {
            play(&mut image, &mut dumb, op);
        }
        let all: Vec<_> = dumb.entries.iter().map(|(i, (s, e))| (*i, *s, e.clone())).collect();
        let held: Vec<_> = image.iter().map(|(i, s, e)| (i.0, s, e.clone())).collect();
        prop_assert_eq!(&held, &all);
        prop_assert_eq!(image.len(), all.len() as u64);
        prop_assert_eq!(image.weight(), all.iter().map(|(_, _, e)| e.weight()).sum::<usize>());

        let restored = image.restored(tail);
        prop_assert_eq!(restored.runs, dumb.stretches());
        let configs: Vec<_> = all.iter().filter(|(_, _, e)| e.kind == EntryKind::Config)
            .map(|(i, _, e)| (LogIndex(*i), e.payload.clone())).collect();
        prop_assert_eq!(restored.configs, configs);
        let mut left = tail;
        let fits = all.iter().rev().take_while(|(_, _, e)| {
            let fits = e.weight() <= left;
            left -= e.weight().min(left);
            fits
        }).count();
        prop_assert_eq!(flat(&restored.tail), all[all.len() - fits..].to_vec());

        for (after, count, max_bytes) in loads {
            let through = LogIndex(after + count);
            let answer = image.load(&LogLoad::Entries { after: LogIndex(after), through, max_bytes });
            let expected = dumb.load(after, through.0, max_bytes);
            match answer {
                Some(LogLoaded::Entries { before, runs }) => {
                    prop_assert_eq!(before, dumb.stamp_at(after).unwrap_or(Stamp::START));
                    prop_assert_eq!(Some(flat(&runs)), expected);
                }
                other => prop_assert_eq!((other, expected), (None, None)),
            }
        }
    }

    #[test]
    fn equality_is_by_contents(runs in vec(run(60, 12), 0..10)) {
        let (mut whole, mut single) = (LogImage::new(), LogImage::new());
        for run in runs {
            for (index, _) in run.iter() {
                let one = run.after(index.previous()).through(index);
                single.apply(LogRecord::Put(one)).unwrap();
            }
            whole.apply(LogRecord::Put(run)).unwrap();
        }
        prop_assert_eq!(hash(&whole), hash(&single));
        prop_assert_eq!(whole, single);
    }
}

fn hash(image: &LogImage) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    image.hash(&mut hasher);
    hasher.finish()
}

#[test]
fn the_compacted_mark_answers_for_the_entry_before_the_first() {
    let mut image = covered();
    image.apply(LogRecord::Put(blanks(1, 3, 10))).unwrap();
    let compact = LogRecord::Compact {
        through: LogIndex(4),
        stamp: Stamp::of(3),
    };
    image.apply(compact).unwrap();
    let load = |after| {
        image.load(&LogLoad::Entries {
            after: LogIndex(after),
            through: LogIndex(6),
            max_bytes: 0,
        })
    };
    assert_eq!(load(3), None, "compacted");
    let runs = vec![blanks(5, 3, 1)];
    let before = Stamp::of(3);
    assert_eq!(load(4), Some(LogLoaded::Entries { before, runs }));
    assert_eq!(load(6), None, "nothing is wanted");
    assert_eq!(load(10), None, "nothing is there");
}

#[test]
fn a_snapshot_counts_once_it_is_complete() {
    let mut image = LogImage::new();
    let meta = meta(5, 6);
    image.apply(stage(&meta, 0, b"abc")).unwrap();
    assert_eq!(image.staged(), Some((meta.id, 3)));
    let gap = image.apply(stage(&meta, 4, b"x"));
    assert!(matches!(gap, Err(ImageError::StageGap { .. })));
    let early = image.apply(LogRecord::Activate {
        meta: meta.clone(),
        log: OldLog::Keep,
    });
    assert!(matches!(early, Err(ImageError::NotStaged { .. })));
    assert_eq!(
        image.staged(),
        Some((meta.id, 3)),
        "an error changes nothing"
    );

    image.apply(stage(&meta, 3, b"def")).unwrap();
    image
        .apply(LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        })
        .unwrap();
    assert_eq!(image.staged(), None);
    assert_eq!(image.snapshot(), Some(&meta));
    assert_eq!(image.snapshot_contents().unwrap(), "abcdef");
    for (offset, max_bytes, expected) in [
        (0, 2, "ab"),
        (1, 4, "bcde"),
        (3, 9, "def"),
        (6, 9, ""),
        (5, 0, "f"),
    ] {
        let load = LogLoad::Snapshot {
            id: meta.id,
            offset,
            max_bytes,
        };
        let Some(LogLoaded::Snapshot { chunk, .. }) = image.load(&load) else {
            panic!("{load:?} is not answered");
        };
        assert_eq!(chunk, expected);
    }
    let behind = LogLoad::Snapshot {
        id: meta.id,
        offset: 7,
        max_bytes: 1,
    };
    assert_eq!(image.load(&behind), None);
}

#[test]
fn a_piece_at_the_start_starts_afresh() {
    let mut image = LogImage::new();
    let (one, other) = (meta(5, 3), meta(6, 3));
    image.apply(stage(&one, 0, b"abc")).unwrap();
    image.apply(stage(&other, 0, b"de")).unwrap();
    let gone = image.apply(LogRecord::Activate {
        meta: one,
        log: OldLog::Keep,
    });
    assert!(matches!(gone, Err(ImageError::NotStaged { .. })));
    image.apply(stage(&other, 0, b"xyz")).unwrap();
    image
        .apply(LogRecord::Activate {
            meta: other,
            log: OldLog::Keep,
        })
        .unwrap();
    assert_eq!(image.snapshot_contents().unwrap(), "xyz");
}

#[test]
fn only_what_a_snapshot_covers_is_compacted() {
    let mut image = LogImage::new();
    let compact = |through| LogRecord::Compact {
        through: LogIndex(through),
        stamp: Stamp::of(1),
    };
    image.apply(LogRecord::Put(blanks(1, 1, 9))).unwrap();
    let early = image.apply(compact(3));
    assert!(matches!(early, Err(ImageError::NotCovered { .. })));
    image.apply(stage(&meta(5, 0), 0, b"")).unwrap();
    image
        .apply(LogRecord::Activate {
            meta: meta(5, 0),
            log: OldLog::Keep,
        })
        .unwrap();
    let beyond = image.apply(compact(6));
    assert!(matches!(beyond, Err(ImageError::NotCovered { .. })));
    image.apply(compact(5)).unwrap();
    let back = image.apply(compact(4));
    assert!(matches!(back, Err(ImageError::Recompacted { .. })));
    image.apply(stage(&meta(4, 0), 0, b"")).unwrap();
    let behind = |log| LogRecord::Activate {
        meta: meta(4, 0),
        log,
    };
    let replaced = image.apply(behind(OldLog::Replace));
    assert!(matches!(replaced, Err(ImageError::ActivateBehind { .. })));
    image.apply(behind(OldLog::Keep)).unwrap();
    let kept = image.snapshot().map(SnapshotMeta::index);
    assert_eq!(kept, Some(LogIndex(5)), "an older snapshot changes nothing");
    assert_eq!(image.staged(), None, "and is dropped");
}

#[test]
fn single_appends_make_few_runs() {
    let mut image = LogImage::new();
    for index in 1..=100_000 {
        image.apply(LogRecord::Put(blanks(index, 1, 1))).unwrap();
    }
    let tail = image.restored(usize::MAX).tail;
    assert!(tail.len() < 120, "{} runs", tail.len());
    let all = LogLoad::Entries {
        after: LogIndex(99_000),
        through: LogIndex(100_000),
        max_bytes: usize::MAX,
    };
    let Some(LogLoaded::Entries { runs, .. }) = image.load(&all) else {
        panic!("the entries are there");
    };
    assert!(runs.len() <= 2, "{} runs", runs.len());
}
