//! Snapshots of state machines, taken while the log goes on.

use bytes::Bytes;
use synod_core::{Lane, LogRecord, OldLog, ReplicatedLog, SnapshotMeta};

use super::{Item, LogScene, Stage};
use crate::application::Application;
use crate::check::Breach;
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};

/// A snapshot of a state machine that is being written.
#[derive(Debug)]
pub(super) struct Staging {
    meta: SnapshotMeta,
    contents: Bytes,
    offset: usize,
}

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    /// Takes a snapshot of the state machine: staged in pieces, then made current.
    pub(super) fn snapshot(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        let (Some(log), Some(replica)) = (stage.machine(i), &mut self.replicas[i]) else {
            return;
        };
        let Some(mut meta) = log.describe(replica.applied) else {
            return;
        };
        let contents = match replica.machine.snapshot() {
            Ok(contents) => contents,
            Err(error) => {
                let evidence = format!("{}: {error}", stage.id(i));
                return stage.fail(Breach::new("the state machine can be snapshot", evidence));
            }
        };
        replica.snapshot = meta.index();
        meta.size = contents.len() as u64;
        replica.staging = Some(Staging {
            meta: meta.clone(),
            contents,
            offset: 0,
        });
        note!(
            stage,
            Who::Node(i),
            What::Disk,
            "takes a snapshot {}",
            meta.id
        );
        stage.marks.add("snapshots taken");
        self.stage_next(stage, i);
    }

    /// Writes the next piece of a snapshot. Only one waits for the disk at a time: the log's writes
    /// go on between them.
    pub(super) fn stage_next(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        let most = stage.plan.machine.chunk;
        let Some(staging) = self.replicas[i]
            .as_mut()
            .and_then(|replica| replica.staging.as_mut())
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
            return stage.store(i, records, Item::Piece(i));
        }
        let meta = meta.clone();
        records.push(LogRecord::Activate {
            meta: meta.clone(),
            log: OldLog::Keep,
        });
        stage.store(i, records, Item::Snapshot(i, meta));
    }

    /// A snapshot is durable: the log may drop what it covers.
    pub(super) fn snapshot_taken(
        &mut self,
        stage: &mut Stage<'_, S>,
        i: usize,
        meta: SnapshotMeta,
    ) {
        if let Some(replica) = &mut self.replicas[i] {
            replica.staging = None;
        }
        let now = stage.local(i);
        if let Some(log) = stage.machine_mut(i) {
            log.compact(now, meta);
            stage.stir(i);
        }
    }
}
