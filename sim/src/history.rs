//! What clients asked, what they were told, and when: the raw material of every check.
//!
//! A [`History`] is recorded by one observer: call [`invoke`](History::invoke) *before* a request
//! leaves and [`complete`](History::complete) *after* its answer arrived. Events are ordered by
//! their time, and within one instant by the order in which they were recorded.
//!
//! An operation without an answer is the interesting one: it may have taken effect at any time
//! after its invocation, or never ([`unknown`](History::unknown)). What a replicated log proves about
//! such operations ([`bound`](History::bound), [`never`](History::never),
//! [`bound_by_log`](History::bound_by_log)) keeps the search for an order small.

use core::fmt;
use core::time::Duration;

use thiserror::Error;

/// A point in time: nanoseconds since an arbitrary start, the same for all clients of a history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The arbitrary start.
    pub const ZERO: Self = Self(0);
    /// Later than anything that happens.
    pub const MAX: Self = Self(u64::MAX);

    /// The point `nanos` nanoseconds after the start.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the start.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&Duration::from_nanos(self.0), f)
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who asked. A client may have several operations under way at once.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{}", self.0)
    }
}

impl fmt::Debug for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One operation of one history, in order of invocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OpId(usize);

impl OpId {
    /// The place in order of recording, from 0.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0
    }
}

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "op{}", self.0)
    }
}

impl fmt::Debug for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// An event's place in the one order of all events: its time, then when it was recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) at: Instant,
    recorded: u64,
}

impl Stamp {
    /// After everything else at `at`.
    pub(crate) const fn end_of(at: Instant) -> Self {
        Self {
            at,
            recorded: u64::MAX,
        }
    }
}

/// What a client knows of its operation.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<Ret> {
    /// Nothing yet. Judged like [`Outcome::Unknown`].
    Open,
    /// The answer arrived.
    Completed(Ret),
    /// The client gave up: it may take effect at any time after the invocation, or never.
    Unknown,
    /// It certainly did not happen, and never will.
    Failed,
}

/// One operation, as far as its client saw it.
#[derive(Clone, Debug)]
pub struct Record<Op, Ret> {
    client: ClientId,
    op: Op,
    invoked: Stamp,
    outcome: Outcome<Ret>,
    completed: Option<Stamp>,
    bound: Option<Instant>,
}

impl<Op, Ret> Record<Op, Ret> {
    /// Who asked.
    #[must_use]
    pub const fn client(&self) -> ClientId {
        self.client
    }

    /// What was asked.
    #[must_use]
    pub const fn op(&self) -> &Op {
        &self.op
    }

    /// When it was asked.
    #[must_use]
    pub const fn invoked_at(&self) -> Instant {
        self.invoked.at
    }

    /// When the answer arrived, if one did.
    #[must_use]
    pub fn completed_at(&self) -> Option<Instant> {
        self.completed.map(|stamp| stamp.at)
    }

    /// What became of it.
    #[must_use]
    pub const fn outcome(&self) -> &Outcome<Ret> {
        &self.outcome
    }

    /// The answer, if one arrived.
    #[must_use]
    pub const fn ret(&self) -> Option<&Ret> {
        match &self.outcome {
            Outcome::Completed(ret) => Some(ret),
            Outcome::Open | Outcome::Unknown | Outcome::Failed => None,
        }
    }

    /// By when the log proves it to have taken effect ([`History::bound`]).
    #[must_use]
    pub const fn bound(&self) -> Option<Instant> {
        self.bound
    }

    /// Whether this operation was over, by its answer or by what the log proves, before `other`
    /// was asked.
    #[must_use]
    pub fn precedes(&self, other: &Self) -> bool {
        self.effect_by().is_some_and(|by| by < other.invoked)
    }

    pub(crate) const fn invoked(&self) -> Stamp {
        self.invoked
    }

    pub(crate) const fn completed(&self) -> Option<Stamp> {
        self.completed
    }

