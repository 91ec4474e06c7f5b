//! Session guarantees (Terry et al. 1994): what a client may rely on that reads from any replica.
//!
//! They are weaker than linearizability, and cheap to check where the replicated log is known. Each
//! read was served by a replica that had applied some prefix of the log; the value that it
//! returned tells from where to where that prefix can have ended ([`Versions`]). Within a session,
//! of operations of which one was over before the other began:
//!
//! - *read your writes*: the prefix of a read reaches to each earlier write of the session;
//! - *monotonic reads*: ... and as far as the prefix of each earlier read;
//! - *monotonic writes*: a write is behind each earlier write of the session in the log;
//! - *writes follow reads*: ... and behind all that earlier reads of the session have seen.
//!
//! A session is a client of the history. Operations without an answer neither demand nor promise
//! anything. Where a value was there more than once, a read is given the benefit of the doubt.

use alloc::collections::BTreeMap;
use core::fmt;

use synod_core::LogIndex;
use thiserror::Error;

use crate::history::{ClientId, History, OpId, Record, Stamp};

/// Which value each key had from which log index on.
///
/// ```
/// use synod_core::LogIndex;
/// use synod_sim::linear::session::Versions;
///
/// let mut versions = Versions::new();
/// versions.write(LogIndex(4), "x", Some(1));
/// versions.write(LogIndex(7), "x", None); // deleted
/// ```
#[derive(Clone, Debug)]
pub struct Versions<K, V> {
    by_key: BTreeMap<K, KeyVersions<V>>,
}

/// The versions of one key, by number. Number 0 is absence, before the first write.
#[derive(Clone, Debug)]
struct KeyVersions<V> {
    /// Where each version starts, ascending.
    starts: Vec<LogIndex>,
    /// Which versions have this value, ascending.
    by_value: BTreeMap<Option<V>, Vec<usize>>,
}

/// The prefixes of the log after which a key has one of its versions: they end at any index from
/// `start` to `end`, `None` for no end.
#[derive(Clone, Copy, Debug)]
struct Prefixes {
    start: LogIndex,
    end: Option<LogIndex>,
}

impl Prefixes {
    /// Whether one of them goes as far as `index`.
    fn reach(self, index: LogIndex) -> bool {
        self.end.is_none_or(|end| index <= end)
    }
}

impl<K: Ord, V: Ord> Default for Versions<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord, V: Ord> Versions<K, V> {
    /// No key has a value.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            by_key: BTreeMap::new(),
        }
    }

    /// From `index` on, `key` has `value`.
    ///
    /// # Panics
    ///
    /// If a version of this key at or behind `index` is there already: the log is to be given in
    /// its order.
    pub fn write(&mut self, index: LogIndex, key: K, value: Option<V>) {
        let versions = self.by_key.entry(key).or_insert_with(|| KeyVersions {
            starts: vec![LogIndex::START],
            by_value: BTreeMap::from([(None, vec![0])]),
        });
        let last = versions.starts.last().copied().unwrap_or(LogIndex::START);
        assert!(
            last < index,
            "{index} is not behind {last}, the last version"
        );
        versions
            .by_value
            .entry(value)
            .or_default()
            .push(versions.starts.len());
        versions.starts.push(index);
    }

    /// The earliest version of `key` with `value` whose prefixes reach `index`, or else the last
    /// one with that value.
    fn prefixes(&self, key: &K, value: &Option<V>, index: LogIndex) -> Option<Prefixes> {
        let Some(KeyVersions { starts, by_value }) = self.by_key.get(key) else {
            let start = LogIndex::START;
            return value.is_none().then_some(Prefixes { start, end: None });
        };
        let numbers = by_value.get(value)?;
        let prefixes = |number: usize| Prefixes {
            start: starts[number],
            end: starts.get(number + 1).map(|next| next.previous()),
        };
        let short = numbers.partition_point(|&number| !prefixes(number).reach(index));
        let number = numbers.get(short).or_else(|| numbers.last())?;
        Some(prefixes(*number))
    }
}

/// What an operation did, seen from the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access<K, V> {
    /// It returned the value of a key.
    Read {
        /// The key.
        key: K,
        /// What it returned, `None` for absence.
        value: Option<V>,
    },
    /// It wrote, here in the log.
    Write {
        /// Its log index.
        index: LogIndex,
    },
}

/// One of the four guarantees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guarantee {
    /// A read sees the session's earlier writes.
    ReadYourWrites,
    /// A read sees all that the session's earlier reads have seen.
    MonotonicReads,
    /// A write comes after the session's earlier writes.
    MonotonicWrites,
    /// A write comes after all that the session's earlier reads have seen.
    WritesFollowReads,
}

impl fmt::Display for Guarantee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReadYourWrites => "read your writes",
            Self::MonotonicReads => "monotonic reads",
            Self::MonotonicWrites => "monotonic writes",
            Self::WritesFollowReads => "writes follow reads",
        })
    }
}

/// A guarantee that was not kept.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionFault {
    /// The later operation ignores the earlier one.
    #[error("{guarantee} broken for {client}: {later} does not follow {earlier}")]
    Broken {
        /// Which one.
        guarantee: Guarantee,
        /// Whose session.
        client: ClientId,
        /// What should have been seen, or come first.
        earlier: OpId,
        /// What did not see it, or came first.
        later: OpId,
    },
    /// A read returned what its key never had.
    #[error("{read} of {client} returned a value that its key never had")]
    NeverThere {
        /// Whose session.
        client: ClientId,
        /// The read.
        read: OpId,
    },
}

