//! What a node's surroundings do with its events: the state machine, and who waits for it.

use alloc::collections::{BTreeMap, VecDeque};

use synod_core::{
    Committed, EntryKind, LogEvent, LogIndex, ReplicatedLog, Role, SnapshotMeta, StateMachine,
    Ticket,
};

use super::client::{Asked, Waiter};
use super::committed::hash_of;
use super::disk::Staging;
use super::{Detail, Happening, Kind, MILLI, World};
use crate::application::Application;
use crate::check::{Breach, ensure};
use crate::sessions::{Header, Sessions};
use crate::subject::Subject;
use crate::trace::{What, Who, note};

/// A node's state machine and what is under way for it.
pub(super) struct Replica<M> {
    pub(super) machine: Sessions<M>,
    pub(super) applied: LogIndex,
    /// The last entry that was handed out in this life.
    pub(super) handed: LogIndex,
    /// Who waits for which ticket.
    pub(super) tickets: BTreeMap<Ticket, Waiter>,
    pub(super) work: VecDeque<Work>,
    busy: bool,
    /// A snapshot was to be restored and is not current any more: a newer one follows.
    awaits_restore: bool,
    /// The snapshot of it that is being taken.
    pub(super) staging: Option<Staging>,
    /// The last index of which a snapshot was taken or restored.
    pub(super) snapshot: LogIndex,
    pub(super) role: Role,
}

/// What waits for the state machine, in order.
pub(super) enum Work {
    Apply(Committed, VecDeque<(LogIndex, Waiter)>),
    Answer(Waiter),
    Restore(SnapshotMeta),
}

impl<M: StateMachine> Replica<M> {
    pub(super) fn new(machine: M) -> Self {
        let applied = machine.applied();
        Self {
            machine: Sessions::new(machine),
            applied,
            handed: applied,
            tickets: BTreeMap::new(),
            work: VecDeque::new(),
            busy: false,
            awaits_restore: false,
            staging: None,
            snapshot: LogIndex::START,
            role: Role::Follower,
        }
    }
}

impl<M> Replica<M> {
    /// Forgets what a crash makes it forget; who was waiting.
    pub(super) fn crash(&mut self) -> Vec<Waiter> {
        let mut waiters: Vec<Waiter> = core::mem::take(&mut self.tickets).into_values().collect();
        for work in self.work.drain(..) {
            match work {
                Work::Apply(_, answers) => waiters.extend(answers.into_iter().map(|(_, w)| w)),
                Work::Answer(waiter) => waiters.push(waiter),
                Work::Restore(_) => {}
            }
        }
        self.handed = self.applied;
        self.busy = false;
        self.awaits_restore = false;
        self.staging = None;
        self.role = Role::Follower;
        waiters
    }
}

