//! The proposer (CASPaxos §2.2): what it does with a job, from the first ballot to the answer.
//!
//! Jobs of one register wait for each other: a proposer that competes with itself helps nobody.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::format;
use core::time::Duration;

use synod_core::{Instant, NodeId, Ticket, mix};
use synod_quorum::{NodeSet, Tally, Verdict};

use crate::Ballot;
use crate::register::cache::{Cache, Caches};
use crate::register::job::{Job, Plan, Purpose, Telling};
use crate::register::message::{Accept, Body, Held, Nack, Phase};
use crate::register::node::{Node, Note};
use crate::register::planted::planted;
use crate::register::round::{Clash, Prepare, Proposal, Round, Stage};
use crate::register::types::State;
use crate::register::{Configuration, Decision, Event, Key, Refusal, Version};

mod answers;
mod end;
mod time;

/// What the proposer has under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Proposer {
    slots: BTreeMap<Key, Slot>,
    pub(crate) caches: Caches,
    /// Changes of the application under way.
    pub(crate) count: usize,
    /// No timer of a round or job is due before.
    due: Option<Instant>,
    /// What other parts of the node must hear.
    finished: VecDeque<Finished>,
}

/// The jobs of one register: the first is under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
struct Slot {
    round: Option<Round>,
    queue: VecDeque<Job>,
}

/// What a round has come to, for other parts of the node.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Finished {
    /// A register holds nothing.
    Empty(Key),
    /// A quorum has the tombstone in this ballot.
    Buried {
        key: Key,
        proposal: Box<Accept>,
        accepted: NodeSet,
    },
    /// There is no tombstone, or (`again`) it could not be proposed in time.
    NotBuried { key: Key, again: bool },
    /// The content is chosen under the quorums in force.
    Rewritten(Key),
    /// It cannot be: acceptors have no room for it.
    NotRewritten(Key),
    /// This is chosen in the register of the configuration.
    Configured(State),
    /// A step of this ticket was taken.
    Stepped(Ticket),
}

impl Proposer {
    pub(crate) const fn new(caches: usize) -> Self {
        Self {
            slots: BTreeMap::new(),
            caches: Caches::new(caches),
            count: 0,
            due: None,
            finished: VecDeque::new(),
        }
    }

    /// How many jobs of a register are under way or wait.
    pub(crate) fn waiting(&self, key: &Key) -> usize {
        self.slots.get(key).map_or(0, |slot| {
            slot.queue.len() + usize::from(slot.round.is_some())
        })
    }

    pub(crate) fn next_finished(&mut self) -> Option<Finished> {
        self.finished.pop_front()
    }

    /// Takes a job on.
    pub(crate) fn submit(&mut self, node: &mut Node, key: Key, job: Job) {
        self.count += usize::from(job.is_clients());
        self.wake_by(job.until);
        let slot = self.slots.entry(key.clone()).or_default();
        slot.queue.push_back(job);
        self.advance(node, key);
    }

    /// Begins the next job of a register if none is under way.
    fn advance(&mut self, node: &mut Node, key: Key) {
        let Some(slot) = self.slots.get_mut(&key) else {
            return;
        };
        if slot.round.is_some() {
            return;
        }
        match slot.queue.pop_front() {
            Some(job) => self.begin(node, key, job, 0),
            None => {
                self.slots.remove(&key);
            }
        }
    }

