//! One check per rule for storages.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use bytes::Bytes;

use super::race::both;
use super::storage::ReopenStorage;
use super::storage_rig::Rig;
use super::workload::Workload;
use super::{Violation, rule};
use crate::{
    Batch, Entries, Entry, EntryKind, Generation, Lane, LogIndex, LogLoad, LogRecord, OldLog,
    SnapshotId, SnapshotMeta, Stamp, Storage,
};

type Checked = Result<(), Violation>;

pub(super) async fn empty<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::EMPTY).await?;
    rig.check_load(&rig.image, at(0), at(5), 100).await?;
    rig.reopen().await
}

pub(super) async fn durable<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::DURABLE).await?;
    rig.write([state("term 1")]).await?;
    rig.reopen().await?;
    rig.write([put(1, 1, 3)]).await?;
    rig.reopen().await?;
    rig.write([state("term 2"), put(4, 2, 2)]).await?;
    rig.reopen().await?;
    // Twice without a write between: a start must not change what it finds.
    rig.reopen().await
}

pub(super) async fn order<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::ORDER).await?;
    rig.write([state("one"), state("two"), state("three")])
        .await?;
    rig.write([put(1, 1, 5), cut(3), put(3, 2, 1), put(4, 3, 2)])
        .await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await
}

/// In the middle of a run, at its border, all, and where nothing is.
pub(super) async fn truncate<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::TRUNCATE).await?;
    rig.write([state("kept"), put(1, 1, 10)]).await?;
    rig.write([put(11, 2, 10)]).await?;
    rig.write([cut(50)]).await?;
    rig.reopen().await?;
    for from in [15, 11, 4, 1] {
        rig.write([cut(from)]).await?;
        rig.check_contents(&rig.image).await?;
        rig.check_load(&rig.image, at(from - 1), at(from + 9), 1000)
            .await?;
        rig.reopen().await?;
        rig.write([put(from, from, 2)]).await?;
        rig.reopen().await?;
    }
    Ok(())
}

pub(super) async fn replace<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::REPLACE).await?;
    rig.write([put(1, 1, 10)]).await?;
    rig.write([put(4, 2, 3)]).await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await?;
    rig.write([put(1, 3, 1), put(10, 3, 4), put(5, 4, 1)])
        .await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await
}

pub(super) async fn slots<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::SLOTS).await?;
    rig.write([put(9, 2, 2)]).await?;
    rig.reopen().await?;
    rig.write([put(3, 1, 2), put(1, 1, 1)]).await?;
    rig.reopen().await?;
    // The end of the first stretch, then a gap, then what lies behind it.
    rig.check_load(&rig.image, at(0), at(10), 10_000).await?;
    rig.check_load(&rig.image, at(1), at(10), 10_000).await?;
    rig.check_load(&rig.image, at(3), at(10), 10_000).await?;
    rig.check_load(&rig.image, at(6), at(10), 10_000).await?;
    rig.check_load(&rig.image, at(8), at(10), 10_000).await?;
    rig.write([put(2, 1, 1), put(5, 1, 4)]).await?;
    rig.reopen().await
}

pub(super) async fn compact<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::COMPACT).await?;
    rig.write([put(1, 1, 10), put(11, 2, 10)]).await?;
    rig.write(snapshot(30, b"covers all of it")).await?;
    for (through, mark) in [(4, 1), (10, 1), (15, 2)] {
        rig.write([drop_through(through, mark)]).await?;
        rig.check_contents(&rig.image).await?;
        for after in through - 1..=through + 1 {
            rig.check_load(&rig.image, at(after), at(20), 10_000)
                .await?;
        }
        rig.reopen().await?;
    }
    // Beyond the end, as after a snapshot from a leader; then the log goes on from there.
    rig.write([drop_through(25, 7)]).await?;
    rig.reopen().await?;
    rig.write([put(26, 8, 3)]).await?;
    rig.check_load(&rig.image, at(25), at(28), 10_000).await?;
    rig.reopen().await
}

pub(super) async fn load<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::LOAD).await?;
    let mixed = [put(1, 1, 3), put(4, 1, 1), put(5, 2, 20), put(25, 3, 1)];
    rig.write(mixed).await?;
    for _ in 0..2 {
        for after in 0..=26 {
            for through in [after, after + 1, after + 3, 26] {
                for max_bytes in [0, 150, 400, 1_000_000] {
                    rig.check_load(&rig.image, at(after), at(through), max_bytes)
                        .await?;
                }
            }
        }
        rig.reopen().await?;
    }
    Ok(())
}

pub(super) async fn beside<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::BESIDE).await?;
    rig.write([put(1, 1, 20)]).await?;
    for first in 21..30 {
        let before = rig.image.clone();
        let batch = Batch::from(put(first, 1, 1));
        rig.note(&batch);
        let writing = rig.storage().write(batch);
        let loading = rig.check_load(&before, at(0), at(20), 700);
        let (written, loaded) = both(writing, loading).await;
        loaded?;
        written.map_err(|error| rig.broken(format!("write failed: {error}")))?;
    }
    rig.reopen().await
}

