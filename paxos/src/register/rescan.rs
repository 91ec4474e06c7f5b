//! The rescan (CASPaxos §2.3.1, step 3): every state is chosen once more under the quorums in force.
//!
//! Page by page: acceptors list the registers of which they hold a vote, until a phase-1 quorum has
//! answered; each that one of them names is read under the configuration in force, which proposes it
//! once more unless a phase-2 quorum holds it by a vote of this epoch already. Everything chosen
//! in earlier epochs is named by one of them: a phase-1 quorum of this epoch meets all quorums of
//! phase 2 on which such a thing rests, and since these nodes went to this epoch only newer
//! states have taken its place. A register that appears later was chosen in this epoch. For registers
//! that were purged, the floors of the same acceptors go into the next configuration.
//!
//! Memory is bounded by a page. After a crash the rescan starts at the beginning again, and finds
//! what it has done: that takes phase 1 only.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use synod_core::{Instant, NodeId, Ticket};
use synod_quorum::{Tally, Verdict};

use crate::Ballot;
use crate::register::job::{Job, Purpose};
use crate::register::message::{Body, Page};
use crate::register::node::Node;
use crate::register::planted::planted;
use crate::register::proposer::{Proposer, ask_acceptor};
use crate::register::{Event, Key, Refusal, Step};

/// A rescan under way.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Rescan {
    ticket: Ticket,
    /// Everything up to this is done.
    cursor: Option<Key>,
    stage: Stage,
    /// When to ask again.
    due: Instant,
    done: u64,
    /// The highest floor of an acceptor that has answered.
    floor: Ballot,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Stage {
    /// Acceptors are asked for the next registers.
    List {
        tally: Tally,
        keys: BTreeSet<Key>,
        /// Behind this, some who have answered may hold more.
        bound: Option<Key>,
    },
    /// These are read.
    Rewrite {
        pending: BTreeSet<Key>,
        bound: Option<Key>,
    },
    /// The step itself is proposed, and is the proposer's.
    Close,
}

impl Rescan {
    pub(crate) fn begin(node: &mut Node, proposer: &mut Proposer, ticket: Ticket) -> Self {
        let mut rescan = Self {
            ticket,
            cursor: None,
            stage: Stage::Close,
            due: Instant::NEVER,
            done: 0,
            floor: Ballot::START,
        };
        if planted!(node, SettleWithoutRescan) {
            rescan.close(node, proposer);
        } else {
            rescan.list(node);
        }
        rescan
    }

    fn list(&mut self, node: &mut Node) {
        let Some(configuration) = node.configuration() else {
            return;
        };
        self.stage = Stage::List {
            tally: Tally::new(configuration.phases().phase1().clone()),
            keys: BTreeSet::new(),
            bound: None,
        };
        self.ask(node);
    }

    fn ask(&mut self, node: &mut Node) {
        let Stage::List { tally, .. } = &self.stage else {
            return;
        };
        self.due = node.now + node.config.timing.retry;
        let quorum = tally.quorum();
        let silent: Vec<NodeId> = quorum.nodes(quorum.all() - tally.answered()).collect();
        for to in silent {
            let after = self.cursor.clone();
            ask_acceptor(node, to, Body::List { after });
        }
    }

    /// An acceptor's list.
    pub(crate) fn on_keys(
        &mut self,
        node: &mut Node,
        proposer: &mut Proposer,
        from: NodeId,
        page: Page,
    ) {
        let Page {
            after,
            keys: listed,
            end,
            floor,
        } = page;
        let Stage::List { tally, keys, bound } = &mut self.stage else {
            return;
        };
        let is_new = tally
            .quorum()
            .position(from)
            .is_some_and(|place| !tally.answered().contains(place));
        if after != self.cursor || !is_new || (!end && listed.is_empty()) {
            return;
        }
        if !end {
            let last = listed.last().cloned();
            *bound = match bound.take() {
                Some(bound) => last.map(|last| last.min(bound)),
                None => last,
            };
        }
        keys.extend(listed);
        self.floor = self.floor.max(floor);
        if tally.record(from, true) == Verdict::Won {
            let (mut pending, bound) = (core::mem::take(keys), bound.take());
            if let Some(bound) = &bound {
                pending.retain(|key| key <= bound);
            }
            self.rewrite(node, proposer, pending, bound);
        }
    }

    fn rewrite(
        &mut self,
        node: &mut Node,
        proposer: &mut Proposer,
        pending: BTreeSet<Key>,
        bound: Option<Key>,
    ) {
        self.due = Instant::NEVER;
        let keys = pending.clone();
        self.stage = Stage::Rewrite { pending, bound };
        for key in &keys {
            let job = Job::new(Purpose::Rewrite, None);
            proposer.submit(node, key.clone(), job);
        }
        if keys.is_empty() {
            self.next_page(node, proposer);
        }
    }

    /// A register is settled.
    pub(crate) fn rewritten(&mut self, node: &mut Node, proposer: &mut Proposer, key: &Key) {
        let Stage::Rewrite { pending, .. } = &mut self.stage else {
            return;
        };
        self.done += u64::from(pending.remove(key));
        if pending.is_empty() {
            node.tell(Event::Settling {
                ticket: self.ticket,
                registers: self.done,
            });
            self.next_page(node, proposer);
        }
    }

    fn next_page(&mut self, node: &mut Node, proposer: &mut Proposer) {
        let Stage::Rewrite { bound, .. } = &mut self.stage else {
            return;
        };
        match bound.take() {
            Some(bound) => {
                self.cursor = Some(bound);
                self.list(node);
            }
            None => self.close(node, proposer),
        }
    }

    /// Everything is settled: the old quorums can be forgotten.
    fn close(&mut self, node: &mut Node, proposer: &mut Proposer) {
        self.stage = Stage::Close;
        self.due = Instant::NEVER;
        let next = node.configuration().map(|it| it.step(&Step::Settle));
        let Some(Ok(mut next)) = next else {
            return;
        };
        next.raise_floor(self.floor);
        let purpose = Purpose::Configure {
            ticket: self.ticket,
            next: alloc::boxed::Box::new(next),
        };
        let until = node.now + node.config.timing.change;
        proposer.submit(node, Key::Configuration, Job::new(purpose, Some(until)));
    }

    pub(crate) fn tick(&mut self, node: &mut Node) {
        if self.due <= node.now {
            self.ask(node);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        (self.due < Instant::NEVER).then_some(self.due)
    }

    /// Whether the proposer has the rest.
    pub(crate) const fn is_closing(&self) -> bool {
        matches!(self.stage, Stage::Close)
    }

    /// Whether this register is to be settled yet.
    pub(crate) fn awaits(&self, key: &Key) -> bool {
        matches!(&self.stage, Stage::Rewrite { pending, .. } if pending.contains(key))
    }

    /// It comes to nothing: another configuration is in force, so there is something else to settle,
    /// or acceptors have no room.
    pub(crate) fn end(self, node: &mut Node, why: Refusal) {
        if !self.is_closing() {
            let ticket = self.ticket;
            node.tell(Event::Refused { ticket, why });
        }
    }
}
