//! The leader of fast rounds: opens them, sees to it that every slot is decided, and ends them when they
//! are of no use.

use alloc::vec::Vec;

use synod_core::{Entries, Entry, Instant, LogIndex, NodeId};
use synod_quorum::NodeSet;

use super::Name;
use super::offers::runs;
use super::pick::{Best, Rule, best};
use crate::log::Detail;
use crate::log::leader::Leader;
use crate::log::node::Node;

/// What a leader keeps for fast rounds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Lead {
    /// The voters that have answered in this leadership.
    answered: Vec<NodeId>,
    /// Those who follow are to hear at once that slots are open.
    pub(crate) announce: bool,
    /// The slot that everything waits for, and how many heartbeats ago it did so already.
    stuck: (LogIndex, u32),
    /// Up to where slots were counted.
    counted: LogIndex,
    /// Of the last slots, how many were decided, and how many in a classic ballot.
    decided: u64,
    recovered: u64,
}

/// When fast rounds may begin again.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Pause {
    until: Option<Instant>,
    /// How often they were ended without having been of use in between.
    times: u32,
}

impl Lead {
    /// A collision here and there is cheap: only so many of so many slots make fast rounds useless.
    const SAMPLE: u64 = 64;
    const COLLISIONS: u64 = 16;
    /// A slot that waits for so many heartbeats is left to phase 1, which fetches what is missing.
    const PATIENCE: u32 = 12;
    /// So many slots are pushed on at once.
    const AT_ONCE: u64 = 256;
}

impl Node {
    /// Fast rounds have been of no use: the next ones begin after a while, each time a longer one.
    pub(crate) fn pause_fast(&mut self) {
        let wait = self
            .config
            .timing
            .round
            .saturating_mul(8 << self.pause.times.min(6));
        self.pause.times += 1;
        self.pause.until = Some(self.now + wait);
    }
}

impl Leader {
    /// A voter has answered in this ballot.
    pub(crate) fn note_answer(&mut self, node: &Node, from: NodeId) {
        let fast = &mut self.fast;
        if node.config.fast && !fast.answered.contains(&from) {
            fast.answered.push(from);
            self.due = true;
        }
    }

    /// Opens the slots behind all that it has proposed something in, once it is known what earlier ballots
    /// have chosen and a fast quorum is there. No phase 1 is needed: it was for these slots too.
    pub(crate) fn open_fast(&mut self, node: &mut Node) {
        let paused = node.pause.until.is_some_and(|until| until > node.now);
        let known = self.changing(node).is_none() && self.closed(node).is_none();
        if !node.config.fast || node.fast.open.is_some() || paused || !known {
            return;
        }
        let answered = self.fast.answered.iter().copied().chain([node.id()]);
        if !node.is_fast_quorum(node.places(answered)) {
            return;
        }
        node.seal(self.ballot);
        let first = node.slots.last().next();
        node.open_fast(first);
        self.fast.announce = true;
        self.fast.counted = first.previous();
        node.detail(Detail::FastOpened { first });
    }

    /// Voters have voted for the first time in these slots. Where no value can be chosen any more this
    /// leader goes on at once.
    pub(crate) fn judge(&mut self, node: &mut Node, slots: &[LogIndex]) {
        for at in slots {
            if self.is_hopeless(node, *at) {
                self.recover(node, *at);
            }
        }
    }

    /// The voters whose vote in a slot is known, and what they have voted for.
    fn votes_in(node: &Node, at: LogIndex) -> (NodeSet, Vec<(Name, NodeSet)>) {
        let mut values: Vec<(Name, NodeSet)> = Vec::new();
        let row = node.fast.tally.get(&at);
        let mut all = NodeSet::EMPTY;
        for (voter, name) in row.into_iter().flatten() {
            let voter = node.places([*voter]);
            all = all | voter;
            match values.iter_mut().find(|(other, _)| other == name) {
                Some((_, voters)) => *voters = *voters | voter,
                None => values.push((*name, voter)),
            }
        }
        values.sort_by_key(|(name, _)| *name);
        (all, values)
    }

    /// Whether the fast ballot cannot choose anything in a slot any more, whoever votes still.
    fn is_hopeless(&self, node: &Node, at: LogIndex) -> bool {
        let Some(phases) = node.membership().phases() else {
            return false;
        };
        let (voted, values) = Self::votes_in(node, at);
        let silent = phases.phase1().all() - voted;
        !node.is_fast_quorum(silent)
            && !values
                .iter()
                .any(|(_, voters)| node.is_fast_quorum(*voters | silent))
    }

    /// Whether this leader has proposed something itself in a slot, or knows what is chosen there.
    fn is_settled(&self, node: &Node, at: LogIndex) -> bool {
        at <= node.chosen
            || node.fast.is_decided(at)
            || node.slots.ballot_at(at) == Some(self.ballot)
    }

    /// Proposes a value in a slot of the fast ballot in the classic ballot (*Fast Paxos* §3.2,
    /// coordinated recovery). Votes in the fast ballot are promises: one who has voted there in
    /// a slot does not do so again. So the votes of a phase-1 quorum tell what may have been chosen.
    fn recover(&mut self, node: &mut Node, at: LogIndex) {
        if self.is_settled(node, at) || node.fast.open.is_none_or(|open| at < open) {
            return;
        }
        let phases = node.membership().phases();
        let (voted, values) = Self::votes_in(node, at);
        if !phases.is_some_and(|phases| phases.phase1().is_quorum(voted)) {
            return;
        }
        let rule = Rule::of(node);
        let entry = match best(phases, voted, &values, rule) {
            Some(Best::Bound(name)) => value(node, at, name),
            Some(Best::Open(name)) => value(node, at, name).or_else(|| Some(Entry::blank())),
            None => None,
        };
        // Else its bytes are not here: they come with the answers to the next offer.
        let Some(entry) = entry else { return };
        self.fast.recovered += 1;
        self.uncommitted += entry.weight();
        node.put(Entries::new(at, self.ballot.stamp(), [entry]));
        node.detail(Detail::Collided { index: at });
        for peer in &mut self.peers {
            peer.go_back(at);
        }
        self.due = true;
    }