    /// The latest place at which it can have taken effect; `None` if it need not have at all.
    pub(crate) fn effect_by(&self) -> Option<Stamp> {
        let bound = self.bound.map(Stamp::end_of);
        match (self.completed, bound) {
            (Some(completed), Some(bound)) => Some(completed.min(bound)),
            (completed, bound) => completed.or(bound),
        }
    }

    pub(crate) const fn is_failed(&self) -> bool {
        matches!(self.outcome, Outcome::Failed)
    }

    const fn is_settled(&self) -> bool {
        matches!(self.outcome, Outcome::Completed(_) | Outcome::Failed)
    }
}

/// What the replicated log says cannot be reconciled with what a client was told. Each of these is
/// a failure of the system under test. The history is left as it was, except by
/// [`History::bound_by_log`], which may have added bounds before it met the contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Contradiction {
    /// An operation that was answered, or is otherwise known to have happened, is not in the log:
    /// a lost update.
    #[error("{op} of {client} is known to have happened, but the log does not hold it")]
    Lost {
        /// The operation.
        op: OpId,
        /// Who asked for it.
        client: ClientId,
    },
    /// An operation that was reported as failed is in the log.
    #[error("{op} was reported as failed to {client}, but the log says that it happened")]
    Resurrected {
        /// The operation.
        op: OpId,
        /// Who was told that it did not happen.
        client: ClientId,
    },
    /// The log lists an operation more than once.
    #[error("{op} is in the log more than once")]
    Twice {
        /// The operation.
        op: OpId,
    },
    /// The effect would come before the invocation.
    #[error("{op} was invoked at {invoked}, but the log proves an effect by {not_after}")]
    TooEarly {
        /// The operation.
        op: OpId,
        /// When it was invoked.
        invoked: Instant,
        /// When its effect was there.
        not_after: Instant,
    },
}

/// A recorded history of operations of type `Op` and their answers of type `Ret`.
///
/// ```
/// use synod_sim::history::{ClientId, History, Instant};
///
/// let mut history = History::new();
/// let write = history.invoke(ClientId(1), "write 1", Instant::from_nanos(10));
/// let read = history.invoke(ClientId(2), "read", Instant::from_nanos(12));
/// history.complete(read, 1, Instant::from_nanos(20));
/// history.unknown(write);
/// assert_eq!(history.get(read).ret(), Some(&1));
/// assert_eq!(history.get(write).ret(), None);
/// ```
#[derive(Clone, Debug)]
pub struct History<Op, Ret> {
    records: Vec<Record<Op, Ret>>,
    events: u64,
}

impl<Op, Ret> Default for History<Op, Ret> {
    fn default() -> Self {
        Self {
            records: Vec::new(),
            events: 0,
        }
    }
}

impl<Op, Ret> History<Op, Ret> {
    /// A history in which nothing happened yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records that `client` asks for `op` at `at`. Call it before the request leaves.
    pub fn invoke(&mut self, client: ClientId, op: Op, at: Instant) -> OpId {
        let id = OpId(self.records.len());
        let invoked = self.stamp(at);
        self.records.push(Record {
            client,
            op,
            invoked,
            outcome: Outcome::Open,
            completed: None,
            bound: None,
        });
        id
    }

    /// Records that the answer to `id` arrived at `at`. Call it after the answer arrived; a late
    /// answer may follow [`unknown`](Self::unknown).
    ///
    /// # Panics
    ///
    /// If `id` is completed or failed already, or was invoked after `at`: the recorder is broken.
    pub fn complete(&mut self, id: OpId, ret: Ret, at: Instant) {
        let completed = self.stamp(at);
        let record = self.unsettled(id);
        let invoked = record.invoked.at;
        assert!(
            invoked <= at,
            "{id} was invoked at {invoked}, but completed before, at {at}"
        );
        record.outcome = Outcome::Completed(ret);
        record.completed = Some(completed);
    }

    /// Records that the client of `id` gave up: the operation may have taken effect at any time
    /// after its invocation, may yet do so, or never.
    ///
    /// # Panics
    ///
    /// If `id` is completed or failed already.
    pub fn unknown(&mut self, id: OpId) {
        self.unsettled(id).outcome = Outcome::Unknown;
    }

