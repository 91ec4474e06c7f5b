//! The write-ahead log in processes of their own: killed at any moment, on a disk that is full,
//! under a limit on the length of files. What they have said was acknowledged must be there.
//!
//! A target without the standard harness, since a test that the machine does not permit (mounting
//! a small file system) says so in its result. `SYNOD_WAL_KILLS=5000 cargo test --test wal_process`
//! kills more often.
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    clippy::print_stdout,
    reason = "tests fail loudly, and a test has std"
)]

use std::io::{BufRead, BufReader, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::time::Duration;
use std::{env, thread};

use bytes::Bytes;
use futures::executor::block_on;
use futures::future::join_all;
use synod_core::{
    Batch, Entries, Entry, Generation, Lane, LogIndex, LogLoad, LogLoaded, LogRecord, OldLog,
    Restored, Rng, SnapshotId, SnapshotMeta, Stamp, Storage, StorageError, mix,
};
use synod_node::wal::{Wal, WalConfig};
use tempfile::TempDir;

/// What makes this program the process that writes: its argument.
const WRITER: &str = "--as-writer";

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    if let [first, role, directory, seed] = &args[..]
        && first == WRITER
    {
        let directory = Path::new(directory);
        match role.as_str() {
            "mounted" => mounted(directory),
            role => writer(role, directory, seed.parse().unwrap()),
        }
        return ExitCode::SUCCESS;
    }
    harness::run(
        &args,
        &[
            ("a_kill_at_any_moment_loses_nothing_acknowledged", kills),
            ("a_writer_that_acknowledges_early_is_caught", kill_a_liar),
            (
                "a_limit_on_files_ends_the_log_and_loses_nothing",
                file_limit,
            ),
            ("a_full_disk_ends_the_log_and_loses_nothing", full_disk),
        ],
    )
}

/// What a log on `directory` is opened with: small segments, so that many come and go.
fn open(directory: &Path) -> Result<Wal, StorageError> {
    let config = WalConfig::builder().segment_bytes(16 << 10);
    let config = config.tail_bytes(4 << 10).build().unwrap();
    Wal::open(directory, config).map(|(wal, _)| wal)
}

/// What belongs at a place, so that anything else is noticed.
fn payload(index: LogIndex) -> Bytes {
    let len = usize::try_from(mix(index.0, 1) % 700).unwrap();
    index
        .0
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(len)
        .collect()
}

fn contents(index: LogIndex) -> Bytes {
    let len = usize::try_from(mix(index.0, 2) % 30_000).unwrap();
    index
        .0
        .to_be_bytes()
        .into_iter()
        .cycle()
        .take(len)
        .collect()
}

fn state(last: LogIndex) -> Bytes {
    Bytes::copy_from_slice(&last.0.to_le_bytes())
}

fn state_of(restored: &Restored) -> LogIndex {
    let bytes = restored
        .state
        .as_ref()
        .map(|state| state[..].try_into().unwrap());
    LogIndex(bytes.map_or(0, u64::from_le_bytes))
}

