//! What the writer and the readers of a log share: what is durable, and where.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::sync::{Mutex, MutexGuard};

use synod_core::{Restored, SnapshotId, SnapshotMeta, StorageError};

use super::catalog::{Catalog, Span, Stretch};
use super::dir::Handle;
use super::format::Seq;
use super::snapshot::SnapshotFile;

#[derive(Debug)]
pub(super) struct Live {
    pub(super) catalog: Catalog,
    /// The files of the catalog's segments.
    pub(super) segments: BTreeMap<Seq, Handle>,
    /// The file of the catalog's current snapshot.
    pub(super) snapshot: Option<Arc<SnapshotFile>>,
    /// Why this log is not used again.
    failed: Option<String>,
}

impl Live {
    pub(super) const fn new(
        catalog: Catalog,
        segments: BTreeMap<Seq, Handle>,
        snapshot: Option<Arc<SnapshotFile>>,
    ) -> Self {
        Self {
            catalog,
            segments,
            snapshot,
            failed: None,
        }
    }

    /// Looks at a log that has not failed.
    pub(super) fn lock(live: &Mutex<Self>) -> Result<MutexGuard<'_, Self>, StorageError> {
        let Ok(guard) = live.lock() else {
            return Err(StorageError::Failed("a thread of the log panicked".into()));
        };
        match &guard.failed {
            Some(why) => Err(StorageError::Failed(why.clone())),
            None => Ok(guard),
        }
    }

    /// Lets nobody use the log any more, because of `error`.
    pub(super) fn fail(live: &Mutex<Self>, error: StorageError) -> StorageError {
        if let Ok(mut guard) = Self::lock(live) {
            guard.failed = Some(error.to_string());
        }
        error
    }

    pub(super) fn snapshot(&self, id: SnapshotId) -> Option<(SnapshotMeta, Arc<SnapshotFile>)> {
        let (_, meta) = self.catalog.snapshot.as_ref()?;
        let file = self.snapshot.as_ref().filter(|_| meta.id == id)?;
        Some((meta.clone(), Arc::clone(file)))
    }

    /// A stretch with what it takes to read it.
    pub(super) fn part(&self, stretch: &Stretch) -> (Handle, Span, Stretch) {
        let span = stretch.span;
        let file = span.and_then(|span| Some((self.segments.get(&span.seq)?.clone(), span)));
        // A start refuses a log whose entries lie in no segment, and a segment stays while it
        // holds entries.
        let (file, span) = file.expect("each live entry lies in a segment that is there");
        (file, span, *stretch)
    }

    /// The stretches of the end of the log, last one first, that entries of `bytes` may lie in.
    pub(super) fn parts_back(&self, bytes: usize) -> Vec<(Handle, Span, Stretch)> {
        let mut weight = 0;
        let mut parts = Vec::new();
        for stretch in self.catalog.stretches_back() {
            if weight >= bytes {
                break;
            }
            parts.push(self.part(stretch));
            weight += stretch.weight;
        }
        parts
    }

    /// What a start needs, but for the entries.
    pub(super) fn restored(&self) -> Restored {
        let catalog = &self.catalog;
        Restored {
            state: catalog.state.clone(),
            snapshot: catalog.snapshot.as_ref().map(|(_, meta)| meta.clone()),
            staged: catalog.received().map(|staged| (staged.id, staged.len)),
            compacted: catalog.compacted,
            runs: catalog.runs(),
            configs: catalog.configs(),
            tail: Vec::new(),
        }
    }
}
