//! Disks: one job after the other, and a prefix of the one under way if the node crashes.

use alloc::collections::VecDeque;

use synod_core::{Batch, LoadId, Machine, Rng, WriteId, mix};

use super::{Happening, Kind, MILLI, Stage, World};
use crate::check::{Breach, ensure};
use crate::disk::Disk;
use crate::scene::Scene;
use crate::subject::{Found, Load, Record, Subject};
use crate::trace::{What, Who, note};

/// What a disk has to write, in order.
#[derive(Debug)]
pub(super) struct Jobs<R, I>(pub(super) VecDeque<Job<R, I>>);

impl<R, I> Default for Jobs<R, I> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

#[derive(Debug)]
pub(super) struct Job<R, I> {
    records: Vec<R>,
    done: Done<I>,
}

/// Who is told when a job is done.
#[derive(Debug)]
pub(super) enum Done<I> {
    /// The machine, of its write, and which one that is in all of its lives.
    Write(WriteId, u64),
    /// The scene.
    Scene(I),
}

impl<S: Subject, I> Stage<'_, S, I> {
    pub(super) fn enqueue(&mut self, i: usize, records: Vec<Record<S>>, done: Done<I>) {
        for record in &records {
            if let Err(error) = self.stored[i].shadow.apply(record.clone()) {
                let evidence = format!("{}: {error}", self.id(i));
                return self.fail(Breach::new("records keep the contract", evidence));
            }
        }
        self.nodes[i].disk.0.push_back(Job { records, done });
        if self.nodes[i].disk.0.len() == 1 {
            self.next_job(i);
        }
    }

    fn next_job(&mut self, i: usize) {
        self.nodes[i].writes += 1;
        let nth = self.nodes[i].writes;
        let mut rng = Rng::new(mix(mix(self.plan.seed, 1_000 + i as u64), nth));
        let mut took = self.plan.disk.write.draw(&mut rng);
        let chance = self.plan.disk.stalls_per_million;
        if let Some(mut rng) = self.strikes(Kind::Stalled, (i, 0), nth, chance) {
            took += self.plan.disk.stall.draw(&mut rng);
            self.strike("disk stalls");
        }
        let (until, extra) = self.nodes[i].slow_disk;
        if self.now < until {
            took += extra;
        }
        let life = self.nodes[i].life;
        self.agenda
            .push(self.now + took, Happening::Written { node: i, life });
    }

    /// Whether the write under way fails, or the sync behind it: the node ends, and what of it is
    /// there is found at the next start.
    fn write_fails(&mut self, i: usize) -> bool {
        let (nth, chance) = (self.nodes[i].writes, self.plan.disk.fails_per_million);
        let full = self.now < self.nodes[i].full_until;
        let failed = self.strikes(Kind::WriteFailed, (i, 0), nth, chance);
        if !full && failed.is_none() {
            return false;
        }
        if let (Some(mut rng), Some(device)) = (failed, &mut self.nodes[i].device) {
            device.fail_next_write(&mut rng);
        }
        self.marks.add(if full {
            "writes without room"
        } else {
            "writes failed"
        });
        note!(self, Who::Node(i), What::Fault, "cannot write");
        true
    }

    /// Whether the storage under test, if there is one, cannot write the job under way.
    fn device_fails(&mut self, i: usize) -> bool {
        let node = &mut self.nodes[i];
        if let (Some(device), Some(job)) = (&mut node.device, node.disk.0.front()) {
            let records: Batch<Record<S>> = job.records.iter().cloned().collect();
            if let Err(error) = device.write(records) {
                note!(self, Who::Node(i), What::Fault, "cannot write: {error}");
                self.marks.add("devices failed");
                return true;
            }
        }
        false
    }

    /// The job under way is durable: who is told.
    fn finish_job(&mut self, i: usize) -> Option<Done<I>> {
        let job = self.nodes[i].disk.0.pop_front()?;
        self.put_down(i, job.records);
        if !self.nodes[i].disk.0.is_empty() {
            self.next_job(i);
        }
        if let Done::Write(_, place) = job.done {
            self.has_noted(i, place);
        }
        Some(job.done)
    }

    fn put_down(&mut self, i: usize, records: impl IntoIterator<Item = Record<S>>) {
        for record in records {
            if let Err(error) = self.stored[i].image.apply(record) {
                let evidence = format!("{}: {error}", self.id(i));
                return self.fail(Breach::new("every prefix of a write is safe", evidence));
            }
        }
    }

    /// What a crash leaves of what was not durable: some writes whole, of the next one a prefix. A
    /// disk may write sectors in any order; a storage cuts what it finds where the first is missing.
    pub(super) fn tear(&mut self, i: usize) {
        let jobs = core::mem::take(&mut self.nodes[i].disk);
        let first = jobs.0.front().map_or(0, |job| job.records.len());
        let records = jobs.0.into_iter().flat_map(|job| job.records);
        let mut records: Vec<Record<S>> = records.collect();
        let life = self.nodes[i].life;
        let mut rng = Rng::new(mix(mix(self.plan.seed, 2_000 + i as u64), life));
        if let Some(device) = &mut self.nodes[i].device {
            device.crash(records.iter().cloned().collect(), &mut rng);
            self.nodes[i].unsynced = records;
        } else {
            let len = records.len();
            let most = if rng.chance(300_000) { len } else { first };
            let left = rng.below(most as u64 + 1) as usize;
            if left > 0 && left < first {
                self.marks.add("torn writes");
            }
            if left > first {
                self.marks.add("writes kept without word");
            }
            note!(
                self,
                Who::Node(i),
                What::Disk,
                "keeps {left} of the {len} records under way"
            );
            records.truncate(left);
            self.put_down(i, records);
        }
        let stored = &mut self.stored[i];
        stored.shadow = stored.image.clone();
    }

    /// Compares what a storage under test has found with what it may have found: what was durable,
    /// and a prefix of what was under way. From now on that is what the disk holds.
    fn accept(&mut self, i: usize, found: &Found<S>) -> bool {
        let records = core::mem::take(&mut self.nodes[i].unsynced);
        let stored = &mut self.stored[i];
        let restarted = |image: &S::Disk| {
            let mut image = image.clone();
            image.restart();
            image
        };
        // What was being staged goes on in the records under way, and is forgotten at the end.
        let mut grown = stored.image.clone();
        let mut expected = restarted(&grown);
        let mut records = records.into_iter();
        while !expected.explains(found) {
            let Some(record) = records.next() else {
                let reference = stored.image.restored(0);
                let evidence = format!("{} finds {found:?}; durable was {reference:?}", stored.id);
                let rule = "a storage keeps what was durable and a prefix of the rest";
                self.fail(Breach::new(rule, evidence));
                return false;
            };
            if let Err(error) = grown.apply(record) {
                let evidence = format!("{}: {error}", stored.id);
                self.fail(Breach::new("every prefix of a write is safe", evidence));
                return false;
            }
            expected = restarted(&grown);
        }
        stored.image = expected.clone();
        stored.shadow = expected;
        true
    }
}

