//! The learner: what is chosen, in order, to the state machine; and what became of proposals.

use alloc::collections::BTreeMap;

use synod_core::{Committed, Entries, Entry, LogEvent, LogIndex, LogLoad, NodeId, Stamp, Ticket};

use super::{Message, MultiPaxos, PAGE, Purpose, WINDOW};

/// A proposal of this node that is not decided.
///
/// A slot's value travels from ballot to ballot, so neither place and stamp (as in Raft) nor the
/// bytes (two clients may send the same) say whose it is. Each accept names the ballot that its
/// value was found under, and so the value is followed: true where it is this proposal, false where
/// it is not. Who has not seen every step knows it by another value at least, or says
/// [`LogEvent::Unknown`].
pub(crate) struct Proposal {
    ticket: Ticket,
    entry: Entry,
    mine: BTreeMap<Stamp, bool>,
}

impl Proposal {
    pub(super) fn new(ticket: Ticket, entry: Entry, ballot: Stamp) -> Self {
        let mine = BTreeMap::from([(ballot, true)]);
        Self {
            ticket,
            entry,
            mine,
        }
    }

    /// Whether it is this proposal that was chosen, as `entry` under `stamp`.
    fn is_mine(&self, entry: &Entry, stamp: Stamp) -> Option<bool> {
        let differs = (*entry != self.entry).then_some(false);
        differs.or_else(|| self.mine.get(&stamp).copied())
    }
}

impl MultiPaxos {
    /// Follows this node's proposals into a new ballot.
    pub(super) fn trace(&mut self, entries: &Entries, was: Stamp) {
        let ballot = entries.stamp();
        for (index, _) in entries.iter() {
            let Some(proposal) = self.proposals.get_mut(&index) else {
                continue;
            };
            let known = proposal.mine.get(&was).copied();
            if let Some(mine) = known.or_else(|| (was == ballot).then_some(false)) {
                proposal.mine.entry(ballot).or_insert(mine);
            }
        }
    }

    /// The leader of `ballot` says that everything up to `chosen` is: here that holds for what was
    /// voted for under this ballot. An older vote may be for another value.
    pub(super) fn learn_chosen(&mut self, ballot: Stamp, chosen: LogIndex) {
        if chosen > self.chosen {
            for (_, slot) in self.slots.range_mut(self.chosen.next()..=chosen) {
                slot.chosen |= slot.stamp == ballot;
            }
            self.advance();
        }
    }

    /// Counts on over what is chosen without a gap.
    pub(super) fn advance(&mut self) {
        while self
            .slots
            .get(&self.chosen.next())
            .is_some_and(|s| s.chosen)
        {
            self.chosen = self.chosen.next();
        }
    }

    /// Somebody lacks what is chosen behind `after`.
    pub(super) fn on_learn(&mut self, from: NodeId, after: LogIndex) {
        if after < self.handed && after >= self.compacted.0 {
            let load = LogLoad::Entries {
                after,
                through: self.handed,
                max_bytes: PAGE,
            };
            self.load(load, Purpose::Learner(from));
        }
    }

    /// Chosen values. A vote of the same or a higher ballot is for the same value already, since
    /// values are sent under ballots at or above those they were chosen at.
    pub(super) fn on_chosen(&mut self, from: NodeId, runs: Vec<Entries>) {
        let before = self.chosen;
        for run in runs {
            for (index, _) in run.after(self.chosen).iter() {
                match self.slots.get_mut(&index) {
                    Some(slot) if slot.stamp >= run.stamp() => slot.chosen = true,
                    _ => self.put(run.after(index.previous()).through(index), true),
                }
            }
        }
        self.advance();
        if self.chosen > before {
            let after = self.chosen; // there may be more; if not, there is no answer
            self.send(from, Message::Learn { after });
        }
    }

    /// Hands out what is chosen, durable here and next, as far as the state machine keeps up.
    pub(super) fn deliver(&mut self) {
        while self.handed < self.chosen && self.handed.since(self.applied) < WINDOW {
            let index = self.handed.next();
            let slot = self
                .slots
                .get_mut(&index)
                .expect("chosen and not compacted");
            if !slot.durable {
                return;
            }
            let Some(entry) = slot.entry.take() else {
                return self.load_delivery();
            };
            let stamp = slot.stamp;
            self.hand_out(index, stamp, entry);
        }
    }

    fn hand_out(&mut self, index: LogIndex, stamp: Stamp, entry: Entry) {
        self.handed = index;
        let mut ticket = None;
        if let Some(proposal) = self.proposals.remove(&index) {
            match proposal.is_mine(&entry, stamp) {
                Some(true) => ticket = Some(proposal.ticket),
                Some(false) => self.outbox.event_now(LogEvent::Displaced(proposal.ticket)),
                None => self.outbox.event_now(LogEvent::Unknown(proposal.ticket)),
            }
        }
        // At once: it is chosen, and the slot's own vote is durable.
        let entries = Entries::new(index, stamp, [entry]);
        let committed = LogEvent::Committed(Committed { entries, ticket });
        self.outbox.event_now(committed);
    }

    fn load_delivery(&mut self) {
        if self.loads.values().any(|p| *p == Purpose::Deliver) {
            return;
        }
        let load = LogLoad::Entries {
            after: self.handed,
            through: self.chosen,
            max_bytes: PAGE,
        };
        self.load(load, Purpose::Deliver);
    }

    /// What was on disk: still what the slots say, or it is asked for again.
    pub(super) fn delivery_loaded(&mut self, runs: Option<Vec<Entries>>) {
        for run in runs.into_iter().flatten() {
            for (index, entry) in run.after(self.handed).iter() {
                if let Some(slot) = self.slots.get_mut(&index)
                    && slot.stamp == run.stamp()
                    && slot.durable
                {
                    slot.entry = Some(entry.clone());
                }
            }
        }
    }
}
