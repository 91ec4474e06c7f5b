//! Fast rounds, slot by slot (Lamport, *Fast Paxos*, 2006).
//!
//! A leadership is what phase 1 has promised: a classic ballot. Its leader may open, once, all slots
//! behind those that it has proposed something for itself: there is nothing in them that could have
//! been chosen, so any value is safe ("any", *Fast Paxos* §2.2, phase 2a). In these slots a voter
//! takes what it is asked to propose to all voters itself (`offers.rs`), each votes for the first value
//! that it hears of (`vote.rs`) and tells all the others once that is durable, and a value that a fast
//! quorum has voted for is chosen (`learn.rs`): two message delays.
//!
//! **Two ballots of one leadership.** Fast votes carry the odd round that follows the leadership's even
//! one. In a slot where nothing can be chosen any more, or is not in time, the leader goes on with
//! its classic ballot, which counts as the later one (`Ballot::rank`): one who has voted fast
//! in a slot votes for no other value there in the fast ballot, which is all that phase 1 would have it
//! promise, so votes of a phase-1 quorum are phase 1 (§3.2, coordinated recovery; `lead.rs`). What it may
//! propose is the rule in `pick.rs`, the same for it and for phase 1 of a later leadership.
//!
//! **Once only.** A value is known by its [`Name`], never by its bytes. Whoever offers a value does so in
//! one slot, whatever becomes of leaderships, until another value is chosen there, which is for ever;
//! only then in the next. Nobody else offers it anywhere else. So it is chosen in one slot at most.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use synod_core::{Entry, LogIndex, NodeId};
use synod_quorum::NodeSet;

use super::Cover;
use super::node::Node;
use super::planted::planted;

mod hand;
mod lead;
mod learn;
mod name;
mod offers;
mod pick;
mod vote;

pub(crate) use hand::any_named;
pub(crate) use lead::{Lead, Pause};
pub use name::{Name, Votes};
pub(crate) use offers::Offers;
pub(crate) use pick::{Reports, Rule};

/// How far beyond what is known to be chosen anybody offers, votes or counts, in slots: what there is to
/// keep of open slots is bounded, whatever peers say.
pub(crate) const WINDOW: u64 = 4096;

/// What a node knows of the fast ballot of the leadership that it has promised; and what it offers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Fast {
    /// The first slot that is open, once its leader has said so. It stays so for the leadership.
    pub(crate) open: Option<LogIndex>,
    /// The durable votes that this node has heard of, its own among them.
    tally: BTreeMap<LogIndex, Vec<(NodeId, Name)>>,
    /// Slots whose value is chosen and held here, though perhaps not that of all before them.
    decided: Cover,
    /// Slots whose value is chosen, but not here.
    lacking: BTreeMap<LogIndex, Name>,
    /// Values that were offered and that this node has not voted for.
    spare: BTreeMap<LogIndex, Vec<Entry>>,
    spare_bytes: usize,
    /// The last slot that something was offered or voted for in.
    seen: LogIndex,
    pub(crate) offers: Offers,
}

impl Fast {
    /// Another ballot is promised: of its fast ballot nothing is known. What this node offers stays.
    pub(crate) fn begin(&mut self, chosen: LogIndex) {
        let offers = core::mem::take(&mut self.offers);
        *self = Self {
            decided: Cover::up_to(chosen),
            offers,
            ..Self::default()
        };
    }

    /// Everything up to `chosen` is known to be chosen: what was open there is settled.
    fn settle(&mut self, chosen: LogIndex) {
        self.decided.raise(chosen);
        if self.open.is_none() && self.tally.is_empty() {
            return;
        }
        let next = chosen.next();
        self.tally = self.tally.split_off(&next);
        self.lacking = self.lacking.split_off(&next);
        let spare = self.spare.split_off(&next);
        let gone = core::mem::replace(&mut self.spare, spare);
        let gone = gone.values().flatten().map(Entry::weight);
        self.spare_bytes -= gone.sum::<usize>();
    }

    /// Somebody has voted in a slot as late as this.
    pub(crate) fn seen_through(&mut self, last: LogIndex) {
        self.seen = self.seen.max(last);
    }

    /// Whether this slot's value is known to be chosen.
    fn is_decided(&self, at: LogIndex) -> bool {
        self.decided.contains(at) || self.lacking.contains_key(&at)
    }
}

impl Node {
    /// Whether these voters are a quorum of the fast ballot.
    pub(crate) fn is_fast_quorum(&self, voters: NodeSet) -> bool {
        let phases = self.membership().phases();
        if planted!(self, FastQuorumFloor) {
            return phases.is_some_and(|p| {
                p.fast().is_some() && voters.len() * 4 + 3 >= p.members().len() * 3
            });
        }
        let fast = phases.and_then(|phases| phases.fast());
        fast.is_some_and(|fast| fast.is_quorum(voters))
    }

    /// The places of these voters in the quorums.
    pub(crate) fn places(&self, voters: impl IntoIterator<Item = NodeId>) -> NodeSet {
        let phases = self.membership().phases();
        phases.map_or(NodeSet::EMPTY, |phases| phases.phase1().set(voters))
    }

    /// The last slot that anybody may offer, vote or count in.
    pub(crate) fn window(&self) -> LogIndex {
        self.chosen.plus(WINDOW)
    }

    /// The first slot that nothing is known of.
    fn next_free(&self) -> LogIndex {
        let fast = &self.fast;
        let open = fast.open.map_or(LogIndex::START, LogIndex::previous);
        let last = self.slots.last().max(fast.seen).max(open);
        last.max(fast.offers.last()).max(self.chosen).next()
    }

    /// Whether all of these are known to be chosen, and held.
    pub(crate) fn is_decided(&self, first: LogIndex, last: LogIndex) -> bool {
        self.fast.decided.end_of(first) >= Some(last)
    }

    /// The invariants of what is known of fast rounds.
    pub(crate) fn check_fast(&self) {
        let fast = &self.fast;
        fast.offers.check();
        for (first, last) in fast.decided.beyond() {
            assert!(
                self.held.end_of(*first) >= Some(*last),
                "what is decided is held"
            );
        }
        let spare = fast.spare.values().flatten().map(Entry::weight);
        assert_eq!(fast.spare_bytes, spare.sum::<usize>(), "what was offered");
    }
}
