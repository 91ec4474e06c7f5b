//! What the limits of the write-ahead log promise, measured at the allocator, at the default
//! settings. A test binary of its own: the allocator counts for the whole process.
#![allow(
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unwrap_used,
    reason = "tests have std, and a panic is how they fail"
)]

use std::alloc::System;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::poll_immediate;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use synod_core::{
    Batch, Entries, Entry, Generation, Lane, LogIndex, LogLoad, LogLoaded, LogRecord, SnapshotId,
    Stamp, Storage,
};
use synod_node::wal::{Disk, File, Files, Held, Wal, WalConfig};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MIB: usize = 1 << 20;

fn live() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Looks at the allocator whenever the log asks the disk for something, and holds its syncs up.
#[derive(Clone, Debug, Default)]
struct Watch {
    before: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

impl Watch {
    fn look(&self) {
        let more = live().saturating_sub(self.before.load(Ordering::Relaxed));
        self.most.fetch_max(more, Ordering::Relaxed);
    }

    /// Counts from now on.
    fn begin(&self) {
        self.before.store(live(), Ordering::Relaxed);
        self.most.store(0, Ordering::Relaxed);
    }

    /// The most that was live at once since then beyond what was live then, in bytes.
    fn most(&self) -> usize {
        self.look();
        self.most.load(Ordering::Relaxed)
    }

    fn hold(&self, hold: bool) {
        *self.held.0.lock().unwrap() = hold;
        self.held.1.notify_all();
    }

    fn sync(&self) {
        let held = self.held.0.lock().unwrap();
        drop(self.held.1.wait_while(held, |held| *held).unwrap());
    }
}

#[derive(Debug)]
struct Watched {
    disk: Disk,
    watch: Watch,
}

impl Watched {
    fn file(&self, file: Arc<dyn File>) -> Arc<dyn File> {
        let watch = self.watch.clone();
        Arc::new(WatchedFile { file, watch })
    }
}

impl Files for Watched {
    fn place(&self, name: &str) -> String {
        self.disk.place(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.create(name).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn lock(&self, name: &str) -> io::Result<Option<Held>> {
        self.disk.lock(name)
    }

    fn random(&self) -> u64 {
        self.disk.random()
    }
}

#[derive(Debug)]
struct WatchedFile {
    file: Arc<dyn File>,
    watch: Watch,
}

impl File for WatchedFile {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.watch.look();
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.watch.look();
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.watch.sync();
        self.file.sync_data()
    }
}

/// One after the other: each wants the allocator for itself.
#[test]
fn live_bytes_stay_within_the_documented_limits() {
    let directory = tempfile::tempdir().unwrap();
    let watch = Watch::default();
    let open = || {
        let disk = Disk::new(directory.path()).unwrap();
        let watch = watch.clone();
        let files = Arc::new(Watched { disk, watch });
        Wal::open_on(files, WalConfig::default()).unwrap().0
    };
    let wal = open();
    let last = a_put_of_64_mib(&wal, &watch);
    reading_a_little_of_it(&wal, &watch, last);
    a_long_snapshot(&wal, &watch);
    a_disk_that_does_not_answer(&wal, &watch);
    drop(wal);

    watch.begin();
    let wal = open();
    let opened = watch.most();
    // Pieces of 1 MiB, one and the record that begins in it.
    assert!(opened <= 3 * MIB, "{opened} bytes to open");
    let restored = block_on(wal.restore()).unwrap();
    let held = watch.most();
    assert!(!restored.tail.is_empty());
    assert!(held <= 16 * MIB + 3 * MIB, "{held} bytes to restore");
}

/// Entries that share their payload: what is live beyond is the log's.
fn put(first: LogIndex, count: u64, payload: &Bytes) -> Batch<LogRecord> {
    let entries = (0..count).map(|_| Entry::command(payload.clone()));
    Batch::from(LogRecord::Put(Entries::new(first, Stamp::of(1), entries)))
}

fn a_put_of_64_mib(wal: &Wal, watch: &Watch) -> LogIndex {
    let payload = Bytes::from(vec![7; 64 << 10]);
    let batch = put(LogIndex(1), 1024, &payload);
    watch.begin();
    block_on(wal.write(batch)).unwrap();
    let most = watch.most();
    assert!(most <= 2 * MIB, "{most} bytes for a put of 64 MiB");
    LogIndex(1024)
}

fn reading_a_little_of_it(wal: &Wal, watch: &Watch, last: LogIndex) {
    for after in (0..last.0).step_by(100) {
        watch.begin();
        let load = LogLoad::Entries {
            after: LogIndex(after),
            through: last,
            max_bytes: MIB,
        };
        let answer = block_on(wal.load(load)).unwrap();
        let most = watch.most();
        assert!(matches!(answer, Some(LogLoaded::Entries { .. })));
        assert!(most <= 3 * MIB, "{most} bytes to load 1 MiB behind {after}");
    }
}

fn a_long_snapshot(wal: &Wal, watch: &Watch) {
    let chunk = Bytes::from(vec![7; 32 * MIB]);
    watch.begin();
    for offset in [0, 32 * MIB as u64] {
        let piece = LogRecord::Stage {
            lane: Lane::Received,
            id: SnapshotId {
                origin: Generation(1),
                index: LogIndex(1024),
            },
            offset,
            chunk: chunk.clone(),
        };
        block_on(wal.write(Batch::from(piece))).unwrap();
    }
    let most = watch.most();
    assert!(most <= MIB, "{most} bytes to stage 64 MiB");
}

/// Writes that nobody waits for, while the disk hangs: they wait up to a limit.
fn a_disk_that_does_not_answer(wal: &Wal, watch: &Watch) {
    watch.hold(true);
    watch.begin();
    let mut next = LogIndex(1025);
    let mut asked = 0;
    while asked < 300 * MIB {
        let batch = put(next, 1, &Bytes::from(vec![7; MIB]));
        // Dropped at once: what found no room is gone with it.
        block_on(poll_immediate(wal.write(batch)));
        next = next.next();
        asked += MIB;
    }
    let most = watch.most();
    watch.hold(false);
    block_on(wal.write(Batch::from(LogRecord::State("vote".into())))).unwrap();
    assert!(most > 60 * MIB, "the queue was full: {most}");
    assert!(
        most <= 74 * MIB,
        "{most} bytes of 300 MiB that were asked for"
    );
}
