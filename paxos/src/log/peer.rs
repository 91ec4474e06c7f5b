//! What a leader knows of one peer, and what it may send it next.

use alloc::collections::VecDeque;
use core::time::Duration;

use synod_core::{Instant, LogIndex, NodeId, Round};

use super::Cover;

/// One peer, as the leader sees it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) linked: bool,
    /// What is durable there of this ballot, or chosen. Only grows.
    pub(crate) acked: Cover,
    /// The next slot to send.
    pub(crate) next: LogIndex,
    /// Messages under way, in the order in which they were sent.
    in_flight: VecDeque<Flight>,
    in_flight_bytes: usize,
    /// When it last acknowledged something new, or was sent something while nothing was under way.
    moved: Instant,
    /// How long nothing may move before what is under way counts as lost: doubles each time.
    patience: u32,
    /// The latest round that was sent, and that was answered.
    pub(crate) round_sent: Round,
    pub(crate) round_acked: Round,
    /// The last slot that it was told to be chosen.
    pub(crate) chosen_sent: LogIndex,
    /// When it last answered; the start of the leadership counts as an answer.
    pub(crate) heard: Instant,
    /// When it was last sent something.
    pub(crate) sent_at: Instant,
    /// When it last passed something on.
    pub(crate) asked: Option<Instant>,
    /// It is taken out by the entry here, and still told so.
    pub(crate) leaving: Option<LogIndex>,
}

/// A message under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Flight {
    first: LogIndex,
    last: LogIndex,
    bytes: usize,
    sent: Instant,
}

impl Flight {
    /// All of its slots, not only the last: that may have come with an earlier message, and if this
    /// one is lost, nobody would send the others again.
    fn has_come(&self, acked: &Cover) -> bool {
        acked.end_of(self.first) >= Some(self.last)
    }
}

impl Peer {
    /// A peer at the start of a leadership: sent everything from `next` on.
    pub(crate) fn new(id: NodeId, linked: bool, next: LogIndex, now: Instant) -> Self {
        Self {
            id,
            linked,
            acked: Cover::default(),
            next,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            moved: now,
            patience: 0,
            round_sent: Round(0),
            round_acked: Round(0),
            chosen_sent: LogIndex::START,
            heard: now,
            sent_at: Instant::START,
            asked: None,
            leaving: None,
        }
    }

    /// The link has a new incarnation or is gone: whatever was under way is lost.
    pub(crate) fn relink(&mut self, linked: bool, now: Instant) {
        // What one that is taken out has not heard by now it does not hear: behind a new link may be
        // another disk.
        self.linked = linked && self.leaving.is_none();
        self.round_sent = self.round_acked;
        self.chosen_sent = LogIndex::START;
        self.rewind(now);
        self.patience = 0;
    }

    /// Sends again what was not acknowledged.
    fn rewind(&mut self, now: Instant) {
        self.in_flight.clear();
        self.in_flight_bytes = 0;
        self.next = self.acked.through().next();
        self.moved = now;
    }

    /// Takes for lost what has been under way too long: at first two rounds of the election, ever
    /// longer, since a slow disk answers late, and to send it more would not make it faster. Gives
    /// up one that is taken out and has not answered for as long.
    pub(crate) fn retry(&mut self, now: Instant, round: Duration) {
        let patience = round.saturating_mul(2 << self.patience.min(4));
        self.linked &= self.leaving.is_none() || now.since(self.heard) < patience;
        let Some(oldest) = self.in_flight.front() else {
            return;
        };
        // What was sent later is there: while there is always something new, something always moves.
        let overtaken =
            oldest.last < self.acked.last() && now.since(oldest.sent) >= round.saturating_mul(2);
        let still = now.since(self.moved) >= patience;
        if still {
            self.patience += 1;
        }
        if still || overtaken {
            self.rewind(now);
        }
    }

    /// Whether entries are under way to it and it has acknowledged nothing new for so long.
    pub(crate) fn is_late(&self, now: Instant, patience: Duration) -> bool {
        !self.in_flight.is_empty() && now.since(self.moved) >= patience
    }

    /// The leader proposes something in a slot that was passed over.
    pub(crate) fn go_back(&mut self, at: LogIndex) {
        self.next = self.next.min(at).max(self.acked.through().next());
    }

    /// The last slot of the message under way that this slot is in.
    pub(crate) fn flies_to(&self, at: LogIndex) -> Option<LogIndex> {
        let mut flights = self.in_flight.iter();
        let flight = flights.find(|flight| (flight.first..=flight.last).contains(&at));
        flight.map(|flight| flight.last)
    }

    /// Entries in these slots have gone out.
    pub(crate) fn sent(&mut self, first: LogIndex, last: LogIndex, bytes: usize, now: Instant) {
        self.next = last.next();
        if self.in_flight.is_empty() {
            self.moved = now;
        }
        self.in_flight.push_back(Flight {
            first,
            last,
            bytes,
            sent: now,
        });
        self.in_flight_bytes += bytes;
    }

    /// It holds so much durably; says whether that is news.
    pub(crate) fn acknowledged(&mut self, held: &Cover, now: Instant) -> bool {
        let before = (self.acked.through(), self.acked.last());
        let gaps = !self.acked.beyond().is_empty() || !held.beyond().is_empty();
        self.acked.raise(held.through());
        for (first, last) in held.beyond() {
            self.acked.add(*first, *last);
        }
        let news = gaps || before != (self.acked.through(), self.acked.last());
        let (acked, mut gone) = (&self.acked, 0);
        while let Some(flight) = self.in_flight.front()
            && flight.has_come(acked)
        {
            gone += flight.bytes;
            self.in_flight.pop_front();
        }
        if !acked.beyond().is_empty() {
            self.in_flight.retain(|flight| {
                let there = flight.has_come(acked);
                gone += if there { flight.bytes } else { 0 };
                !there
            });
        }
        if gone > 0 {
            self.in_flight_bytes -= gone;
            self.moved = now;
            self.patience = 0;
        }
        self.next = self.next.max(self.acked.through().next());
        news
    }

    /// The last slot of `end` that it is to have: nothing that comes after it was taken out.
    pub(crate) fn end(&self, end: LogIndex) -> LogIndex {
        self.leaving.map_or(end, |last| end.min(last))
    }

    /// Whether more entries may go out now.
    pub(crate) fn may_send(&self, messages: usize, bytes: usize) -> bool {
        self.linked && self.in_flight.len() < messages && self.in_flight_bytes < bytes
    }

    /// Whether there is nothing more to tell one that is taken out: it has the entry that does so,
    /// and has been told that it is chosen. Or it is out of reach.
    pub(crate) fn is_gone(&self) -> bool {
        let told = |index| index <= self.acked.through().min(self.chosen_sent);
        self.leaving
            .is_some_and(|index| !self.linked || told(index))
    }

    pub(crate) const fn in_flight_bytes(&self) -> usize {
        self.in_flight_bytes
    }

    /// The peer's own invariants.
    pub(crate) fn check(&self) {
        assert!(
            self.next > self.acked.through(),
            "{} is sent what it has",
            self.id
        );
        assert!(
            self.round_acked <= self.round_sent,
            "{} answers what was asked",
            self.id
        );
        let bytes: usize = self.in_flight.iter().map(|flight| flight.bytes).sum();
        assert_eq!(
            bytes, self.in_flight_bytes,
            "{} has what is in flight",
            self.id
        );
    }
}
