//! A crash at every operation, and every operation failing: what was acknowledged is there.

use synod_core::{LogImage, Rng, StorageError, mix};
use synod_node::wal::sim_files::{Fault, SimFiles};
use synod_node::wal::{Engine, Plant};

use crate::wal_support::{Dump, Progress, Workload, open, prefix};

/// How many ways a loss of power goes for each story.
const POWER_LOSSES: u64 = 2;

/// One story: a workload that meets a fault, and what can come after it.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) seed: u64,
    pub(crate) operation: u64,
    pub(crate) fault: Fault,
    pub(crate) plant: Option<Plant>,
}

impl Story {
    /// Runs it and all its ends; says what went wrong.
    fn tell(&self, workload: &Workload) -> Result<(), String> {
        let files = SimFiles::new(self.seed);
        let (mut engine, _) = open(&files, self.plant).map_err(|error| error.to_string())?;
        files.fault_at(self.operation, self.fault);
        let progress = workload.run(&mut engine);
        if let Some(error) = &progress.error {
            self.check_error(error)?;
            self.check_final(&mut engine, workload)?;
        }
        self.ends(&files, workload, &progress)
    }

    fn check_error(&self, error: &StorageError) -> Result<(), String> {
        let full = matches!(error, StorageError::Full { .. });
        if full != (self.fault == Fault::Full) {
            return Err(format!("{:?} came out as {error}", self.fault));
        }
        Ok(())
    }

    /// Nothing works any more, and nothing is tried.
    fn check_final(&self, engine: &mut Engine, workload: &Workload) -> Result<(), String> {
        let again = engine.write(workload.batches[0].clone());
        let restored = engine.restored();
        match (again, restored) {
            (Err(StorageError::Failed(_)), Err(StorageError::Failed(_))) => Ok(()),
            other => Err(format!("used after its failure: {other:?}")),
        }
    }

    fn ends(
        &self,
        files: &SimFiles,
        workload: &Workload,
        progress: &Progress,
    ) -> Result<(), String> {
        let killed = files.fork().kill();
        let held = self.reopen(&killed, workload, progress);
        let held = held.map_err(|error| format!("after a kill: {error}"))?;
        // What a start has read and told is as good as acknowledged.
        let told = Progress {
            acknowledged: held,
            attempted: held,
            error: None,
        };
        for end in 0..POWER_LOSSES {
            let mut rng = Rng::new(mix(self.seed ^ self.operation, end));
            let later = killed.fork().power_loss(&mut rng);
            let reopened = self.reopen(&later, workload, &told);
            reopened.map_err(|error| format!("a kill, a start, no power ({end}): {error}"))?;
            let lost = files.fork().power_loss(&mut rng);
            self.restart(&lost, workload, progress, &mut rng)
                .map_err(|error| format!("after a loss of power ({end}): {error}"))?;
        }
        self.go_on(&killed, &workload.images[held])
    }

    /// A start that may crash itself, then one that must go well.
    fn restart(
        &self,
        files: &SimFiles,
        workload: &Workload,
        progress: &Progress,
        rng: &mut Rng,
    ) -> Result<(), String> {
        let again = files.fork();
        again.fault_at(again.operations() + rng.below(40), Fault::Crash);
        drop(open(&again, self.plant));
        let again = match rng.chance(500_000) {
            true => again.kill(),
            false => again.power_loss(rng),
        };
        let reopened = self.reopen(&again, workload, progress);
        reopened.map_err(|error| format!("and a crash of the start: {error}"))?;
        self.reopen(files, workload, progress).map(|_| ())
    }

    /// Opens the log and finds a prefix; then the log goes on as if nothing had happened.
    fn reopen(
        &self,
        files: &SimFiles,
        workload: &Workload,
        progress: &Progress,
    ) -> Result<usize, String> {
        let before = files.fork();
        let (engine, _) = open(files, self.plant).map_err(|error| error.to_string())?;
        let dump = Dump::of_log(&engine.reader()).map_err(|error| error.to_string())?;
        let held = prefix(workload, progress, &dump)?;
        // Two starts of the same disk find the same.
        let (twin, _) = open(&before, self.plant).map_err(|error| error.to_string())?;
        let twin = Dump::of_log(&twin.reader()).map_err(|error| error.to_string())?;
        if twin != dump {
            return Err("two starts differ".into());
        }
        drop(engine);
        Ok(held)
    }

    /// The log works on as if nothing had happened.
    fn go_on(&self, files: &SimFiles, image: &LogImage) -> Result<(), String> {
        let mut image = image.clone();
        image.restart();
        let more = Workload::after(image, self.operation, 4);
        let files = files.fork().kill();
        let (mut engine, _) = open(&files, self.plant).map_err(|error| error.to_string())?;
        let progress = more.run(&mut engine);
        if let Some(error) = progress.error {
            return Err(format!("going on: {error}"));
        }
        let files = files.power_loss(&mut Rng::new(self.operation));
        let (engine, report) = open(&files, self.plant).map_err(|error| error.to_string())?;
        let dump = Dump::of_log(&engine.reader()).map_err(|error| error.to_string())?;
        if dump != *more.last() || report.repaired.is_some() {
            return Err(format!("after going on: {report:?} {dump:?}"));
        }
        Ok(())
    }
}

