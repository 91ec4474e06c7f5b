//! What a write costs, beside a bare loop of writes and syncs, and how fast a start reads a log.
//!
//! `cargo bench -p synod-node --bench wal` (with `-- append` or `-- recover` for a part). Files lie
//! under the target directory, so the disk is that of the build.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    missing_docs,
    reason = "a benchmark fails loudly and says what it found"
)]

use std::fs::File as StdFile;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures::executor::block_on;
use synod_core::{Batch, Entries, Entry, LogIndex, LogRecord, Stamp, Storage};
use synod_node::wal::{Disk, Engine, File, Files, Held, Wal, WalConfig};
use tempfile::TempDir;

/// A new directory is begun after this many bytes, so that a long run does not fill the disk.
const FULL: u64 = 1 << 30;

fn directory() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A disk whose syncs do nothing: what is left is our own work.
#[derive(Debug)]
struct Unsynced(Disk);

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn File>);

impl Files for Unsynced {
    fn place(&self, name: &str) -> String {
        self.0.place(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.0.list()
    }
    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(UnsyncedFile(self.0.create(name)?)))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(UnsyncedFile(self.0.open(name)?)))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.0.remove(name)
    }
    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }
    fn lock(&self, name: &str) -> io::Result<Option<Held>> {
        self.0.lock(name)
    }
    fn random(&self) -> u64 {
        self.0.random()
    }
}

impl File for UnsyncedFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_at(bytes, offset)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }
}

fn files(path: &TempDir, sync: bool) -> Arc<dyn Files> {
    let disk = Disk::new(path.path()).unwrap();
    match sync {
        true => Arc::new(disk),
        false => Arc::new(Unsynced(disk)),
    }
}

/// `count` records of one entry each: what followers of many small appends write.
fn records(next: &mut u64, count: usize, payload: &Bytes) -> Batch<LogRecord> {
    let mut batch = Batch::new();
    for _ in 0..count {
        let entry = Entry::command(payload.clone());
        batch.push(LogRecord::Put(Entries::new(
            LogIndex(*next),
            Stamp::of(1),
            [entry],
        )));
        *next += 1;
    }
    batch
}

/// The time that `iterations` writes take; making the batches is not counted.
fn append(iterations: u64, count: usize, payload: &Bytes, sync: bool) -> (Duration, u64, u64) {
    let mut total = Duration::ZERO;
    let (mut done, mut syncs, mut entries) = (0, 0, 0);
    while done < iterations {
        let path = directory();
        let (mut engine, _) = Engine::open(files(&path, sync), WalConfig::default()).unwrap();
        let mut next = 1;
        while done < iterations && engine.stats().bytes < FULL {
            let batch = records(&mut next, count, payload);
            let start = Instant::now();
            engine.write(batch).unwrap();
            total += start.elapsed();
            done += 1;
        }
        syncs += engine.stats().syncs;
        entries += next - 1;
    }
    (total, syncs, entries)
}

/// The same bytes through nothing but the system: written into a file that already has them, and
/// synced.
fn bare(iterations: u64, bytes: usize) -> Duration {
    let path = directory();
    let file = StdFile::create(path.path().join("bare")).unwrap();
    // As many places as it writes, within reason: the log writes no place twice either.
    let places = iterations.clamp(1, 64);
    let (buffer, region) = (vec![7; bytes], usize::try_from(places).unwrap() * bytes);
    write_all(&file, &vec![0; region], 0);
    file.sync_data().unwrap();
    let start = Instant::now();
    for turn in 0..iterations {
        let offset = usize::try_from(turn).unwrap() * bytes % region;
        write_all(&file, &buffer, offset as u64);
        file.sync_data().unwrap();
    }
    start.elapsed()
}

fn write_all(file: &StdFile, bytes: &[u8], offset: u64) {
    #[cfg(unix)]
    std::os::unix::fs::FileExt::write_all_at(file, bytes, offset).unwrap();
    #[cfg(windows)]
    assert_eq!(
        std::os::windows::fs::FileExt::seek_write(file, bytes, offset).unwrap(),
        bytes.len()
    );
}

/// What a batch of that shape takes in the log, in bytes.
fn encoded(count: usize, payload: usize) -> usize {
    count * (67 + payload)
}

