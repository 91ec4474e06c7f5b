//! What was handed to a state machine, and what waits for it: for authors of replicated logs.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::{Entries, Instant, LoadId, LogIndex, SnapshotMeta, Ticket, TicketRange, Wake};

/// Between a replicated log and its application: how far entries were handed out and applied, what
/// stops the next ones, and the reads that wait for them.
///
/// It knows no protocol and holds no log. The log says what is committed and durable, asks for the
/// [`next`](Self::next) entries wanted, and says what it has handed out; it settles tickets, and
/// makes the events. The order of things, each time that something may have changed:
///
/// 1. [`starts_from`](Self::starts_from): after a restart, a snapshot comes before everything.
/// 2. While [`next`](Self::next) wants entries: those in memory go out by [`hand`](Self::hand), those
///    that are not are asked for by [`load`](Self::load), which ends the loop.
/// 3. While [`next_ripe`](Self::next_ripe) has reads: they may be answered.
///
/// At most a window of bytes is handed out and not [applied](Self::applied_to); while a snapshot is
/// being [installed](Self::install), nothing is handed out and no read is answered.
///
/// ```
/// use synod_core::{Entries, Entry, Handout, Instant, LogIndex, Stamp, Ticket, TicketRange};
///
/// let log = Entries::new(LogIndex(1), Stamp::of(1), ["a", "b"].map(|c| Entry::command(c.into())));
/// let (committed, limit) = (LogIndex(2), 1 << 20);
/// let mut handout = Handout::new(LogIndex::START);
/// handout.begin_read();
/// handout.ripen_at(LogIndex(2), TicketRange::one(Ticket(7)), Instant::from_millis(500), committed);
/// assert_eq!(handout.next_ripe(), None, "the state machine must come first");
///
/// while let Some(want) = handout.next(committed, limit) {
///     let part = want.cut(log.after(want.first.previous()));
///     handout.hand(&part); // and the event, with its tickets
/// }
/// assert_eq!(handout.next_ripe(), Some((LogIndex(2), TicketRange::one(Ticket(7)))));
/// assert!(handout.applied_to(LogIndex(2)));
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Handout {
    handed: LogIndex,
    applied: LogIndex,
    /// What was handed out and is not applied: the last index and the weight of each part.
    unapplied: VecDeque<(LogIndex, usize)>,
    unapplied_bytes: usize,
    /// Entries that are to be handed out and are not in memory.
    load: Option<LoadId>,
    /// Storage did not have what is to be handed out: it is asked again then.
    paused: Option<Instant>,
    /// Nothing was handed out since the restart that found a snapshot.
    starting: bool,
    /// A snapshot is taking the place of the log: nothing is handed out before it is durable.
    installing: Option<LogIndex>,
    ripening: BTreeMap<(LogIndex, Ticket), Ripening>,
    /// No read has to be given up before.
    ripen_by: Option<Instant>,
    pending_reads: usize,
}

/// Reads that wait for an index.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
struct Ripening {
    count: u32,
    /// When they are given up, if the index is not known to be committed by then.
    until: Instant,
}

/// The entries that the state machine is to have next.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Want {
    /// The first of them.
    pub first: LogIndex,
    /// The last that may be handed out.
    pub through: LogIndex,
    /// How much the window has room for, in bytes of [`Entries::weight`]; never 0.
    pub room: usize,
}

impl Want {
    /// What may be handed out of a run that begins at [`first`](Self::first): as much as there is
    /// room for, but at least one entry, or one above the limit could never move.
    #[inline]
    #[must_use]
    pub fn cut(&self, run: Entries) -> Entries {
        let run = if run.last() > self.through {
            run.through(self.through)
        } else {
            run
        };
        if run.weight() > self.room {
            run.within(run.first(), self.room)
        } else {
            run
        }
    }
}

impl Handout {
    /// Nothing was handed out; the first entry will be the one behind `base`, where the log begins.
    ///
    /// As applied counts nothing, not `base`: a state machine in memory holds nothing until it says
    /// so, and needs the snapshot even if the log ends right there.
    #[must_use]
    pub const fn new(base: LogIndex) -> Self {
        Self {
            handed: base,
            applied: LogIndex::START,
            unapplied: VecDeque::new(),
            unapplied_bytes: 0,
            load: None,
            paused: None,
            starting: false,
            installing: None,
            ripening: BTreeMap::new(),
            ripen_by: None,
            pending_reads: 0,
        }
    }

    /// The last entry that was handed out, alone or as part of a snapshot.
    #[inline]
    #[must_use]
    pub const fn handed(&self) -> LogIndex {
        self.handed
    }

    /// The last entry that the state machine has applied.
    #[inline]
    #[must_use]
    pub const fn applied(&self) -> LogIndex {
        self.applied
    }

    // The start.

    /// At a start: storage has a snapshot that covers everything up to `index`. It is the first
    /// thing to hand out.
    pub fn restore_at_start(&mut self, index: LogIndex) {
        self.handed = self.handed.max(index);
        self.starting = true;
    }

