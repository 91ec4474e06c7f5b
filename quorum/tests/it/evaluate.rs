//! What is a quorum: every form against the formula's definition, over all sets.

use crate::reference::{IDS, any_expr, any_quorum, any_system, holds, node_set, nodes, sets};
use proptest::prelude::*;
use synod_core::NodeId;
use synod_quorum::{Expr, Grid, NodeSet, Quorum, QuorumError};

proptest! {
    #[test]
    fn masks_agree_with_the_formula((expr, quorum) in any_system(6)) {
        for set in sets(&quorum) {
            prop_assert_eq!(quorum.is_quorum(set), holds(&expr, &node_set(&quorum, set)));
        }
    }

    #[test]
    fn a_system_is_monotone_and_not_trivial(quorum in any_quorum(6)) {
        prop_assert!(quorum.is_quorum(quorum.all()));
        prop_assert!(!quorum.is_quorum(NodeSet::EMPTY));
        for set in sets(&quorum).filter(|set| quorum.is_quorum(*set)) {
            for more in 0..6 {
                prop_assert!(quorum.is_quorum(set | NodeSet::single(more)));
            }
        }
    }

    #[test]
    fn the_dual_holds_where_the_others_are_no_quorum((expr, quorum) in any_system(6)) {
        let dual = quorum.dual();
        prop_assert_eq!(dual.members(), quorum.members());
        for set in sets(&quorum) {
            let others = quorum.all() - set;
            prop_assert_eq!(dual.is_quorum(set), !quorum.is_quorum(others));
            prop_assert_eq!(holds(&expr.dual(), &node_set(&quorum, set)), dual.is_quorum(set));
            prop_assert_eq!(quorum.is_blocked_by(set), dual.is_quorum(set));
        }
    }

    #[test]
    fn the_dual_of_the_dual_is_the_system(quorum in any_quorum(6)) {
        prop_assert_eq!(quorum.dual().dual(), quorum);
    }

    #[test]
    fn the_formula_of_a_system_is_that_system(quorum in any_quorum(6)) {
        let again = Quorum::new(quorum.expr()).unwrap();
        prop_assert_eq!(again.over(quorum.members().to_vec()).unwrap(), quorum);
    }

    #[test]
    fn order_makes_no_difference(expr in any_expr(6)) {
        fn reversed(expr: &Expr) -> Expr {
            match expr {
                Expr::Node(node) => Expr::Node(*node),
                Expr::Gate { need, of } => Expr::weighted(
                    *need,
                    of.iter().rev().map(|term| (reversed(&term.expr), term.weight)),
                ),
            }
        }
        prop_assert_eq!(Quorum::new(reversed(&expr)).ok(), Quorum::new(expr).ok());
    }

    #[test]
    fn joint_is_both_at_once((a, old) in any_system(6), (b, new) in any_system(4)) {
        let joint = Quorum::joint(&old, &new).unwrap();
        prop_assert_eq!(joint.members().len(), 6);
        for set in sets(&joint) {
            let named = node_set(&joint, set);
            prop_assert_eq!(joint.is_quorum(set), holds(&a, &named) && holds(&b, &named));
        }
    }

    #[test]
    fn shrinking_leaves_a_minimal_quorum(quorum in any_quorum(6), bits in 0..64_u64) {
        let set = NodeSet::from_bits(bits);
        match quorum.shrink(set) {
            None => prop_assert!(!quorum.is_quorum(set)),
            Some(small) => {
                prop_assert!(small.is_subset(set) && quorum.is_quorum(small));
                for place in small {
                    prop_assert!(!quorum.is_quorum(small - NodeSet::single(place)));
                }
            }
        }
    }

    #[test]
    fn positions_are_places_in_the_member_list(ids in prop::collection::btree_set(0..200_u64, 1..=64)) {
        let quorum = Quorum::majority(nodes(ids.clone())).unwrap();
        for id in 0..200 {
            let place = quorum.members().iter().position(|member| *member == NodeId(id));
            prop_assert_eq!(quorum.position(NodeId(id)), place);
            prop_assert_eq!(place.is_some(), ids.contains(&id));
        }
    }
}

