//! What records may follow each other: a machine that breaks these rules is broken, and to store
//! what it says would only move the failure to the next start.

use alloc::format;
use alloc::string::String;

use synod_core::{LogIndex, LogRecord, OldLog, SnapshotId, SnapshotMeta, Stamp};

use super::catalog::Catalog;
use super::format::{RECORD_MAX, slot};

/// As much of the log's state as the rules are about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    compacted: (LogIndex, Stamp),
    /// What the current snapshot covers.
    covered: Option<LogIndex>,
    staged: [Option<(SnapshotId, u64)>; 2],
    /// Whether the last snapshot that was activated is the current one now.
    pub(super) taken_over: bool,
}

impl Rules {
    pub(super) fn of(catalog: &Catalog) -> Self {
        Self {
            compacted: catalog.compacted,
            covered: catalog.snapshot.as_ref().map(|(_, meta)| meta.index()),
            staged: catalog
                .staged
                .map(|staged| staged.map(|staged| (staged.id, staged.len))),
            taken_over: false,
        }
    }

    /// Lets `record` follow, or says which rule it breaks.
    pub(super) fn admit(&mut self, record: &LogRecord) -> Result<(), String> {
        match record {
            LogRecord::State(state) => short("state", state.len()),
            LogRecord::Put(entries) if entries.is_empty() => Ok(()),
            LogRecord::Put(entries) => {
                short("entries", entries.weight())?;
                self.above("put", entries.first())
            }
            LogRecord::Truncate { from } => self.above("truncate", *from),
            LogRecord::Stage {
                lane,
                id,
                offset,
                chunk,
            } => {
                short("chunk", chunk.len())?;
                let staged = &mut self.staged[slot(*lane)];
                let follows = *staged == Some((*id, *offset));
                if *offset != 0 && !follows {
                    return Err(format!(
                        "a piece of snapshot {id} at {offset} does not continue what is staged ({staged:?})"
                    ));
                }
                *staged = Some((*id, offset + chunk.len() as u64));
                Ok(())
            }
            LogRecord::Activate { meta, log } => self.admit_activate(meta, *log),
            LogRecord::Compact { through, stamp } => {
                let back = *through < self.compacted.0
                    || (*through == self.compacted.0 && *stamp != self.compacted.1);
                if back || self.covered.is_none_or(|covered| covered < *through) {
                    return Err(format!(
                        "compaction through {through} goes back behind {} or is not covered by the current snapshot ({:?})",
                        self.compacted.0, self.covered
                    ));
                }
                self.compacted = (*through, *stamp);
                Ok(())
            }
        }
    }

    fn admit_activate(&mut self, meta: &SnapshotMeta, log: OldLog) -> Result<(), String> {
        short("configuration", meta.config.len())?;
        let staged = self.staged;
        let complete = |staged: &&mut Option<_>| **staged == Some((meta.id, meta.size));
        let Some(complete) = self.staged.iter_mut().find(complete) else {
            return Err(format!(
                "snapshot {} of {} bytes is not what is staged ({staged:?})",
                meta.id, meta.size
            ));
        };
        let newer = meta.index() > self.compacted.0 && Some(meta.index()) > self.covered;
        if !newer && log == OldLog::Replace {
            return Err(format!(
                "snapshot {} cannot replace a log that is compacted through {}",
                meta.id, self.compacted.0
            ));
        }
        *complete = None;
        self.taken_over = newer;
        if newer {
            self.covered = Some(meta.index());
        }
        if log == OldLog::Replace {
            self.compacted = (meta.index(), meta.stamp);
        }
        Ok(())
    }

    fn above(&self, what: &str, index: LogIndex) -> Result<(), String> {
        if index <= self.compacted.0 {
            return Err(format!(
                "{what} at {index}, but everything up to {} is compacted",
                self.compacted.0
            ));
        }
        Ok(())
    }
}

fn short(what: &str, len: usize) -> Result<(), String> {
    if len > RECORD_MAX {
        return Err(format!("{what} of {len} bytes, the limit is {RECORD_MAX}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
