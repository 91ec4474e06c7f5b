//! Minimal quorums, the smallest one, and resilience, against trying all sets.

use crate::reference::{any_quorum, minimal, nodes, quorums, sets};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{Expr, Grid, Quorum, TooComplex};

proptest! {
    #[test]
    fn minimal_quorums_are_those_without_a_smaller_one(quorum in any_quorum(6)) {
        let mut found = quorum.minimal_quorums().unwrap();
        prop_assert!(found.is_sorted_by_key(|set| set.len()));
        found.sort_unstable();
        prop_assert_eq!(found, minimal(&quorum));
    }

    #[test]
    fn the_smallest_quorum(quorum in any_quorum(7)) {
        let smallest = quorums(&quorum).iter().map(|set| set.len()).min();
        prop_assert_eq!(Some(quorum.smallest().unwrap()), smallest);
    }

    #[test]
    fn one_failure_more_than_the_resilience_can_end_it(quorum in any_quorum(7)) {
        let deadly = sets(&quorum).filter(|dead| !quorum.is_quorum(quorum.all() - *dead));
        let fewest = deadly.map(|dead| dead.len()).min().unwrap();
        prop_assert_eq!(quorum.resilience().unwrap() + 1, fewest);
    }

    #[test]
    fn the_smallest_joint_quorum(a in any_quorum(6), b in any_quorum(6)) {
        let joint = Quorum::joint(&a, &b).unwrap();
        let smallest = quorums(&joint).iter().map(|set| set.len()).min();
        prop_assert_eq!(Some(joint.smallest().unwrap()), smallest);
    }
}

#[test]
fn large_systems_are_answered_exactly() {
    let size = |quorum: &Quorum| (quorum.smallest().unwrap(), quorum.resilience().unwrap());
    assert_eq!(size(&Quorum::majority(nodes(0..64)).unwrap()), (33, 31));
    let groups = (0..8).map(|group| nodes(group * 8..(group + 1) * 8));
    let hierarchical = Quorum::hierarchical(groups).unwrap();
    assert_eq!(size(&hierarchical), (25, 15)); // 5 groups of 5; 4 groups lose 4 each
    let grid = Grid::new(nodes(0..64), 8).unwrap();
    assert_eq!(size(&Quorum::new(grid.row()).unwrap()), (8, 7));
    assert_eq!(size(&Quorum::new(grid.one_per_row()).unwrap()), (8, 7));
    assert_eq!(size(&Quorum::new(grid.row_and_column()).unwrap()), (15, 7));
    let weighted = Quorum::weighted_majority((0..64).map(|id| (NodeId(id), id as u32 + 1)));
    // n63 down to n45 weigh 1045 of 2080, without n45 999; the sum of the others decides the rest
    assert_eq!(size(&weighted.unwrap()), (19, 18));
    let old = Quorum::majority(nodes(0..33)).unwrap();
    let new = Quorum::majority(nodes(31..64)).unwrap();
    assert_eq!(size(&Quorum::joint(&old, &new).unwrap()), (32, 16));
}

#[test]
fn too_many_quorums_are_an_error_and_not_a_long_wait() {
    let quorum = Quorum::majority(nodes(0..64)).unwrap();
    let TooComplex { limit, .. } = quorum.minimal_quorums().unwrap_err();
    assert!(limit >= 16_384);
    assert_eq!(
        Quorum::majority(nodes(0..15))
            .unwrap()
            .minimal_quorums()
            .unwrap()
            .len(),
        6435,
    );
}

#[test]
fn a_wheel_has_a_hub() {
    // any spoke with the hub, or all spokes
    let [hub, a, b, c] = [1, 2, 3, 4].map(NodeId);
    let spokes = Expr::any([a, b, c]);
    let wheel = Expr::any([Expr::all([hub.into(), spokes]), Expr::all([a, b, c])]);
    let wheel = Quorum::new(wheel).unwrap();
    assert_eq!(wheel.minimal_quorums().unwrap().len(), 4);
    assert_eq!(
        (wheel.smallest().unwrap(), wheel.resilience().unwrap()),
        (2, 1)
    );
}