#[test]
fn counts_are_counts() {
    for n in 1..=7 {
        for need in 1..=n {
            let quorum = Quorum::count(need, nodes(IDS[..n].to_vec())).unwrap();
            for set in sets(&quorum) {
                assert_eq!(quorum.is_quorum(set), set.len() >= need);
            }
        }
        let majority = Quorum::majority(nodes(IDS[..n].to_vec())).unwrap();
        assert!(sets(&majority).all(|set| majority.is_quorum(set) == (2 * set.len() > n)));
    }
}

#[test]
fn sixty_four_members_are_allowed_and_no_more() {
    let quorum = Quorum::majority(nodes(0..64)).unwrap();
    assert!(quorum.is_quorum(NodeSet::first(33)) && !quorum.is_quorum(NodeSet::first(32)));
    assert!(quorum.is_quorum(quorum.all() - NodeSet::first(31)));
    let more = Quorum::majority(nodes(0..65));
    assert_eq!(more, Err(QuorumError::TooManyNodes { nodes: 65 }));
    let wider = quorum.over(nodes(0..65));
    assert_eq!(wider, Err(QuorumError::TooManyNodes { nodes: 65 }));
}

#[test]
fn positions_past_the_members_do_not_count() {
    for quorum in [
        Quorum::majority(nodes([1, 2, 3])).unwrap(),
        Quorum::weighted(3, [(NodeId(1), 2), (NodeId(2), 1), (NodeId(3), 1)]).unwrap(),
    ] {
        assert!(!quorum.is_quorum(NodeSet::from_bits(!0b110)));
        assert_eq!(quorum.nodes(NodeSet::from_bits(u64::MAX)).count(), 3);
    }
}

#[test]
fn weights_that_are_equal_make_a_count() {
    let weighted = Quorum::weighted(5, nodes([1, 2, 3]).into_iter().map(|n| (n, 2))).unwrap();
    assert_eq!(weighted, Quorum::count(3, nodes([1, 2, 3])).unwrap());
    let majority = Quorum::weighted_majority(nodes([1, 2, 3]).into_iter().map(|n| (n, 7)));
    assert_eq!(
        majority.unwrap(),
        Quorum::majority(nodes([1, 2, 3])).unwrap()
    );
}

#[test]
fn a_joint_of_the_same_is_the_same() {
    let quorum = Quorum::majority(nodes([1, 2, 3])).unwrap();
    assert_eq!(Quorum::joint(&quorum, &quorum).unwrap(), quorum);
}

#[test]
fn three_groups_of_three_need_four_of_nine() {
    let groups = [nodes(1..=3), nodes(4..=6), nodes(7..=9)];
    let quorum = Quorum::hierarchical(groups).unwrap();
    let set = |ids: &[u64]| quorum.set(nodes(ids.to_vec()));
    assert!(quorum.is_quorum(set(&[1, 2, 7, 9])));
    assert!(!quorum.is_quorum(set(&[1, 2, 3, 4, 7])));
    assert_eq!(quorum.smallest().unwrap(), 4);
    let levels = Expr::hierarchy(&[(2, 3), (2, 3)], nodes(1..=9)).unwrap();
    assert_eq!(Quorum::new(levels).unwrap(), quorum);
}

#[test]
fn a_grid_has_rows_and_columns() {
    // n1 n2 n3
    // n4 n5 n6
    let grid = Grid::new(nodes(1..=6), 3).unwrap();
    let check = |expr: Expr, yes: &[&[u64]], no: &[&[u64]]| {
        let quorum = Quorum::new(expr).unwrap();
        let is_quorum = |ids: &[u64]| quorum.is_quorum(quorum.set(nodes(ids.to_vec())));
        assert!(yes.iter().all(|ids| is_quorum(ids)), "{quorum}");
        assert!(!no.iter().any(|ids| is_quorum(ids)), "{quorum}");
    };
    check(grid.row(), &[&[1, 2, 3], &[4, 5, 6]], &[&[1, 2, 4, 5]]);
    check(grid.column(), &[&[1, 4], &[3, 6]], &[&[1, 2, 3, 5][..3]]);
    check(grid.one_per_row(), &[&[1, 4], &[1, 6]], &[&[1, 2, 3]]);
    check(grid.one_per_column(), &[&[1, 5, 3]], &[&[1, 4, 2, 5]]);
    check(
        grid.row_and_column(),
        &[&[1, 2, 3, 4]],
        &[&[1, 2, 3], &[1, 4]],
    );
}

