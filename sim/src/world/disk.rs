//! Disks: one job after the other, and a prefix of the one under way if the node crashes.

use alloc::collections::VecDeque;

use bytes::Bytes;
use synod_core::{
    Batch, Lane, LoadId, LogImage, LogLoad, LogRecord, Machine, OldLog, ReplicatedLog, Restored,
    Rng, SnapshotMeta, WriteId, mix,
};

use super::{Happening, Kind, World};
use crate::application::Application;
use crate::check::{Breach, ensure};
use crate::subject::Subject;
use crate::trace::{What, Who, note};

/// What a disk has to write, in order.
#[derive(Debug, Default)]
pub(super) struct Jobs(pub(super) VecDeque<Job>);

#[derive(Debug)]
pub(super) struct Job {
    records: Vec<LogRecord>,
    done: Done,
}

/// Who is told when a job is done.
#[derive(Debug)]
enum Done {
    /// The machine, of its write, and which one that is in all of its lives.
    Write(WriteId, u64),
    /// Whoever takes a snapshot of the state machine, of a piece of it.
    Piece,
    /// The machine, of a snapshot of its state machine.
    Snapshot(SnapshotMeta),
}

impl<S: Subject, A: Application> World<'_, S, A> {
    pub(super) fn persist(&mut self, i: usize, write: WriteId, records: Batch<LogRecord>) {
        let Some(up) = &self.nodes[i].up else { return };
        let status = up.log.status();
        let records: Vec<LogRecord> = records.into_iter().collect();
        note!(self, Who::Node(i), What::Disk, "writes {write} {records:?}");
        for record in &records {
            match record {
                LogRecord::Truncate { .. } => self.marks.add("truncations"),
                LogRecord::Activate { .. } => self.marks.add("snapshots installed"),
                LogRecord::Compact { .. } => self.marks.add("compactions"),
                _ => {}
            }
        }
        self.observe(|observer, cluster| observer.writes(i, &status, &records, cluster));
        let promises = records.iter().any(|r| matches!(r, LogRecord::State(_)));
        let chance = self.plan.faults.promise_crash_per_million;
        if promises && let Some(mut rng) = self.strikes(Kind::PromiseCrash, (i, 0), write.0, chance)
        {
            let outputs = 1 + rng.below(5);
            self.nodes[i].crash_in.get_or_insert(outputs);
        }
        let jobs = self.nodes[i].disk.0.iter();
        let under_way = jobs
            .filter(|job| matches!(job.done, Done::Write(..)))
            .count();
        let (id, most) = (self.id(i), self.bounds.writes);
        let kept = ensure(under_way < most, "writes under way are bounded", || {
            format!("{id} has {under_way} under way and begins another one, the limit is {most}")
        });
        self.must(kept);
        self.nodes[i].persists += 1;
        let place = self.nodes[i].persists;
        self.enqueue(i, records, Done::Write(write, place));
    }

    fn enqueue(&mut self, i: usize, records: Vec<LogRecord>, done: Done) {
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

    /// The job under way is durable, unless it fails.
    pub(super) fn written(&mut self, i: usize, life: u64) {
        if !self.lives(i, life) || self.nodes[i].disk.0.is_empty() {
            return;
        }
        if self.write_fails(i) {
            return self.crash(i);
        }
        let node = &mut self.nodes[i];
        if let (Some(device), Some(job)) = (&mut node.device, node.disk.0.front()) {
            let records: Batch<LogRecord> = job.records.iter().cloned().collect();
            if let Err(error) = device.write(records) {
                note!(self, Who::Node(i), What::Fault, "cannot write: {error}");
                self.marks.add("devices failed");
                return self.crash(i);
            }
        }
        let Some(job) = self.nodes[i].disk.0.pop_front() else {
            return;
        };
        self.put_down(i, job.records);
        if !self.nodes[i].disk.0.is_empty() {
            self.next_job(i);
        }
        if let Done::Write(_, place) = job.done {
            self.has_noted(i, place);
        }
        let now = self.local(i);
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        match job.done {
            Done::Write(write, _) => up.log.persisted(now, write),
            Done::Piece => return self.stage(i),
            Done::Snapshot(meta) => {
                up.replica.staging = None;
                up.log.compact(now, meta);
            }
        }
        self.stirred(i);
    }

    fn put_down(&mut self, i: usize, records: impl IntoIterator<Item = LogRecord>) {
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
        let mut records: Vec<LogRecord> = records.collect();
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

    /// What a start finds on the disk; `None` if it cannot be read and the node does not start.
    pub(super) fn open(&mut self, i: usize, tail: usize) -> Option<Restored> {
        let Some(device) = &mut self.nodes[i].device else {
            if self.refuses_to_start(i) {
                return None;
            }
            return Some(self.stored[i].image.restored(tail));
        };
        let found = match device.open() {
            Ok(found) => found,
            Err(error) => {
                if !self.refuses_to_start(i) {
                    let evidence = format!("{}: {error}", self.id(i));
                    self.fail(Breach::new("a storage opens again after a crash", evidence));
                }
                return None;
            }
        };
        self.nodes[i].damaged = None;
        let records = core::mem::take(&mut self.nodes[i].unsynced);
        let stored = &mut self.stored[i];
        let restarted = |image: &LogImage| {
            let mut image = image.clone();
            image.restart();
            image
        };
        // What was being staged goes on in the records under way, and is forgotten at the end.
        let mut grown = stored.image.clone();
        let mut expected = restarted(&grown);
        let mut records = records.into_iter();
        while !is_found(&found, &expected) {
            let Some(record) = records.next() else {
                let reference = stored.image.restored(0);
                let evidence = format!("{} finds {found:?}; durable was {reference:?}", stored.id);
                let rule = "a storage keeps what was durable and a prefix of the rest";
                self.fail(Breach::new(rule, evidence));
                return None;
            };
            if let Err(error) = grown.apply(record) {
                let evidence = format!("{}: {error}", stored.id);
                self.fail(Breach::new("every prefix of a write is safe", evidence));
                return None;
            }
            expected = restarted(&grown);
        }
        stored.image = expected.clone();
        stored.shadow = expected;
        Some(found)
    }

    pub(super) fn loaded(&mut self, i: usize, life: u64, load: LoadId, what: LogLoad) {
        if !self.lives(i, life) {
            return;
        }
        let mut answer = self.stored[i].image.load(&what);
        if let Some(device) = &mut self.nodes[i].device {
            match device.load(what) {
                Ok(found) if found.is_some() == answer.is_some() => answer = found,
                wrong => {
                    let evidence = format!("{} reads {wrong:?} of {answer:?}", self.id(i));
                    return self.fail(Breach::new("a storage reads back what it holds", evidence));
                }
            }
        }
        if answer.is_none() {
            self.marks.add("loads of what is gone");
        }
        let now = self.local(i);
        if let Some(log) = self.log(i) {
            log.loaded(now, load, answer);
            self.stirred(i);
        }
    }

    /// Takes a snapshot of the state machine: staged in pieces, then made current.
    pub(super) fn snapshot(&mut self, i: usize) {
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        let Some(mut meta) = up.log.describe(up.replica.applied) else {
            return;
        };
        let contents = match up.replica.machine.snapshot() {
            Ok(contents) => contents,
            Err(error) => {
                let evidence = format!("{}: {error}", self.plan.nodes[i]);
                return self.fail(Breach::new("the state machine can be snapshot", evidence));
            }
        };
        up.replica.snapshot = meta.index();
        meta.size = contents.len() as u64;
        up.replica.staging = Some(Staging {
            meta: meta.clone(),
            contents,
            offset: 0,
        });
        note!(
            self,
            Who::Node(i),
            What::Disk,
            "takes a snapshot {}",
            meta.id
        );
        self.marks.add("snapshots taken");
        self.stage(i);
    }

    /// Writes the next piece of a snapshot. Only one waits for the disk at a time: the log's writes
    /// go on between them.
    fn stage(&mut self, i: usize) {
        let most = self.plan.machine.chunk;
        let Some(staging) = self.nodes[i]
            .up
            .as_mut()
            .and_then(|up| up.replica.staging.as_mut())
        else {
            return;
        };
        let Staging {
            meta,
            contents,
            offset,
        } = staging;
        let end = (*offset + most).min(contents.len());
        let mut records = vec![LogRecord::Stage {
            lane: Lane::Taken,
            id: meta.id,
            offset: *offset as u64,
            chunk: contents.slice(*offset..end),
        }];
        *offset = end;
        if end < contents.len() {
            return self.enqueue(i, records, Done::Piece);
        }
        let meta = meta.clone();
        records.push(LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        });
        self.enqueue(i, records, Done::Snapshot(meta));
    }
}

/// A snapshot of a state machine that is being written.
#[derive(Debug)]
pub(super) struct Staging {
    meta: SnapshotMeta,
    contents: Bytes,
    offset: usize,
}

/// Whether a start may have found this on a disk that holds `image`. How much of the log's end it
/// hands back is the storage's own affair.
fn is_found(found: &Restored, image: &LogImage) -> bool {
    let expected = image.restored(0);
    let same = found.state == expected.state
        && found.snapshot == expected.snapshot
        && found.staged == expected.staged
        && found.compacted == expected.compacted
        && found.runs == expected.runs
        && found.configs == expected.configs;
    let mut tail = found.tail.iter().flat_map(|entries| {
        let numbered = entries.as_slice().iter().zip(entries.first().0..);
        numbered.map(|(entry, index)| (index, entries.stamp(), entry))
    });
    same && tail
        .all(|(index, stamp, entry)| image.get(synod_core::LogIndex(index)) == Some((stamp, entry)))
}
