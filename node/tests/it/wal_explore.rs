//! All that a crash may leave of a small log, within stated bounds, instead of some of it drawn: a
//! crash before every operation that changes something, with every mixture of what was not synced,
//! and the same for the start that follows and for the start after that one; every place at which
//! the last write may be torn; every bit that may rot.

use std::collections::HashSet;
use std::ops::Range;

use synod_core::{
    Batch, Entries, Entry, Generation, Lane, LogImage, LogIndex, LogRecord, OldLog, SnapshotId,
    SnapshotMeta, Stamp, StorageError,
};
use synod_node::wal::sim_files::{Moment, SimFiles};
use synod_node::wal::{Engine, Plant};

use crate::wal_rot::{Outcome, look, names};
use crate::wal_support::{Dump, Progress, Workload, open, prefix};

/// In how many parts at most it is decided what is left of each file and of the names: after the
/// crash of the workload, after that of the first start, after that of the second. `2` leaves the
/// old, the new, and either half of what was not synced.
type Bounds = &'static [usize];

/// Longer writes are not torn at each byte.
const TORN_BYTES: usize = 150;

/// Files that a start may find, and how many records it may hold.
#[derive(Debug)]
struct End {
    files: SimFiles,
    low: usize,
    high: usize,
    /// After the check, the log takes more: only where no start has been before, for the time it takes.
    fresh: bool,
    story: String,
}

/// What was visited.
#[derive(Debug, Default)]
struct Visited {
    /// Operations that change something, before which the workload was crashed.
    crashes: usize,
    /// What these left, each different one once: starts that were checked.
    starts: usize,
    /// The same for crashes during those starts, and after them; and for the starts after that.
    later: Vec<usize>,
    /// Writes that were torn, or bad, at one byte.
    torn: usize,
    /// Starts that cut something.
    repaired: usize,
}

struct Explorer<'a> {
    workload: &'a Workload,
    plant: Option<Plant>,
    seen: HashSet<(u64, usize, usize)>,
    repaired: usize,
}

