//! The proposer: phase 1 over the open suffix, phase 2 for each slot, and reads.

use alloc::collections::{BTreeMap, BTreeSet};

use synod_core::{
    Entries, Entry, Instant, LogEvent, LogIndex, NodeId, Refusal, Role, Stamp, Ticket,
};

use super::acceptor::{Found, merge};
use super::{BEAT, Message, MultiPaxos, Note, Part, VOTERS};

const fn is_quorum(count: usize) -> bool {
    count * 2 > VOTERS.len()
}

/// Phase 1 of the ballot that this node has promised to itself.
pub(crate) struct Candidacy {
    /// Everything up to here was chosen when it began.
    base: LogIndex,
    /// How far each acceptor's votes are here, and whether that is all of them.
    pages: BTreeMap<NodeId, (LogIndex, bool)>,
    found: Found,
}

/// Phase 2 of the ballot that this node has promised to itself.
pub(crate) struct Leadership {
    pub(super) next: LogIndex,
    votes: BTreeMap<LogIndex, (Stamp, BTreeSet<NodeId>)>,
    /// The last slot that phase 1 found open: reads wait for it.
    recovered: LogIndex,
    round: u64,
    seen: BTreeMap<NodeId, u64>,
    reads: Vec<(Ticket, LogIndex, u64)>,
}

impl Leadership {
    /// A read waits for a round that begins now, and for all that is or may be chosen by now.
    pub(super) fn read(&mut self, ticket: Ticket, chosen: LogIndex) {
        let index = chosen.max(self.recovered);
        self.reads.push((ticket, index, self.round + 1));
    }
}

impl MultiPaxos {
    /// Phase 1 of a ballot above all that this node has heard of.
    pub(super) fn campaign(&mut self, now: Instant) {
        let ballot = Stamp {
            number: self.promised.max(self.seen).number + 1,
            node: self.me.0,
        };
        let after = self.chosen;
        self.promised = ballot;
        self.write_state();
        self.part = Part::Candidate(Candidacy {
            base: after,
            pages: BTreeMap::new(),
            found: Found::new(),
        });
        self.tell_role(Role::Candidate, None, "no leader was heard");
        for peer in self.peers() {
            self.send(peer, Message::Prepare { ballot, after });
        }
        self.outbox.note_after(Note::Promised { ballot, after });
        self.rest(now);
    }

    pub(super) fn on_promise(
        &mut self,
        now: Instant,
        from: NodeId,
        ballot: Stamp,
        after: LogIndex,
        votes: Vec<Entries>,
        (through, more): (LogIndex, bool),
    ) {
        let Part::Candidate(candidacy) = &mut self.part else {
            return;
        };
        let page = candidacy
            .pages
            .entry(from)
            .or_insert((candidacy.base, false));
        if ballot != self.promised || *page != (after, false) {
            return; // of an old ballot, or a page that was turned already
        }
        *page = (through, !more);
        merge(&mut candidacy.found, &votes);
        if !more {
            let complete = candidacy.pages.values().filter(|(_, all)| *all).count();
            if is_quorum(complete) {
                self.become_leader(now);
            }
        } else if from == self.me {
            let after = through;
            self.outbox.note_after(Note::Promised { ballot, after });
        } else {
            let after = through;
            self.send(from, Message::Prepare { ballot, after });
        }
    }

    /// Proposes anew what phase 1 found, and nothing where it found nothing: no slot up to the last
    /// one found may stay open, or nothing behind it would ever be handed out (§3).
    fn become_leader(&mut self, now: Instant) {
        let before = core::mem::replace(&mut self.part, Part::Follower(None));
        let Part::Candidate(Candidacy {
            base, mut found, ..
        }) = before
        else {
            unreachable!("only a candidate becomes leader");
        };
        let recovered = found.keys().last().map_or(base, |last| *last);
        self.part = Part::Leader(Leadership {
            next: base.next(),
            votes: BTreeMap::new(),
            recovered,
            round: 0,
            seen: BTreeMap::new(),
            reads: Vec::new(),
        });
        self.tell_role(Role::Leader, Some(self.me), "a quorum has promised");
        for slot in (base.0 + 1..=recovered.0).map(LogIndex) {
            let new = (self.promised, Entry::blank());
            let (was, entry) = found.remove(&slot).unwrap_or(new);
            self.propose_slot(slot, entry, was);
        }
        self.beat(now);
    }

