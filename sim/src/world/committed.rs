//! What a node hands out as committed, and whether that is right.

use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use bytes::Bytes;
use synod_core::{Committed, EntryKind, LogIndex, ReplicatedLog};

use super::World;
use super::client::Waiter;
use super::machine::Work;
use crate::application::Application;
use crate::check::{Breach, Fact, ensure};
use crate::sessions::{Effect, Header};
use crate::subject::Subject;
use crate::trace::{What, Who, note};

impl<S: Subject, A: Application> World<'_, S, A> {
    pub(super) fn committed(&mut self, i: usize, committed: Committed) {
        let (id, era) = (self.id(i), self.era(i));
        note!(
            self,
            Who::Node(i),
            What::Apply,
            "hands out {:?}",
            committed.entries
        );
        let (first, last) = (committed.entries.first(), committed.last());
        let stamp = committed.entries.stamp();
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        let handed = up.replica.handed;
        up.replica.handed = last;
        let in_order = ensure(
            first == handed.next(),
            "entries are handed out in order, once and without gaps",
            || format!("{id} hands out {first} behind {handed}"),
        );
        self.must(in_order);
        let durable = ensure(
            self.stored[i].holds(last, stamp),
            "what is handed out is durable",
            || format!("{id} hands out {last} {stamp:?}, its disk ends before or differs"),
        );
        self.must(durable);
        let mut news = false;
        for (index, kind, payload, _) in committed.iter() {
            let fact = Fact {
                stamp,
                kind,
                payload: payload.clone(),
                era,
                response: 0,
            };
            news |= self.learn(index, fact);
        }
        if news {
            self.observe(|observer, cluster| observer.commits(i, last, stamp, cluster));
        }
        let mut answers = VecDeque::new();
        if committed.ticket.is_some() {
            for (index, kind, payload, ticket) in committed.iter() {
                if let Some(waiter) = ticket.and_then(|ticket| self.take(i, ticket)) {
                    let command = kind == EntryKind::Command;
                    self.is_the_one(i, &waiter, index, command.then_some(payload));
                    answers.push_back((index, waiter));
                }
            }
        }
        self.work(i, Work::Apply(committed, answers));
    }

    fn era(&self, i: usize) -> u64 {
        let up = self.nodes[i].up.as_ref();
        up.map_or(0, |up| up.log.status().era)
    }

    /// Notes a committed entry, and gives it to the reference if it is new.
    fn learn(&mut self, index: LogIndex, fact: Fact) -> bool {
        let command = (fact.kind == EntryKind::Command).then(|| fact.payload.clone());
        match self.ledger.note(index, fact) {
            Ok(true) => {}
            Ok(false) => return false,
            Err(breach) => {
                self.fail(breach);
                return false;
            }
        }
        let Some((header, payload)) = command.and_then(Header::unwrap) else {
            return true;
        };
        let (effect, response) = self.reference.apply(index, header, &payload);
        self.ledger.answered(hash_of(&response));
        match effect {
            Effect::First => {
                let client = usize::try_from(header.client).unwrap_or(usize::MAX);
                let asked = self.asked.get(client);
                let op = asked.and_then(|asked| asked.get(header.seq as usize).copied().flatten());
                match op {
                    Some(op) => self.order.push(((index.0, 0), op)),
                    None => self.fail(Breach::new(
                        "only what was proposed is committed",
                        format!("nobody asked for {header:?}"),
                    )),
                }
            }
            Effect::Repeated => self.marks.add("retries committed twice"),
            Effect::Late => self.marks.add("retries committed late"),
        }
        true
    }

    /// A ticket is for the command that it was given out for.
    fn is_the_one(&mut self, i: usize, waiter: &Waiter, index: LogIndex, command: Option<&Bytes>) {
        let header = command.and_then(|command| Header::unwrap(command.clone()));
        let found = header.map(|(header, _)| header.attempt);
        let id = self.id(i);
        let right = ensure(
            found == waiter.attempt,
            "a ticket resolves for its own command",
            || format!("{id} says of {waiter:?} that it is {index}, which holds {found:?}"),
        );
        self.must(right);
    }
}

pub(super) fn hash_of(bytes: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