    /// Begins an attempt: in one round trip if the content is cached, and with phase 1 otherwise.
    fn begin(&mut self, node: &mut Node, key: Key, job: Job, conflicts: u32) {
        let Some(configuration) = node.configuration().cloned() else {
            return self.park(node, key, job, conflicts);
        };
        // Everybody asks all acceptors, so its own knows best whether others have come by since: that
        // saves a proposal which can only fail, and whose outcome would be in doubt.
        let (promised, _) = node.store.view(&key);
        let by_others = planted!(node, OneRoundTripByOthers);
        let is_blind = by_others || planted!(node, CacheKeptAfterUnknown);
        let is_stale = |cache: &Cache| node.is_acceptor() && promised > cache.next && !is_blind;
        let cache = self.caches.take(&key).filter(|cache| !is_stale(cache));
        let Some(cache) = cache else {
            let ballot = node.next_ballot();
            return self.prepare(node, key, job, (ballot, 0), conflicts);
        };
        let plan = job.plan(node, &cache.state);
        let ready = cache.is_prepared(&configuration);
        let round = |stage| Round {
            job: job.clone(),
            ballot: cache.next,
            stage,
            conflicts,
            due: Instant::NEVER,
        };
        match plan {
            Plan::Propose(value) if ready => {
                let round = round(Stage::Backoff);
                self.propose(node, key, round, &cache.state, value);
            }
            Plan::Keep(Telling::Buried) if ready => {
                let round = round(Stage::Backoff);
                self.accept(node, key, round, cache.state, Telling::Buried);
            }
            Plan::Ask if ready => self.ask(node, key, round(Stage::Backoff), cache.state),
            // What is kept is confirmed by phase 1 of the cached ballot: one round trip that leaves
            // the cache as it is, and nothing on the disks of those who have promised it already.
            Plan::Propose(_) | Plan::Ask | Plan::Keep(_) | Plan::GiveUp | Plan::Nothing => {
                let asked = cache.asked + 1;
                self.prepare(node, key, job, (cache.next, asked), conflicts);
            }
        }
    }

    /// Waits: without a configuration there is nobody to ask.
    fn park(&mut self, node: &Node, key: Key, job: Job, conflicts: u32) {
        let round = Round {
            job,
            ballot: Ballot::START,
            stage: Stage::Backoff,
            conflicts,
            due: node.now + node.config.timing.retry,
        };
        self.keep(key, round);
    }

    fn keep(&mut self, key: Key, round: Round) {
        self.wake_by(Some(round.due));
        self.slots.entry(key).or_default().round = Some(round);
    }

    // Phase 1.

    fn prepare(
        &mut self,
        node: &mut Node,
        key: Key,
        job: Job,
        (ballot, asked): (Ballot, u64),
        conflicts: u32,
    ) {
        let Some(configuration) = node.configuration() else {
            return self.park(node, key, job, conflicts);
        };
        let stage = Stage::Prepare(Prepare::new(
            configuration.phases().phase1(),
            asked,
            planted!(node, EpochsUnordered),
        ));
        let round = Round {
            job,
            ballot,
            stage,
            conflicts,
            due: node.now + node.config.timing.retry,
        };
        self.keep(key.clone(), round);
        self.send_round(node, &key);
    }

    /// Sends what a round asks to all who have not answered.
    fn send_round(&self, node: &mut Node, key: &Key) {
        let Some(round) = self.slots.get(key).and_then(|slot| slot.round.as_ref()) else {
            return;
        };
        for to in round.silent() {
            let body = match &round.stage {
                Stage::Prepare(prepare) => Body::Prepare {
                    key: key.clone(),
                    ballot: round.ballot,
                    asked: prepare.asked,
                },
                Stage::Accept(proposal) => {
                    Body::Accept(Box::new(proposal.message(key, round.ballot)))
                }
                Stage::Backoff | Stage::Asking { .. } => return,
            };
            ask_acceptor(node, to, body);
        }
    }

