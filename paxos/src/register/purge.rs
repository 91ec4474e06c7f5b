//! Deletion (CASPaxos §3.1): how tombstones leave the disks.
//!
//! A delete is a change like any other: it puts a tombstone on a quorum, and its caller is told. The
//! rest is this job, on the node that did it, step by step:
//!
//! 1. *Bury* (§3.1, 2a): the tombstone is proposed once more, in a ballot *t* of its own, until **every**
//!    acceptor has accepted it in *t*. If the register is in use again, or somebody has a newer
//!    ballot, the job ends or starts anew.
//! 2. *Erase* (2d): every acceptor that still has just that, in *t*, forgets the register.
//!
//! **Why nothing comes back.** Purging before step 1 is complete resurrects values: the paper's example
//! has an acceptor with 42 in ballot 2 that has never heard of the tombstone in ballot 3; once the
//! others have forgotten, a quorum reports 42. After step 1 no acceptor reports anything below *t*
//! again. What is left are proposals below *t* still on their way, and caches of proposers made
//! before *t*. The paper has the job visit every proposer, drop its cache, advance its counter and
//! raise its age, and has acceptors refuse messages of lower ages (2b, 2c). Here the acceptor that
//! forgets a register raises its durable *floor* to at least *t* and to all that it had promised: for
//! a register that is not there, it refuses what is below. A late proposal or a proposal from an
//! old cache is below, so it is refused, and the refusal names the floor, by which its proposer
//! advances. A cache made at or after *t* whose ballot was promised stays good: it goes on from the
//! tombstone or from something newer. No proposer needs to be known, asked, or alive.
//!
//! **After a crash** nothing has to be remembered: a tombstone on the disk is the mark of a job that
//! is not done. A node that starts takes up those of its own ballots, and
//! [`Command::Collect`](crate::register::Command::Collect) those of others. Every step may be
//! repeated.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};

use synod_core::{Instant, NodeId};
use synod_quorum::NodeSet;

use crate::Ballot;
use crate::register::job::{Job, Purpose};
use crate::register::message::{Accept, Body};
use crate::register::node::Node;
use crate::register::planted::planted;
use crate::register::proposer::{Proposer, ask_acceptor};
use crate::register::{Event, Key};

/// How many registers are purged at a time.
const ACTIVE: usize = 16;

/// The purges of this node.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Purges {
    /// In the order of their times, which all lie the same delay ahead.
    waiting: VecDeque<(Instant, Key)>,
    queued: BTreeSet<Key>,
    burying: BTreeSet<Key>,
    active: BTreeMap<Key, Purge>,
}

/// A tombstone that a quorum has.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Purge {
    tombstone: Accept,
    step: Step,
    /// When to ask again.
    due: Instant,
    /// When to start anew.
    until: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Step {
    /// These have it.
    Bury(NodeSet),
    /// These have forgotten it.
    Erase(NodeSet),
}

impl Purges {
    /// Takes a tombstone on, later. Too many stay where they are.
    pub(crate) fn enqueue(&mut self, node: &Node, key: Key) {
        let known = self.queued.contains(&key)
            || self.burying.contains(&key)
            || self.active.contains_key(&key);
        if !known && self.waiting.len() < node.config.limits.purges {
            let at = node.now + node.config.timing.purge_delay;
            self.waiting.push_back((at, key.clone()));
            self.queued.insert(key);
        }
    }

    pub(crate) fn tick(&mut self, node: &mut Node, proposer: &mut Proposer) {
        while self.burying.len() + self.active.len() < ACTIVE
            && self.waiting.front().is_some_and(|(at, _)| *at <= node.now)
        {
            let Some((_, key)) = self.waiting.pop_front() else {
                break;
            };
            self.queued.remove(&key);
            self.bury(node, proposer, key);
        }
        let keys: VecDeque<Key> = self.active.keys().cloned().collect();
        for key in keys {
            self.tick_active(node, key);
        }
    }

    fn bury(&mut self, node: &mut Node, proposer: &mut Proposer, key: Key) {
        let (_, vote) = node.store.view(&key);
        if vote.is_some_and(|vote| vote.state.value.is_some()) {
            return;
        }
        if proposer.waiting(&key) > 0 {
            return self.enqueue(node, key);
        }
        self.burying.insert(key.clone());
        let until = node.now + node.config.timing.change;
        let job = Job::new(Purpose::Bury, Some(until));
        proposer.submit(node, key, job);
    }

    fn tick_active(&mut self, node: &mut Node, key: Key) {
        let Some(purge) = self.active.get_mut(&key) else {
            return;
        };
        if purge.until <= node.now {
            return self.again(node, &key);
        }
        if purge.due <= node.now {
            purge.due = node.now + node.config.timing.retry;
            purge.ask(node);
        }
    }