impl Explorer<'_> {
    /// Adds what is new.
    fn add(&mut self, ends: &mut Vec<End>, end: End) {
        if self
            .seen
            .insert((end.files.fingerprint(), end.low, end.high))
        {
            ends.push(end);
        }
    }

    /// Adds all that a crash now may leave: of the process alone, or of the machine.
    fn crash(&mut self, ends: &mut Vec<End>, files: &SimFiles, parts: usize, end: &End) {
        let left = core::iter::once(files.fork().kill()).chain(files.power_losses(parts));
        for (at, files) in left.enumerate() {
            let story = format!("{}, crash ({at})", end.story);
            let (low, high) = (end.low, end.high);
            let fresh = end.fresh;
            self.add(
                ends,
                End {
                    files,
                    low,
                    high,
                    fresh,
                    story,
                },
            );
        }
    }

    /// Adds all that a crash before an operation may leave, and all that its failure may if it is
    /// a sync.
    fn moment(&mut self, ends: &mut Vec<End>, moment: &Moment, parts: usize, end: &End) {
        let Moment { next, files } = moment;
        let story = format!("{}, before {} {}", end.story, next.kind, next.name);
        let (low, high) = (end.low, end.high);
        let here = End {
            files: files.clone(),
            low,
            high,
            fresh: end.fresh,
            story,
        };
        self.crash(ends, files, parts, &here);
        if next.kind == "sync" {
            for files in files.failed_syncs(&next.name, parts) {
                let story = format!("{}, which fails", here.story);
                self.add(
                    ends,
                    End {
                        files,
                        low,
                        high,
                        fresh: end.fresh,
                        story,
                    },
                );
            }
        }
    }

    /// Starts from `end` and checks what the log holds. With `parts`, answers all that a crash
    /// during this start, or after it, may leave.
    fn start(&mut self, end: &End, parts: Option<usize>) -> Result<Vec<End>, String> {
        let failed = |error: String| format!("{}: {error}", end.story);
        end.files.keep_moments();
        let opened = open(&end.files, self.plant).map_err(|error| failed(error.to_string()));
        let (mut engine, report) = opened?;
        let moments = end.files.take_moments();
        let dump = Dump::of_log(&engine.reader()).map_err(|error| failed(error.to_string()))?;
        let allowed = Progress {
            acknowledged: end.low,
            attempted: end.high,
            error: None,
        };
        let held = prefix(self.workload, &allowed, &dump).map_err(failed)?;
        self.repaired += usize::from(report.repaired.is_some());
        let after = end.files.fork();
        if end.fresh {
            self.go_on(&mut engine, &end.files, &self.workload.images[held])
                .map_err(|error| failed(format!("going on: {error}")))?;
        }
        let mut ends = Vec::new();
        let Some(parts) = parts else {
            return Ok(ends);
        };
        let again = End {
            files: after.clone(),
            low: end.low,
            high: end.high,
            fresh: false,
            story: format!("{}, a start", end.story),
        };
        for moment in &moments {
            self.moment(&mut ends, moment, parts, &again);
        }
        // What a start has read and told is as good as acknowledged.
        let told = End {
            files: after,
            low: held,
            high: held,
            fresh: false,
            story: format!("{}, a start", end.story),
        };
        self.crash(&mut ends, &told.files, parts, &told);
        Ok(ends)
    }

    /// The log takes more, and holds it after a loss of power: of those that keep nothing or all of
    /// each file, the first and the last.
    fn go_on(&self, engine: &mut Engine, files: &SimFiles, image: &LogImage) -> Result<(), String> {
        let mut image = image.clone();
        image.restart();
        let more = [
            LogRecord::State("later".into()),
            put(image.last().0 + 1, 9, &[7]),
        ];
        for record in more.clone() {
            image.apply(record).map_err(|error| error.to_string())?;
        }
        let written = engine.write(more.into_iter().collect());
        written.map_err(|error| error.to_string())?;
        let expected = Dump::of_image(&image);
        let lost = files.power_losses(1);
        for files in lost.first().into_iter().chain(lost.last()) {
            let (engine, report) = open(files, self.plant).map_err(|error| error.to_string())?;
            let dump = Dump::of_log(&engine.reader()).map_err(|error| error.to_string())?;
            if dump != expected || report.repaired.is_some() {
                return Err(format!("{report:?} {dump:?}"));
            }
        }
        Ok(())
    }

    /// Every way in which what was written to a file since its last sync may be torn at one byte:
    /// all before it is new and all behind it old, with the new length or cut there; or this byte
    /// alone is old, or is something else.
    fn tears(&mut self, moment: &Moment, end: &End) -> Result<usize, String> {
        let Moment { next, files } = moment;
        if next.kind != "sync" || next.name == "log-new.tmp" {
            return Ok(0);
        }
        let new = files.contents(&next.name);
        let mut old = files.stored(&next.name);
        let len = old.len();
        old.resize(new.len(), 0);
        let changed = (0..new.len()).filter(|at| new[*at] != old[*at]);
        let changed: Vec<usize> = changed.collect();
        if changed.len() > TORN_BYTES {
            return Ok(0);
        }
        let mut count = 0;
        for at in changed {
            let cut = [&new[..at], &old[at..]].concat();
            let (mut hole, mut garbage) = (new.clone(), new.clone());
            hole[at] = old[at];
            garbage[at] = !new[at];
            let short = cut[..at.max(len)].to_vec();
            for (torn, what) in [
                (cut, "cut"),
                (short, "short"),
                (hole, "old"),
                (garbage, "bad"),
            ] {
                let files = files.fork().kill();
                files.put(&next.name, &torn);
                let torn = End {
                    files,
                    low: end.low,
                    high: end.high,
                    fresh: false,
                    story: format!("{}, {} {what} at byte {at}", end.story, next.name),
                };
                self.start(&torn, None)?;
                count += 1;
            }
        }
        Ok(count)
    }
}

/// Visits all within the bounds, or says how the first failure came about.
fn explore(workload: &Workload, bounds: Bounds, plant: Option<Plant>) -> Result<Visited, String> {
    let mut explorer = Explorer {
        workload,
        plant,
        seen: HashSet::new(),
        repaired: 0,
    };
    let mut visited = Visited::default();
    let files = SimFiles::new(1);
    let mut ends = Vec::new();
    let mut note = |explorer: &mut Explorer<'_>, step: &str, low, high| {
        let end = End {
            files: files.clone(),
            low,
            high,
            fresh: true,
            story: step.to_string(),
        };
        for moment in files.take_moments() {
            visited.crashes += 1;
            explorer.moment(&mut ends, &moment, bounds[0], &end);
            visited.torn += explorer.tears(&moment, &end)?;
        }
        files.keep_moments();
        Ok::<(), String>(())
    };
    files.keep_moments();
    let (mut engine, _) = open(&files, plant).map_err(|error| error.to_string())?;
    note(&mut explorer, "first start", 0, 0)?;
    let mut acknowledged = 0;
    for (number, batch) in workload.batches.iter().enumerate() {
        let attempted = acknowledged + batch.len();
        let written = engine.write(batch.clone());
        written.map_err(|error| format!("batch {number}: {error}"))?;
        note(
            &mut explorer,
            &format!("batch {number}"),
            acknowledged,
            attempted,
        )?;
        acknowledged = attempted;
        engine.collect().map_err(|error| error.to_string())?;
        let step = format!("collecting after batch {number}");
        note(&mut explorer, &step, acknowledged, acknowledged)?;
    }
    drop(engine);
    note(&mut explorer, "closing", acknowledged, acknowledged)?;
    visited.starts = ends.len();
    for level in 0..bounds.len() {
        let parts = bounds.get(level + 1).copied();
        let mut next = Vec::new();
        for end in &ends {
            next.append(&mut explorer.start(end, parts)?);
        }
        if level > 0 {
            visited.later.push(ends.len());
        }
        ends = next;
    }
    visited.repaired = explorer.repaired;
    Ok(visited)
}

