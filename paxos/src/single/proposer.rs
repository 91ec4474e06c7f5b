//! The proposer: what it wants to have chosen, and the ballot in which it tries.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use synod_core::{Instant, NodeId, Ticket, Wake, mix};

use super::message::may_open;
use super::node::Node;
use super::planted::planted;
use super::record::Saved;
use super::{Body, Config, Event, Pick, Record, Recovery, Value, Vote};
use crate::Ballot;

mod fast;
mod hear;

/// The proposer of one node (*Paxos Made Simple*, §2.2), and the coordinator of its fast ballots
/// (*Fast Paxos*, §2.1).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Proposer {
    /// It has used no ballot above, and will use none up to here.
    used: Ballot,
    /// The highest ballot that it has heard of.
    seen: Ballot,
    wanted: Vec<Wanted>,
    tickets: u64,
    phase: Phase,
    pub(crate) deadline: Option<Instant>,
    /// How many of its ballots were refused.
    refused: u32,
    /// A fast round has come to nothing: from now on, classic ones.
    slow: bool,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Wanted {
    value: Value,
    /// `None` of another node's.
    ticket: Option<Ticket>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Phase {
    Idle,
    /// Its value is in the hands of the distinguished proposer, or of the acceptors of a fast round.
    Waiting,
    /// Phase 1.
    Preparing {
        ballot: Ballot,
        promises: BTreeMap<NodeId, Option<Vote>>,
        against: BTreeSet<NodeId>,
    },
    /// Phase 2, for one value: the only one of this ballot.
    Accepting {
        ballot: Ballot,
        value: Value,
        voted: BTreeSet<NodeId>,
        against: BTreeSet<NodeId>,
    },
    /// Phase 2 of a fast ballot, for any value.
    Open {
        ballot: Ballot,
        /// The last vote of each acceptor, and what it promised with it.
        votes: BTreeMap<NodeId, (Vote, Ballot)>,
        against: BTreeSet<NodeId>,
    },
    /// Waits after a refusal.
    BackingOff,
}

impl Proposer {
    pub(crate) fn new(config: &Config, saved: &Saved, now: Instant) -> Self {
        Self {
            used: saved.ballot,
            seen: saved.ballot.max(saved.promised),
            wanted: Vec::new(),
            tickets: 0,
            phase: Phase::Idle,
            deadline: config.is_coordinator().then_some(now),
            refused: 0,
            slow: false,
        }
    }

    /// The ballot that it is in.
    pub(crate) const fn ballot(&self) -> Option<Ballot> {
        match &self.phase {
            Phase::Preparing { ballot, .. }
            | Phase::Accepting { ballot, .. }
            | Phase::Open { ballot, .. } => Some(*ballot),
            Phase::Idle | Phase::Waiting | Phase::BackingOff => None,
        }
    }

    pub(crate) const fn phase(&self) -> &'static str {
        match &self.phase {
            Phase::Idle => "idle",
            Phase::Waiting => "waiting",
            Phase::Preparing { .. } => "preparing",
            Phase::Accepting { .. } => "accepting",
            Phase::Open { .. } => "open",
            Phase::BackingOff => "backing off",
        }
    }

    // What is asked of it.

    pub(crate) fn has_room(&self, config: &Config) -> bool {
        self.wanted.len() < config.max_proposals
    }

    pub(crate) const fn ticket(&mut self) -> Ticket {
        self.tickets += 1;
        Ticket(self.tickets)
    }

    /// Tries to have this value chosen.
    pub(crate) fn propose(&mut self, node: &mut Node, value: Value) -> Ticket {
        let ticket = self.ticket();
        self.wanted.push(Wanted {
            value: value.clone(),
            ticket: Some(ticket),
        });
        let config = &node.config;
        if config.phases.fast().is_some() {
            // Straight to those who vote (Fast Paxos §2.1), and to the coordinator in case that there
            // will be no fast round.
            let coordinator = config.distinguished.filter(|to| *to != config.id);
            let acceptors = config.acceptors().to_vec();
            let elsewhere = coordinator.filter(|to| !acceptors.contains(to));
            for to in acceptors {
                node.request(
                    to,
                    Body::Propose {
                        value: value.clone(),
                    },
                );
            }
            if let Some(to) = elsewhere {
                node.send(to, Body::Propose { value });
            }
        } else if let Some(to) = config.distinguished
            && to != config.id
        {
            node.send(to, Body::Propose { value });
        }
        self.pursue(node);
        ticket
    }

    /// Takes on a value of another node, if it is the one that others leave it to.
    pub(crate) fn take_on(&mut self, node: &mut Node, value: Value) {
        let known = |wanted: &Wanted| wanted.value.id == value.id;
        if node.config.distinguished != Some(node.id())
            || self.wanted.iter().any(known)
            || !self.has_room(&node.config)
        {
            return;
        }
        let ticket = None;
        self.wanted.push(Wanted { value, ticket });
        self.pursue(node);
    }

    /// Does something about what is wanted, unless that is under way.
    fn pursue(&mut self, node: &mut Node) {
        let leads = node.config.distinguished.is_none_or(|to| to == node.id());
        match &self.phase {
            Phase::Idle if leads => self.start(node),
            Phase::Idle => {
                self.phase = Phase::Waiting;
                self.deadline = Some(node.now + node.config.timing.patience);
            }
            Phase::Open { .. } => self.hurry(node),
            Phase::Waiting
            | Phase::Preparing { .. }
            | Phase::Accepting { .. }
            | Phase::BackingOff => {}
        }
    }

    /// A learner hears too little: a ballot of this proposer will tell.
    pub(crate) fn complete(&mut self, node: &mut Node) {
        match &self.phase {
            Phase::Idle | Phase::Waiting => self.become_preparing(node, BTreeMap::new()),
            Phase::Open { .. } => self.deadline = Some(node.now),
            Phase::Preparing { .. } | Phase::Accepting { .. } | Phase::BackingOff => {}
        }
    }

    /// A value was chosen: every ticket is settled.
    pub(crate) fn done(&mut self, node: &mut Node, chosen: &Value) {
        for wanted in core::mem::take(&mut self.wanted) {
            if let Some(ticket) = wanted.ticket {
                settle(node, ticket, &wanted.value, chosen);
            }
        }
        self.become_idle();
    }

    /// This node has lost its storage: it proposes nothing more. Its tickets wait for what is learned.
    pub(crate) fn stop(&mut self) {
        self.become_idle();
    }

    // Transitions: one function each.

    fn become_idle(&mut self) {
        self.phase = Phase::Idle;
        self.deadline = None;
    }

    /// Opens a ballot: a fast one if this is the coordinator, has not tried one in vain, and can
    /// reach a fast quorum; else a classic one, if there is anything to propose.
    pub(crate) fn start(&mut self, node: &mut Node) {
        if self.may_be_fast(node) {
            let ballot = self.used.max(self.seen).next_fast(node.id());
            self.open(node, ballot, BTreeMap::new());
        } else if self.wanted.is_empty() {
            self.become_idle();
        } else {
            self.become_preparing(node, BTreeMap::new());
        }
    }

    fn may_be_fast(&self, node: &Node) -> bool {
        let config = &node.config;
        let reached = config.acceptors().iter().filter(|id| node.reaches(**id));
        config.is_coordinator()
            && !self.slow
            && config.is_fast_quorum(config.phases.phase1().set(reached.copied()))
    }

    /// Phase 1 of a classic ballot above all that were heard of; some promises may be there already.
    fn become_preparing(&mut self, node: &mut Node, promises: BTreeMap<NodeId, Option<Vote>>) {
        let ballot = self.used.max(self.seen).next_classic(node.id());
        self.open(node, ballot, promises);
    }

    /// Phase 1a.
    fn open(&mut self, node: &mut Node, ballot: Ballot, promises: BTreeMap<NodeId, Option<Vote>>) {
        if !may_open(ballot) {
            // There is no ballot left, and nobody would take it for one.
            return self.become_idle();
        }
        let used = reserved(&node.config, ballot);
        if used > self.used {
            self.used = used;
            if !planted!(node.config, BallotUsedAgain) {
                node.outbox.write(Record::Ballot(used));
            }
        }
        node.tell(Event::Opened(ballot));
        self.deadline = Some(node.now + node.config.timing.round);
        self.phase = Phase::Preparing {
            ballot,
            promises,
            against: BTreeSet::new(),
        };
        self.advance(node);
        self.ask_for_promises(node);
    }

    fn ask_for_promises(&self, node: &mut Node) {
        if let Phase::Preparing {
            ballot, promises, ..
        } = &self.phase
        {
            for to in silent(&node.config, |id| promises.contains_key(&id)) {
                node.request(to, Body::Prepare { ballot: *ballot });
            }
        }
    }

    /// Ends phase 1 if there are promises enough.
    fn advance(&mut self, node: &mut Node) {
        let Phase::Preparing {
            ballot, promises, ..
        } = &self.phase
        else {
            return;
        };
        let config = &node.config;
        let promised = config.phases.phase1().set(promises.keys().copied());
        if !config.is_prepared(promised) {
            return;
        }
        let (ballot, pick) = (*ballot, config.pick(promises));
        let own = self.wanted.first().map(|wanted| wanted.value.clone());
        match (pick, own) {
            (_, Some(own)) if planted!(config, OwnValueFirst) => {
                self.become_accepting(node, ballot, own);
            }
            (Pick::Bound(value) | Pick::Open(value), _) => {
                self.become_accepting(node, ballot, value);
            }
            (Pick::Free, _) if ballot.is_fast() => self.become_open(node, ballot),
            (Pick::Free, Some(own)) => self.become_accepting(node, ballot, own),
            // A ballot that was asked for by a learner: nothing was chosen, and there is nothing to
            // choose.
            (Pick::Free, None) => self.become_idle(),
        }
    }

    /// Phase 2a with a value.
    fn become_accepting(&mut self, node: &mut Node, ballot: Ballot, value: Value) {
        self.deadline = Some(node.now + node.config.timing.round);
        self.phase = Phase::Accepting {
            ballot,
            value,
            voted: BTreeSet::new(),
            against: BTreeSet::new(),
        };
        self.ask_for_votes(node);
    }

    fn ask_for_votes(&self, node: &mut Node) {
        if let Phase::Accepting {
            ballot,
            value,
            voted,
            ..
        } = &self.phase
        {
            for to in silent(&node.config, |id| voted.contains(&id)) {
                let (ballot, value) = (*ballot, value.clone());
                node.request(to, Body::Accept { ballot, value });
            }
        }
    }

    /// After a refusal: waits, each time longer, so that of two that refuse each other one gets
    /// through (§2.4). The next ballot is above what was refused for.
    fn become_backing_off(&mut self, node: &mut Node, ballot: Ballot) {
        let promised = self.seen;
        node.tell(Event::Refused { ballot, promised });
        self.slow = true;
        let wait = back_off(&node.config, ballot, self.refused);
        self.refused = self.refused.saturating_add(1);
        self.deadline = Some(node.now + wait);
        self.phase = Phase::BackingOff;
    }

    // Time and links.

    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self.deadline.is_none_or(|at| at > node.now) {
            return;
        }
        self.deadline = Some(node.now + node.config.timing.round);
        match &self.phase {
            Phase::Idle => self.start(node),
            Phase::Waiting | Phase::BackingOff => self.become_preparing(node, BTreeMap::new()),
            Phase::Preparing {
                ballot, against, ..
            }
            | Phase::Accepting {
                ballot, against, ..
            } if !against.is_empty() => self.become_backing_off(node, *ballot),
            Phase::Preparing { .. } => self.ask_for_promises(node),
            Phase::Accepting { ballot, .. } if ballot.is_fast() => {
                // Fewer than a fast quorum are alive: a classic quorum may be.
                self.slow = true;
                self.become_preparing(node, BTreeMap::new());
            }
            // The same ballot with the same value: it can carry no other.
            Phase::Accepting { .. } => self.ask_for_votes(node),
            Phase::Open { .. } => self.recover(node),
        }
    }

    /// The link to a peer has come up: what it has not answered is said again.
    pub(crate) fn relink(&mut self, node: &mut Node, peer: NodeId) {
        let is_acceptor = node.config.position(peer).is_some();
        match &self.phase {
            Phase::Idle => {
                if self.may_be_fast(node) {
                    self.start(node);
                }
            }
            Phase::Preparing {
                ballot, promises, ..
            } if is_acceptor && !promises.contains_key(&peer) => {
                node.send(peer, Body::Prepare { ballot: *ballot });
            }
            Phase::Accepting {
                ballot,
                value,
                voted,
                ..
            } if is_acceptor && !voted.contains(&peer) => {
                let (ballot, value) = (*ballot, value.clone());
                node.send(peer, Body::Accept { ballot, value });
            }
            Phase::Open { ballot, votes, .. } if is_acceptor && !votes.contains_key(&peer) => {
                node.send(peer, Body::Any { ballot: *ballot });
            }
            Phase::Waiting
            | Phase::Preparing { .. }
            | Phase::Accepting { .. }
            | Phase::Open { .. }
            | Phase::BackingOff => {}
        }
    }

    /// The link to a peer is gone: a fast round may have become impossible.
    pub(crate) fn unlink(&mut self, node: &mut Node) {
        self.hurry(node);
    }

    pub(crate) fn deadline(&self) -> Option<Wake> {
        let why = match &self.phase {
            Phase::Idle => "a fast round to open",
            Phase::Waiting => "a value that others are to propose",
            Phase::Preparing { .. } => "silent acceptors in phase 1",
            Phase::Accepting { .. } => "silent acceptors in phase 2",
            Phase::Open { .. } => "an undecided fast round",
            Phase::BackingOff => "the next ballot after a refusal",
        };
        self.deadline.map(|at| Wake { at, why })
    }

    /// Its own invariants.
    pub(crate) fn check(&self) {
        assert!(
            self.ballot().is_none_or(|ballot| ballot <= self.used),
            "no ballot is spoken of before it is written"
        );
    }
}