    /// With each heartbeat: pushes on what is stuck; says why this leader should go back to classic rounds,
    /// if it should.
    pub(crate) fn watch_fast(&mut self, node: &mut Node) -> Option<&'static str> {
        node.fast.open?;
        let patience = node.config.timing.round.saturating_mul(2);
        let near = self
            .peers
            .iter()
            .filter(|peer| peer.linked && node.now.since(peer.heard) < patience);
        let near = near.map(|peer| peer.id).chain([node.id()]);
        if !node.is_fast_quorum(node.places(near)) {
            return Some("fewer than a fast quorum answer");
        }
        self.count_slots(node);
        if self.fast.decided >= Lead::SAMPLE {
            if self.fast.recovered >= Lead::COLLISIONS {
                return Some("too many collisions");
            }
            (self.fast.decided, self.fast.recovered) = (0, 0);
            node.pause.times = 0;
        }
        let acked = self.peers.iter().map(|peer| peer.acked.last()).max();
        let last = node
            .fast
            .seen
            .max(node.slots.sealed())
            .max(acked.unwrap_or_default());
        if node.chosen >= last {
            self.fast.stuck = (node.chosen, 0);
            return None;
        }
        if self.fast.stuck.0 != node.chosen {
            // Everything moves: a slot that waits alone is looked at when it is the first.
            self.fast.stuck = (node.chosen, 0);
            return None;
        }
        self.fast.stuck.1 += 1;
        if self.fast.stuck.1 > Lead::PATIENCE {
            return Some("a slot is stuck");
        }
        self.push_on(node, last.min(node.chosen.plus(Lead::AT_ONCE)));
        None
    }

    fn count_slots(&mut self, node: &Node) {
        self.fast.decided += node.chosen.since(self.fast.counted);
        self.fast.counted = self.fast.counted.max(node.chosen);
    }

    /// Offers something in each slot that is not decided: who has not voted does so, who has says it again.
    /// Where enough votes are known the leader goes on.
    fn push_on(&mut self, node: &mut Node, last: LogIndex) {
        let mut open = Vec::new();
        let mut at = node.chosen.next().max(node.fast.open.unwrap_or_default());
        while at <= last {
            if !self.is_settled(node, at) && self.fast.stuck.1 > 1 {
                self.recover(node, at);
            }
            let wanted = node.fast.lacking.contains_key(&at);
            if wanted || !self.is_settled(node, at) {
                let own = node.fast_vote(at);
                let (_, values) = Self::votes_in(node, at);
                // A value that somebody wants, or nothing.
                let named = own.into_iter().chain(values.iter().map(|(name, _)| *name));
                let entry = named.filter_map(|name| value(node, at, name)).next();
                let spare = node
                    .fast
                    .spare
                    .get(&at)
                    .and_then(|row| row.first().cloned());
                // Who has another value sends it: what is lacking is asked for by a blank.
                let entry = entry
                    .or(spare)
                    .filter(|_| !wanted && self.fast.stuck.1 % 2 == 1);
                open.push((at, entry.unwrap_or_else(Entry::blank)));
            }
            at = at.next();
        }
        let stamp = self.ballot.as_fast().stamp();
        for entries in runs(stamp, open, node.config.limits.accept_bytes) {
            node.offer(&entries);
        }
    }

    /// In a classic leadership: what was offered in a slot is proposed there, if nothing is, and blanks
    /// before it. Nobody has offered it elsewhere, so nobody but this leader may move it.
    pub(crate) fn fill_with(&mut self, node: &mut Node, at: LogIndex, entry: &Entry) {
        let limit = node.config.limits.uncommitted_bytes;
        let shut = self.closed(node).is_some() || self.uncommitted >= limit;
        if at <= node.slots.last() || at > node.window() || shut {
            return;
        }
        while node.slots.last().next() < at {
            self.uncommitted += Entry::OVERHEAD;
            node.slots.open(Entry::blank());
        }
        self.uncommitted += entry.weight();
        node.slots.open(entry.clone());
        self.due = true;
    }

    /// What somebody offers: an acceptor's matter if slots are open.
    pub(crate) fn on_offer(&mut self, node: &mut Node, from: NodeId, entries: &Entries) {
        if node.fast.open.is_some() {
            return node.on_offer(from, entries);
        }
        for (at, entry) in entries.iter() {
            self.fill_with(node, at, entry);
        }
    }
}

/// The value of this name in a slot, if it is here.
fn value(node: &Node, at: LogIndex, name: Name) -> Option<Entry> {
    if name == Name::BLANK {
        return Some(Entry::blank());
    }
    let is = |entry: &&Entry| Name::of(entry) == Some(name);
    let voted = node.slots.chunk_from(at);
    let voted = voted.as_ref().and_then(|chunk| chunk.get(at)).filter(is);
    let spare = || node.fast.spare.get(&at).and_then(|row| row.iter().find(is));
    voted.or_else(spare).cloned()
}