/// All faults in `history`, in the order of the later operations' answers. `access` tells what an
/// answered operation did; `None` leaves it out.
///
/// ```
/// use synod_core::LogIndex;
/// use synod_sim::history::{ClientId, History, Instant};
/// use synod_sim::linear::session::{Access, Guarantee, SessionFault, Versions, check_sessions};
///
/// let mut history = History::new();
/// let write = history.invoke(ClientId(1), "write 5 to x", Instant::from_nanos(0));
/// history.complete(write, None, Instant::from_nanos(1));
/// let read = history.invoke(ClientId(1), "read x", Instant::from_nanos(2));
/// history.complete(read, None, Instant::from_nanos(3)); // nothing there!
///
/// let mut versions = Versions::new();
/// versions.write(LogIndex(1), "x", Some(5));
/// let faults = check_sessions(&versions, &history, |id, record| match *record.op() {
///     "read x" => Some(Access::Read { key: "x", value: *record.ret()? }),
///     _ => Some(Access::Write { index: LogIndex(1) }),
/// });
/// let guarantee = Guarantee::ReadYourWrites;
/// let fault = SessionFault::Broken { guarantee, client: ClientId(1), earlier: write, later: read };
/// assert_eq!(faults, [fault]);
/// ```
pub fn check_sessions<Op, Ret, K: Ord, V: Ord>(
    versions: &Versions<K, V>,
    history: &History<Op, Ret>,
    access: impl Fn(OpId, &Record<Op, Ret>) -> Option<Access<K, V>>,
) -> Vec<SessionFault> {
    let answered = history.iter().filter_map(|(id, record)| {
        let completed = record.completed()?;
        Some((completed, id, record))
    });
    let mut answered: Vec<_> = answered.collect();
    answered.sort_by_key(|(completed, ..)| *completed);
    let mut sessions: BTreeMap<ClientId, Session> = BTreeMap::new();
    let mut faults = Vec::new();
    for (completed, id, record) in answered {
        let client = record.client();
        let session = sessions.entry(client).or_default();
        let mut one = One {
            id,
            client,
            before: session.before(record.invoked()),
            faults: &mut faults,
        };
        match access(id, record) {
            Some(Access::Write { index }) => {
                one.write(index);
                session.wrote(completed, Mark { index, id });
            }
            Some(Access::Read { key, value }) => {
                if let Some(index) = one.read(versions, &key, &value) {
                    session.saw(completed, Mark { index, id });
                }
            }
            None => {}
        }
    }
    faults
}

/// One operation under judgement.
struct One<'a> {
    id: OpId,
    client: ClientId,
    before: Furthest,
    faults: &'a mut Vec<SessionFault>,
}

impl One<'_> {
    fn write(&mut self, index: LogIndex) {
        let Furthest { written, read } = self.before;
        let follows = |mark: Mark| mark.index < index;
        self.expect(Guarantee::MonotonicWrites, written, follows);
        self.expect(Guarantee::WritesFollowReads, read, follows);
    }

    /// How far the log was read, at least.
    fn read<K: Ord, V: Ord>(
        &mut self,
        versions: &Versions<K, V>,
        key: &K,
        value: &Option<V>,
    ) -> Option<LogIndex> {
        let Furthest { written, read } = self.before;
        let marks = written.into_iter().chain(read);
        let needed = marks
            .map(|mark| mark.index)
            .max()
            .unwrap_or(LogIndex::START);
        // The earliest version that breaks nothing promises least to what follows.
        let Some(seen) = versions.prefixes(key, value, needed) else {
            let Self {
                client, id: read, ..
            } = *self;
            self.faults.push(SessionFault::NeverThere { client, read });
            return None;
        };
        let reaches = |mark: Mark| seen.reach(mark.index);
        self.expect(Guarantee::ReadYourWrites, written, reaches);
        self.expect(Guarantee::MonotonicReads, read, reaches);
        Some(seen.start)
    }

    fn expect(&mut self, guarantee: Guarantee, mark: Option<Mark>, holds: impl Fn(Mark) -> bool) {
        if let Some(mark) = mark.filter(|mark| !holds(*mark)) {
            self.faults.push(SessionFault::Broken {
                guarantee,
                client: self.client,
                earlier: mark.id,
                later: self.id,
            });
        }
    }
}

/// How far an operation got in the log.
#[derive(Clone, Copy, Debug)]
struct Mark {
    index: LogIndex,
    id: OpId,
}

/// The furthest that was written and read by some time.
#[derive(Clone, Copy, Debug, Default)]
struct Furthest {
    written: Option<Mark>,
    read: Option<Mark>,
}

/// How far one session had got, after each of its answers.
#[derive(Debug, Default)]
struct Session {
    after: Vec<(Stamp, Furthest)>,
}

impl Session {
    /// By the time of the invocation `at`.
    fn before(&self, at: Stamp) -> Furthest {
        let answers = self.after.partition_point(|(answered, _)| *answered < at);
        self.after[..answers]
            .last()
            .map_or_else(Furthest::default, |(_, furthest)| *furthest)
    }

    fn wrote(&mut self, at: Stamp, mark: Mark) {
        self.advance(at, |furthest| &mut furthest.written, mark);
    }

    fn saw(&mut self, at: Stamp, mark: Mark) {
        self.advance(at, |furthest| &mut furthest.read, mark);
    }

    fn advance(&mut self, at: Stamp, of: fn(&mut Furthest) -> &mut Option<Mark>, mark: Mark) {
        let mut furthest = self
            .after
            .last()
            .map_or_else(Furthest::default, |(_, last)| *last);
        let known = of(&mut furthest);
        if known.is_none_or(|known| known.index < mark.index) {
            *known = Some(mark);
        }
        self.after.push((at, furthest));
    }
}