    /// A quorum has accepted the tombstone.
    pub(crate) fn buried(&mut self, node: &mut Node, tombstone: Accept, accepted: NodeSet) {
        let key = tombstone.key.clone();
        self.burying.remove(&key);
        let timing = &node.config.timing;
        let purge = Purge {
            tombstone,
            step: Step::Bury(accepted),
            due: node.now + timing.retry,
            until: node.now + timing.change,
        };
        self.active.insert(key.clone(), purge);
        self.erase_if_everywhere(node, &key);
    }

    pub(crate) fn not_buried(&mut self, node: &Node, key: Key, again: bool) {
        if self.burying.remove(&key) && again {
            self.enqueue(node, key);
        }
    }

    /// Another acceptor has it.
    pub(crate) fn on_accepted(&mut self, node: &mut Node, from: NodeId, key: &Key, ballot: Ballot) {
        let place = place(node, from);
        if let (Some(purge), Some(place)) = (self.at(key, ballot), place)
            && let Step::Bury(accepted) = &mut purge.step
        {
            accepted.insert(place);
            self.erase_if_everywhere(node, key);
        }
    }

    fn erase_if_everywhere(&mut self, node: &mut Node, key: &Key) {
        let all = everybody(node);
        if let Some(purge) = self.active.get_mut(key)
            && let Step::Bury(accepted) = purge.step
            && (accepted == all || planted!(node, PurgeEarly))
        {
            purge.step = Step::Erase(NodeSet::EMPTY);
            purge.due = node.now + node.config.timing.retry;
            purge.ask(node);
        }
    }

    /// Another acceptor has forgotten it.
    pub(crate) fn on_purged(&mut self, node: &mut Node, from: NodeId, key: &Key, ballot: Ballot) {
        let (place, all) = (place(node, from), everybody(node));
        if let (Some(purge), Some(place)) = (self.at(key, ballot), place)
            && let Step::Erase(erased) = &mut purge.step
        {
            erased.insert(place);
            if *erased == all {
                self.active.remove(key);
                if let Key::Data(key) = key {
                    node.tell(Event::Purged { key: key.clone() });
                }
            }
        }
    }

    /// An acceptor has promised something newer: this ballot will not be everywhere.
    pub(crate) fn on_refused(&mut self, node: &Node, key: &Key, ballot: Ballot) {
        if let Some(purge) = self.at(key, ballot)
            && matches!(purge.step, Step::Bury(_))
        {
            self.again(node, key);
        }
    }

    fn at(&mut self, key: &Key, ballot: Ballot) -> Option<&mut Purge> {
        let purge = self.active.get_mut(key)?;
        (purge.tombstone.ballot == ballot).then_some(purge)
    }

    fn again(&mut self, node: &Node, key: &Key) {
        self.active.remove(key);
        self.enqueue(node, key.clone());
    }

    /// Another configuration is in force: who is everybody has changed.
    pub(crate) fn reconfigure(&mut self, node: &Node) {
        let keys: VecDeque<Key> = self.active.keys().cloned().collect();
        for key in keys {
            self.again(node, &key);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let room = self.burying.len() + self.active.len() < ACTIVE;
        let next = self.waiting.front().filter(|_| room).map(|(at, _)| *at);
        let active = self.active.values().map(|purge| purge.due.min(purge.until));
        active.chain(next).min()
    }

    pub(crate) fn check(&self) {
        assert_eq!(self.waiting.len(), self.queued.len());
        assert!(self.burying.len() + self.active.len() <= ACTIVE);
    }
}

impl Purge {
    /// Asks those who have not answered.
    fn ask(&self, node: &mut Node) {
        let (Step::Bury(done) | Step::Erase(done)) = self.step;
        let Some(configuration) = node.configuration() else {
            return;
        };
        let quorum = configuration.phases().phase2().clone();
        for to in quorum.nodes(quorum.all() - done) {
            let body = match self.step {
                Step::Bury(_) => Body::Accept(alloc::boxed::Box::new(self.tombstone.clone())),
                Step::Erase(_) => Body::Purge {
                    key: self.tombstone.key.clone(),
                    ballot: self.tombstone.ballot,
                },
            };
            ask_acceptor(node, to, body);
        }
    }
}

fn place(node: &Node, from: NodeId) -> Option<usize> {
    let configuration = node.configuration()?;
    configuration.phases().phase2().position(from)
}

fn everybody(node: &Node) -> NodeSet {
    let configuration = node.configuration();
    configuration.map_or(NodeSet::EMPTY, |it| it.phases().phase2().all())
}
