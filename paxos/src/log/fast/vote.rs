//! The acceptor: votes for what is offered.

use alloc::vec::Vec;

use synod_core::{Entries, LogIndex, LogRecord, NodeId};

use super::{Name, Votes};
use crate::Ballot;
use crate::log::message::Body;
use crate::log::node::{Node, Note};
use crate::log::planted::planted;

impl Node {
    /// The leader of the promised ballot says which slots are open.
    pub(crate) fn open_fast(&mut self, first: LogIndex) {
        if self.fast.open.is_none() {
            self.fast.open = Some(first);
            if planted!(self, OfferMoves) {
                self.fast.offers.lose_all();
            }
            // What is offered already is offered again, under this leader.
            self.fast.offers.hurry(self.now);
        }
    }

    /// Values that are offered in the promised ballot's open slots. In each slot this node votes at
    /// most once (*Fast Paxos* §2.2, phase 2b), and not after it has accepted there what the leader
    /// proposed, which is of the later ballot.
    pub(crate) fn on_offer(&mut self, from: NodeId, entries: &Entries) {
        let Some(open) = self.fast.open.filter(|_| self.is_voter()) else {
            return self.drop_message();
        };
        let (first, last) = (entries.first().max(open), entries.last().min(self.window()));
        if first > last {
            return self.drop_message();
        }
        self.fast.seen = self.fast.seen.max(last);
        let (fast, classic) = (self.promised.as_fast(), self.promised);
        let limits = &self.config.limits;
        let room = self.slots.bytes() <= limits.log_bytes.saturating_add(limits.uncommitted_bytes);
        let (mut fresh, mut again) = (Vec::<(LogIndex, LogIndex)>::new(), Vec::new());
        let mut at = first;
        while at <= last {
            let own = (at > self.slots.base()).then(|| self.slots.ballot_at(at));
            let own = own.flatten();
            let mut free = !self.held.contains(at) && own != Some(classic);
            if planted!(self, FastVoteAfterClassic) {
                free = at > self.chosen;
            }
            if free && room && own != Some(fast) {
                match fresh.last_mut() {
                    Some((_, end)) if end.next() == at => *end = at,
                    _ => fresh.push((at, at)),
                }
            } else {
                if own == Some(fast) {
                    again.push(at);
                }
                self.keep_spare(entries, at);
            }
            at = at.next();
        }
        let mut votes = Vec::new();
        for (first, last) in fresh {
            let part = entries.after(first.previous()).through(last);
            Votes::extend(&mut votes, &part);
            self.cast(part);
        }
        if !votes.is_empty() {
            self.tell_votes(votes);
        }
        if !again.is_empty() {
            self.tell_again(from, entries, &again);
        }
    }

    /// Puts votes of the fast ballot on disk and in memory. They are not held: what is held counts for
    /// the leader's classic ballot.
    fn cast(&mut self, entries: Entries) {
        let (first, last) = (entries.first(), entries.last());
        self.forget_configs(first, last);
        self.outbox.write(LogRecord::Put(entries.clone()));
        self.slots.put(entries);
    }

    /// Tells all voters, this node among them, once these votes are durable.
    fn tell_votes(&mut self, votes: Vec<Votes>) {
        for to in self.membership().voters().to_vec() {
            if to == self.id() {
                continue;
            }
            if planted!(self, FastVoteUnwritten) {
                self.send_now(to, Body::Voted(votes.clone()));
            } else {
                self.send(to, Body::Voted(votes.clone()));
            }
        }
        let ballot = self.promised;
        self.outbox.note_after(Note::Voted { ballot, votes });
    }

    /// Somebody offers something where this node has voted: the word of it was lost, or will come.
    /// The leader also gets the value, which it may have to propose.
    fn tell_again(&mut self, from: NodeId, offered: &Entries, slots: &[LogIndex]) {
        let me = self.id();
        let (mut durable, mut open) = (Vec::new(), Vec::new());
        let mut values = Vec::<Entries>::new();
        for at in slots {
            let Some(chunk) = self.slots.chunk_from(*at) else {
                continue;
            };
            let own = chunk.through(*at);
            let Some(name) = own.get(*at).and_then(Name::of) else {
                continue;
            };
            let counted = self.fast.tally.get(at);
            let counted = counted.is_some_and(|row| row.iter().any(|(voter, _)| *voter == me));
            if !counted && !self.durable.contains(*at) {
                Votes::push(&mut open, *at, name);
                continue;
            }
            Votes::push(&mut durable, *at, name);
            if offered.get(*at).and_then(Name::of) != Some(name) {
                values.push(own);
            }
        }
        let leads = self.leader == Some(from);
        for to in [Some(from), self.leader.filter(|_| !leads)]
            .into_iter()
            .flatten()
        {
            if to != me && !durable.is_empty() {
                // Safe while other writes run: these votes are known to be durable.
                self.send_now(to, Body::Voted(durable.clone()));
            }
        }
        if leads && from != me {
            for value in values {
                // Safe before any write: it says what was offered, and nothing of a vote.
                self.send_now(from, Body::Offer(value));
            }
        }
        // Of an earlier life, or still being written: it counts once it is durable. One note for all
        // that asks until then, or a disk that hangs would gather them.
        let note = Note::Voted {
            ballot: self.promised,
            votes: open,
        };
        let Note::Voted { votes, .. } = &note else {
            return;
        };
        if !votes.is_empty() && !self.outbox.notes_mut().any(|other| *other == note) {
            self.outbox.note_after(note);
        }
    }

    /// Keeps a value that this node does not vote for: it may be the one that is chosen.
    fn keep_spare(&mut self, entries: &Entries, at: LogIndex) {
        let Some(entry) = entries.get(at).filter(|_| at > self.chosen) else {
            return;
        };
        let name = Name::of(entry);
        let limit = self.config.limits.uncommitted_bytes;
        let fast = &mut self.fast;
        if name == Some(Name::BLANK) || fast.spare_bytes + entry.weight() > limit {
            return;
        }
        let row = fast.spare.entry(at).or_default();
        if row.iter().all(|other| Name::of(other) != name) {
            fast.spare_bytes += entry.weight();
            row.push(entry.clone());
        }
        if let Some(lacking) = self.fast.lacking.get(&at).copied()
            && Some(lacking) == name
        {
            self.fast.lacking.remove(&at);
            self.decide(at, lacking);
        }
    }

    /// What this node has voted for in the fast ballot, if it is in memory.
    pub(super) fn fast_vote(&self, at: LogIndex) -> Option<Name> {
        let chunk = self.slots.chunk_from(at)?;
        let fast = Ballot::from(chunk.stamp()) == self.promised.as_fast();
        chunk.get(at).filter(|_| fast).and_then(Name::of)
    }
}