fn say(word: &str, number: u64) {
    // One write each: what was said before a kill is read to the end.
    let line = format!("{word} {number}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

/// Writes until it is killed or an error ends it. Says `try` before it writes up to an entry,
/// `ack` when that is acknowledged.
fn writer(role: &str, directory: &Path, seed: u64) {
    let wal = match open(directory) {
        Ok(wal) => wal,
        Err(StorageError::Full { .. }) => return say("full", 0),
        Err(other) => panic!("{other}"),
    };
    let mut last = block_on(wal.restore()).unwrap().last();
    say("open", last.0);
    let mut rng = Rng::new(seed);
    loop {
        let mut batches = Vec::new();
        for _ in 0..rng.within(1, 3) {
            batches.push(batch(&mut rng, &mut last));
        }
        say("try", last.0);
        if role == "liar" {
            say("ack", last.0 + 200);
        }
        let written = block_on(join_all(batches.into_iter().map(|batch| wal.write(batch))));
        match written.into_iter().find_map(Result::err) {
            None => say("ack", last.0),
            Some(StorageError::Full { .. }) => break,
            Some(other) => panic!("{other}"),
        }
    }
    // Final: nothing is tried again.
    let again = block_on(wal.write(Batch::from(LogRecord::State(Bytes::new()))));
    assert!(matches!(again, Err(StorageError::Failed(_))), "{again:?}");
    say("full", last.0);
}

/// Entries behind `last`, and now and then a snapshot of them.
fn batch(rng: &mut Rng, last: &mut LogIndex) -> Batch<LogRecord> {
    let first = last.next();
    // Sometimes longer than a segment.
    let count = if rng.below(20) == 0 {
        100
    } else {
        rng.within(1, 6)
    };
    *last = last.plus(count);
    let entries = (first.0..=last.0).map(|index| Entry::command(payload(LogIndex(index))));
    let put = Entries::new(first, Stamp::of(1), entries);
    let mut batch = Batch::new();
    batch.push(LogRecord::Put(put));
    batch.push(LogRecord::State(state(*last)));
    if rng.below(8) == 0 {
        snapshot(*last, &mut batch);
    }
    batch
}

fn snapshot(index: LogIndex, batch: &mut Batch<LogRecord>) {
    let origin = Generation(1);
    let (id, stamp) = (SnapshotId { origin, index }, Stamp::of(1));
    let whole = contents(index);
    let mut offset = 0;
    let pieces = if whole.is_empty() {
        vec![whole.clone()]
    } else {
        Vec::new()
    };
    for chunk in whole.chunks(9000).map(Bytes::copy_from_slice).chain(pieces) {
        let len = chunk.len() as u64;
        let lane = Lane::Taken;
        batch.push(LogRecord::Stage {
            lane,
            id,
            offset,
            chunk,
        });
        offset += len;
    }
    let meta = SnapshotMeta {
        id,
        stamp,
        config: Bytes::new(),
        size: offset,
    };
    batch.push(LogRecord::Activate {
        meta,
        log: OldLog::Keep,
    });
    // Some of what it covers stays; the one before covered less than that.
    if let Some(through) = index.0.checked_sub(40).map(LogIndex) {
        batch.push(LogRecord::Compact { through, stamp });
    }
}

/// What a writer has said.
#[derive(Clone, Copy, Debug, Default)]
struct Said {
    tried: u64,
    acknowledged: u64,
    full: bool,
}

impl Said {
    fn hear(&mut self, line: &str) {
        let (word, number) = line.split_once(' ').unwrap();
        let number = number.parse().unwrap();
        match word {
            "open" => (self.acknowledged, self.tried) = (number, number),
            "try" => self.tried = number,
            "ack" => self.acknowledged = number,
            "full" => self.full = true,
            _ => panic!("{line}"),
        }
    }

    const fn allowed(&self) -> RangeInclusive<u64> {
        self.acknowledged..=self.tried
    }
}

/// A process that does not outlive its test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn start(command: &mut Command) -> (Writer, BufReader<ChildStdout>) {
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (Writer(child), said)
}

fn writer_command(role: &str, directory: &Path, seed: u64) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([WRITER, role])
        .arg(directory)
        .arg(seed.to_string());
    command
}

/// Checks the log against what was said of it; its last entry, or what is wrong.
fn check(directory: &Path, allowed: &RangeInclusive<u64>) -> Result<LogIndex, String> {
    let wal = open(directory).map_err(|error| error.to_string())?;
    let restored = block_on(wal.restore()).map_err(|error| error.to_string())?;
    let last = restored.last();
    if !allowed.contains(&last.0) {
        return Err(format!("the log ends at {last}, should be in {allowed:?}"));
    }
    // One record behind the entries: there or torn off.
    let state = state_of(&restored);
    if !allowed.contains(&state.0) || state > last {
        return Err(format!("the state is of {state}, should be in {allowed:?}"));
    }
    let mut next = restored.compacted.0;
    while next < last {
        let load = LogLoad::Entries {
            after: next,
            through: last,
            max_bytes: 5000,
        };
        let answer = block_on(wal.load(load)).map_err(|error| error.to_string())?;
        let Some(LogLoaded::Entries { runs, .. }) = answer else {
            return Err(format!("nothing behind {next}"));
        };
        for (index, entry) in runs.iter().flat_map(Entries::iter) {
            if index != next.next() || entry.payload != payload(index) {
                return Err(format!("{index} follows {next}, or holds something else"));
            }
            next = index;
        }
    }
    match &restored.snapshot {
        Some(meta) => check_snapshot(&wal, meta).map(|()| last),
        None => Ok(last),
    }
}

