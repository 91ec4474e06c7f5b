//! What a node hands out as committed, and whether that is right.

use alloc::collections::VecDeque;
use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use bytes::Bytes;
use synod_core::{Committed, EntryKind, LogIndex, ReplicatedLog};

use super::client::Waiter;
use super::replica::Work;
use super::{LogScene, Stage};
use crate::application::Application;
use crate::check::{Breach, Fact, ensure};
use crate::sessions::{Effect, Header};
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    pub(super) fn committed(&mut self, stage: &mut Stage<'_, S>, i: usize, committed: Committed) {
        let id = stage.id(i);
        let era = stage.machine(i).map_or(0, |log| log.status().era);
        note!(
            stage,
            Who::Node(i),
            What::Apply,
            "hands out {:?}",
            committed.entries
        );
        let (first, last) = (committed.entries.first(), committed.last());
        let stamp = committed.entries.stamp();
        let Some(replica) = &mut self.replicas[i] else {
            return;
        };
        let handed = replica.handed;
        replica.handed = last;
        let in_order = ensure(
            first == handed.next(),
            "entries are handed out in order, once and without gaps",
            || format!("{id} hands out {first} behind {handed}"),
        );
        stage.must(in_order);
        let durable = ensure(
            stage.stored[i].holds(last, stamp),
            "what is handed out is durable",
            || format!("{id} hands out {last} {stamp:?}, its disk ends before or differs"),
        );
        stage.must(durable);
        let mut news = false;
        for (index, kind, payload, _) in committed.iter() {
            let fact = Fact {
                stamp,
                kind,
                payload: payload.clone(),
                era,
                response: 0,
            };
            news |= self.learn(stage, index, fact);
        }
        if news {
            self.observe(stage, |observer, cluster| {
                observer.commits(i, last, stamp, cluster)
            });
        }
        let mut answers = VecDeque::new();
        if committed.ticket.is_some() {
            for (index, kind, payload, ticket) in committed.iter() {
                if let Some(waiter) = ticket.and_then(|ticket| self.take(stage, i, ticket)) {
                    let command = kind == EntryKind::Command;
                    Self::is_the_one(stage, i, &waiter, index, command.then_some(payload));
                    answers.push_back((index, waiter));
                }
            }
        }
        self.work(stage, i, Work::Apply(committed, answers));
    }

    /// Notes a committed entry, and gives it to the reference if it is new.
    fn learn(&mut self, stage: &mut Stage<'_, S>, index: LogIndex, fact: Fact) -> bool {
        let command = (fact.kind == EntryKind::Command).then(|| fact.payload.clone());
        match self.ledger.note(index, fact) {
            Ok(true) => stage.decided(),
            Ok(false) => return false,
            Err(breach) => {
                stage.fail(breach);
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
                    None => stage.fail(Breach::new(
                        "only what was proposed is committed",
                        format!("nobody asked for {header:?}"),
                    )),
                }
            }
            Effect::Repeated => stage.marks.add("retries committed twice"),
            Effect::Late => stage.marks.add("retries committed late"),
        }
        true
    }

    /// A ticket is for the command that it was given out for.
    fn is_the_one(
        stage: &mut Stage<'_, S>,
        i: usize,
        waiter: &Waiter,
        index: LogIndex,
        command: Option<&Bytes>,
    ) {
        let header = command.and_then(|command| Header::unwrap(command.clone()));
        let found = header.map(|(header, _)| header.attempt);
        let id = stage.id(i);
        let right = ensure(
            found == waiter.attempt,
            "a ticket resolves for its own command",
            || format!("{id} says of {waiter:?} that it is {index}, which holds {found:?}"),
        );
        stage.must(right);
    }
}

pub(super) fn hash_of(bytes: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    hasher.finish()
}
