//! The log behind its threads, on a real disk.

use std::fs;
use std::path::Path;

use bytes::{Bytes, BytesMut};
use futures::executor::block_on;
use futures::future::{join_all, poll_immediate};
use synod_core::frame::{read_frame, write_frame};
use synod_core::{
    Batch, Entries, Entry, GroupId, LogIndex, LogLoad, LogLoaded, LogRecord, Stamp, Storage,
    StorageError,
};
use synod_node::wal::{Disk, Files, Wal, WalConfig};

fn put(index: u64) -> Batch<LogRecord> {
    let entry = Entry::command(Bytes::from(format!("command {index}")));
    let entries = Entries::new(LogIndex(index), Stamp::of(1), [entry]);
    Batch::from(LogRecord::Put(entries))
}

fn open(path: &Path) -> Result<Wal, StorageError> {
    Wal::open(path, WalConfig::default()).map(|(wal, _)| wal)
}

#[test]
fn a_log_comes_back_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made/on/the/way");
    let wal = open(&path).unwrap();
    block_on(async {
        for index in 1..=100 {
            wal.write(put(index)).await.unwrap();
        }
        let load = LogLoad::Entries {
            after: LogIndex(40),
            through: LogIndex(42),
            max_bytes: usize::MAX,
        };
        let Some(LogLoaded::Entries { before, runs }) = wal.load(load).await.unwrap() else {
            panic!("the entries are there");
        };
        assert_eq!(
            (before, runs[0].first(), runs[0].last()),
            (Stamp::of(1), LogIndex(41), LogIndex(42))
        );
        assert_eq!(runs[0].as_slice()[0].payload, "command 41");
        let before = wal.restore().await.unwrap();
        drop(wal);
        let again = open(&path).unwrap();
        assert_eq!(again.restore().await.unwrap(), before);
        assert_eq!(before.last(), LogIndex(100));
    });
}

#[test]
fn a_second_start_on_the_same_directory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let wal = open(directory.path()).unwrap();
    let clone = wal.clone();
    drop(wal);
    let refused = open(directory.path()).map(|_| ());
    let place = directory.path().join("lock").display().to_string();
    assert_eq!(refused, Err(StorageError::InUse { place }));
    drop(clone);
    open(directory.path()).unwrap();
}

#[test]
fn a_write_happens_although_nobody_waits() {
    let directory = tempfile::tempdir().unwrap();
    let wal = open(directory.path()).unwrap();
    for index in 1..=50 {
        // Asked for, and dropped at once.
        block_on(poll_immediate(wal.write(put(index))));
    }
    drop(wal);
    let wal = open(directory.path()).unwrap();
    assert_eq!(block_on(wal.restore()).unwrap().last(), LogIndex(50));
}

#[test]
fn writes_that_wait_together_share_a_sync() {
    let directory = tempfile::tempdir().unwrap();
    let wal = open(directory.path()).unwrap();
    let writes = (1..=500).map(|index| wal.write(put(index)));
    let done = block_on(join_all(writes));
    assert!(done.iter().all(Result::is_ok));
    let stats = wal.stats();
    assert_eq!(stats.records, 500);
    assert!(stats.batches < 250, "{stats:?}");
}

#[test]
fn another_group_and_a_later_version_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let wal = open(directory.path()).unwrap();
    block_on(wal.write(put(1))).unwrap();
    drop(wal);

    let other = WalConfig::builder().group(GroupId(7)).build().unwrap();
    let refused = Wal::open(directory.path(), other).map(|_| ());
    assert!(
        matches!(&refused, Err(StorageError::Corrupt { what, .. }) if what.contains("g7")),
        "{refused:?}"
    );

    // The layout version is the first byte of the header's frame, behind the magic.
    let path = directory.path().join("log-0000000000000001.wal");
    let bytes = Bytes::from(fs::read(&path).unwrap());
    let mut rest = bytes.slice(8..);
    let (group, body) = read_frame(&mut rest, bytes.len()).unwrap();
    let mut later = BytesMut::from(&bytes[..8]);
    write_frame(group, &mut later, |out| {
        out.extend_from_slice(&[2]);
        out.extend_from_slice(&body[1..]);
    });
    later.extend_from_slice(&rest);
    fs::write(&path, &later).unwrap();
    let refused = open(directory.path()).map(|_| ());
    let place = path.display().to_string();
    assert_eq!(
        refused,
        Err(StorageError::Version {
            place,
            found: 2,
            supported: 1
        })
    );
}

#[cfg(unix)]
#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let wal = open(directory.path()).unwrap();
    block_on(wal.write(put(1))).unwrap();
    for entry in fs::read_dir(directory.path()).unwrap() {
        let mode = entry.unwrap().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0);
    }
}

/// The files of a real directory do what the simulated ones are simulated to do.
#[test]
fn a_file_holds_what_was_written_until_it_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path()).unwrap();
    let file = disk.create("one").unwrap();
    file.write_at(b"hello", 0).unwrap();
    file.write_at(b"HE", 3).unwrap();
    file.sync_data().unwrap();
    let mut read = [0; 8];
    assert_eq!(file.read_at(&mut read, 1).unwrap(), 4);
    assert_eq!(&read, b"elHE\0\0\0\0");
    disk.rename("one", "two").unwrap();
    assert_eq!(disk.list().unwrap(), ["two"]);
    disk.remove("two").unwrap();
    assert!(disk.list().unwrap().is_empty());
    let missing = disk.remove("two").unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
}

/// The salt of a segment must be another one than that of the file that its disk space held before.
#[test]
fn no_two_random_numbers_are_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(directory.path()).unwrap();
    let mut drawn: Vec<u64> = (0..100).map(|_| disk.random()).collect();
    drawn.sort_unstable();
    drawn.dedup();
    assert_eq!(drawn.len(), 100);
}
