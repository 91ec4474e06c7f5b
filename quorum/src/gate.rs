//! The compiled form of an expression: a short list of thresholds over bit masks.
//!
//! Thresholds stand after the ones they refer to, and the last is the whole formula, so that one
//! pass over the list evaluates it: no recursion, no allocation, two population counts each.

use crate::NodeSet;
use crate::error::QuorumError;
use crate::expr::{Expr, Term};
use alloc::boxed::Box;
use alloc::vec::Vec;
use synod_core::NodeId;

/// The most thresholds in one quorum system (a bit mask of them is one word).
pub const MAX_GATES: usize = 64;

/// A threshold over equal members: true if at least `need` of `of` are in the set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Count {
    pub(crate) need: u32,
    pub(crate) of: NodeSet,
}

impl Count {
    #[inline]
    pub(crate) fn holds(self, set: NodeSet) -> bool {
        (set & self.of).len() >= self.need as usize
    }

    /// How many members it is over, if they are the first ones of the list.
    #[inline]
    pub(crate) const fn of_the_first(self) -> Option<u32> {
        let bits = self.of.bits();
        if bits & bits.wrapping_add(1) == 0 {
            Some(u64::BITS - bits.leading_zeros())
        } else {
            None
        }
    }
}

/// A threshold over members and earlier thresholds.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Gate {
    pub(crate) need: u64,
    /// The members among its parts.
    pub(crate) leaves: NodeSet,
    /// The thresholds among its parts: a bit mask of indexes into the list.
    pub(crate) gates: NodeSet,
    /// One weight per part, leaves first, each in ascending order; empty if all weigh 1.
    pub(crate) weights: Box<[u32]>,
}

impl Gate {
    pub(crate) fn len(&self) -> usize {
        self.leaves.len() + self.gates.len()
    }

    /// The weight of the part in place `place` (leaves first).
    pub(crate) fn weight(&self, place: usize) -> u64 {
        self.weights.get(place).map_or(1, |w| u64::from(*w))
    }

    /// The leaves, each with its weight.
    pub(crate) fn leaf_weights(&self) -> impl Iterator<Item = (usize, u64)> {
        let place = |(place, leaf)| (leaf, self.weight(place));
        self.leaves.iter().enumerate().map(place)
    }

    /// The thresholds it refers to, each with its weight.
    pub(crate) fn gate_weights(&self) -> impl Iterator<Item = (usize, u64)> {
        let leaves = self.leaves.len();
        let place = move |(place, gate)| (gate, self.weight(leaves + place));
        self.gates.iter().enumerate().map(place)
    }

    /// Whether it can be reached, and not by nothing.
    ///
    /// # Errors
    /// No part, a weight of zero, or a threshold out of its range.
    pub(crate) fn check(&self) -> Result<(), QuorumError> {
        if self.len() == 0 {
            return Err(QuorumError::Empty);
        }
        if self.weights.contains(&0) {
            return Err(QuorumError::ZeroWeight);
        }
        let total = (0..self.len()).map(|place| self.weight(place)).sum();
        if self.need == 0 || self.need > total {
            let need = self.need;
            return Err(QuorumError::Threshold { need, total });
        }
        Ok(())
    }

    /// This threshold as a count, if it is one: equal weights and members only.
    pub(crate) fn as_count(&self) -> Option<Count> {
        if !self.gates.is_empty() || !self.weights.is_empty() {
            return None;
        }
        let need = u32::try_from(self.need).ok()?;
        Some(Count {
            need,
            of: self.leaves,
        })
    }

    /// Whether it holds of `set`, `true_gates` being the earlier thresholds that do.
    fn holds(&self, set: NodeSet, true_gates: NodeSet) -> bool {
        let (leaves, gates) = (set & self.leaves, true_gates & self.gates);
        if self.weights.is_empty() {
            return (leaves.len() + gates.len()) as u64 >= self.need;
        }
        let of_leaves = self
            .leaf_weights()
            .filter(|(leaf, _)| leaves.contains(*leaf));
        let of_gates = self
            .gate_weights()
            .filter(|(gate, _)| gates.contains(*gate));
        of_leaves
            .chain(of_gates)
            .map(|(_, weight)| weight)
            .sum::<u64>()
            >= self.need
    }
}

impl From<Count> for Gate {
    fn from(count: Count) -> Self {
        Self {
            need: u64::from(count.need),
            leaves: count.of,
            gates: NodeSet::EMPTY,
            weights: Box::default(),
        }
    }
}

/// Whether the last threshold of the list holds of `set`.
pub(crate) fn holds(gates: &[Gate], set: NodeSet) -> bool {
    let mut true_gates = NodeSet::EMPTY;
    let mut last = false;
    for (i, gate) in gates.iter().enumerate() {
        last = gate.holds(set, true_gates);
        if last {
            true_gates.insert(i);
        }
    }
    last
}

/// The expression of the threshold at `index`. The list is a tree: its depth bounds the recursion.
pub(crate) fn raise(gates: &[Gate], members: &[NodeId], index: usize) -> Expr {
    let gate = &gates[index];
    // a lone node is a threshold of one only at the root
    if gate.len() == 1
        && let Some(leaf) = gate.leaves.iter().next()
    {
        return Expr::Node(members[leaf]);
    }
    let weight = |weight: u64| u32::try_from(weight).unwrap_or(u32::MAX);
    let leaves = gate.leaf_weights().map(|(leaf, w)| Term {
        expr: Expr::Node(members[leaf]),
        weight: weight(w),
    });
    let inner = gate.gate_weights().map(|(inner, w)| Term {
        expr: raise(gates, members, inner),
        weight: weight(w),
    });
    Expr::Gate {
        need: gate.need,
        of: leaves.chain(inner).collect::<Vec<_>>(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_over_the_first_members_are_told_from_others() {
        for (bits, expected) in [
            (0, Some(0)),
            (0b1, Some(1)),
            (0b111, Some(3)),
            (u64::MAX >> 1, Some(63)),
            (u64::MAX, Some(64)),
            (0b10, None),
            (0b1011, None),
            (1 << 63, None),
        ] {
            let of = NodeSet::from_bits(bits);
            assert_eq!(Count { need: 1, of }.of_the_first(), expected, "{bits:b}");
        }
    }
}
