//! What a node's surroundings do with its events: the state machine, and who waits for it.

use alloc::collections::{BTreeMap, VecDeque};

use synod_core::{
    Committed, EntryKind, LogEvent, LogIndex, ReplicatedLog, Role, SnapshotMeta, StateMachine,
    Ticket,
};

use super::client::{Asked, Waiter};
use super::committed::hash_of;
use super::snapshot::Staging;
use super::{Detail, Item, LogScene, Stage};
use crate::application::Application;
use crate::check::{Breach, ensure};
use crate::schedule::Kind;
use crate::sessions::{Header, Sessions};
use crate::subject::LogSubject;
use crate::trace::{What, Who, note};
use crate::world::MILLI;

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

impl<S: LogSubject, A: Application> LogScene<'_, S, A> {
    pub(super) fn log_event(
        &mut self,
        stage: &mut Stage<'_, S>,
        i: usize,
        event: LogEvent<Detail<S>>,
    ) {
        match event {
            LogEvent::Committed(committed) => self.committed(stage, i, committed),
            LogEvent::Read { ticket, index } => self.read_ready(stage, i, ticket, index),
            LogEvent::Displaced(ticket) => {
                stage.marks.add("proposals displaced");
                self.resolved(stage, i, ticket, true);
            }
            LogEvent::Refused(ticket, why) => {
                note!(stage, Who::Node(i), What::Detail, "refuses {ticket}: {why}");
                stage.marks.add("requests refused later");
                self.resolved(stage, i, ticket, true);
            }
            LogEvent::Unknown(ticket) => {
                stage.marks.add("tickets unknown");
                self.resolved(stage, i, ticket, false);
            }
            LogEvent::Restore(meta) => self.restore_wanted(stage, i, meta),
            LogEvent::Role(change) => {
                note!(
                    stage,
                    Who::Node(i),
                    What::Detail,
                    "is {} in {}: {}",
                    change.role,
                    change.era,
                    change.why
                );
                self.role(stage, i, change.role);
            }
            LogEvent::Stopped(stop) => {
                note!(stage, Who::Node(i), What::Detail, "stops for good: {stop}");
                let id = stage.id(i);
                stage.stops(i, || format!("{id}: {stop}"));
            }
            LogEvent::Detail(detail) => {
                note!(stage, Who::Node(i), What::Detail, "{detail:?}");
            }
        }
    }

    fn role(&mut self, stage: &mut Stage<'_, S>, i: usize, role: Role) {
        match role {
            Role::Leader => stage.marks.add("elections won"),
            Role::Candidate => stage.marks.add("candidacies"),
            _ => return,
        }
        if let Some(replica) = &mut self.replicas[i] {
            replica.role = role;
        }
        self.seen[i].roles += 1;
        let (chance, times) = (
            stage.plan.faults.election_crash_per_million,
            self.seen[i].roles,
        );
        if let Some(mut rng) = stage.strikes(Kind::ElectionCrash, (i, 0), times, chance) {
            let victim = rng.below(stage.size() as u64) as usize;
            let outputs = rng.below(8);
            stage.crash_behind(victim, outputs);
        }
    }

    /// Who waits for a ticket, which resolves now.
    pub(super) fn take(
        &mut self,
        stage: &mut Stage<'_, S>,
        i: usize,
        ticket: Ticket,
    ) -> Option<Waiter> {
        let replica = self.replicas[i].as_mut();
        let waiter = replica.and_then(|replica| replica.tickets.remove(&ticket));
        if waiter.is_none() {
            let evidence = format!("{} resolves {ticket}", stage.id(i));
            stage.fail(Breach::new("a ticket resolves once", evidence));
        }
        waiter
    }

    /// A ticket is resolved without an answer; `never` if that means that it does not happen.
    fn resolved(&mut self, stage: &mut Stage<'_, S>, i: usize, ticket: Ticket, never: bool) {
        let Some(waiter) = self.take(stage, i, ticket) else {
            return;
        };
        if let Some(attempt) = waiter.attempt.filter(|_| never) {
            let disowned = self.ledger.disown(attempt);
            stage.must(disowned);
        }
        self.ask_again(stage, waiter, 20 * MILLI);
    }

    fn read_ready(&mut self, stage: &mut Stage<'_, S>, i: usize, ticket: Ticket, index: LogIndex) {
        note!(
            stage,
            Who::Node(i),
            What::Client,
            "may answer {ticket} at {index}"
        );
        let Some(waiter) = self.take(stage, i, ticket) else {
            return;
        };
        let id = stage.id(i);
        let handed = self.replicas[i]
            .as_ref()
            .map_or(LogIndex::START, |replica| replica.handed);
        let fresh = ensure(
            index >= waiter.floor,
            "a read sees what was committed before it was asked",
            || format!("{id} answers {waiter:?} at {index}"),
        );
        stage.must(fresh);
        let ready = ensure(
            handed >= index,
            "a read is ready once its index is handed out",
            || format!("{id} has handed out {handed} and answers a read at {index}"),
        );
        stage.must(ready);
        self.work(stage, i, Work::Answer(waiter));
    }

    fn restore_wanted(&mut self, stage: &mut Stage<'_, S>, i: usize, meta: SnapshotMeta) {
        let id = stage.id(i);
        note!(
            stage,
            Who::Node(i),
            What::Apply,
            "wants {} restored",
            meta.id
        );
        let Some(replica) = &mut self.replicas[i] else {
            return;
        };
        let handed = replica.handed;
        replica.handed = meta.index();
        let forward = ensure(
            meta.index() > handed,
            "a state machine is never set back",
            || format!("{id} restores {} behind {handed}", meta.index()),
        );
        stage.must(forward);
        self.work(stage, i, Work::Restore(meta));
    }

    pub(super) fn work(&mut self, stage: &mut Stage<'_, S>, i: usize, work: Work) {
        if let Some(replica) = &mut self.replicas[i] {
            replica.work.push_back(work);
            self.go_on(stage, i);
        }
    }

    /// Does what waits for the state machine, or starts on it if that takes time.
    fn go_on(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        while let Some(replica) = &mut self.replicas[i]
            && !replica.busy
            && !replica.work.is_empty()
        {
            let apply = stage.plan.machine.apply;
            let took = apply.draw(stage.rng_of(i));
            if took > 0 {
                replica.busy = true;
                return stage.later_on(i, took, Item::Worked(i));
            }
            self.do_one(stage, i);
        }
    }

    pub(super) fn worked(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        if let Some(replica) = &mut self.replicas[i] {
            replica.busy = false;
        }
        self.do_one(stage, i);
        self.go_on(stage, i);
        stage.stir(i);
    }

    fn do_one(&mut self, stage: &mut Stage<'_, S>, i: usize) {
        let Some(replica) = &mut self.replicas[i] else {
            return;
        };
        match replica.work.pop_front() {
            // What comes before the snapshot that is waited for is in it.
            Some(Work::Apply(_, answers)) if replica.awaits_restore => {
                for (_, waiter) in answers {
                    self.ask_again(stage, waiter, MILLI);
                }
            }
            Some(Work::Answer(waiter)) if replica.awaits_restore => {
                self.ask_again(stage, waiter, MILLI);
            }
            Some(Work::Apply(committed, answers)) => self.apply(stage, i, &committed, answers),
            Some(Work::Answer(waiter)) => self.answer_read(stage, i, &waiter),
            Some(Work::Restore(meta)) => self.restore(stage, i, &meta),
            None => {}
        }
    }

    fn apply(
        &mut self,
        stage: &mut Stage<'_, S>,
        i: usize,
        committed: &Committed,
        mut answers: VecDeque<(LogIndex, Waiter)>,
    ) {
        for (index, kind, payload, _) in committed.iter() {
            let Some(replica) = &mut self.replicas[i] else {
                return;
            };
            replica.applied = index;
            if kind != EntryKind::Command {
                continue;
            }
            let Some((header, command)) = Header::unwrap(payload.clone()) else {
                continue;
            };
            let (_, response) = replica.machine.apply(index, header, &command);
            let expected = self.ledger.get(index).map(|fact| fact.response);
            let id = stage.id(i);
            let alike = ensure(
                expected == Some(hash_of(&response)),
                "all state machines answer alike",
                || format!("{id} answers {header:?} at {index} with {response:?}"),
            );
            stage.must(alike);
            if answers.front().is_some_and(|(at, _)| *at == index)
                && let Some((_, waiter)) = answers.pop_front()
            {
                self.answer(stage, &waiter, index, &response);
            }
        }
        for (_, waiter) in answers {
            self.ask_again(stage, waiter, MILLI);
        }
        let now = stage.local(i);
        let every = stage.plan.machine.snapshot_every;
        let (Some(log), Some(replica)) = (stage.machine_mut(i), &self.replicas[i]) else {
            return;
        };
        log.applied(now, committed.last());
        let due = replica.applied.since(replica.snapshot) >= every;
        if due && replica.staging.is_none() {
            self.snapshot(stage, i);
        }
    }

    fn answer_read(&mut self, stage: &mut Stage<'_, S>, i: usize, waiter: &Waiter) {
        let Some(replica) = &self.replicas[i] else {
            return;
        };
        let applied = replica.applied;
        let Some(query) = self.query(waiter) else {
            return;
        };
        let response = replica.machine.inner.query(&query);
        if waiter.asked == Asked::Session && applied < waiter.floor {
            let evidence = format!("{} answers {waiter:?} at {applied}", stage.id(i));
            return stage.fail(Breach::new("a session never goes back", evidence));
        }
        self.answer(stage, waiter, applied, &response);
    }

    fn restore(&mut self, stage: &mut Stage<'_, S>, i: usize, meta: &SnapshotMeta) {
        let id = stage.id(i);
        let image = &stage.stored[i].image;
        let current = image.snapshot();
        if current != Some(meta) {
            let newer = current.is_some_and(|current| current.index() > meta.index());
            let follows = ensure(newer, "a snapshot to restore is on disk", || {
                format!("{id} wants {}, there is {current:?}", meta.id)
            });
            stage.marks.add("snapshots overtaken before restore");
            if let Some(replica) = &mut self.replicas[i] {
                replica.awaits_restore = true;
            }
            return stage.must(follows);
        }
        let contents = image.snapshot_contents().unwrap_or_default();
        let (fresh, now) = (self.app.machine(), stage.local(i));
        let (Some(log), Some(replica)) = (stage.machine_mut(i), &mut self.replicas[i]) else {
            return;
        };
        replica.awaits_restore = false;
        replica.machine = Sessions::new(fresh);
        replica.applied = meta.index();
        replica.snapshot = meta.index();
        let restored = replica.machine.restore(contents);
        log.applied(now, meta.index());
        stage.marks.add("snapshots restored");
        note!(stage, Who::Node(i), What::Apply, "has restored {}", meta.id);
        if let Err(error) = restored {
            let evidence = format!("{id}: {error}");
            stage.fail(Breach::new("the state machine can be restored", evidence));
        }
    }
}