    /// Phase 1 is won: goes on from what it has found.
    fn prepared(&mut self, node: &mut Node, key: Key, mut round: Round) {
        let stage = core::mem::replace(&mut round.stage, Stage::Backoff);
        let (Stage::Prepare(prepare), Some(configuration)) = (stage, node.configuration()) else {
            return self.keep(key, round);
        };
        let base = prepare.base();
        // Of a job in doubt, what is kept is proposed once more in any case: only that makes sure
        // that its proposals, which may lie above what is chosen, get nowhere.
        let is_chosen = prepare.is_chosen(configuration.phases().phase2())
            && !round.job.is_in_doubt()
            || planted!(node, ReadUnfenced);
        let plan = round.job.plan(node, &base);
        let cache = Cache {
            next: round.ballot,
            state: base.clone(),
            ballot: prepare.base_ballot(),
            asked: prepare.asked,
            promised: prepare.tally.yes(),
        };
        match plan {
            Plan::Keep(Telling::Buried) => {
                self.accept(node, key, round, base, Telling::Buried);
            }
            Plan::Keep(telling) if is_chosen => {
                self.finish(node, key, round.job, telling, Some((base, cache)));
            }
            Plan::Keep(telling) => self.accept(node, key, round, base, telling),
            Plan::Propose(value) => self.propose(node, key, round, &base, value),
            Plan::Ask => self.ask(node, key, round, base),
            Plan::GiveUp => {
                self.caches.put(key.clone(), cache);
                self.give_up(node, key, round.job);
            }
            Plan::Nothing => {
                self.caches.put(key.clone(), cache);
                self.finished.push_back(Finished::NotBuried {
                    key: key.clone(),
                    again: false,
                });
                self.close(node, key, &round.job);
            }
        }
    }

    fn ask(&mut self, node: &mut Node, key: Key, round: Round, base: State) {
        if let Some(ticket) = round.job.ticket() {
            node.tell(Event::Ask {
                ticket,
                ballot: round.ballot,
                current: base.seen(),
            });
        }
        let stage = Stage::Asking { base };
        let due = Instant::NEVER;
        self.keep(
            key,
            Round {
                stage,
                due,
                ..round
            },
        );
    }

    /// Whether this question is open.
    pub(crate) fn is_asking(&self, ticket: Ticket, ballot: Ballot) -> Option<Key> {
        let mut slots = self.slots.iter();
        let found = slots.find(|(_, slot)| {
            slot.round.as_ref().is_some_and(|round| {
                round.job.ticket() == Some(ticket)
                    && round.ballot == ballot
                    && matches!(round.stage, Stage::Asking { .. })
            })
        });
        found.map(|(key, _)| key.clone())
    }

    /// The application's answer to the open question of a register.
    pub(crate) fn decide(&mut self, node: &mut Node, key: Key, decision: Decision) {
        let Some(mut round) = self.take_round(&key) else {
            return;
        };
        let stage = core::mem::replace(&mut round.stage, Stage::Backoff);
        let Stage::Asking { base } = stage else {
            round.stage = stage;
            return self.keep(key, round);
        };
        match Job::decided(decision, &base) {
            Plan::Propose(value) => self.propose(node, key, round, &base, value),
            Plan::Keep(telling) => self.accept(node, key, round, base, telling),
            Plan::Ask | Plan::GiveUp | Plan::Nothing => self.keep(key, round),
        }
    }

    // Phase 2.

    fn propose(
        &mut self,
        node: &mut Node,
        key: Key,
        round: Round,
        base: &State,
        value: Option<bytes::Bytes>,
    ) {
        let state = base.followed_by(round.ballot, value);
        let telling = match round.job.purpose {
            Purpose::Configure { .. } => Telling::Stepped,
            Purpose::Client { .. } | Purpose::Rewrite | Purpose::Bury => {
                Telling::Done(Some(Version(round.ballot)), state.seen())
            }
        };
        self.accept(node, key.clone(), round, state, telling);
        #[cfg(feature = "planted")]
        if let Some(Round {
            stage: Stage::Accept(proposal),
            ..
        }) = self
            .slots
            .get_mut(&key)
            .and_then(|slot| slot.round.as_mut())
        {
            proposal.base = Some(base.clone());
        }
    }

