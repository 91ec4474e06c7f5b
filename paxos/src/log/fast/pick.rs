//! What a ballot may propose in a slot: the rule that the safety of Fast Paxos rests on.

use alloc::vec::Vec;

use synod_core::{Entry, NodeId};
use synod_quorum::{NodeSet, PaxosPhases};

use super::Name;
use crate::Ballot;
use crate::log::node::Node;
use crate::log::planted::planted;

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
        let place =
            |voter: &NodeId| phases.map_or(NodeSet::EMPTY, |phases| phases.phase1().set([*voter]));
        let heard = self
            .fast
            .iter()
            .filter(|(voter, ..)| !(place(voter) & replied).is_empty());
        let order = |ballot: Ballot| match rule {
            Rule::PlainOrder => (ballot.round, ballot.proposer.0, false),
            Rule::Exact | Rule::LeastThreshold => ballot.rank(),
        };
        let Some(highest) = heard
            .clone()
            .map(|(_, ballot, _)| *ballot)
            .max_by_key(|ballot| order(*ballot))
        else {
            return self.classic;
        };
        if self
            .classic
            .as_ref()
            .is_some_and(|(ballot, _)| order(*ballot) > order(highest))
        {
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

impl Rule {
    /// The one that this node goes by.
    #[cfg_attr(
        not(feature = "planted"),
        expect(
            clippy::missing_const_for_fn,
            reason = "with planted bugs it depends on the node"
        )
    )]
    pub(crate) fn of(node: &Node) -> Self {
        let mut rule = Self::Exact;
        if planted!(node, LeastThreshold) {
            rule = Self::LeastThreshold;
        }
        if planted!(node, PlainOrder) {
            rule = Self::PlainOrder;
        }
        rule
    }
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
            voters.len() + count > (3 * count).div_ceil(4) + count / 2
        };
        phases.is_some_and(|phases| match rule {
            Rule::Exact | Rule::PlainOrder => exact(phases),
            Rule::LeastThreshold => least(phases),
        })
    };
    let mut bound = values.iter().filter(|(_, voters)| may(*voters));
    if let Some((name, _)) = bound.next() {
        assert!(
            bound.next().is_none(),
            "of a phase-1 quorum's replies one value may be chosen"
        );
        return Some(Best::Bound(*name));
    }
    let most = values
        .iter()
        .max_by_key(|(name, voters)| (voters.len(), core::cmp::Reverse(*name)));
    most.map(|(name, _)| Best::Open(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use synod_quorum::Quorum;

    fn ballot(round: u64, proposer: u64) -> Ballot {
        Ballot {
            round,
            proposer: NodeId(proposer),
        }
    }

    fn entry(number: u64) -> Entry {
        Name { life: 1, number }.command(&"x".into())
    }

    /// Majorities, and fast quorums of three quarters.
    fn phases(count: u64) -> PaxosPhases {
        let nodes = || (1..=count).map(NodeId);
        let majority = Quorum::majority(nodes()).expect("nodes");
        let fast = Quorum::count((3 * count as usize).div_ceil(4), nodes()).expect("nodes");
        PaxosPhases::with_fast(&majority, &majority, &fast).expect("they intersect")
    }

    fn picked(
        count: u64,
        votes: &[(u64, Ballot, u64)],
        replied: &[u64],
        rule: Rule,
    ) -> Option<u64> {
        let (phases, mut reports) = (phases(count), Reports::default());
        for (voter, ballot, number) in votes {
            reports.note(NodeId(*voter), *ballot, &entry(*number), false);
        }
        let replied = phases.phase1().set(replied.iter().copied().map(NodeId));
        let (_, entry) = reports.pick(Some(&phases), replied, rule)?;
        Name::of(&entry).map(|name| name.number)
    }

    /// Node 1 leads with (2, 1) and opens a slot; 1 and 2 vote for 7 in its fast ballot (3, 1). Node 2
    /// prepares (2, 2), which is higher, with 3, 4 and 5, who have voted for nothing; they accept 8: it is
    /// chosen. Whoever comes then must find 8. In the plain order of ballots (3, 1) is the highest, and
    /// 7 seems to have been voted for by a fast quorum, of whom two are silent.
    #[test]
    fn a_fast_vote_counts_for_less_than_the_next_leaderships_votes() {
        let votes = [
            (1, ballot(3, 1), 7),
            (2, ballot(3, 1), 7),
            (3, ballot(2, 2), 8),
        ];
        assert_eq!(picked(5, &votes, &[1, 2, 3], Rule::Exact), Some(8));
        assert_eq!(picked(5, &votes, &[1, 2, 3], Rule::PlainOrder), Some(7));
    }

    /// What the leader has proposed itself in a slot counts for more than its fast ballot.
    #[test]
    fn recovery_counts_for_more_than_what_it_recovered() {
        let votes = [
            (1, ballot(3, 1), 7),
            (2, ballot(3, 1), 7),
            (3, ballot(2, 1), 8),
        ];
        assert_eq!(picked(5, &votes, &[1, 2, 3], Rule::Exact), Some(8));
    }

    /// Votes of those who do not belong to the quorum do not count for a fast ballot: node 4 and 5 have
    /// not promised, and what 4 votes for may be nothing that was chosen.
    #[test]
    fn only_the_quorums_fast_votes_count() {
        let fast = ballot(3, 1);
        let votes = [
            (1, fast, 7),
            (2, fast, 7),
            (3, fast, 8),
            (4, fast, 8),
            (5, fast, 8),
        ];
        assert_eq!(picked(5, &votes, &[1, 2, 3], Rule::Exact), Some(7));
        assert_eq!(picked(5, &votes[3..], &[1, 2, 3], Rule::Exact), None);
        // Nothing can have been chosen: the one with the most votes.
        assert_eq!(picked(5, &votes, &[1, 2, 3, 4, 5], Rule::Exact), Some(8));
    }

    /// Two of five voted for each of two values, the fifth for none. With the threshold of three replies
    /// either seems to be chosen.
    #[test]
    #[should_panic(expected = "one value may be chosen")]
    fn the_threshold_of_fewer_replies_names_two_values() {
        let fast = ballot(3, 1);
        let votes = [(1, fast, 7), (2, fast, 7), (3, fast, 8), (4, fast, 8)];
        let all = [1, 2, 3, 4, 5];
        assert_eq!(picked(5, &votes, &all, Rule::Exact), Some(7));
        picked(5, &votes, &all, Rule::LeastThreshold);
    }

    /// Every pattern of fast votes of up to six voters for two values or none, every quorum of replies:
    /// what a fast quorum has voted for is what is picked.
    #[test]
    fn what_was_chosen_is_picked() {
        for count in 1..=6_u64 {
            let phases = phases(count);
            let fast = phases.fast().expect("fast quorums");
            for pattern in 0..3_u64.pow(count as u32) {
                let vote = |voter: u64| pattern / 3_u64.pow(voter as u32 - 1) % 3;
                let cast: Vec<_> = (1..=count).filter(|voter| vote(*voter) > 0).collect();
                let votes: Vec<_> = cast
                    .iter()
                    .map(|voter| (*voter, ballot(3, 1), vote(*voter)))
                    .collect();
                for value in 1..=2 {
                    let backers = cast.iter().filter(|voter| vote(**voter) == value);
                    if !fast.is_quorum(fast.set(backers.copied().map(NodeId))) {
                        continue;
                    }
                    for set in 0_u64..1 << count {
                        let replied: Vec<_> = (1..=count)
                            .filter(|voter| set & (1 << (voter - 1)) != 0)
                            .collect();
                        let places = replied.iter().copied().map(NodeId);
                        if phases.phase1().is_quorum(phases.phase1().set(places)) {
                            let found = picked(count, &votes, &replied, Rule::Exact);
                            assert_eq!(found, Some(value), "{votes:?} by {replied:?}");
                        }
                    }
                }
            }
        }
    }
}