pub(super) async fn stage<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::STAGE).await?;
    let (one, other) = (meta(5, 12), meta(7, 12));
    rig.write([piece(&one, 0, b"first")]).await?;
    rig.reopen().await?;
    rig.write([piece(&one, 5, b" then")]).await?;
    rig.reopen().await?;
    no_snapshot(rig, &one).await?;
    // Another one starts afresh; and so does a piece at offset 0 of the same.
    rig.write([piece(&other, 0, b"abcdef")]).await?;
    rig.reopen().await?;
    rig.write([piece(&other, 0, b"xyz"), piece(&other, 3, b"123456789")])
        .await?;
    rig.reopen().await?;
    rig.write([current(other)]).await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await?;
    lanes(rig).await
}

/// One snapshot is received while another is taken; neither disturbs the other.
async fn lanes<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    let (received, taken, again) = (meta(20, 6), meta(21, 6), meta(22, 3));
    rig.write([piece(&received, 0, b"abc")]).await?;
    rig.write([piece_in(Lane::Taken, &taken, 0, b"xyz")])
        .await?;
    rig.write([piece(&received, 3, b"def")]).await?;
    rig.write([piece_in(Lane::Taken, &taken, 3, b"uvw"), current(taken)])
        .await?;
    rig.check_contents(&rig.image).await?;
    // Overtaken: dropped, and the current one stays. What is being taken then is not current, and
    // a start forgets it.
    rig.write([current(received)]).await?;
    rig.check_contents(&rig.image).await?;
    rig.write([piece_in(Lane::Taken, &again, 0, b"old")])
        .await?;
    rig.reopen().await?;
    no_snapshot(rig, &again).await?;
    rig.write([piece_in(Lane::Taken, &again, 0, b"new"), current(again)])
        .await?;
    rig.reopen().await
}

/// A snapshot that is staged only does not answer.
async fn no_snapshot<F: ReopenStorage>(rig: &Rig<F>, meta: &SnapshotMeta) -> Checked {
    let load = LogLoad::Snapshot {
        id: meta.id,
        offset: 0,
        max_bytes: 10,
    };
    match rig.storage().load(load).await {
        Ok(None) => Ok(()),
        other => Err(rig.broken(format!("{} is not current, but: {other:?}", meta.id))),
    }
}

pub(super) async fn activate<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::ACTIVATE).await?;
    rig.write([put(1, 1, 9)]).await?;
    let contents: Vec<u8> = (0..10_000_u32).flat_map(u32::to_le_bytes).collect();
    let whole = meta(5, contents.len() as u64);
    for (k, chunk) in contents.chunks(3000).enumerate() {
        rig.write([LogRecord::Stage {
            lane: Lane::Received,
            id: whole.id,
            offset: k as u64 * 3000,
            chunk: Bytes::copy_from_slice(chunk),
        }])
        .await?;
    }
    rig.write([current(whole.clone())]).await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await?;
    rig.write([LogRecord::Compact {
        through: at(5),
        stamp: whole.stamp,
    }])
    .await?;
    // The next one replaces it, all in one write; the old one answers no more.
    rig.write(snapshot(8, b"the next")).await?;
    no_snapshot(rig, &whole).await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await?;
    // An empty one is a snapshot too.
    rig.write(snapshot(9, b"")).await?;
    rig.reopen().await?;
    // One that replaces the log, shorter or longer than it was, and what comes behind.
    for index in [11, 40] {
        rig.write([put(rig.image.last().0 + 1, 2, 9)]).await?;
        let meta = SnapshotMeta {
            stamp: Stamp::of(6),
            ..meta(index, 2)
        };
        let log = OldLog::Replace;
        rig.write([piece(&meta, 0, b"xy"), LogRecord::Activate { meta, log }])
            .await?;
        rig.check_load(&rig.image, at(index), at(index + 9), 10_000)
            .await?;
        rig.reopen().await?;
        rig.write([put(index + 1, 7, 2)]).await?;
        rig.check_contents(&rig.image).await?;
        rig.reopen().await?;
    }
    Ok(())
}

pub(super) async fn configs<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::CONFIGS).await?;
    rig.write([config(1, "one"), put(2, 1, 5), config(7, "two")])
        .await?;
    rig.write([config(8, "three"), put(9, 1, 400)]).await?;
    rig.reopen().await?;
    rig.write([cut(8)]).await?;
    rig.reopen().await?;
    rig.write([put(7, 2, 1), config(8, "four")]).await?;
    rig.write(snapshot(3, b"s")).await?;
    rig.write([drop_through(3, 1)]).await?;
    rig.reopen().await
}

pub(super) async fn tail<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::TAIL).await?;
    for first in 0..50 {
        rig.write([put(first * 10 + 1, first / 7 + 1, 10)]).await?;
    }
    rig.reopen().await?;
    rig.write([cut(444)]).await?;
    rig.reopen().await
}

