//! The rules admit what the image that defines records admits, and nothing else.

use bytes::Bytes;
use synod_core::{Entries, Entry, Generation, Lane, LogImage, LogIndex, Rng, SnapshotId, Stamp};

use super::*;

fn id(rng: &mut Rng) -> SnapshotId {
    SnapshotId {
        origin: Generation(1),
        index: LogIndex(rng.below(4)),
    }
}

/// Any record over a few places, marks and lengths, allowed or not.
fn any(rng: &mut Rng) -> LogRecord {
    let index = LogIndex(rng.below(5));
    let stamp = Stamp::of(rng.below(2));
    match rng.below(8) {
        0 => LogRecord::Put(Entries::new(index, stamp, [Entry::blank()])),
        1 => LogRecord::Truncate { from: index },
        2..5 => LogRecord::Stage {
            lane: *rng
                .pick(&[Lane::Taken, Lane::Received])
                .unwrap_or(&Lane::Taken),
            id: id(rng),
            offset: rng.below(4),
            chunk: Bytes::from_static(b"abc").slice(..1 + usize::from(rng.chance(500_000))),
        },
        5..7 => LogRecord::Activate {
            meta: SnapshotMeta {
                id: id(rng),
                stamp,
                config: Bytes::new(),
                size: 1 + rng.below(3),
            },
            log: *rng
                .pick(&[OldLog::Keep, OldLog::Replace])
                .unwrap_or(&OldLog::Keep),
        },
        _ => LogRecord::Compact {
            through: index,
            stamp,
        },
    }
}

#[test]
fn the_rules_are_those_of_the_image() {
    let mut rng = Rng::new(5);
    let (mut admitted, mut refused) = (0, 0);
    for _ in 0..2_000 {
        let mut image = LogImage::new();
        let mut rules = Rules::of(&Catalog::default());
        for _ in 0..40 {
            let record = any(&mut rng);
            let before = image.snapshot().cloned();
            let applied = image.apply(record.clone());
            let mut next = rules;
            let allowed = next.admit(&record);
            assert_eq!(allowed.is_ok(), applied.is_ok(), "{record:?} {rules:?}");
            if allowed.is_err() {
                refused += 1;
                continue;
            }
            rules = next;
            admitted += 1;
            if matches!(record, LogRecord::Activate { .. }) {
                let taken_over = image.snapshot() != before.as_ref();
                assert_eq!(rules.taken_over, taken_over, "{record:?}");
            }
        }
    }
    assert!(admitted > 5_000 && refused > 5_000, "{admitted} {refused}");
}

#[test]
fn a_put_of_nothing_may_be_anywhere() {
    let mut rules = Rules::of(&Catalog::default());
    let nothing = Entries::new(LogIndex::START, Stamp::of(1), []);
    assert_eq!(rules.admit(&LogRecord::Put(nothing)), Ok(()));
}

#[test]
fn a_record_may_be_as_long_as_the_limit_and_no_longer() {
    assert_eq!(short("state", RECORD_MAX), Ok(()));
    let refused = Err("state of 1073741825 bytes, the limit is 1073741824".into());
    assert_eq!(short("state", RECORD_MAX + 1), refused);
}
