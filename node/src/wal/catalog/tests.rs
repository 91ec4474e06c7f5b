//! How sparse the index is: what a read must search and what a checkpoint must say.

use alloc::vec;

use synod_core::Entry;

use super::*;

fn put(catalog: &mut Catalog, first: u64, stamp: u64, (start, end): (u64, u64)) {
    let entries = Entries::new(LogIndex(first), Stamp::of(stamp), [Entry::blank()]);
    let span = Span {
        seq: Seq(1),
        start,
        end,
    };
    catalog.apply(&Stored::Log(LogRecord::Put(entries)), span);
}

/// First and last entry of each stretch, and where it lies.
fn stretches(catalog: &Catalog) -> Vec<(u64, u64, u64, u64)> {
    let mut all: Vec<_> = catalog.stretches_back().collect();
    all.reverse();
    let place = |stretch: &&Stretch| stretch.span.map_or((0, 0), |span| (span.start, span.end));
    all.iter()
        .map(|stretch| {
            let (start, end) = place(stretch);
            (stretch.first.0, stretch.last.0, start, end)
        })
        .collect()
}

#[test]
fn what_follows_joins_up_to_sixty_four_kibibytes() {
    let mut catalog = Catalog::default();
    put(&mut catalog, 1, 1, (100, 200));
    put(&mut catalog, 2, 1, (200, 300));
    assert_eq!(stretches(&catalog), [(1, 2, 100, 300)]);
    put(&mut catalog, 3, 1, (300, 100 + (64 << 10)));
    assert_eq!(stretches(&catalog), [(1, 3, 100, 100 + (64 << 10))]);
    put(&mut catalog, 4, 1, (70_000, 70_001));
    assert_eq!(stretches(&catalog).len(), 2);
    // Of another stamp, behind a gap, or in another segment: a stretch of its own.
    put(&mut catalog, 5, 2, (70_001, 70_002));
    put(&mut catalog, 7, 2, (70_002, 70_003));
    assert_eq!(stretches(&catalog).len(), 4);
    let weights: Vec<usize> = catalog.stretches_back().map(|one| one.weight).collect();
    let one = Entries::new(LogIndex(1), Stamp::of(1), [Entry::blank()]).weight();
    assert_eq!(weights, [one, one, one, 3 * one]);
}

/// Bytes that still hold an entry that is gone take no more entries: a read of them would find it.
#[test]
fn a_stretch_that_lost_entries_takes_no_more() {
    let mut catalog = Catalog::default();
    put(&mut catalog, 1, 1, (0, 10));
    put(&mut catalog, 2, 1, (10, 20));
    let span = Span {
        seq: Seq(1),
        start: 20,
        end: 30,
    };
    let from = LogIndex(2);
    catalog.apply(&Stored::Log(LogRecord::Truncate { from }), span);
    put(&mut catalog, 2, 1, (30, 40));
    assert_eq!(stretches(&catalog), [(1, 1, 0, 20), (2, 2, 30, 40)]);
    let weights: Vec<usize> = catalog.stretches_back().map(|one| one.weight).collect();
    assert_eq!(weights[1], 0, "nobody relies on the weight of what is left");
    // The same when entries go from the middle.
    for (index, at) in [(3, 40), (4, 50), (5, 60)] {
        put(&mut catalog, index, 1, (at, at + 10));
    }
    assert_eq!(stretches(&catalog)[1], (2, 5, 30, 70));
    put(&mut catalog, 3, 2, (70, 80));
    let expected = [
        (1, 1, 0, 20),
        (2, 2, 30, 70),
        (3, 3, 70, 80),
        (4, 5, 30, 70),
    ];
    assert_eq!(stretches(&catalog), expected);
    let weights: Vec<usize> = catalog.stretches_back().map(|one| one.weight).collect();
    assert_eq!((weights[0], weights[2]), (0, 0));
}

#[test]
fn a_checkpoint_says_in_one_range_what_has_no_gap() {
    let mut catalog = Catalog::default();
    put(&mut catalog, 1, 1, (0, 10));
    put(&mut catalog, 2, 2, (10, 20));
    put(&mut catalog, 3, 1, (20, 30));
    put(&mut catalog, 5, 1, (30, 40));
    let ranges = vec![(LogIndex(1), LogIndex(3)), (LogIndex(5), LogIndex(5))];
    assert_eq!(catalog.checkpoint().live, ranges);
    let read = Catalog::from_checkpoint(&catalog.checkpoint());
    assert_eq!(read.missing(), Some(LogIndex(1)));
    assert_eq!(read.checkpoint().live, ranges);
}
