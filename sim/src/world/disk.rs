//! Disks: one job after the other, and a prefix of the one under way if the node crashes.

use alloc::collections::VecDeque;

use bytes::Bytes;
use synod_core::{
    Batch, Lane, LoadId, LogLoad, LogRecord, Machine, OldLog, ReplicatedLog, SnapshotMeta, WriteId,
};

use super::trace::note;
use super::{Happening, World};
use crate::application::Application;
use crate::check::Breach;
use crate::subject::Subject;

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
    /// The machine, of its write.
    Write(WriteId),
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
        note!(self, "{} writes {write} {records:?}", self.id(i));
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
        if promises && !self.calm && self.rng.fault.chance(chance) {
            let outputs = 1 + self.rng.fault.below(5);
            self.nodes[i].crash_in.get_or_insert(outputs);
        }
        self.enqueue(i, records, Done::Write(write));
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
        let plan = &self.plan.disk;
        let mut took = plan.write.draw(&mut self.rng.disk);
        if !self.calm && self.rng.disk.chance(plan.stalls_per_million) {
            took += plan.stall.draw(&mut self.rng.disk);
            self.marks.add("disk stalls");
        }
        let life = self.nodes[i].life;
        self.agenda
            .push(self.now + took, Happening::Written { node: i, life });
    }

    /// The job under way is durable.
    pub(super) fn written(&mut self, i: usize, life: u64) {
        if !self.lives(i, life) {
            return;
        }
        let Some(job) = self.nodes[i].disk.0.pop_front() else {
            return;
        };
        self.put_down(i, job.records);
        if !self.nodes[i].disk.0.is_empty() {
            self.next_job(i);
        }
        let now = self.local(i);
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        match job.done {
            Done::Write(write) => up.log.persisted(now, write),
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

    /// What a crash leaves of what was not durable.
    pub(super) fn tear(&mut self, i: usize) {
        let jobs = core::mem::take(&mut self.nodes[i].disk);
        let lost = jobs.0.len();
        if let Some(job) = jobs.0.into_iter().next() {
            let len = job.records.len();
            let left = self.rng.disk.below(len as u64 + 1) as usize;
            if left > 0 && left < len {
                self.marks.add("torn writes");
            }
            note!(
                self,
                "{} has {left} of the {len} records under way, {} writes behind them are lost",
                self.id(i),
                lost - 1
            );
            self.put_down(i, job.records.into_iter().take(left));
        }
        self.stored[i].shadow = self.stored[i].image.clone();
    }

    pub(super) fn loaded(&mut self, i: usize, life: u64, load: LoadId, what: &LogLoad) {
        if !self.lives(i, life) {
            return;
        }
        let answer = self.stored[i].image.load(what);
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
        note!(self, "{} takes a snapshot {}", self.id(i), meta.id);
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
