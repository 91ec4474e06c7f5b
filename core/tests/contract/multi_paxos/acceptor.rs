//! The acceptor: promises and votes, both durable before anybody hears of them.

use alloc::collections::BTreeMap;

use synod_core::{Entries, Instant, LogIndex, LogLoad, LogRecord, NodeId, Stamp};

use super::{Message, MultiPaxos, Note, PAGE, Part, Purpose, Slot};

impl MultiPaxos {
    /// Promises `ballot`, or says why not. An equal ballot is no news.
    fn promise(&mut self, now: Instant, from: NodeId, ballot: Stamp) -> bool {
        self.seen = self.seen.max(ballot);
        if ballot < self.promised || ballot.node != from.0 {
            let promised = self.promised;
            self.send(from, Message::Nack { promised });
            return false;
        }
        if ballot > self.promised {
            self.promised = ballot;
            self.write_state();
            self.become_follower(None, "promised a higher ballot");
            self.rest(now);
        }
        true
    }

    pub(super) fn on_prepare(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Stamp,
        after: LogIndex,
    ) {
        if self.promise(now, from, ballot) {
            self.outbox.note_after(Note::Promised { ballot, after });
        }
    }

    /// The promise is durable, and so is every vote that it must report: reads the next page.
    pub(super) fn load_page(&mut self, now: Instant, ballot: Stamp, after: LogIndex) {
        if ballot != self.promised || after < self.compacted.0 {
            // A newer promise voids this one. What is compacted takes a snapshot, in the real crate:
            // here the candidate gives up in time and one that has applied more takes over.
            return;
        }
        let Some(first) = self.slots.range(after.next()..).next().map(|(i, _)| *i) else {
            return self.send_page(now, ballot, after, Vec::new(), (after, false));
        };
        // No load may cross a hole: an answer ends there, and says nothing of what lies behind.
        let in_a_row = self.slots.range(first..).zip(first.0..);
        let through = in_a_row.take_while(|((i, _), k)| i.0 == *k).last();
        let load = LogLoad::Entries {
            after: first.previous(),
            through: through.map_or(first, |((i, _), _)| *i),
            max_bytes: PAGE,
        };
        self.load(load, Purpose::Page { ballot, after });
    }

    pub(super) fn page_loaded(
        &mut self,
        now: Instant,
        ballot: Stamp,
        after: LogIndex,
        runs: Option<Vec<Entries>>,
    ) {
        if ballot != self.promised {
            return;
        }
        let Some(votes) = runs else {
            return self.load_page(now, ballot, after); // compacted meanwhile: decide anew
        };
        let through = votes.last().map_or(after, Entries::last);
        let more = self.slots.range(through.next()..).next().is_some();
        self.send_page(now, ballot, after, votes, (through, more));
    }

    fn send_page(
        &mut self,
        now: Instant,
        ballot: Stamp,
        after: LogIndex,
        votes: Vec<Entries>,
        (through, more): (LogIndex, bool),
    ) {
        let owner = NodeId(ballot.node);
        if owner == self.me {
            return self.on_promise(now, owner, ballot, after, votes, (through, more));
        }
        let page = Message::Promise {
            ballot,
            after,
            votes,
            through,
            more,
        };
        self.send(owner, page);
    }

    pub(super) fn on_accept(&mut self, now: Instant, from: NodeId, entries: Entries, was: Stamp) {
        let ballot = entries.stamp();
        if entries.is_empty() || !self.promise(now, from, ballot) {
            return;
        }
        let (first, last) = (entries.first(), entries.last());
        self.trace(&entries, was);
        self.vote(&entries);
        let accepted = Message::Accepted {
            ballot,
            first,
            last,
        };
        self.send(from, accepted);
    }

    /// Votes for these values under their stamp, where that is news. What is compacted is chosen: a
    /// vote for it needs no record, it can be for nothing else.
    pub(super) fn vote(&mut self, entries: &Entries) {
        let ballot = entries.stamp();
        debug_assert!(ballot <= self.promised, "a vote is a promise");
        let entries = entries.after(self.compacted.0);
        let known = |i: LogIndex| self.slots.get(&i).is_some_and(|s| s.stamp == ballot);
        if entries.is_empty() || entries.iter().all(|(i, _)| known(i)) {
            return;
        }
        self.put(entries, false);
    }

    /// Writes these values over what was there.
    pub(super) fn put(&mut self, entries: Entries, chosen: bool) {
        let (ballot, first, last) = (entries.stamp(), entries.first(), entries.last());
        for (index, entry) in entries.iter() {
            let before = self.slots.get(&index);
            let slot = Slot {
                stamp: ballot,
                entry: (index > self.handed).then(|| entry.clone()),
                durable: false,
                chosen: chosen || before.is_some_and(|slot| slot.chosen),
            };
            self.slots.insert(index, slot);
        }
        self.outbox.write(LogRecord::Put(entries));
        self.outbox.note_after(Note::Voted {
            ballot,
            first,
            last,
        });
    }

    /// Votes are durable; those that were not overwritten meanwhile count (no ABA: a slot's stamp
    /// only changes to another value of a higher ballot).
    pub(super) fn voted(&mut self, ballot: Stamp, first: LogIndex, last: LogIndex) {
        for (_, slot) in self.slots.range_mut(first..=last) {
            slot.durable |= slot.stamp == ballot;
        }
        self.on_accepted(self.me, ballot, first, last);
    }

    /// A leader's word. Follows it if it may.
    pub(super) fn on_beat(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Stamp,
        chosen: LogIndex,
        round: u64,
    ) {
        if !self.promise(now, from, ballot) {
            return;
        }
        self.rest(now);
        if matches!(self.part, Part::Follower(_)) {
            self.become_follower(Some(from), "a leader is heard");
        }
        self.learn_chosen(ballot, chosen);
        if self.chosen < chosen {
            let after = self.chosen;
            self.send(from, Message::Learn { after });
        }
        self.send(from, Message::BeatSeen { ballot, round });
    }
}

/// The highest vote for each slot.
pub(super) type Found = BTreeMap<LogIndex, (Stamp, synod_core::Entry)>;

/// Adds votes to what was found: the value of the highest ballot counts, §2.2.
pub(super) fn merge(found: &mut Found, votes: &[Entries]) {
    for run in votes {
        for (index, entry) in run.iter() {
            let best = found.get(&index).map(|(stamp, _)| *stamp);
            if best < Some(run.stamp()) {
                found.insert(index, (run.stamp(), entry.clone()));
            }
        }
    }
}
