//! The rule for what a new ballot may propose, over all vote patterns: every set of replies that is a
//! phase-1 quorum, every assignment of votes, what silent acceptors may have voted for among them.

use std::collections::BTreeMap;

use synod_core::NodeId;
use synod_paxos::single::planted::Bug;
use synod_paxos::single::{Config, Pick, Vote};
use synod_quorum::{NodeSet, PaxosPhases, Quorum};

use crate::cluster::{ballot, n, nodes, value};
use crate::solo::vote;

fn config(phases: &PaxosPhases, bug: Option<Bug>) -> Config {
    let id = phases.members()[0];
    let mut builder = Config::builder(id)
        .quorums(phases.clone())
        .distinguished(id);
    if let Some(bug) = bug {
        builder = builder.danger_plant(bug);
    }
    builder.build().unwrap()
}

fn counts(all: u64, q1: usize, q2: usize, fast: usize) -> PaxosPhases {
    let count = |need| Quorum::count(need, nodes(1..=all)).unwrap();
    PaxosPhases::with_fast(&count(q1), &count(q2), &count(fast)).unwrap()
}

/// What is wrong with the rule for these votes of all acceptors, of which `replied` tell.
fn fault(
    config: &Config,
    votes: &[Option<Vote>],
    replied: NodeSet,
    strict: bool,
) -> Option<String> {
    let phases = config.quorums();
    let members = phases.members();
    let last = votes.iter().enumerate();
    let last = last.filter(|(place, _)| replied.contains(*place));
    let replies: BTreeMap<NodeId, Option<Vote>> = last
        .map(|(place, vote)| (members[place], vote.clone()))
        .collect();
    let pick = config.pick(&replies);
    let named = config.choosable(&replies);
    if named.len() > 1 {
        return Some(format!("names {named:?}"));
    }
    let fast = phases.fast().unwrap();
    for candidate in votes.iter().flatten() {
        let same =
            |vote: &Vote| vote.ballot == candidate.ballot && vote.value.id == candidate.value.id;
        let voted = votes.iter().enumerate();
        let voted = voted.filter(|(_, vote)| vote.as_ref().is_some_and(same));
        let voted: NodeSet = voted.map(|(place, _)| place).collect();
        if fast.is_quorum(voted) && pick != Pick::Bound(candidate.value.clone()) {
            return Some(format!("{:?} was chosen, and {pick:?}", candidate.value.id));
        }
    }
    if !strict {
        return None;
    }
    // And it binds nobody without need.
    if let Pick::Bound(bound) = &pick {
        let silent = phases.phase1().all() - replied;
        let top = replies.values().flatten().map(|vote| vote.ballot).max();
        let voted = votes.iter().enumerate().filter(|(place, vote)| {
            let fits = |vote: &Vote| Some(vote.ballot) == top && vote.value.id == bound.id;
            replied.contains(*place) && vote.as_ref().is_some_and(fits)
        });
        let voted: NodeSet = voted.map(|(place, _)| place).collect();
        if !fast.is_quorum(voted | silent) {
            return Some(format!("{:?} cannot have been chosen", bound.id));
        }
    }
    None
}

/// Tries all patterns; how many, and the first fault.
fn try_all(config: &Config, choices: &[Option<Vote>], strict: bool) -> (usize, Option<String>) {
    let phases = config.quorums();
    let all = phases.members().len();
    let mut tried = 0;
    for pattern in 0..choices.len().pow(u32::try_from(all).unwrap()) {
        let mut rest = pattern;
        let votes: Vec<_> = (0..all)
            .map(|_| {
                let choice = choices[rest % choices.len()].clone();
                rest /= choices.len();
                choice
            })
            .collect();
        for bits in 0..1_u64 << all {
            let replied = NodeSet::from_bits(bits);
            if !phases.phase1().is_quorum(replied) {
                continue;
            }
            tried += 1;
            if let Some(fault) = fault(config, &votes, replied, strict) {
                let text = format!("{fault}: {votes:?}, replies of {replied:?}");
                return (tried, Some(text));
            }
        }
    }
    (tried, None)
}

/// No vote, or one of these clients' values in the fast ballot at hand.
fn of_clients(clients: u64) -> Vec<Option<Vote>> {
    let votes = (1..=clients).map(|of| Some(vote(5, 1, of)));
    [None].into_iter().chain(votes).collect()
}

fn systems() -> Vec<(&'static str, PaxosPhases, u64)> {
    let weighted = |need| Quorum::weighted(need, [(n(1), 2), (n(2), 1), (n(3), 1), (n(4), 1)]);
    let (q1, fast) = (weighted(3).unwrap(), weighted(4).unwrap());
    vec![
        ("3 of 3", counts(3, 2, 2, 3), 3),
        ("3 of 4", counts(4, 3, 3, 3), 3),
        ("4 of 5", counts(5, 3, 3, 4), 3),
        ("5 of 6", counts(6, 4, 4, 5), 3),
        ("4 of 5, phase 1 of 4", counts(5, 4, 2, 4), 3),
        ("3 of 5, phase 1 of 5", counts(5, 5, 1, 3), 3),
        (
            "weights 2 1 1 1",
            PaxosPhases::with_fast(&q1, &q1, &fast).unwrap(),
            3,
        ),
    ]
}

#[test]
fn what_may_have_been_chosen_is_never_missed_and_never_two() {
    for (name, phases, clients) in systems() {
        let config = config(&phases, None);
        let (tried, fault) = try_all(&config, &of_clients(clients), true);
        println!("fast quorums of {name}, {clients} values: {tried} patterns");
        assert_eq!(fault, None, "{name}");
    }
}

