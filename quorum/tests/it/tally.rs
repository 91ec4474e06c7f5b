//! Tallies, against looking at every way in which the missing answers can turn out.

use crate::reference::{IDS, any_quorum, nodes};
use proptest::prelude::*;
use std::collections::BTreeMap;
use synod_core::NodeId;
use synod_quorum::{NodeSet, Quorum, Tally, Verdict};

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