/// Tells the story of `fault` at every operation of a workload; the first failure with the story
/// that led to it.
pub(crate) fn tell_all(
    seed: u64,
    fault: Fault,
    plant: Option<Plant>,
) -> Result<(), (Story, String)> {
    let workload = Workload::random(seed, 25);
    let files = SimFiles::new(seed);
    let story = |operation| Story {
        seed,
        operation,
        fault,
        plant,
    };
    let engine = open(&files, plant);
    let (mut engine, _) = engine.map_err(|error| (story(0), error.to_string()))?;
    let from = files.operations();
    let progress = workload.run(&mut engine);
    if let Some(error) = progress.error {
        return Err((story(0), format!("without a fault: {error}")));
    }
    for operation in from..=files.operations() {
        let story = story(operation);
        if let Err(error) = story.tell(&workload) {
            let trace = files.trace();
            let what = usize::try_from(operation).ok().and_then(|at| trace.get(at));
            return Err((story, format!("{what:?}: {error}")));
        }
    }
    Ok(())
}

/// Tells a long story without a fault: many segments come and go.
fn tell_long(seed: u64) -> Result<(), (Story, String)> {
    let story = Story {
        seed,
        operation: u64::MAX,
        fault: Fault::Crash,
        plant: None,
    };
    let told = story.tell(&Workload::random(seed, 150));
    told.map_err(|error| (story, error))
}

fn all_well(seeds: core::ops::Range<u64>, fault: Fault) {
    for seed in seeds {
        if let Err((story, error)) = tell_all(seed, fault, None) {
            panic!("{story:?}: {error}");
        }
    }
}

#[test]
fn a_crash_at_any_operation_loses_nothing_acknowledged() {
    all_well(0..4, Fault::Crash);
}

/// Crashes at every operation of a workload, and then at every operation of the start that follows;
/// says how many starts were cut short.
pub(crate) fn tell_starts(seed: u64, batches: usize, plant: Option<Plant>) -> Result<u64, String> {
    let workload = Workload::random(seed, batches);
    let whole = SimFiles::new(seed);
    let (mut engine, _) = open(&whole, plant).map_err(|error| error.to_string())?;
    let from = whole.operations();
    workload.run(&mut engine);
    let mut cut = 0;
    for operation in from..=whole.operations() {
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, plant).map_err(|error| error.to_string())?;
        files.fault_at(operation, Fault::Crash);
        let progress = workload.run(&mut engine);
        let mut rng = Rng::new(mix(seed, operation));
        let ends = [files.fork().kill(), files.fork().power_loss(&mut rng)];
        let story = Story {
            seed,
            operation,
            fault: Fault::Crash,
            plant,
        };
        for (end, files) in ends.iter().enumerate() {
            let begin = files.operations();
            let start = files.fork();
            let opened = open(&start, plant).map_err(|error| error.to_string())?;
            for at in begin..start.operations() {
                let start = files.fork();
                start.fault_at(at, Fault::Crash);
                drop(open(&start, plant));
                for again in [start.fork().kill(), start.fork().power_loss(&mut rng)] {
                    let reopened = story.reopen(&again, &workload, &progress);
                    reopened.map_err(|error| {
                        let what = start.trace();
                        let what = what.get(usize::try_from(at).unwrap_or(usize::MAX));
                        format!(
                            "{story:?}, end {end}, then a crash of the start at {what:?}: {error}"
                        )
                    })?;
                }
                cut += 1;
            }
            drop(opened);
        }
    }
    Ok(cut)
}

#[test]
fn a_crash_at_any_operation_of_the_start_after_a_crash_loses_nothing() {
    let cut = tell_starts(60, 8, None).unwrap();
    println!("{cut} starts cut short");
    assert!(cut > 1000, "{cut}");
}

#[test]
fn a_long_log_survives_any_end() {
    for seed in 40..60 {
        if let Err((story, error)) = tell_long(seed) {
            panic!("{story:?}: {error}");
        }
    }
}

#[test]
fn a_failure_of_any_operation_is_final_and_loses_nothing_acknowledged() {
    all_well(10..13, Fault::Fail);
}

#[test]
fn a_full_disk_at_any_operation_loses_nothing_acknowledged() {
    all_well(20..22, Fault::Full);
}

/// The disk fills up for real; with room again the next life goes on.
#[test]
fn a_disk_that_fills_up_keeps_what_was_acknowledged() {
    for seed in 30..40 {
        let workload = Workload::random(seed, 60);
        let files = SimFiles::new(seed);
        let (mut engine, _) = open(&files, None).unwrap();
        files.set_capacity(40_000);
        let progress = workload.run(&mut engine);
        let Some(error) = &progress.error else {
            continue;
        };
        assert!(matches!(error, StorageError::Full { .. }), "{error}");
        drop(engine);
        let files = files.kill();
        if let Err(error) = open(&files, None) {
            assert!(matches!(error, StorageError::Full { .. }), "{error}");
        }
        let files = files.power_loss(&mut Rng::new(seed));
        files.set_capacity(u64::MAX);
        let (engine, _) = open(&files, None).unwrap();
        let dump = Dump::of_log(&engine.reader()).unwrap();
        prefix(&workload, &progress, &dump).unwrap();
    }
}