#[test]
fn what_is_wrong_is_named() {
    let [a, b, c] = [1, 2, 3].map(NodeId);
    let error = |expr: Expr| Quorum::new(expr).unwrap_err().to_string();
    let none: [NodeId; 0] = [];
    assert_eq!(
        error(Expr::all(none)),
        "a quorum system needs at least one node"
    );
    assert_eq!(error(Expr::majority([a, b, a])), "n1 is listed twice");
    assert_eq!(
        error(Expr::choose(4, [a, b, c])),
        "the threshold (4) must be between 1 and the total weight (3)",
    );
    assert_eq!(
        error(Expr::all([Expr::choose(0, [a, b]), c.into()])),
        "the threshold (0) must be between 1 and the total weight (2)",
    );
    assert_eq!(
        error(Expr::weighted(1, [(a, 1), (b, 0)])),
        "a weight is 0; weights must be at least 1",
    );
    let deep = (0..17).fold(Expr::Node(a), |inner, i| {
        Expr::any([inner, NodeId(100 + i).into()])
    });
    assert_eq!(
        error(deep),
        "the expression is nested deeper than 16 levels"
    );
    let wide = Expr::any((0..64).map(|i| Expr::all([NodeId(i), NodeId((i + 1) % 64)])));
    assert_eq!(
        error(wide),
        "65 nested thresholds are more than the limit of 64"
    );

    let quorum = Quorum::majority([a, b, c]).unwrap();
    let over = |nodes: &[NodeId]| quorum.over(nodes.iter().copied()).unwrap_err().to_string();
    assert_eq!(
        over(&[a, b]),
        "n3 is in the quorum system but not in the list of members"
    );
    assert_eq!(over(&[a, b, c, c]), "n3 is listed twice");

    let shape = |error: QuorumError| error.to_string();
    assert_eq!(
        shape(Grid::new([a, b, c], 2).unwrap_err()),
        "3 nodes do not fill a grid (a multiple of 2 is needed, at least one)",
    );
    assert_eq!(Grid::new([a, b, a], 3), Err(QuorumError::Duplicate(a)));
    assert_eq!(Grid::new([], 3), Err(QuorumError::Empty));
    assert!(Grid::new([a], 0).is_err());
    assert!(Expr::hierarchy(&[(2, 2), (2, 3)], [a, b, c]).is_err());
    assert!(Expr::hierarchy(&[], [a]).is_err());
    assert!(Expr::hierarchy(&[(1, usize::MAX), (1, 2)], [a]).is_err());
    assert_eq!(Expr::hierarchy(&[(1, 0)], []), Err(QuorumError::Empty));
    let groups = Quorum::hierarchical([[a, b], [b, c]]);
    assert_eq!(groups, Err(QuorumError::Duplicate(b)));
}

/// Two parts of which one is enough by its weight are no joint quorum.
#[test]
fn a_heavy_part_may_be_enough() {
    let heavy = Expr::majority(nodes(1..=3));
    let light = Expr::majority(nodes(4..=6));
    for weight in [2, 3] {
        let quorum = Expr::weighted(2, [(heavy.clone(), weight), (light.clone(), 1)]);
        let quorum = Quorum::new(quorum).unwrap();
        assert!(quorum.is_quorum(NodeSet::from_bits(0b000_011)));
        assert!(!quorum.is_quorum(NodeSet::from_bits(0b011_000)));
    }
}

#[test]
fn thresholds_are_counted_up_to_their_limit() {
    let pairs = |count: usize| {
        let pairs = (1..=12).flat_map(|a| (a + 1..=12).map(move |b| Expr::all([a, b].map(NodeId))));
        Quorum::new(Expr::any(pairs.take(count)))
    };
    assert!(pairs(63).is_ok(), "and the one over them");
    assert_eq!(pairs(64), Err(QuorumError::TooManyGates { gates: 65 }));
}