impl<S: Subject, A: Application> World<'_, S, A> {
    pub(super) fn event(&mut self, i: usize, event: LogEvent<Detail<S>>) {
        match event {
            LogEvent::Committed(committed) => self.committed(i, committed),
            LogEvent::Read { ticket, index } => self.read_ready(i, ticket, index),
            LogEvent::Displaced(ticket) => {
                self.marks.add("proposals displaced");
                self.resolved(i, ticket, true);
            }
            LogEvent::Refused(ticket, why) => {
                note!(self, Who::Node(i), What::Detail, "refuses {ticket}: {why}");
                self.marks.add("requests refused later");
                self.resolved(i, ticket, true);
            }
            LogEvent::Unknown(ticket) => {
                self.marks.add("tickets unknown");
                self.resolved(i, ticket, false);
            }
            LogEvent::Restore(meta) => self.restore_wanted(i, meta),
            LogEvent::Role(change) => {
                note!(
                    self,
                    Who::Node(i),
                    What::Detail,
                    "is {} in {}: {}",
                    change.role,
                    change.era,
                    change.why
                );
                self.role(i, change.role);
            }
            LogEvent::Stopped(stop) => {
                note!(self, Who::Node(i), What::Detail, "stops for good: {stop}");
                if self.stopped(i) {
                    return;
                }
                let evidence = format!("{}: {stop}", self.id(i));
                self.fail(Breach::new("no node stops for good", evidence));
            }
            LogEvent::Detail(detail) => {
                note!(self, Who::Node(i), What::Detail, "{detail:?}");
                if let Some(mark) = self.subject.mark(&detail) {
                    self.marks.add(mark);
                }
            }
        }
    }

    fn role(&mut self, i: usize, role: Role) {
        match role {
            Role::Leader => self.marks.add("elections won"),
            Role::Candidate => self.marks.add("candidacies"),
            _ => return,
        }
        if let Some(up) = &mut self.nodes[i].up {
            up.replica.role = role;
        }
        self.nodes[i].roles += 1;
        let (chance, times) = (
            self.plan.faults.election_crash_per_million,
            self.nodes[i].roles,
        );
        if let Some(mut rng) = self.strikes(Kind::ElectionCrash, (i, 0), times, chance) {
            let victim = rng.below(self.nodes.len() as u64) as usize;
            let outputs = rng.below(8);
            self.nodes[victim].crash_in.get_or_insert(outputs);
        }
    }

    /// Who waits for a ticket, which resolves now.
    pub(super) fn take(&mut self, i: usize, ticket: Ticket) -> Option<Waiter> {
        let up = self.nodes[i].up.as_mut();
        let waiter = up.and_then(|up| up.replica.tickets.remove(&ticket));
        if waiter.is_none() {
            let evidence = format!("{} resolves {ticket}", self.id(i));
            self.fail(Breach::new("a ticket resolves once", evidence));
        }
        waiter
    }

    /// A ticket is resolved without an answer; `never` if that means that it does not happen.
    fn resolved(&mut self, i: usize, ticket: Ticket, never: bool) {
        let Some(waiter) = self.take(i, ticket) else {
            return;
        };
        if let Some(attempt) = waiter.attempt.filter(|_| never) {
            let disowned = self.ledger.disown(attempt);
            self.must(disowned);
        }
        self.ask_again(waiter, 20 * MILLI);
    }

    fn read_ready(&mut self, i: usize, ticket: Ticket, index: LogIndex) {
        note!(
            self,
            Who::Node(i),
            What::Client,
            "may answer {ticket} at {index}"
        );
        let Some(waiter) = self.take(i, ticket) else {
            return;
        };
        let id = self.id(i);
        let handed = self.nodes[i]
            .up
            .as_ref()
            .map_or(LogIndex::START, |up| up.replica.handed);
        let fresh = ensure(
            index >= waiter.floor,
            "a read sees what was committed before it was asked",
            || format!("{id} answers {waiter:?} at {index}"),
        );
        self.must(fresh);
        let ready = ensure(
            handed >= index,
            "a read is ready once its index is handed out",
            || format!("{id} has handed out {handed} and answers a read at {index}"),
        );
        self.must(ready);
        self.work(i, Work::Answer(waiter));
    }

    fn restore_wanted(&mut self, i: usize, meta: SnapshotMeta) {
        let id = self.id(i);
        note!(
            self,
            Who::Node(i),
            What::Apply,
            "wants {} restored",
            meta.id
        );
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        let handed = up.replica.handed;
        up.replica.handed = meta.index();
        let forward = ensure(
            meta.index() > handed,
            "a state machine is never set back",
            || format!("{id} restores {} behind {handed}", meta.index()),
        );
        self.must(forward);
        self.work(i, Work::Restore(meta));
    }

    pub(super) fn work(&mut self, i: usize, work: Work) {
        if let Some(up) = &mut self.nodes[i].up {
            up.replica.work.push_back(work);
            self.go_on(i);
        }
    }

    /// Does what waits for the state machine, or starts on it if that takes time.
    fn go_on(&mut self, i: usize) {
        while let Some(up) = &self.nodes[i].up
            && !up.replica.busy
            && !up.replica.work.is_empty()
        {
            let node = &mut self.nodes[i];
            let took = self.plan.machine.apply.draw(&mut node.rng);
            if took > 0 {
                let life = node.life;
                if let Some(up) = &mut node.up {
                    up.replica.busy = true;
                }
                let at = self.now + took;
                return self.agenda.push(at, Happening::Worked { node: i, life });
            }
            self.do_one(i);
        }
    }

    pub(super) fn worked(&mut self, i: usize, life: u64) {
        if !self.lives(i, life) {
            return;
        }
        if let Some(up) = &mut self.nodes[i].up {
            up.replica.busy = false;
        }
        self.do_one(i);
        self.go_on(i);
        self.stirred(i);
    }

    fn do_one(&mut self, i: usize) {
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        match up.replica.work.pop_front() {
            // What comes before the snapshot that is waited for is in it.
            Some(Work::Apply(_, answers)) if up.replica.awaits_restore => {
                for (_, waiter) in answers {
                    self.ask_again(waiter, MILLI);
                }
            }
            Some(Work::Answer(waiter)) if up.replica.awaits_restore => {
                self.ask_again(waiter, MILLI);
            }
            Some(Work::Apply(committed, answers)) => self.apply(i, &committed, answers),
            Some(Work::Answer(waiter)) => self.answer_read(i, &waiter),
            Some(Work::Restore(meta)) => self.restore(i, &meta),
            None => {}
        }
    }

    fn apply(
        &mut self,
        i: usize,
        committed: &Committed,
        mut answers: VecDeque<(LogIndex, Waiter)>,
    ) {
        for (index, kind, payload, _) in committed.iter() {
            let Some(up) = &mut self.nodes[i].up else {
                return;
            };
            up.replica.applied = index;
            if kind != EntryKind::Command {
                continue;
            }
            let Some((header, command)) = Header::unwrap(payload.clone()) else {
                continue;
            };
            let (_, response) = up.replica.machine.apply(index, header, &command);
            let expected = self.ledger.get(index).map(|fact| fact.response);
            let id = self.id(i);
            let alike = ensure(
                expected == Some(hash_of(&response)),
                "all state machines answer alike",
                || format!("{id} answers {header:?} at {index} with {response:?}"),
            );
            self.must(alike);
            if answers.front().is_some_and(|(at, _)| *at == index)
                && let Some((_, waiter)) = answers.pop_front()
            {
                self.answer(&waiter, index, &response);
            }
        }
        for (_, waiter) in answers {
            self.ask_again(waiter, MILLI);
        }
        let now = self.local(i);
        let every = self.plan.machine.snapshot_every;
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        up.log.applied(now, committed.last());
        let due = up.replica.applied.since(up.replica.snapshot) >= every;
        if due && up.replica.staging.is_none() {
            self.snapshot(i);
        }
    }

    fn answer_read(&mut self, i: usize, waiter: &Waiter) {
        let Some(up) = &self.nodes[i].up else { return };
        let applied = up.replica.applied;
        let Some(query) = self.query(waiter) else {
            return;
        };
        let response = up.replica.machine.inner.query(&query);
        if waiter.asked == Asked::Session && applied < waiter.floor {
            let evidence = format!("{} answers {waiter:?} at {applied}", self.id(i));
            return self.fail(Breach::new("a session never goes back", evidence));
        }
        self.answer(waiter, applied, &response);
    }

    fn restore(&mut self, i: usize, meta: &SnapshotMeta) {
        let id = self.id(i);
        let image = &self.stored[i].image;
        let current = image.snapshot();
        if current != Some(meta) {
            let newer = current.is_some_and(|current| current.index() > meta.index());
            let follows = ensure(newer, "a snapshot to restore is on disk", || {
                format!("{id} wants {}, there is {current:?}", meta.id)
            });
            self.marks.add("snapshots overtaken before restore");
            if let Some(up) = &mut self.nodes[i].up {
                up.replica.awaits_restore = true;
            }
            return self.must(follows);
        }
        let contents = image.snapshot_contents().unwrap_or_default();
        let (fresh, now) = (self.app.machine(), self.local(i));
        let Some(up) = &mut self.nodes[i].up else {
            return;
        };
        up.replica.awaits_restore = false;
        up.replica.machine = Sessions::new(fresh);
        up.replica.applied = meta.index();
        up.replica.snapshot = meta.index();
        let restored = up.replica.machine.restore(contents);
        up.log.applied(now, meta.index());
        self.marks.add("snapshots restored");
        note!(self, Who::Node(i), What::Apply, "has restored {}", meta.id);
        if let Err(error) = restored {
            let evidence = format!("{id}: {error}");
            self.fail(Breach::new("the state machine can be restored", evidence));
        }
    }
}