    /// Phase 2a for the next slot. `was`: where the value comes from.
    pub(super) fn propose_slot(&mut self, slot: LogIndex, entry: Entry, was: Stamp) {
        let ballot = self.promised;
        let Part::Leader(leadership) = &mut self.part else {
            unreachable!("only a leader proposes");
        };
        leadership.next = slot.next();
        leadership.votes.insert(slot, (was, BTreeSet::new()));
        let entries = Entries::new(slot, ballot, [entry]);
        self.trace(&entries, was);
        self.vote(&entries);
        for peer in self.peers() {
            self.accept(peer, entries.clone(), was);
        }
    }

    fn accept(&mut self, to: NodeId, entries: Entries, was: Stamp) {
        let accept = Message::Accept { entries, was };
        if let Some(envelope) = self.links.address(to, accept) {
            // Before this node's own vote is durable: the ballot is since before phase 1 (as its
            // promise), a later life takes a higher one, so no slot gets two values under it.
            self.outbox.send_now(envelope);
        }
    }

    /// Phase 2b. Distinct acceptors count, and only for the ballot that this node leads with.
    pub(super) fn on_accepted(
        &mut self,
        from: NodeId,
        ballot: Stamp,
        first: LogIndex,
        last: LogIndex,
    ) {
        let Part::Leader(leadership) = &mut self.part else {
            return;
        };
        if ballot != self.promised || first > last {
            return;
        }
        for (index, (_, votes)) in leadership.votes.range_mut(first..=last) {
            votes.insert(from);
            if is_quorum(votes.len())
                && let Some(slot) = self.slots.get_mut(index)
            {
                slot.chosen = true;
            }
        }
        self.advance();
        let Part::Leader(leadership) = &mut self.part else {
            return;
        };
        leadership.votes = leadership.votes.split_off(&self.chosen.next());
    }

    /// Tells everybody what is chosen, and sends again what has no answer: the wire may lose it.
    pub(super) fn beat(&mut self, now: Instant) {
        let Part::Leader(leadership) = &mut self.part else {
            return;
        };
        leadership.round += 1;
        leadership.seen.insert(self.me, leadership.round);
        let round = leadership.round;
        let open = leadership.votes.clone();
        let (ballot, chosen) = (self.promised, self.chosen);
        for peer in self.peers() {
            for (index, (was, votes)) in &open {
                let entry = self.slots.get(index).and_then(|slot| slot.entry.clone());
                if let Some(entry) = entry.filter(|_| !votes.contains(&peer)) {
                    self.accept(peer, Entries::new(*index, ballot, [entry]), *was);
                }
            }
            let beat = Message::Beat {
                ballot,
                chosen,
                round,
            };
            self.send(peer, beat);
        }
        self.timer = now + BEAT;
    }

    pub(super) fn on_beat_seen(&mut self, from: NodeId, ballot: Stamp, round: u64) {
        if let Part::Leader(leadership) = &mut self.part
            && ballot == self.promised
        {
            let seen = leadership.seen.entry(from).or_default();
            *seen = (*seen).max(round);
        }
    }

    /// Answers the reads whose round a quorum has seen: at that time it had promised nobody more,
    /// so no write was chosen elsewhere before the read arrived.
    pub(super) fn answer_reads(&mut self) {
        let Part::Leader(leadership) = &mut self.part else {
            return;
        };
        let (handed, seen) = (self.handed, &leadership.seen);
        let ready = leadership.reads.extract_if(.., |(_, index, round)| {
            let confirmed = seen.values().filter(|r| **r >= *round).count();
            is_quorum(confirmed) && *index <= handed
        });
        for (ticket, index, _) in ready {
            self.outbox.event_now(LogEvent::Read { ticket, index });
        }
    }

    pub(super) fn refuse_reads(&mut self, leadership: Leadership) {
        for (ticket, _, _) in leadership.reads {
            let refused = LogEvent::Refused(ticket, Refusal::NotLeader);
            self.outbox.event_now(refused);
        }
    }
}
