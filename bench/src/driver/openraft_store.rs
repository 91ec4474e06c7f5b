//! An in-memory log and state machine for `openraft`.
//!
//! Cheaper than the ones of its own benchmark: a vector instead of a tree, an uncontended standard lock instead of
//! an asynchronous one.

use core::fmt::{self, Debug};
use core::ops::{Bound, RangeBounds};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::{Stream, TryStreamExt};
use openraft::alias::{EntryOf, LogIdOf, SnapshotMetaOf, SnapshotOf, StoredMembershipOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{EntryResponder, IOFlushed, LogState, RaftLogStorage, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, RaftSnapshotBuilder, StoredMembership};

use super::Tally;

openraft::declare_raft_types!(
    /// The types that the benchmark puts into `openraft`; what is not named is its default.
    pub(super) Types:
        D = Command,
        R = (),
        Node = (),
);

/// A command; the crate wants to print it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Command(pub(super) Bytes);

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// The log: entry `i` at position `i`; never purged.
#[derive(Clone, Debug, Default)]
pub(super) struct LogStore(Arc<Mutex<Log>>);

#[derive(Debug, Default)]
struct Log {
    vote: Option<VoteOf<Types>>,
    entries: Vec<EntryOf<Types>>,
}

impl LogStore {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().expect("nobody panics while holding the lock")
    }
}

fn position(index: u64) -> usize {
    usize::try_from(index).expect("a log in memory is indexed by usize")
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<EntryOf<Types>>>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let log = self.log();
        let start = match range.start_bound() {
            Bound::Included(&index) => position(index),
            Bound::Excluded(&index) => position(index + 1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&index) => position(index + 1),
            Bound::Excluded(&index) => position(index),
            Bound::Unbounded => log.entries.len(),
        };
        let end = end.min(log.entries.len());
        Ok(log.entries[start.min(end)..end].to_vec())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<Types>>> {
        Ok(self.log().vote)
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        let last_log_id = self.log().entries.last().map(RaftEntry::log_id);
        Ok(LogState {
            last_purged_log_id: None,
            last_log_id,
        })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<Types>) -> io::Result<()> {
        self.log().vote = Some(*vote);
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<Types>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<Types>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        self.log().entries.extend(entries);
        callback.io_completed(Ok(()));
        Ok(())
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<Types>>) -> io::Result<()> {
        self.log()
            .entries
            .truncate(last.map_or(0, |id| position(id.index + 1)));
        Ok(())
    }

    async fn purge(&mut self, _through: LogIdOf<Types>) -> io::Result<()> {
        Err(io::Error::other(
            "no snapshot is ever made, so nothing is to be purged",
        ))
    }
}

/// The state machine: adds up what it applies.
#[derive(Clone, Debug, Default)]
pub(super) struct Adder(Arc<Mutex<Applied>>);

#[derive(Debug, Default)]
struct Applied {
    last: Option<LogIdOf<Types>>,
    membership: StoredMembershipOf<Types>,
    tally: Tally,
}

impl Adder {
    fn applied(&self) -> MutexGuard<'_, Applied> {
        self.0.lock().expect("nobody panics while holding the lock")
    }

    /// What was applied so far.
    pub(super) fn tally(&self) -> Tally {
        self.applied().tally
    }
}

impl RaftStateMachine<Types> for Adder {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(
        &mut self,
    ) -> io::Result<(Option<LogIdOf<Types>>, StoredMembershipOf<Types>)> {
        let applied = self.applied();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let mut applied = self.applied();
            applied.last = Some(entry.log_id);
            match entry.payload {
                EntryPayload::Blank => {}
                EntryPayload::Normal(Command(payload)) => applied.tally.add(&payload),
                EntryPayload::Membership(membership) => {
                    applied.membership = StoredMembership::new(Some(entry.log_id), membership);
                }
            }
            drop(applied);
            if let Some(responder) = responder {
                responder.send(());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, _meta: &SnapshotMetaOf<Types>, (): ()) -> io::Result<()> {
        Err(no_snapshots())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<SnapshotOf<Types, ()>>> {
        Ok(None)
    }
}

impl RaftSnapshotBuilder<Types> for Adder {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<SnapshotOf<Types, ()>> {
        Err(no_snapshots())
    }
}

fn no_snapshots() -> io::Error {
    io::Error::other("snapshots are switched off, so that none costs time")
}
