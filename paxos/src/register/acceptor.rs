//! The acceptor (CASPaxos §2.2): what it promises and accepts, and that it says so only once that is
//! durable: every answer made here leaves through [`Node::send`] or a note.
//!
//! **Registers that are not there.** One ballot, the *floor*, stands for the promises of all registers
//! of which the acceptor holds nothing. A register may be forgotten at any time if its promise goes
//! into the floor: for others it only gets harder to pass. That takes the place of the ages that §3.1
//! gives to proposers, see `purge.rs`.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Bound;

use crate::Ballot;
use crate::register::message::{Accept, Body, Held, Nack, Page, Phase};
use crate::register::node::Node;
use crate::register::planted::planted;
use crate::register::record::Record;
use crate::register::{Key, Vote};

/// How many keys are listed at a time.
pub(crate) const PAGE: usize = 64;

impl Node {
    /// What this acceptor answers, if that is anything. The answer must not leave before what is
    /// written here is durable.
    pub(crate) fn answer(&mut self, body: Body, epoch: u64) -> Option<Body> {
        match body {
            Body::Prepare { key, ballot, asked } => Some(self.on_prepare(key, ballot, asked)),
            Body::Accept(accept) => self.on_accept(*accept, epoch),
            Body::Purge { key, ballot } => Some(self.on_purge(key, ballot)),
            Body::List { after } => Some(self.on_list(after)),
            Body::Promised { .. }
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Purged { .. }
            | Body::Keys(_)
            | Body::Behind
            | Body::Configuration(_)
            | Body::Stranger { .. } => None,
        }
    }

    /// Phase 1. Ok if the ballot is above what was promised and accepted; the same one again is
    /// answered again, because an answer can get lost.
    pub(crate) fn on_prepare(&mut self, key: Key, ballot: Ballot, asked: u64) -> Body {
        let (promised, vote) = self.store.view(&key);
        if ballot < promised || vote.is_some_and(|vote| ballot <= vote.ballot) {
            let above = vote.map_or(promised, |vote| promised.max(vote.ballot));
            return refused(key, Phase::One, ballot, Nack::Promised(above));
        }
        let is_new = !self.store.registers.contains_key(&key);
        if is_new && !self.has_room_for(&key) {
            return refused(key, Phase::One, ballot, Nack::Full);
        }
        let held = vote
            .cloned()
            .map_or(Held::Nothing(self.store.floor), Held::Vote);
        if is_new || ballot > promised {
            let key = key.clone();
            self.write(Record::Promise { key, ballot });
            self.fold_promises();
        }
        Body::Promised {
            key,
            ballot,
            asked,
            held,
        }
    }

    /// Phase 2. Ok if the ballot is not below what was promised and above what was accepted; from
    /// then on `next` is promised (§2.2.1). `None` if the ballot had another proposal before.
    pub(crate) fn on_accept(&mut self, accept: Accept, epoch: u64) -> Option<Body> {
        let Accept {
            key,
            ballot,
            state,
            next,
        } = accept;
        let (promised, vote) = self.store.view(&key);
        if let Some(vote) = vote
            && vote.ballot == ballot
        {
            // Asked again: it did accept.
            return (vote.state == state).then_some(Body::Accepted { key, ballot });
        }
        if ballot < promised || vote.is_some_and(|vote| ballot < vote.ballot) {
            let above = vote.map_or(promised, |vote| promised.max(vote.ballot));
            return Some(refused(key, Phase::Two, ballot, Nack::Promised(above)));
        }
        let held = vote.map_or(0, |vote| vote.state.weight());
        let is_new = !self.store.registers.contains_key(&key);
        let limits = &self.config.limits;
        let grown = (self.bytes + state.weight()).saturating_sub(held);
        let too_long = state.weight() > limits.value_bytes;
        let too_much = state.weight() > held && grown > limits.bytes;
        // A step always fits: other acceptors may be what helps.
        let is_data = key != Key::Configuration;
        if is_data && (too_long || too_much || is_new && !self.has_room_for(&key)) {
            return Some(refused(key, Phase::Two, ballot, Nack::Full));
        }
        let promised = if planted!(self, AcceptKeepsPromise) {
            promised
        } else {
            next
        };
        let vote = Vote {
            ballot,
            epoch,
            state,
        };
        self.write(Record::Vote {
            key: key.clone(),
            vote,
            promised,
        });
        Some(Body::Accepted { key, ballot })
    }

    /// Forgets a tombstone that every acceptor has (§3.1, step 2d), and nothing newer.
    pub(crate) fn on_purge(&mut self, key: Key, ballot: Ballot) -> Body {
        let (promised, vote) = self.store.view(&key);
        let is_it = |vote: &Vote| vote.ballot == ballot && vote.state.value.is_none();
        if key != Key::Configuration && vote.is_some_and(is_it) {
            let floor = if planted!(self, PurgeForgetsPromise) {
                Ballot::START
            } else {
                promised.max(ballot)
            };
            let key = key.clone();
            self.write(Record::Purge { key, floor });
        }
        Body::Purged { key, ballot }
    }

    /// The next registers of which it has accepted something.
    pub(crate) fn on_list(&self, after: Option<Key>) -> Body {
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let registers = self.store.registers.range((from, Bound::Unbounded));
        let voted = registers.filter(|(_, register)| register.vote.is_some());
        let mut keys: Vec<_> = voted.map(|(key, _)| key.clone()).take(PAGE + 1).collect();
        let end = keys.len() <= PAGE;
        keys.truncate(PAGE);
        let floor = self.store.floor;
        Body::Keys(Box::new(Page {
            after,
            keys,
            end,
            floor,
        }))
    }

    fn has_room_for(&self, key: &Key) -> bool {
        let limits = &self.config.limits;
        *key == Key::Configuration
            || self.store.registers.len() < limits.registers
                && key.weight() <= limits.key_bytes
                && self.bytes + key.weight() <= limits.bytes
    }

    /// Reads of what is not there leave promises behind: when there are too many, one for all.
    fn fold_promises(&mut self) {
        if self.promises > self.config.limits.promises {
            let registers = self.store.registers.values();
            let bare = registers.filter(|register| register.vote.is_none());
            let floor = bare.map(|register| register.promised).max();
            let floor = self.store.floor.max(floor.unwrap_or(Ballot::START));
            self.write(Record::Floor { floor });
        }
    }
}

const fn refused(key: Key, phase: Phase, ballot: Ballot, why: Nack) -> Body {
    Body::Refused {
        key,
        phase,
        ballot,
        why,
    }
}
