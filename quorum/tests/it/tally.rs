//! Tallies, against looking at every way in which the missing answers can turn out.

use crate::reference::{IDS, any_quorum, nodes};
use proptest::prelude::*;
use std::collections::{BTreeMap, HashSet};
use synod_core::NodeId;
use synod_quorum::{Expr, NodeSet, Quorum, Tally, Verdict};

/// Won if a quorum said yes; lost if it cannot become one however the others answer.
fn reference(quorum: &Quorum, answers: &BTreeMap<usize, bool>) -> Verdict {
    let members = quorum.members().len();
    let yes = |place: &usize| answers.get(place) == Some(&true);
    if quorum.is_quorum((0..members).filter(yes).collect()) {
        return Verdict::Won;
    }
    let possible = |completion: &u64| {
        let completion = NodeSet::from_bits(*completion);
        let yes = |place: &usize| {
            let answer = answers.get(place).copied();
            answer.unwrap_or_else(|| completion.contains(*place))
        };
        quorum.is_quorum((0..members).filter(yes).collect())
    };
    if (0..1 << members).any(|completion| possible(&completion)) {
        Verdict::Pending
    } else {
        Verdict::Lost
    }
}

proptest! {
    #[test]
    fn answers_are_counted_once(
        quorum in any_quorum(5),
        // two of the seven ids are strangers
        answers in prop::collection::vec((0..7_usize, any::<bool>()), 0..20),
    ) {
        let mut tally = Tally::new(quorum.clone());
        let mut first = BTreeMap::new();
        for (i, yes) in answers {
            let node = NodeId(IDS[i]);
            if let Some(place) = quorum.position(node) {
                first.entry(place).or_insert(yes);
            }
            let decided = tally.verdict();
            prop_assert_eq!(tally.record(node, yes), reference(&quorum, &first));
            prop_assert!(decided == Verdict::Pending || decided == tally.verdict());
            prop_assert_eq!(tally.answered(), first.keys().copied().collect());
        }
        let (yes, no): (Vec<_>, Vec<_>) = first.into_iter().partition(|(_, yes)| *yes);
        prop_assert_eq!(tally.yes(), yes.into_iter().map(|(place, _)| place).collect());
        prop_assert_eq!(tally.no(), no.into_iter().map(|(place, _)| place).collect());
    }
}

#[test]
fn every_order_of_answers_of_majorities() {
    for n in 1..=5_usize {
        let quorum = Quorum::majority(nodes(0..n as u64)).unwrap();
        // each member: silent, no, yes
        for number in 0..3_usize.pow(n as u32) {
            let answer = |place: usize| number / 3_usize.pow(place as u32) % 3;
            let mut tally = Tally::new(quorum.clone());
            for place in (0..n).filter(|place| answer(*place) > 0) {
                tally.record(NodeId(place as u64), answer(place) == 2);
            }
            let yes = (0..n).filter(|place| answer(*place) == 2).count();
            let no = (0..n).filter(|place| answer(*place) == 1).count();
            let expected = match () {
                () if yes > n / 2 => Verdict::Won,
                () if n - no <= n / 2 => Verdict::Lost,
                () => Verdict::Pending,
            };
            assert_eq!(tally.verdict(), expected, "{tally:?}");
        }
    }
}

#[test]
fn a_second_answer_does_not_change_the_first() {
    let mut tally = Tally::new(Quorum::majority(nodes([1, 2, 3])).unwrap());
    tally.record(NodeId(1), false);
    tally.record(NodeId(1), true);
    assert_eq!(tally.record(NodeId(2), true), Verdict::Pending);
    assert_eq!(tally.record(NodeId(2), false), Verdict::Pending);
    assert_eq!(tally.record(NodeId(3), false), Verdict::Lost);
    assert_eq!(tally.quorum().members(), nodes([1, 2, 3]));
}

/// All systems of `n` members: the sets of quorums that grow with their members and are not trivial.
fn all_systems(n: usize) -> Vec<Quorum> {
    let sets = 1_usize << n;
    let grows = |system: &usize| {
        let has = |set: usize| system >> set & 1 == 1;
        let up = |set: usize| (0..n).all(|more| !has(set) || has(set | 1 << more));
        !has(0) && has(sets - 1) && (0..sets).all(up)
    };
    let list = || nodes(IDS[..n].to_vec());
    let build = |system: usize| {
        let of = (0..sets).filter(|set| system >> set & 1 == 1);
        let of =
            of.map(|set| Expr::all((0..n).filter(|i| set >> i & 1 == 1).map(|i| NodeId(IDS[i]))));
        Quorum::new(Expr::any(of)).unwrap().over(list()).unwrap()
    };
    (0..1_usize << sets).filter(grows).map(build).collect()
}

/// Every system of up to four members, and every order of answers, of any length: all members and a
/// stranger may answer at any time, also again and otherwise than before.
#[test]
fn every_order_of_answers_of_every_small_system() {
    let mut states = 0;
    let mut steps = 0;
    for n in 1..=4 {
        let systems = all_systems(n);
        // Dedekind's numbers, without the two trivial systems.
        assert_eq!(systems.len(), [1, 4, 18, 166][n - 1]);
        for quorum in systems {
            let stranger = NodeId(IDS[6]);
            let start = (Tally::new(quorum.clone()), BTreeMap::new());
            let mut seen = HashSet::from([start.clone()]);
            let mut waiting = vec![start];
            while let Some((tally, first)) = waiting.pop() {
                let decided = tally.verdict();
                let answers = IDS[..n].iter().map(|id| NodeId(*id)).chain([stranger]);
                for (node, yes) in answers.flat_map(|node| [(node, false), (node, true)]) {
                    let (mut tally, mut first) = (tally.clone(), first.clone());
                    if let Some(place) = quorum.position(node) {
                        first.entry(place).or_insert(yes);
                    }
                    let verdict = tally.record(node, yes);
                    assert_eq!(verdict, reference(&quorum, &first), "{tally:?}");
                    assert_eq!(verdict, tally.verdict());
                    assert!(
                        decided == Verdict::Pending || decided == verdict,
                        "{tally:?}"
                    );
                    steps += 1;
                    let state = (tally, first);
                    if seen.insert(state.clone()) {
                        waiting.push(state);
                    }
                }
            }
            // Silent, no or yes, each of them: the order leaves no trace.
            assert_eq!(seen.len(), 3_usize.pow(n as u32));
            states += seen.len();
        }
    }
    assert_eq!((states, steps), (13_971, 138_576));
}