    /// Records that `id` certainly did not happen and never will; checks leave it out.
    ///
    /// # Panics
    ///
    /// If `id` is completed or failed already.
    pub fn fail(&mut self, id: OpId) {
        self.unsettled(id).outcome = Outcome::Failed;
    }

    /// Adds what the replicated log proves: `id` took effect, no later than `not_after`
    /// ([`Instant::MAX`]: at some time). Of several bounds the tightest holds.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] if the client was told that `id` failed, or if it was invoked later.
    pub fn bound(&mut self, id: OpId, not_after: Instant) -> Result<(), Contradiction> {
        let record = &mut self.records[id.0];
        if record.is_failed() {
            let client = record.client;
            return Err(Contradiction::Resurrected { op: id, client });
        }
        if not_after < record.invoked.at {
            return Err(Contradiction::TooEarly {
                op: id,
                invoked: record.invoked.at,
                not_after,
            });
        }
        record.bound = Some(record.bound.map_or(not_after, |bound| bound.min(not_after)));
        Ok(())
    }

    /// Adds what the replicated log proves: `id` is not in it and never will be, so it did not
    /// happen.
    ///
    /// # Errors
    ///
    /// [`Contradiction::Lost`] if `id` was answered or has a bound.
    pub fn never(&mut self, id: OpId) -> Result<(), Contradiction> {
        let record = &mut self.records[id.0];
        if record.effect_by().is_some() {
            let client = record.client;
            return Err(Contradiction::Lost { op: id, client });
        }
        record.outcome = Outcome::Failed;
        Ok(())
    }

    /// Adds all that the final log proves. `log` lists operations in the order in which the log
    /// holds them; `logged` tells which operations are there if they happened at all (writes; a
    /// read usually is not).
    ///
    /// An operation took effect before those behind it in the log, so before the earliest of their
    /// answers; one that is not in the log never happened (etcd's robustness tests do the same,
    /// `tests/robustness/validate/patch_history.go`). These bounds demand a part of the log's order,
    /// not all of it; [`verify_order`](crate::linear::verify_order) demands all.
    ///
    /// # Errors
    ///
    /// [`Contradiction`] if an acknowledged operation is missing, a failed one is there, one is
    /// there twice, or the order of the log contradicts real time.
    pub fn bound_by_log(
        &mut self,
        log: &[OpId],
        logged: impl Fn(&Op) -> bool,
    ) -> Result<(), Contradiction> {
        let mut in_log = vec![false; self.records.len()];
        for &id in log {
            if core::mem::replace(&mut in_log[id.0], true) {
                return Err(Contradiction::Twice { op: id });
            }
        }
        let mut by = Instant::MAX;
        for &id in log.iter().rev() {
            let effect_by = self.records[id.0].effect_by();
            by = effect_by.map_or(by, |stamp| by.min(stamp.at));
            self.bound(id, by)?;
        }
        for (index, is_there) in in_log.into_iter().enumerate() {
            let record = &self.records[index];
            if !is_there && !record.is_failed() && logged(&record.op) {
                self.never(OpId(index))?;
            }
        }
        Ok(())
    }

    /// One operation.
    ///
    /// # Panics
    ///
    /// If `id` comes from another, longer history.
    #[must_use]
    pub fn get(&self, id: OpId) -> &Record<Op, Ret> {
        &self.records[id.0]
    }

    /// All operations, in order of recording.
    pub fn iter(&self) -> impl Iterator<Item = (OpId, &Record<Op, Ret>)> {
        let ids = (0..).map(OpId);
        ids.zip(&self.records)
    }

    /// How many operations were invoked.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether nothing was invoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    fn stamp(&mut self, at: Instant) -> Stamp {
        self.events += 1;
        Stamp {
            at,
            recorded: self.events,
        }
    }

    fn unsettled(&mut self, id: OpId) -> &mut Record<Op, Ret> {
        let record = &mut self.records[id.0];
        assert!(!record.is_settled(), "{id} is settled already");
        record
    }
}
