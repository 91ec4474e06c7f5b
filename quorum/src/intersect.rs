//! Do all quorums that must meet, meet? If not: which ones do not.

use crate::error::{Evidence, Role, SystemError, TooComplex};
use crate::minimal::{self, Budget, Classes};
use crate::{NodeSet, Quorum};
use alloc::vec::Vec;

/// The given systems over the union of their members, in one order.
pub(crate) fn over_union<const N: usize>(
    quorums: [&Quorum; N],
) -> Result<[Quorum; N], SystemError> {
    let mut nodes: Vec<_> = quorums.iter().flat_map(|q| q.members()).copied().collect();
    nodes.sort_unstable();
    nodes.dedup();
    let mut wide = quorums.map(Quorum::clone);
    for quorum in &mut wide {
        *quorum = quorum.over(nodes.iter().copied())?;
    }
    Ok(wide)
}

/// Checks that every quorum of `a` meets every quorum of `b`. Both have the same member list.
///
/// # Errors
/// Two quorums that do not, or that it could not be found out.
pub(crate) fn check(
    (a_role, a): (Role, &Quorum),
    (b_role, b): (Role, &Quorum),
) -> Result<(), SystemError> {
    match disjoint(a, b)? {
        None => Ok(()),
        Some((left, right)) => Err(SystemError::Disjoint(
            evidence(a_role, a, left),
            evidence(b_role, b, right),
        )),
    }
}

/// Checks that every quorum of `a` meets every two of `b` in a node common to all three. All have
/// the same member list.
///
/// # Errors
/// Three quorums that do not, or that it could not be found out.
pub(crate) fn check_three(
    (a_role, a): (Role, &Quorum),
    (b_role, b): (Role, &Quorum),
) -> Result<(), SystemError> {
    match disjoint_three(a, b)? {
        None => Ok(()),
        Some((one, two, three)) => Err(SystemError::DisjointThree(
            evidence(a_role, a, one),
            evidence(b_role, b, two),
            evidence(b_role, b, three),
        )),
    }
}

fn evidence(role: Role, quorum: &Quorum, set: NodeSet) -> Evidence {
    Evidence {
        role,
        nodes: quorum.nodes(set).collect(),
    }
}

/// A minimal quorum of `a` and one of `b` without a common member.
fn disjoint(a: &Quorum, b: &Quorum) -> Result<Option<(NodeSet, NodeSet)>, TooComplex> {
    if overweight(a, b) {
        return Ok(None);
    }
    // exchanging like members changes neither system, so a quorum of `a` has a disjoint one in `b`
    // exactly if its representative has
    let classes = Classes::alike(a.all()).split_for(a).split_for(b);
    let from = |of: &Quorum, other: &Quorum| {
        let quorums = minimal::representatives(of, &classes, &mut Budget::new())?;
        let pair = |set: NodeSet| Some((set, other.shrink(of.all() - set)?));
        Ok(quorums.into_iter().find_map(pair))
    };
    // either side's quorums will do: the side that has few of them answers
    from(a, b).or_else(|_: TooComplex| {
        let swapped: Option<(NodeSet, NodeSet)> = from(b, a)?;
        Ok(swapped.map(|(right, left)| (left, right)))
    })
}

/// Two thresholds over the same weights cannot be reached apart if together they are above the
/// total. This proves large weighted systems, whose minimal quorums are too many to look at.
fn overweight(a: &Quorum, b: &Quorum) -> bool {
    let (a, b) = (a.gates(), b.gates());
    let ([a], [b]) = (&*a, &*b) else { return false };
    let total: u64 = a.leaf_weights().map(|(_, weight)| weight).sum();
    a.leaves == b.leaves && a.weights == b.weights && a.need + b.need > total
}

/// A quorum of `a` and two of `b` without a member common to all three.
fn disjoint_three(
    a: &Quorum,
    b: &Quorum,
) -> Result<Option<(NodeSet, NodeSet, NodeSet)>, TooComplex> {
    let classes = Classes::alike(a.all()).split_for(a).split_for(b);
    let mut budget = Budget::new();
    for first in minimal::representatives(b, &classes, &mut budget)? {
        // with the first quorum fixed, its members are no longer like the others
        let mut classes = classes.clone();
        classes.split(first);
        for second in minimal::representatives(b, &classes, &mut budget)? {
            budget.spend(1)?;
            if let Some(apart) = a.shrink(a.all() - (first & second)) {
                return Ok(Some((apart, first, second)));
            }
        }
    }
    Ok(None)
}
