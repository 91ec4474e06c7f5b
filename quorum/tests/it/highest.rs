//! The highest value that a quorum has reached, against trying every candidate.

use crate::reference::{any_quorum, nodes};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{Expr, Grid, NodeSet, Quorum};

/// The greatest of all values in question such that the members that have it are a quorum.
fn reference(quorum: &Quorum, values: &[u64]) -> u64 {
    let mut best = None;
    for candidate in values {
        let mut holders = NodeSet::EMPTY;
        for (place, value) in values.iter().enumerate() {
            if value >= candidate {
                holders.insert(place);
            }
        }
        if quorum.is_quorum(holders) {
            best = best.max(Some(*candidate));
        }
    }
    best.expect("all members together are a quorum")
}

fn check(quorum: &Quorum, values: &[u64]) {
    let expected = reference(quorum, values);
    assert_eq!(quorum.highest(values), expected, "{quorum} of {values:?}");
}

/// Every list of `length` values below `base`.
fn all_values(base: u64, length: usize) -> impl Iterator<Item = Vec<u64>> {
    (0..base.pow(length as u32)).map(move |number| {
        let digit = |place| number / base.pow(place as u32) % base;
        (0..length).map(digit).collect()
    })
}

#[test]
fn every_count_of_up_to_seven_members() {
    for n in 1..=7 {
        for need in 1..=n {
            let quorum = Quorum::count(need, nodes(0..n as u64)).unwrap();
            // three values are enough to have ties above, at and below the answer
            for values in all_values(3, n) {
                check(&quorum, &values);
            }
        }
    }
    let quorum = Quorum::majority(nodes(0..5)).unwrap();
    all_values(5, 5).for_each(|values| check(&quorum, &values));
}

#[test]
fn every_joint_of_two_majorities_among_five() {
    for (old, new) in [
        (0..3, 0..5),
        (0..3, 2..5),
        (0..1, 1..5),
        (0..4, 1..5),
        (0..2, 3..5),
    ] {
        let old = Quorum::majority(nodes(old)).unwrap();
        let new = Quorum::majority(nodes(new)).unwrap();
        let joint = Quorum::joint(&old, &new).unwrap();
        for values in all_values(4, joint.members().len()) {
            check(&joint, &values);
            // Raft §6: committed in both
            let half = |half: &Quorum| {
                let of_half = |node: &NodeId| values[joint.position(*node).unwrap()];
                half.highest(&half.members().iter().map(of_half).collect::<Vec<_>>())
            };
            assert_eq!(joint.highest(&values), half(&old).min(half(&new)));
        }
    }
}

proptest! {
    #[test]
    fn any_system_agrees_with_trying(
        quorum in any_quorum(7),
        values in prop::collection::vec(prop_oneof![0..4_u64, any::<u64>()], 7),
    ) {
        prop_assert_eq!(quorum.highest(&values), reference(&quorum, &values));
        prop_assert_eq!(quorum.highest_by(|place| values[place]), reference(&quorum, &values));
    }

    #[test]
    fn large_counts_agree_with_trying(
        (need, values) in (1..=64_usize).prop_flat_map(|n| {
            (1..=n, prop::collection::vec(prop_oneof![0..9_u64, any::<u64>()], n))
        }),
    ) {
        let quorum = Quorum::count(need, nodes(0..values.len() as u64)).unwrap();
        prop_assert_eq!(quorum.highest(&values), reference(&quorum, &values));
    }

    #[test]
    fn large_weights_agree_with_trying(
        parts in prop::collection::vec((1..9_u32, any::<u64>()), 1..=64),
        need in any::<prop::sample::Index>(),
    ) {
        let total: u64 = parts.iter().map(|(weight, _)| u64::from(*weight)).sum();
        let need = need.index(usize::try_from(total).unwrap()) as u64 + 1;
        let of = parts.iter().zip(0..).map(|((weight, _), id)| (NodeId(id), *weight));
        let quorum = Quorum::weighted(need, of).unwrap();
        let values: Vec<u64> = parts.iter().map(|(_, value)| *value).collect();
        prop_assert_eq!(quorum.highest(&values), reference(&quorum, &values));
    }

    #[test]
    fn large_nested_systems_agree_with_trying(
        values in prop::collection::vec(0..40_u64, 64),
        columns in prop::sample::select(vec![1_usize, 2, 8, 16, 32]),
        need in 1..=9_u64,
    ) {
        let grid = Grid::new(nodes(0..64), columns).unwrap();
        let heavy = Expr::weighted(
            need,
            (0..9).map(|i| (Expr::all([NodeId(i), NodeId(63 - i)]), u32::from(i == 0) + 1)),
        );
        for expr in [grid.row(), grid.one_per_column(), grid.row_and_column(), heavy] {
            let quorum = Quorum::new(expr).unwrap().over(nodes(0..64)).unwrap();
            prop_assert_eq!(quorum.highest(&values), reference(&quorum, &values));
        }
    }
}

#[test]
#[should_panic(expected = "one value per member")]
fn values_of_another_member_list_are_a_bug_of_the_caller() {
    let _ = Quorum::majority(nodes([1, 2, 3])).unwrap().highest(&[1, 2]);
}