    /// Whether the snapshot of the start is still to be handed out.
    #[inline]
    #[must_use]
    pub const fn is_starting(&self) -> bool {
        self.starting
    }

    /// The first thing to ask for whenever something may be handed out: the snapshot that the state
    /// machine starts from, once, and `None` if it was found to be there by itself.
    ///
    /// `current` is the snapshot that storage has now: the one of the start, or one that was taken
    /// since, after which the older one may be gone.
    #[inline]
    pub fn starts_from(&mut self, current: Option<&SnapshotMeta>) -> Option<SnapshotMeta> {
        if !self.starting {
            return None;
        }
        self.starting = false;
        current
            .filter(|snapshot| self.applied < snapshot.index())
            .cloned()
    }

    // Entries.

    /// The entries that the state machine is to have next, if what is committed and durable here
    /// ends at `through` and at most `limit` bytes may be handed out and not applied. `None` if there
    /// are none, or if they have to wait: for the window, a load, a pause or a snapshot.
    #[inline]
    #[must_use]
    pub fn next(&self, through: LogIndex, limit: usize) -> Option<Want> {
        let stopped = self.load.is_some() || self.paused.is_some() || self.is_barred();
        if self.handed >= through || stopped || self.unapplied_bytes >= limit {
            return None;
        }
        Some(Want {
            first: self.handed.next(),
            through,
            room: limit - self.unapplied_bytes,
        })
    }

    /// These entries are handed out.
    ///
    /// # Panics
    ///
    /// If they are not the next ones: the state machine would miss entries, or apply some twice.
    #[inline]
    pub fn hand(&mut self, part: &Entries) {
        assert_eq!(
            part.first(),
            self.handed.next(),
            "entries are handed out in order"
        );
        self.handed = part.last();
        self.unapplied.push_back((part.last(), part.weight()));
        self.unapplied_bytes += part.weight();
    }

    /// The state machine has applied everything up to `through`; `false` if that is no news.
    ///
    /// A durable state machine that was there before this start may have applied more than was
    /// handed out: that was committed, and is not handed out again. The log then takes
    /// [`handed`](Self::handed) as committed, as far as it has so many entries.
    #[inline]
    pub fn applied_to(&mut self, through: LogIndex) -> bool {
        if through <= self.applied {
            return false;
        }
        self.applied = through;
        while let Some((last, bytes)) = self.unapplied.front()
            && *last <= through
        {
            self.unapplied_bytes -= bytes;
            self.unapplied.pop_front();
        }
        self.handed = self.handed.max(through);
        true
    }

    // Entries that are not in memory.

    /// The next entries are being read from storage: no others are wanted until they are there.
    ///
    /// # Panics
    ///
    /// If a load is under way (in debug builds): the answer to one of them would be lost.
    pub fn load(&mut self, load: LoadId) {
        debug_assert_eq!(self.load, None, "one load at a time");
        self.load = Some(load);
    }

    /// Storage has answered: whether that was the load under way here, which is over now. What the
    /// answer holds is handed out by [`part_of`](Self::part_of) and [`hand`](Self::hand), also beyond
    /// the window, which is how much was asked for.
    #[inline]
    pub fn loaded(&mut self, load: LoadId) -> bool {
        let mine = self.load == Some(load);
        if mine {
            self.load = None;
        }
        mine
    }

    /// What of a run that was read back is to be handed out now, up to `through`.
    #[must_use]
    pub fn part_of(&self, run: &Entries, through: LogIndex) -> Option<Entries> {
        let part = run
            .contains(self.handed.next())
            .then(|| run.after(self.handed).through(through));
        part.filter(|part| !part.is_empty())
    }

    /// Storage did not have what it should: to ask at once would only keep it busy, so nothing is
    /// wanted until [`resume`](Self::resume) is called at `until` or later.
    pub const fn pause(&mut self, until: Instant) {
        self.paused = Some(until);
    }

    /// Whether a pause is over now.
    pub fn resume(&mut self, now: Instant) -> bool {
        let over = self.paused.is_some_and(|until| until <= now);
        if over {
            self.paused = None;
        }
        over
    }

    // Snapshots.

    /// A snapshot that covers everything up to `index` takes the place of the log: what is under way
    /// is forgotten, and nothing follows until it is [`installed`](Self::installed).
    ///
    /// # Panics
    ///
    /// If more than that was handed out (in debug builds): a state machine does not go back.
    pub fn install(&mut self, index: LogIndex) {
        debug_assert!(self.handed <= index, "a state machine does not go back");
        self.handed = index;
        self.unapplied.clear();
        self.unapplied_bytes = 0;
        self.load = None;
        self.paused = None;
        self.starting = false;
        self.installing = Some(index);
    }

    /// The snapshot that covers everything up to `index` is durable and current, and the state
    /// machine was told to start from it. Another may be under way since: its own word follows.
    pub fn installed(&mut self, index: LogIndex) {
        self.installing = self.installing.filter(|later| *later > index);
    }