fn check_snapshot(wal: &Wal, meta: &SnapshotMeta) -> Result<(), String> {
    let (id, whole) = (meta.id, contents(meta.index()));
    let load = LogLoad::Snapshot {
        id,
        offset: 0,
        max_bytes: usize::MAX,
    };
    match block_on(wal.load(load)) {
        Ok(Some(LogLoaded::Snapshot { chunk, .. })) if chunk == whole => Ok(()),
        other => Err(format!("the snapshot of {id}: {other:?}")),
    }
}

/// Starts a writer, kills it at some moment, looks; so many times on one directory.
fn kill_often(role: &str, times: u64, seed: u64) -> Result<LogIndex, String> {
    let directory = scratch();
    let path = &directory.path().join("log");
    let mut rng = Rng::new(seed);
    let mut last = LogIndex::START;
    for round in 0..times {
        let (mut child, mut heard) = start(&mut writer_command(role, path, mix(seed, round)));
        let mut said = Said {
            tried: last.0,
            acknowledged: last.0,
            full: false,
        };
        let mut line = String::new();
        // Now and then in the middle of its start.
        if rng.below(4) > 0 {
            heard.read_line(&mut line).unwrap();
            said.hear(line.trim_end());
            let second = open(path).map(|_| ());
            assert!(
                matches!(second, Err(StorageError::InUse { .. })),
                "{second:?}"
            );
        }
        thread::sleep(Duration::from_micros(rng.below(30_000)));
        child.0.kill().unwrap();
        let status = child.0.wait().unwrap();
        assert!(
            status.code().is_none(),
            "the writer ended by itself: {status}"
        );
        heard.lines().for_each(|line| said.hear(&line.unwrap()));
        let held = check(path, &said.allowed());
        last = held.map_err(|error| format!("round {round} of seed {seed}: {error}"))?;
    }
    Ok(last)
}

fn kills() -> Result<(), String> {
    let times = env::var("SYNOD_WAL_KILLS").map_or(60, |times| times.parse().unwrap());
    for (seed, times) in [(1, times / 2), (2, times - times / 2)] {
        let last = kill_often("writer", times, seed)?;
        assert!(last > LogIndex(100), "the writers did not come far: {last}");
    }
    Ok(())
}

/// The test above would notice: a writer that acknowledges before it writes is found out.
fn kill_a_liar() -> Result<(), String> {
    match kill_often("liar", 20, 3) {
        Err(told) if told.contains("should be in") => Ok(()),
        other => Err(format!("the liar went unnoticed: {other:?}")),
    }
}

/// Under `ulimit -f` a write beyond the limit fails as one on a full disk does.
fn file_limit() -> Result<(), String> {
    let directory = scratch();
    let path = directory.path().join("log");
    // In blocks of 512 or 1024 bytes: below what a segment is filled ahead.
    let script = "trap '' XFSZ; ulimit -f 14; exec \"$@\"";
    for seed in 0..5 {
        let writer = writer_command("writer", &path, seed);
        let mut command = Command::new("sh");
        command
            .args(["-c", script, "sh"])
            .arg(writer.get_program())
            .args(writer.get_args());
        let said = run_until_full(&mut command);
        check(&path, &said.allowed())?;
    }
    Ok(())
}

/// Hears a writer out that must end by itself, because nothing more can be written.
fn run_until_full(command: &mut Command) -> Said {
    let (mut child, heard) = start(command);
    let mut said = Said::default();
    heard.lines().for_each(|line| said.hear(&line.unwrap()));
    assert!(child.0.wait().unwrap().success());
    assert!(said.full, "the writer ended without a word: {said:?}");
    said
}

