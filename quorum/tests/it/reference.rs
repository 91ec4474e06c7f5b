//! The obviously right versions, and the random systems on which the clever ones are compared with
//! them.

use proptest::prelude::*;
use std::collections::BTreeSet;
use synod_core::NodeId;
use synod_quorum::{Expr, NodeSet, Quorum, Term};

/// Sparse ids, both ends of the range among them.
pub(crate) const IDS: [u64; 7] = [0, 3, 4, 77, 1 << 20, 1 << 63, u64::MAX];

pub(crate) fn nodes(ids: impl IntoIterator<Item = u64>) -> Vec<NodeId> {
    ids.into_iter().map(NodeId).collect()
}

/// Whether the formula is true of the nodes, by its definition.
pub(crate) fn holds(expr: &Expr, nodes: &BTreeSet<NodeId>) -> bool {
    match expr {
        Expr::Node(node) => nodes.contains(node),
        Expr::Gate { need, of } => {
            let mut weight = 0;
            for term in of {
                if holds(&term.expr, nodes) {
                    weight += u64::from(term.weight);
                }
            }
            weight >= *need
        }
    }
}

pub(crate) fn node_set(quorum: &Quorum, set: NodeSet) -> BTreeSet<NodeId> {
    quorum.nodes(set).collect()
}

/// All sets of the members of a small system.
pub(crate) fn sets(quorum: &Quorum) -> impl Iterator<Item = NodeSet> + use<> {
    (0..1_u64 << quorum.members().len()).map(NodeSet::from_bits)
}

/// All quorums, by trying all sets.
pub(crate) fn quorums(quorum: &Quorum) -> Vec<NodeSet> {
    sets(quorum).filter(|set| quorum.is_quorum(*set)).collect()
}

/// All quorums that contain no other one, by comparing all with all.
pub(crate) fn minimal(quorum: &Quorum) -> Vec<NodeSet> {
    let all = quorums(quorum);
    let is_minimal = |set: &NodeSet| {
        all.iter()
            .all(|other| other == set || !other.is_subset(*set))
    };
    all.iter().copied().filter(is_minimal).collect()
}

/// Formulas over the first `count` of [`IDS`], many of them refused (a node twice in a threshold).
pub(crate) fn any_expr(count: usize) -> impl Strategy<Value = Expr> {
    let leaf = (0..count).prop_map(|i| Expr::Node(NodeId(IDS[i])));
    leaf.prop_recursive(3, 14, 4, |inner| {
        let term = (inner, prop_oneof![3 => Just(1_u32), 1 => 1..4_u32]);
        let terms = prop::collection::vec(term, 1..5);
        (terms, any::<prop::sample::Index>()).prop_map(|(terms, need)| {
            let of: Vec<Term> = terms
                .into_iter()
                .map(|(expr, weight)| Term { expr, weight })
                .collect();
            let total: u64 = of.iter().map(|term| u64::from(term.weight)).sum();
            Expr::Gate {
                need: need.index(usize::try_from(total).unwrap()) as u64 + 1,
                of,
            }
        })
    })
}

/// Valid formulas with their systems, over a member list of the first `count` of [`IDS`].
pub(crate) fn any_system(count: usize) -> impl Strategy<Value = (Expr, Quorum)> {
    any_expr(count).prop_filter_map("a node twice in a threshold", move |expr| {
        let quorum = Quorum::new(expr.clone()).ok()?;
        Some((expr, quorum.over(nodes(IDS[..count].to_vec())).unwrap()))
    })
}

/// Valid systems, half of them counts and majorities over some of the nodes.
pub(crate) fn any_quorum(count: usize) -> impl Strategy<Value = Quorum> {
    let list = move || nodes(IDS[..count].to_vec());
    let counts = (1..=count)
        .prop_flat_map(move |n| (1..=n, prop::sample::subsequence(list(), n)))
        .prop_map(move |(need, some)| Quorum::count(need, some).unwrap().over(list()).unwrap());
    prop_oneof![counts, any_system(count).prop_map(|(_, quorum)| quorum)]
}
