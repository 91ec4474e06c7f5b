//! What a ballot may propose in a slot: the rule that the safety of Fast Paxos rests on.

use alloc::vec::Vec;

use synod_core::{Entry, NodeId};
use synod_quorum::{NodeSet, PaxosPhases};

use super::Name;
use crate::Ballot;

/// The votes in one slot that phase 1 has heard of.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub(crate) struct Reports {
    /// The highest vote in a classic ballot, whoever cast it.
    classic: Option<(Ballot, Entry)>,
    /// The fast vote of each acceptor whose vote is one: which of them belong to the quorum is known
    /// only in the end.
    fast: Vec<(NodeId, Ballot, Entry)>,
}

impl Reports {
    /// Takes an acceptor's vote in; `first` if the first one is to stay, which is wrong.
    pub(crate) fn note(&mut self, from: NodeId, ballot: Ballot, entry: &Entry, first: bool) {
        if ballot.is_fast() {
            // What it says later is what it holds now.
            self.fast.retain(|(voter, ..)| *voter != from);
            self.fast.push((from, ballot, entry.clone()));
            return;
        }
        // One value per ballot and slot: of equal ballots either will do.
        let higher = |(known, _): &(Ballot, Entry)| known.rank() < ballot.rank() && !first;
        if self.classic.as_ref().is_none_or(higher) {
            self.classic = Some((ballot, entry.clone()));
        }
    }

    /// The value that the next ballot proposes, if these acceptors have promised it and all their votes
    /// are known: of the highest ballot that any of them has voted in. (*Fast Paxos* §2.2, the rule for
    /// picking a value. Votes of the classic ballot of a leadership count for more than those of its
    /// fast one: see `Ballot::rank`.)
    pub(crate) fn pick(
        self,
        phases: Option<&PaxosPhases>,
        replied: NodeSet,
        rule: Rule,
    ) -> Option<(Ballot, Entry)> {
        let place = |voter: &NodeId| {
            phases.map_or(NodeSet::EMPTY, |phases| phases.phase1().set([*voter]))
        };
        let heard = self.fast.iter().filter(|(voter, ..)| !(place(voter) & replied).is_empty());
        let order = |ballot: Ballot| match rule {
            Rule::PlainOrder => (ballot.round, ballot.proposer.0, false),
            Rule::Exact | Rule::LeastThreshold => ballot.rank(),
        };
        let Some(highest) = heard.clone().map(|(_, ballot, _)| *ballot).max_by_key(|ballot| order(*ballot)) else {
            return self.classic;
        };
        if self.classic.as_ref().is_some_and(|(ballot, _)| order(*ballot) > order(highest)) {
            return self.classic;
        }
        let votes = heard.filter(|(_, ballot, _)| *ballot == highest);
        let mut values: Vec<(Name, NodeSet, &Entry)> = Vec::new();
        for (voter, _, entry) in votes {
            let Some(name) = Name::of(entry) else {
                continue;
            };
            match values.iter_mut().find(|(other, ..)| *other == name) {
                Some((_, voters, _)) => *voters = *voters | place(voter),
                None => values.push((name, place(voter), entry)),
            }
        }
        values.sort_by_key(|(name, ..)| *name);
        let sets = values.iter().map(|(name, voters, _)| (*name, *voters));
        let sets: Vec<_> = sets.collect();
        let best = best(phases, replied, &sets, rule)?;
        let (.., entry) = values.iter().find(|(name, ..)| *name == best.name())?;
        Some((highest, (*entry).clone()))
    }
}

/// How to pick: every other than the first is a bug that can be planted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Rule {
    /// As it is right.
    Exact,
    /// By the threshold that is right for the smallest quorum of replies, whatever replies there are.
    LeastThreshold,
    /// Fast and classic votes in the plain order of ballots.
    PlainOrder,
}

/// A value to propose.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Best {
    /// It may have been chosen: it and no other.
    Bound(Name),
    /// Nothing can have been chosen. This is the one with the most votes; of equals the first by name.
    Open(Name),
}

impl Best {
    pub(crate) const fn name(self) -> Name {
        match self {
            Self::Bound(name) | Self::Open(name) => name,
        }
    }
}

/// Of the values that were voted for in a fast ballot, by whom of those who `replied`, the one to
/// propose. `replied` is a phase-1 quorum none of which will vote in that ballot any more.
///
/// # Panics
///
/// If two values may have been chosen: the quorums do not allow that.
pub(crate) fn best(
    phases: Option<&PaxosPhases>,
    replied: NodeSet,
    values: &[(Name, NodeSet)],
    rule: Rule,
) -> Option<Best> {
    let may = |voters: NodeSet| {
        let exact = |phases: &PaxosPhases| phases.choosable(replied, voters);
        let least = |phases: &PaxosPhases| {
            let count = phases.members().len();
            voters.len() + count >= (3 * count).div_ceil(4) + count / 2 + 1
        };
        phases.is_some_and(|phases| match rule {
            Rule::Exact | Rule::PlainOrder => exact(phases),
            Rule::LeastThreshold => least(phases),
        })
    };
    let mut bound = values.iter().filter(|(_, voters)| may(*voters));
    if let Some((name, _)) = bound.next() {
        assert!(bound.next().is_none(), "of a phase-1 quorum's replies one value may be chosen");
        return Some(Best::Bound(*name));
    }
    let most = values.iter().max_by_key(|(name, voters)| (voters.len(), core::cmp::Reverse(*name)));
    most.map(|(name, _)| Best::Open(*name))
}