fn put(first: u64, stamp: u64, lengths: &[usize]) -> LogRecord {
    let entry = |(at, len): (usize, &usize)| {
        let fill = u8::try_from(first).unwrap() << 4 | u8::try_from(at).unwrap();
        Entry::command(vec![fill; *len].into())
    };
    let entries = lengths.iter().enumerate().map(entry);
    LogRecord::Put(Entries::new(LogIndex(first), Stamp::of(stamp), entries))
}

fn state(state: &'static str) -> LogRecord {
    LogRecord::State(state.into())
}

fn id(index: u64) -> SnapshotId {
    SnapshotId {
        origin: Generation(index),
        index: LogIndex(index),
    }
}

fn stage(lane: Lane, index: u64, offset: u64, chunk: &'static str) -> LogRecord {
    LogRecord::Stage {
        lane,
        id: id(index),
        offset,
        chunk: chunk.into(),
    }
}

fn activate(index: u64, size: u64, log: OldLog) -> LogRecord {
    let meta = SnapshotMeta {
        id: id(index),
        stamp: Stamp::of(1),
        config: "members".into(),
        size,
    };
    LogRecord::Activate { meta, log }
}

fn compact(through: u64) -> LogRecord {
    LogRecord::Compact {
        through: LogIndex(through),
        stamp: Stamp::of(1),
    }
}

/// A little of everything: several segments, a put in parts, both lanes, both ways to activate,
/// entries that are taken back and written again.
fn everything() -> Workload {
    Workload::of(vec![
        vec![state("vote 1"), put(1, 1, &[20, 20])],
        vec![stage(Lane::Received, 2, 0, "abc")],
        vec![put(3, 1, &[1500, 1500, 1500]), state("vote 2")],
        vec![stage(Lane::Received, 2, 3, "de"), put(6, 1, &[30])],
        vec![activate(2, 5, OldLog::Keep), compact(2)],
        vec![
            LogRecord::Truncate { from: LogIndex(4) },
            put(4, 2, &[40, 10]),
        ],
        vec![stage(Lane::Taken, 4, 0, "taken")],
        vec![activate(4, 5, OldLog::Keep)],
        vec![compact(4), put(6, 2, &[3000, 900])],
        vec![
            stage(Lane::Received, 9, 0, "far"),
            activate(9, 3, OldLog::Replace),
        ],
        vec![put(10, 3, &[10])],
    ])
}

/// The least in which each kind of file changes.
fn little() -> Workload {
    Workload::of(vec![
        vec![state("vote 1"), put(1, 1, &[10])],
        vec![
            stage(Lane::Received, 1, 0, "abc"),
            activate(1, 3, OldLog::Keep),
        ],
        vec![compact(1), put(2, 1, &[10])],
    ])
}

#[test]
fn no_crash_within_bounds_loses_anything_acknowledged() {
    let visited = explore(&everything(), &[3], None).unwrap();
    println!("{visited:?}");
    assert!(visited.crashes >= 70 && visited.starts >= 1_000 && visited.torn >= 2_000);
    assert!(visited.repaired >= 1_000);
}

#[test]
fn no_crashes_of_three_lives_in_a_row_lose_anything_acknowledged() {
    let visited = explore(&little(), &[3, 1, 1], None).unwrap();
    println!("{visited:?}");
    assert!(visited.crashes >= 20 && visited.starts >= 100 && visited.torn >= 700);
    assert!(visited.later[0] >= 1_000 && visited.later[1] >= 8_000);
}