fn appends(criterion: &mut Criterion) {
    for (name, sync) in [("append/sync", true), ("append/memory", false)] {
        let mut group = criterion.benchmark_group(name);
        group
            .sample_size(10)
            .measurement_time(Duration::from_secs(2));
        for count in [1, 64, 1024] {
            for size in [16, 256, 4096] {
                let payload = Bytes::from(vec![7; size]);
                group.throughput(Throughput::Elements(count as u64));
                let id = BenchmarkId::new(format!("{count}"), size);
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|turns| append(turns, count, &payload, sync).0);
                });
            }
        }
    }
    let mut group = criterion.benchmark_group("append/bare");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    for count in [1, 64, 1024] {
        for size in [16, 256, 4096] {
            group.throughput(Throughput::Elements(count as u64));
            let id = BenchmarkId::new(format!("{count}"), size);
            group.bench_function(id, |bencher| {
                bencher.iter_custom(|turns| bare(turns, encoded(count, size)));
            });
        }
    }
}

/// Through the threads: one writer that waits each time.
fn handle(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append/handle");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(2));
    let payload = Bytes::from(vec![7; 256]);
    for count in [1, 64] {
        let path = directory();
        let (wal, _) = Wal::open(path.path(), WalConfig::default()).unwrap();
        let mut next = 1;
        group.throughput(Throughput::Elements(count as u64));
        group.bench_function(BenchmarkId::new(format!("{count}"), 256), |bencher| {
            bencher.iter_custom(|turns| {
                let start = Instant::now();
                for _ in 0..turns {
                    block_on(wal.write(records(&mut next, count, &payload))).unwrap();
                }
                start.elapsed()
            });
        });
    }
}

const ROUNDS: u64 = 10;
const TURNS: u64 = 40;

/// A table of what the sync costs and how many entries share one, in one run.
fn syncs(_: &mut Criterion) {
    println!("\nbatch  payload   writes/s   bare/s   of bare   entries/sync");
    for count in [1, 64, 1024] {
        for size in [16, 256, 4096] {
            let payload = Bytes::from(vec![7; size]);
            let (mut time, mut alone) = (Duration::ZERO, Duration::ZERO);
            let (mut syncs, mut entries) = (0, 0);
            // In turns, so that whatever else the disk does hits both.
            for _ in 0..ROUNDS {
                let (part, synced, written) = append(TURNS, count, &payload, true);
                time += part;
                syncs += synced;
                entries += written;
                alone += bare(TURNS, encoded(count, size));
            }
            let rate = |time: Duration| (ROUNDS * TURNS) as f64 / time.as_secs_f64();
            println!(
                "{count:>5} {size:>8} {:>10.0} {:>8.0} {:>8.0}% {:>14.1}",
                rate(time),
                rate(alone),
                100.0 * alone.as_secs_f64() / time.as_secs_f64(),
                entries as f64 / syncs as f64,
            );
        }
    }
}

fn recover(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recover");
    group
        .sample_size(10)
        .measurement_time(Duration::from_secs(3));
    let payload = Bytes::from(vec![7; 64]);
    for (name, total) in [("100k", 100_000), ("1M", 1_000_000)] {
        for (shape, count) in [("records of 1", 1), ("records of 64", 64)] {
            let path = directory();
            let (mut engine, _) = Engine::open(files(&path, false), WalConfig::default()).unwrap();
            let mut next = 1;
            while next <= total {
                let mut batch = Batch::new();
                for _ in 0..256 {
                    let entries = (0..count).map(|_| Entry::command(payload.clone()));
                    let run = Entries::new(LogIndex(next), Stamp::of(1), entries);
                    next += run.len() as u64;
                    batch.push(LogRecord::Put(run));
                }
                engine.write(batch).unwrap();
            }
            drop(engine);
            group.throughput(Throughput::Elements(next - 1));
            group.bench_function(BenchmarkId::new(name, shape), |bencher| {
                bencher.iter(|| {
                    let (engine, report) =
                        Engine::open(files(&path, false), WalConfig::default()).unwrap();
                    assert!(report.repaired.is_none());
                    engine.restored().unwrap()
                });
            });
        }
    }
}

criterion_group!(benches, appends, handle, syncs, recover);
criterion_main!(benches);