pub(super) async fn large<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::LARGE).await?;
    let big = |seed: u8, len: usize| -> Bytes {
        let mut bytes = vec![seed; len];
        for (k, byte) in bytes.iter_mut().enumerate() {
            *byte = byte.wrapping_add((k % 251) as u8);
        }
        bytes.into()
    };
    let entry = |seed, len| Entry::command(big(seed, len));
    let entries = [entry(1, 4 << 20), Entry::blank(), entry(2, 1 << 20)];
    let id = meta(1, 2 << 20).id;
    rig.write([
        LogRecord::State(big(3, 1 << 16)),
        LogRecord::Put(Entries::new(at(1), Stamp::of(1), entries)),
        LogRecord::Stage {
            lane: Lane::Taken,
            id,
            offset: 0,
            chunk: big(4, 2 << 20),
        },
        current(meta(1, 2 << 20)),
    ])
    .await?;
    rig.check_contents(&rig.image).await?;
    rig.reopen().await
}

pub(super) async fn many<F: ReopenStorage>(rig: &mut Rig<F>) -> Checked {
    rig.fresh(rule::MANY).await?;
    for first in 1..=400 {
        rig.write([put(first, first / 50 + 1, 1)]).await?;
    }
    rig.check_contents(&rig.image).await?;
    rig.reopen().await
}

pub(super) async fn random<F: ReopenStorage>(rig: &mut Rig<F>, seed: u64) -> Checked {
    for round in 0..8 {
        rig.fresh(rule::RANDOM).await?;
        let mut workload = Workload::new(seed.wrapping_add(round));
        for step in 1..=100 {
            let batch = workload.next(&rig.image);
            rig.write(batch).await?;
            if step % 10 == 0 {
                rig.reopen().await?;
            }
        }
    }
    Ok(())
}

/// Whether the factory can crash.
pub(super) async fn torn<F: ReopenStorage>(rig: &mut Rig<F>, seed: u64) -> Result<bool, Violation> {
    rig.fresh(rule::TORN).await?;
    let mut workload = Workload::new(seed);
    for _ in 0..60 {
        let whole = workload.next(&rig.image);
        rig.write(whole).await?;
        let batch = workload.next(&rig.image);
        let storage = rig.take_storage();
        let crashed = rig.factory.crash(storage, batch.clone()).await;
        match crashed {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) => return Err(rig.broken(format!("the crash failed: {error}"))),
        }
        find_prefix(rig, &batch).await?;
    }
    Ok(true)
}

/// Goes on with the prefix of `batch` that the storage holds.
async fn find_prefix<F: ReopenStorage>(rig: &mut Rig<F>, batch: &Batch<LogRecord>) -> Checked {
    let restored = rig.open().await?;
    let mut prefix = rig.image.clone();
    let mut records = batch.iter();
    loop {
        let mut found = prefix.clone();
        found.restart();
        if rig.check_restored(&restored, &found).is_ok() && rig.check_contents(&found).await.is_ok()
        {
            rig.image = found;
            return Ok(());
        }
        let Some(record) = records.next() else {
            let what = format!("after a crash in {batch:?} a start finds {restored:?}");
            return Err(rig.broken(what));
        };
        prefix
            .apply(record.clone())
            .expect("the suite writes valid records");
    }
}

const fn at(index: u64) -> LogIndex {
    LogIndex(index)
}

fn state(text: &'static str) -> LogRecord {
    LogRecord::State(Bytes::from_static(text.as_bytes()))
}

/// Commands whose payloads say where and when they were put.
fn put(first: u64, term: u64, count: u64) -> LogRecord {
    let entries = (first..first + count)
        .map(|index| Entry::command(Bytes::from(format!("entry {index} of term {term}"))));
    LogRecord::Put(Entries::new(at(first), Stamp::of(term), entries))
}

fn config(index: u64, text: &'static str) -> LogRecord {
    let entry = Entry {
        kind: EntryKind::Config,
        payload: Bytes::from_static(text.as_bytes()),
    };
    LogRecord::Put(Entries::new(at(index), Stamp::of(1), [entry]))
}

const fn cut(from: u64) -> LogRecord {
    LogRecord::Truncate { from: at(from) }
}

const fn drop_through(through: u64, mark: u64) -> LogRecord {
    LogRecord::Compact {
        through: at(through),
        stamp: Stamp::of(mark),
    }
}

fn meta(index: u64, size: u64) -> SnapshotMeta {
    SnapshotMeta {
        id: SnapshotId {
            origin: Generation(77),
            index: at(index),
        },
        stamp: Stamp::of(1),
        config: Bytes::from_static(b"config"),
        size,
    }
}

fn piece(meta: &SnapshotMeta, offset: u64, chunk: &'static [u8]) -> LogRecord {
    piece_in(Lane::Received, meta, offset, chunk)
}

fn piece_in(lane: Lane, meta: &SnapshotMeta, offset: u64, chunk: &'static [u8]) -> LogRecord {
    LogRecord::Stage {
        lane,
        id: meta.id,
        offset,
        chunk: Bytes::from_static(chunk),
    }
}

const fn current(meta: SnapshotMeta) -> LogRecord {
    let log = OldLog::Keep;
    LogRecord::Activate { meta, log }
}

fn snapshot(index: u64, contents: &'static [u8]) -> [LogRecord; 2] {
    let meta = meta(index, contents.len() as u64);
    [piece(&meta, 0, contents), current(meta)]
}