/// All bits of a byte; of one amid zeros that nobody wrote, one.
fn bits_at(contents: &[u8], offset: u64) -> Range<u8> {
    let at = usize::try_from(offset).unwrap();
    let near = &contents[at.saturating_sub(16)..contents.len().min(at + 16)];
    match near.iter().all(|byte| *byte == 0) {
        true => (offset % 8) as u8..(offset % 8) as u8 + 1,
        false => 0..8,
    }
}

/// Flips every bit of a log, one at a time: nothing is different then, or the damage is named. With
/// `noted` the note of what is durable is there; without it, no more than the last batch may be
/// taken for torn, and that is reported. Answers how many bits there were, how many made a start
/// refuse, and how many made it cut.
fn flip_every_bit(plant: Option<Plant>, noted: bool) -> Result<[usize; 3], String> {
    let workload = Workload::of(vec![
        vec![state("vote 1"), put(1, 1, &[9])],
        vec![stage(Lane::Received, 1, 0, "abc"), put(2, 1, &[5, 5])],
        vec![activate(1, 3, OldLog::Keep), compact(1)],
        vec![stage(Lane::Received, 9, 0, "de")],
        vec![put(4, 2, &[20])],
    ]);
    let files = SimFiles::new(1);
    let (mut engine, _) = open(&files, plant).map_err(|error| error.to_string())?;
    let (first, second) = workload.batches.split_at(2);
    let run = |engine: &mut Engine, batches: &[Batch<LogRecord>]| {
        for batch in batches {
            engine.write(batch.clone())?;
            engine.collect()?;
        }
        Ok::<(), StorageError>(())
    };
    run(&mut engine, first).map_err(|error| error.to_string())?;
    drop(engine);
    // A segment for each life.
    let files = files.kill();
    let (mut engine, _) = open(&files, plant).map_err(|error| error.to_string())?;
    run(&mut engine, second).map_err(|error| error.to_string())?;
    drop(engine);
    let files = files.kill();
    if !noted {
        files.lose("durable");
    }
    let all = workload.images.len() - 1;
    let [mut bits, mut refused, mut cut] = [0; 3];
    for (name, len) in files.files() {
        let contents = files.contents(&name);
        for offset in 0..len {
            for bit in bits_at(&contents, offset) {
                let damaged = files.fork();
                damaged.flip(&name, offset, bit);
                bits += 1;
                let here = format!("bit {bit} of byte {offset} of {name}");
                match look(&damaged, &workload, plant)
                    .map_err(|error| format!("{here}: {error}"))?
                {
                    Outcome::Same => {}
                    Outcome::Prefix { records, repaired }
                        if !noted && repaired && records == all - 1 =>
                    {
                        cut += 1;
                    }
                    Outcome::Prefix { records, .. } => {
                        return Err(format!("{here}: only {records} records are left"));
                    }
                    Outcome::Refused(error) if names(&error, &name, offset) => refused += 1,
                    Outcome::Refused(error) => return Err(format!("{here}: {error}")),
                }
            }
        }
    }
    Ok([bits, refused, cut])
}

#[test]
fn no_flipped_bit_of_a_small_log_goes_unnoticed() {
    let noted = flip_every_bit(None, true).unwrap();
    let alone = flip_every_bit(None, false).unwrap();
    println!("bits, refused, cut: {noted:?}, without the note {alone:?}");
    assert!(noted[0] >= 10_000 && noted[1] >= 5_000 && noted[2] == 0);
    assert!(alone[0] >= 10_000 && alone[1] >= 5_000 && alone[2] >= 500);
}

fn caught(plant: Plant, workload: &Workload, bounds: Bounds) {
    let Err(error) = explore(workload, bounds, Some(plant)) else {
        panic!("{plant:?} went unnoticed");
    };
    println!("{plant:?}: {error}");
}

/// The exploration would have noticed.
#[test]
fn exploration_catches_the_planted_bugs() {
    caught(Plant::SkipSync, &little(), &[3]);
    caught(Plant::AckBeforeSync, &little(), &[3]);
    caught(Plant::SkipDirSync, &little(), &[3, 1]);
    caught(Plant::UnsyncedSnapshot, &little(), &[3]);
    caught(Plant::TrustCache, &little(), &[3, 1]);
    caught(Plant::DeleteEarly, &everything(), &[3]);
    caught(Plant::KeepParts, &everything(), &[3]);
    caught(Plant::BareCheckpoint, &everything(), &[3]);
    for plant in [Plant::CutAnything, Plant::IgnoreGaps] {
        let Err(error) = flip_every_bit(Some(plant), true) else {
            panic!("{plant:?} went unnoticed");
        };
        println!("{plant:?}: {error}");
    }
}
