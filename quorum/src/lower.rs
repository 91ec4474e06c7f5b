//! From an expression to thresholds over bit masks: checked, and brought into one normal form.

use crate::error::QuorumError;
use crate::expr::{Expr, Term, total};
use crate::gate::{Gate, MAX_GATES};
use crate::{MAX_MEMBERS, NodeSet};
use alloc::boxed::Box;
use alloc::vec::Vec;
use synod_core::NodeId;

/// How deep an expression can be nested.
pub const MAX_DEPTH: usize = 16;

/// The normal form, in which equal formulas that differ only in order, in a common weight or in
/// thresholds over a single part are the same value.
///
/// # Errors
/// Everything [`QuorumError`] says of an expression.
pub(crate) fn normalise(expr: Expr, depth: usize) -> Result<Expr, QuorumError> {
    let (need, of) = match expr {
        Expr::Node(_) => return Ok(expr),
        Expr::Gate { need, of } => (need, of),
    };
    if depth == MAX_DEPTH {
        return Err(QuorumError::TooDeep);
    }
    check(need, &of)?;
    let mut parts = Vec::with_capacity(of.len());
    for term in of {
        parts.push(Term {
            expr: normalise(term.expr, depth + 1)?,
            weight: term.weight,
        });
    }
    if parts.len() == 1 {
        // its threshold is reached exactly when its only part holds
        return Ok(parts.swap_remove(0).expr);
    }
    let need = drop_common_weight(need, &mut parts);
    parts.sort_unstable();
    for pair in parts.windows(2) {
        if let (Expr::Node(a), Expr::Node(b)) = (&pair[0].expr, &pair[1].expr)
            && a == b
        {
            return Err(QuorumError::Duplicate(*a));
        }
    }
    Ok(Expr::Gate { need, of: parts })
}

fn check(need: u64, of: &[Term]) -> Result<(), QuorumError> {
    if of.is_empty() {
        return Err(QuorumError::Empty);
    }
    if of.iter().any(|term| term.weight == 0) {
        return Err(QuorumError::ZeroWeight);
    }
    let total = total(of);
    if need == 0 || need > total {
        return Err(QuorumError::Threshold { need, total });
    }
    Ok(())
}

/// Parts that all weigh the same are counted: `5 of (2*a, 2*b, 2*c)` is `3 of (a, b, c)`.
fn drop_common_weight(need: u64, parts: &mut [Term]) -> u64 {
    let common = parts[0].weight;
    if common == 1 || parts.iter().any(|term| term.weight != common) {
        return need;
    }
    for term in parts {
        term.weight = 1;
    }
    need.div_ceil(u64::from(common))
}

/// The nodes of an expression, ascending.
pub(crate) fn members(expr: &Expr) -> Result<Vec<NodeId>, QuorumError> {
    let mut nodes = Vec::new();
    collect(expr, &mut nodes);
    nodes.sort_unstable();
    nodes.dedup();
    limited(nodes)
}

/// A list of members for a quorum system: ascending, not empty, without duplicates, within the
/// limit.
pub(crate) fn member_list(mut nodes: Vec<NodeId>) -> Result<Vec<NodeId>, QuorumError> {
    nodes.sort_unstable();
    if let Some(pair) = nodes.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(QuorumError::Duplicate(pair[0]));
    }
    limited(nodes)
}

fn limited(nodes: Vec<NodeId>) -> Result<Vec<NodeId>, QuorumError> {
    match nodes.len() {
        0 => Err(QuorumError::Empty),
        1..=MAX_MEMBERS => Ok(nodes),
        nodes => Err(QuorumError::TooManyNodes { nodes }),
    }
}

fn collect(expr: &Expr, nodes: &mut Vec<NodeId>) {
    match expr {
        Expr::Node(node) => nodes.push(*node),
        Expr::Gate { of, .. } => of.iter().for_each(|term| collect(&term.expr, nodes)),
    }
}

/// The thresholds of a normalised expression over `members`, the root last.
pub(crate) fn gates(expr: &Expr, members: &[NodeId]) -> Result<Vec<Gate>, QuorumError> {
    let mut gates = Vec::new();
    match expr {
        Expr::Node(node) => gates.push(Gate {
            need: 1,
            leaves: NodeSet::single(place(*node, members)?),
            gates: NodeSet::EMPTY,
            weights: Box::default(),
        }),
        Expr::Gate { need, of } => {
            let mut found = 0;
            count(of, &mut found);
            if found > MAX_GATES {
                return Err(QuorumError::TooManyGates { gates: found });
            }
            push(*need, of, members, &mut gates)?;
        }
    }
    Ok(gates)
}

fn count(of: &[Term], found: &mut usize) {
    *found += 1;
    for term in of {
        if let Expr::Gate { of, .. } = &term.expr {
            count(of, found);
        }
    }
}

fn push(
    need: u64,
    of: &[Term],
    members: &[NodeId],
    gates: &mut Vec<Gate>,
) -> Result<usize, QuorumError> {
    let mut gate = Gate {
        need,
        leaves: NodeSet::EMPTY,
        gates: NodeSet::EMPTY,
        weights: Box::default(),
    };
    // the normal form has nodes before thresholds, nodes ascending: the order of `weights`
    for term in of {
        match &term.expr {
            Expr::Node(node) => gate.leaves.insert(place(*node, members)?),
            Expr::Gate { need, of } => gate.gates.insert(push(*need, of, members, gates)?),
        };
    }
    if of.iter().any(|term| term.weight != 1) {
        gate.weights = of.iter().map(|term| term.weight).collect();
    }
    gates.push(gate);
    Ok(gates.len() - 1)
}

fn place(node: NodeId, members: &[NodeId]) -> Result<usize, QuorumError> {
    members
        .binary_search(&node)
        .map_err(|_| QuorumError::Missing(node))
}