/// Votes of an earlier fast ballot beside those of the last.
#[test]
fn only_the_last_ballot_counts() {
    let choices = [
        None,
        Some(vote(5, 1, 1)),
        Some(vote(5, 1, 2)),
        Some(vote(3, 1, 1)),
        Some(vote(3, 1, 3)),
    ];
    let phases = counts(4, 3, 3, 3);
    let replies = |votes: [Option<Vote>; 4]| (1..=4).map(NodeId).zip(votes).collect();
    let config = config(&phases, None);
    for pattern in 0..5_usize.pow(4) {
        let at = |place: u32| choices[pattern / 5_usize.pow(place) % 5].clone();
        let votes = [at(0), at(1), at(2), at(3)];
        let any_last = votes.iter().flatten().any(|v| v.ballot == ballot(5, 1));
        let picked = config.pick(&replies(votes)).into_value();
        if any_last {
            assert_ne!(picked.map(|value| value.id), Some(value(3).id));
        }
    }
}

/// A classic ballot has one value: whoever voted in it, it may have been chosen.
#[test]
fn a_classic_vote_binds() {
    let config = config(&counts(5, 3, 3, 4), None);
    let mut replies: BTreeMap<NodeId, Option<Vote>> = [(n(1), None), (n(2), None)].into();
    assert_eq!(config.pick(&replies), Pick::Free);
    for id in 3..=5 {
        replies.insert(n(id), Some(vote(3, 1, 7)));
    }
    replies.insert(n(1), Some(vote(4, 2, 8)));
    assert_eq!(config.pick(&replies), Pick::Bound(value(8)));
}

/// Of values that cannot have been chosen the one with the most votes is taken, of equals the first
/// by name: all who hear the same take the same.
#[test]
fn nothing_chosen_leaves_the_choice() {
    let config = config(&counts(5, 3, 3, 4), None);
    let replies = |votes: &[u64]| -> BTreeMap<NodeId, Option<Vote>> {
        let votes = votes.iter().map(|of| Some(vote(5, 1, *of)));
        (1..).map(NodeId).zip(votes).collect()
    };
    assert_eq!(config.pick(&replies(&[2, 1, 1, 2])), Pick::Open(value(1)));
    assert_eq!(
        config.pick(&replies(&[2, 1, 3, 3, 4])),
        Pick::Open(value(3))
    );
    assert_eq!(config.pick(&replies(&[3, 1, 1])), Pick::Bound(value(1)));
}

/// Of five acceptors the last three chose 8 in a classic ballot; in a fast one above it, whose
/// coordinator had met them, only the first has voted, so nothing can have been chosen there. Yet
/// not any value will do: a single one is the one that an earlier ballot may have chosen.
#[test]
fn a_single_value_stays_although_its_ballot_has_chosen_nothing() {
    let config = config(&counts(5, 3, 3, 4), None);
    let replies: BTreeMap<NodeId, Option<Vote>> = [
        (n(1), Some(vote(5, 1, 8))),
        (n(2), None),
        (n(3), Some(vote(4, 2, 8))),
    ]
    .into();
    assert_eq!(config.choosable(&replies), []);
    assert_eq!(config.pick(&replies).into_value(), Some(value(8)));
}

/// The brute force has teeth: each way to break the rule fails somewhere.
#[test]
fn broken_rules_are_found() {
    for bug in [
        Bug::MinimalThreshold,
        Bug::FastQuorumRoundedDown,
        Bug::FastVotesAsClassic,
    ] {
        let faults = systems().into_iter().filter_map(|(name, phases, clients)| {
            let (tried, fault) = try_all(&config(&phases, Some(bug)), &of_clients(clients), false);
            fault.map(|fault| format!("{name}, pattern {tried}: {fault}"))
        });
        let faults: Vec<_> = faults.collect();
        println!("{bug:?}: {} systems, {:?}", faults.len(), faults.first());
        assert!(!faults.is_empty(), "{bug:?}");
    }
}

/// Of five acceptors four reply 1, 1, 2, 2. With the threshold
/// of three replies both would pass.
#[test]
fn the_threshold_counts_the_replies_that_there_are() {
    let phases = counts(5, 3, 3, 4);
    let votes = [1, 1, 2, 2].map(|of| Some(vote(5, 1, of)));
    let replies: BTreeMap<_, _> = (1..=4).map(NodeId).zip(votes).collect();
    assert_eq!(config(&phases, None).choosable(&replies), []);
    let broken = config(&phases, Some(Bug::MinimalThreshold));
    assert_eq!(broken.choosable(&replies), [value(1), value(2)]);
}

/// A system in which a fast round could choose two values cannot be made at all.
#[test]
fn three_quarters_rounded_down_is_refused() {
    for (all, down) in [(3, 2), (5, 3), (6, 4), (7, 5)] {
        let majority = Quorum::majority(nodes(1..=all)).unwrap();
        let fast = |need| Quorum::count(need, nodes(1..=all)).unwrap();
        assert!(PaxosPhases::with_fast(&majority, &majority, &fast(down)).is_err());
        assert!(PaxosPhases::with_fast(&majority, &majority, &fast(down + 1)).is_ok());
        let built = Config::builder(n(1))
            .fast_acceptors(nodes(1..=all))
            .distinguished(n(1))
            .build()
            .unwrap();
        let need = built.quorums().fast().unwrap();
        let first = |count: usize| NodeSet::first(count);
        assert!(need.is_quorum(first(down + 1)) && !need.is_quorum(first(down)));
    }
}