/// On a file system of 100 KiB, mounted where only this test sees it.
fn full_disk() -> Result<(), String> {
    let directory = scratch();
    let mut why = String::new();
    // As root, or as root of a user namespace where that is allowed.
    for namespace in [&["--mount"][..], &["--mount", "--user", "--map-root-user"]] {
        let writer = writer_command("mounted", directory.path(), 1);
        let mut command = Command::new("unshare");
        command.args(namespace).arg("--");
        command.arg(writer.get_program()).args(writer.get_args());
        let output = match command.output() {
            Ok(output) => output,
            Err(error) => return Err(harness::ignored(&format!("no unshare: {error}"))),
        };
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if String::from_utf8_lossy(&output.stdout).contains(MOUNTED) {
            return Err(said);
        }
        why = said;
    }
    Err(harness::ignored(&format!(
        "cannot mount a tmpfs: {}",
        why.trim()
    )))
}

/// What the process says once it has its file system.
const MOUNTED: &str = "mounted";

fn mounted(directory: &Path) {
    let mount = |options: &str| {
        let mut command = Command::new("mount");
        command
            .args(["-t", "tmpfs", "-o", options, "tmpfs"])
            .arg(directory);
        command.status().is_ok_and(|status| status.success())
    };
    assert!(mount("size=100k"));
    println!("{MOUNTED}");
    let path = directory.join("log");
    let mut last = 0;
    for seed in 0..4 {
        let mut said = run_until_full(&mut writer_command("writer", &path, seed));
        // A start that found no room has said nothing; what was there before is.
        said.acknowledged = said.acknowledged.max(last);
        said.tried = said.tried.max(last);
        assert!(seed > 0 || said.acknowledged > 20, "{said:?}");
        assert!(mount("remount,size=64m"));
        let held = check(&path, &said.allowed());
        last = held.unwrap().0;
        // Full again, and a little fuller each time.
        assert!(mount(&format!("remount,size={}k", 100 + seed * 10)));
    }
    assert!(mount("remount,size=64m"));
    check(&path, &(last..=last)).unwrap();
}

fn scratch() -> TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// As much of the standard harness as cargo and CI rely on.
mod harness {
    use std::panic;
    use std::process::ExitCode;
    use std::time::Instant;

    /// `Err` says what went wrong, or by [`ignored`] why the machine does not permit it.
    type Test = fn() -> Result<(), String>;

    const IGNORED: &str = "ignored, ";

    pub(crate) fn ignored(why: &str) -> String {
        format!("{IGNORED}{}", why.replace('\n', "; "))
    }

    pub(crate) fn run(args: &[String], tests: &[(&str, Test)]) -> ExitCode {
        let has = |flag: &str| args.iter().any(|arg| arg == flag);
        let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with('-')).collect();
        let wanted = |name: &str| {
            filters.is_empty()
                || filters.iter().any(|filter| match has("--exact") {
                    true => name == filter.as_str(),
                    false => name.contains(filter.as_str()),
                })
        };
        let chosen: Vec<_> = tests.iter().filter(|(name, _)| wanted(name)).collect();
        if has("--list") {
            chosen.iter().for_each(|(name, _)| println!("{name}: test"));
            return ExitCode::SUCCESS;
        }
        let begun = Instant::now();
        let [mut passed, mut failed, mut ignored] = [0; 3];
        println!("\nrunning {} tests", chosen.len());
        for (name, test) in &chosen {
            let outcome = panic::catch_unwind(test);
            let outcome = outcome.unwrap_or_else(|_| Err("it panicked".into()));
            match outcome {
                Ok(()) => {
                    passed += 1;
                    println!("test {name} ... ok");
                }
                Err(why) if why.starts_with(IGNORED) => {
                    ignored += 1;
                    println!("test {name} ... {why}");
                }
                Err(why) => {
                    failed += 1;
                    println!("test {name} ... FAILED\n{why}");
                }
            }
        }
        let result = if failed == 0 { "ok" } else { "FAILED" };
        let out = tests.len() - chosen.len();
        let took = begun.elapsed().as_secs_f64();
        println!(
            "\ntest result: {result}. {passed} passed; {failed} failed; {ignored} ignored; \
             0 measured; {out} filtered out; finished in {took:.2}s\n"
        );
        ExitCode::from(u8::from(failed > 0))
    }
}