    fn accept(&mut self, node: &mut Node, key: Key, round: Round, state: State, telling: Telling) {
        let Some(configuration) = node.configuration() else {
            return self.park(node, key, round.job, round.conflicts);
        };
        let tally = Tally::new(configuration.phases().phase2().clone());
        let proposal = Proposal {
            tally,
            state,
            next: node.next_ballot(),
            telling,
            full: NodeSet::EMPTY,
            #[cfg(feature = "planted")]
            base: None,
        };
        let due = node.now + node.config.timing.retry;
        let stage = Stage::Accept(proposal);
        self.keep(
            key.clone(),
            Round {
                stage,
                due,
                ..round
            },
        );
        self.send_round(node, &key);
    }

    /// Phase 2 is won: the content is chosen.
    fn chosen(&mut self, node: &mut Node, key: Key, round: Round) {
        let Stage::Accept(proposal) = round.stage else {
            return self.keep(key, round);
        };
        let message = proposal.message(&key, round.ballot);
        let accepted = proposal.tally.yes();
        let cache = Cache {
            next: proposal.next,
            state: proposal.state.clone(),
            ballot: round.ballot,
            asked: 0,
            promised: accepted,
        };
        let is_data = key != Key::Configuration;
        match (
            &round.job.purpose,
            is_data && proposal.state.value.is_none(),
        ) {
            (Purpose::Bury, _) => self.finished.push_back(Finished::Buried {
                key: key.clone(),
                proposal: Box::new(message),
                accepted,
            }),
            (_, true) => self.finished.push_back(Finished::Empty(key.clone())),
            (_, false) => {}
        }
        let state = proposal.state;
        self.finish(node, key, round.job, proposal.telling, Some((state, cache)));
    }

    fn take_round(&mut self, key: &Key) -> Option<Round> {
        self.slots.get_mut(key).and_then(|slot| slot.round.take())
    }

    fn wake_by(&mut self, at: Option<Instant>) {
        let at = at.filter(|at| *at < Instant::NEVER);
        self.due = match (self.due, at) {
            (Some(due), Some(at)) => Some(due.min(at)),
            (due, at) => due.or(at),
        };
    }

    /// The invariants of the proposer alone.
    pub(crate) fn check(&self, node: &Node) {
        self.caches.check();
        let mut count = 0;
        for (key, slot) in &self.slots {
            let Some(round) = &slot.round else {
                panic!("{key:?} has jobs and none is under way");
            };
            let jobs = slot.queue.iter().chain([&round.job]);
            count += jobs.filter(|job| job.is_clients()).count();
            assert!(
                round.ballot == Ballot::START || round.ballot.proposer == node.id(),
                "a proposer uses its own ballots"
            );
        }
        assert_eq!(self.count, count, "changes under way are counted");
    }
}

impl Proposal {
    fn message(&self, key: &Key, ballot: Ballot) -> Accept {
        Accept {
            key: key.clone(),
            ballot,
            state: self.state.clone(),
            next: self.next,
        }
    }
}

/// Asks an acceptor; its own answers through a note, once that is durable.
pub(crate) fn ask_acceptor(node: &mut Node, to: NodeId, body: Body) {
    if to != node.id() {
        let round = match &body {
            Body::Prepare { ballot, .. } => ballot.round,
            Body::Accept(accept) => accept.next.round,
            // Not proposals, but they rest on nothing of this node's either.
            Body::Purge { .. } | Body::List { .. } => 0,
            Body::Promised { .. }
            | Body::Accepted { .. }
            | Body::Refused { .. }
            | Body::Purged { .. }
            | Body::Keys(_)
            | Body::Behind
            | Body::Configuration(_)
            | Body::Stranger { .. } => u64::MAX,
        };
        return node.propose(to, round, body);
    }
    let epoch = node.epoch().unwrap_or_default();
    if let Some(body) = node.answer(body, epoch) {
        node.outbox.note_after(Note::Answer { epoch, body });
    }
}