impl<S: Subject, C: Scene<S>> World<'_, S, C> {
    pub(super) fn persist(&mut self, i: usize, write: WriteId, records: Batch<Record<S>>) {
        let stage = &mut self.stage;
        let records: Vec<Record<S>> = records.into_iter().collect();
        note!(
            stage,
            Who::Node(i),
            What::Disk,
            "writes {write} {records:?}"
        );
        self.scene.writes(stage, i, &records);
        let binds = records.iter().any(S::Disk::binds);
        let chance = stage.plan.faults.promise_crash_per_million;
        if binds && let Some(mut rng) = stage.strikes(Kind::PromiseCrash, (i, 0), write.0, chance) {
            let outputs = 1 + rng.below(5);
            stage.crash_behind(i, outputs);
        }
        let jobs = stage.nodes[i].disk.0.iter();
        let under_way = jobs
            .filter(|job| matches!(job.done, Done::Write(..)))
            .count();
        let (id, most) = (stage.id(i), stage.bounds.writes);
        let kept = ensure(under_way < most, "writes under way are bounded", || {
            format!("{id} has {under_way} under way and begins another one, the limit is {most}")
        });
        stage.must(kept);
        stage.nodes[i].persists += 1;
        let place = stage.nodes[i].persists;
        stage.enqueue(i, records, Done::Write(write, place));
    }

    /// The job under way is durable, unless it fails.
    pub(super) fn written(&mut self, i: usize, life: u64) {
        let stage = &mut self.stage;
        if !stage.lives(i, life) || stage.nodes[i].disk.0.is_empty() {
            return;
        }
        if stage.write_fails(i) || stage.device_fails(i) {
            return self.crash(i);
        }
        match stage.finish_job(i) {
            Some(Done::Write(write, _)) => {
                let now = stage.local(i);
                if let Some(machine) = stage.machine_mut(i) {
                    machine.persisted(now, write);
                    self.stirred(i);
                }
            }
            Some(Done::Scene(item)) => self.scene.happens(stage, item),
            None => {}
        }
    }

    /// What a start finds on the disk; `None` if it cannot be read and the node does not start.
    pub(super) fn open(&mut self, i: usize, most_bytes: usize) -> Option<Found<S>> {
        let Some(device) = &mut self.stage.nodes[i].device else {
            if self.refuses_to_start(i) {
                return None;
            }
            return Some(self.stage.stored[i].image.restored(most_bytes));
        };
        let found = match device.open() {
            Ok(found) => found,
            Err(error) => {
                if !self.refuses_to_start(i) {
                    let evidence = format!("{}: {error}", self.stage.id(i));
                    let rule = "a storage opens again after a crash";
                    self.stage.fail(Breach::new(rule, evidence));
                }
                return None;
            }
        };
        self.stage.nodes[i].damaged = None;
        self.stage.accept(i, &found).then_some(found)
    }

    pub(super) fn loaded(&mut self, i: usize, life: u64, load: LoadId, what: Load<S>) {
        let stage = &mut self.stage;
        if !stage.lives(i, life) {
            return;
        }
        let mut answer = stage.stored[i].image.load(&what);
        if let Some(device) = &mut stage.nodes[i].device {
            match device.load(what) {
                Ok(found) if found.is_some() == answer.is_some() => answer = found,
                wrong => {
                    let evidence = format!("{} reads {wrong:?} of {answer:?}", stage.id(i));
                    return stage.fail(Breach::new("a storage reads back what it holds", evidence));
                }
            }
        }
        if answer.is_none() {
            stage.marks.add("loads of what is gone");
        }
        let now = stage.local(i);
        if let Some(machine) = stage.machine_mut(i) {
            machine.loaded(now, load, answer);
            self.stirred(i);
        }
    }

    /// A node with a damaged disk is started: its storage refuses, and someone replaces the disk or
    /// leaves the node alone.
    fn refuses_to_start(&mut self, i: usize) -> bool {
        let stage = &mut self.stage;
        let Some(replaced) = stage.nodes[i].damaged.take() else {
            return false;
        };
        stage.marks.add("starts refused");
        note!(
            stage,
            Who::Node(i),
            What::Fault,
            "cannot read its disk, and does not start"
        );
        if replaced {
            self.lose_disk(i, true);
            let at = self.stage.now + 10 * MILLI;
            self.stage.agenda.push(at, Happening::Start { node: i });
        } else {
            self.scene.forgets(stage, i);
        }
        true
    }
}