/// Settles a proposal, now that a value is chosen.
pub(crate) fn settle(node: &mut Node, ticket: Ticket, value: &Value, chosen: &Value) {
    node.tell(if value.id == chosen.id {
        Event::Won(ticket)
    } else {
        let to = chosen.id;
        Event::Lost { ticket, to }
    });
}

/// The last ballot that is used up when this one is opened: with a fast one also those in which its
/// collision may be recovered, so that they need no write of their own then.
const fn reserved(config: &Config, ballot: Ballot) -> Ballot {
    if !ballot.is_fast() {
        return ballot;
    }
    match config.recovery {
        Recovery::Coordinated => ballot.next_classic(ballot.proposer),
        Recovery::Uncoordinated => ballot
            .next_fast(ballot.proposer)
            .next_classic(ballot.proposer),
    }
}

/// The acceptors of which this is not so.
fn silent(config: &Config, heard: impl Fn(NodeId) -> bool) -> Vec<NodeId> {
    let acceptors = config.acceptors().iter().copied();
    acceptors.filter(|id| !heard(*id)).collect()
}

/// A draw from a range that doubles with each refusal: a hash of the seed and what is refused.
fn back_off(config: &Config, ballot: Ballot, refused: u32) -> Duration {
    let (min, max) = (config.timing.back_off_min, config.timing.back_off_max);
    let limit = min.saturating_mul(2_u32.saturating_pow(refused.saturating_add(1)));
    let spread = limit.min(max).saturating_sub(min);
    let spread = u64::try_from(spread.as_nanos()).unwrap_or(u64::MAX);
    let draw = mix(mix(config.seed, ballot.round), u64::from(refused));
    min + Duration::from_nanos(draw.checked_rem(spread).unwrap_or(0))
}