    /// Whether a snapshot is taking the place of the log, and is not durable yet.
    #[inline]
    #[must_use]
    pub const fn is_installing(&self) -> bool {
        self.installing.is_some()
    }

    /// Whether a snapshot must come before anything else.
    const fn is_barred(&self) -> bool {
        self.starting || self.is_installing()
    }

    // Reads.

    /// How many reads were taken on here and are not answered or refused, wherever they wait: what
    /// a limit is compared to.
    #[inline]
    #[must_use]
    pub const fn pending_reads(&self) -> usize {
        self.pending_reads
    }

    /// A read is taken on. It ends by [`next_ripe`](Self::next_ripe), [`expire`](Self::expire) or
    /// [`refused`](Self::refused).
    #[inline]
    pub const fn begin_read(&mut self) {
        self.pending_reads += 1;
    }

    /// So many reads were refused while they waited elsewhere: for a leader, or for its quorum.
    ///
    /// # Panics
    ///
    /// If there are not so many (in debug builds).
    pub const fn refused(&mut self, count: u32) {
        self.pending_reads -= count as usize;
    }

    /// These reads may be answered once `index` is handed out. If `index` is behind `commit`, all
    /// that is known to be committed, it is a client's or another node's word for it and may never
    /// come here: then they wait no longer than `until`.
    #[inline]
    pub fn ripen_at(
        &mut self,
        index: LogIndex,
        tickets: TicketRange,
        until: Instant,
        commit: LogIndex,
    ) {
        if index > commit {
            self.ripen_by = Some(self.ripen_by.map_or(until, |by| by.min(until)));
        }
        let TicketRange { first, count } = tickets;
        self.ripening
            .insert((index, first), Ripening { count, until });
    }

    /// The next reads to answer, and the place from which on that is right: what they saw is handed
    /// out.
    #[inline]
    pub fn next_ripe(&mut self) -> Option<(LogIndex, TicketRange)> {
        let next = self.ripening.first_entry()?;
        let (index, first) = *next.key();
        if index > self.handed || self.starting || self.installing.is_some() {
            return None;
        }
        let count = next.remove().count;
        self.pending_reads -= count as usize;
        Some((index, TicketRange { first, count }))
    }

    /// Takes out the reads whose time is over and whose place is still not known to be committed:
    /// they are to be refused.
    pub fn expire(&mut self, now: Instant, commit: LogIndex) -> Vec<TicketRange> {
        if self.ripen_by.is_none_or(|by| by > now) {
            return Vec::new();
        }
        let ahead = |index: LogIndex| index > commit;
        let mut late = Vec::new();
        self.ripening.retain(|&(index, first), read| {
            let keep = !ahead(index) || read.until > now;
            if !keep {
                late.push(TicketRange {
                    first,
                    count: read.count,
                });
            }
            keep
        });
        self.ripen_by = self
            .ripening
            .iter()
            .filter(|((index, _), _)| ahead(*index))
            .map(|(_, read)| read.until)
            .min();
        self.pending_reads -= late.iter().map(|reads| reads.count as usize).sum::<usize>();
        late
    }

    /// When [`expire`](Self::expire) or [`resume`](Self::resume) may have something to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Wake> {
        let wake = |why| move |at| Wake { at, why };
        let reads = self.ripen_by.map(wake("reads ahead of this node"));
        let again = self.paused.map(wake("entries that storage did not have"));
        Wake::earlier(reads, again)
    }

    /// Checks its own invariants.
    ///
    /// # Panics
    ///
    /// If one is broken: a bug of this crate.
    pub fn check(&self) {
        assert_eq!(
            self.unapplied_bytes,
            self.unapplied.iter().map(|(_, bytes)| bytes).sum::<usize>(),
            "the window is what lies in it"
        );
        assert!(
            self.applied <= self.handed,
            "what is applied was handed out"
        );
        let ripening = self.ripening.values().map(|read| read.count as usize);
        assert!(
            ripening.sum::<usize>() <= self.pending_reads,
            "reads that ripen are pending"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each invariant is one that the check knows.
    fn broken(how: impl FnOnce(&mut Handout)) {
        let mut handout = Handout::new(LogIndex(4));
        handout.check();
        how(&mut handout);
        handout.check();
    }

    #[test]
    #[should_panic(expected = "the window is what lies in it")]
    fn a_window_that_miscounts_is_broken() {
        broken(|handout| handout.unapplied_bytes = 1);
    }

    #[test]
    #[should_panic(expected = "what is applied was handed out")]
    fn a_state_machine_ahead_is_broken() {
        broken(|handout| handout.applied = LogIndex(5));
    }

    #[test]
    #[should_panic(expected = "reads that ripen are pending")]
    fn a_read_that_nobody_waits_for_is_broken() {
        broken(|handout| {
            handout.begin_read();
            let (at, reads) = (
                LogIndex(5),
                TicketRange {
                    first: Ticket(1),
                    count: 2,
                },
            );
            handout.ripen_at(at, reads, Instant::START, at);
        });
    }
}
