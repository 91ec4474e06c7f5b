//! [`Quorum`]: a quorum system, ready for the hot path.

use crate::error::{Braces, QuorumError};
use crate::expr::Expr;
use crate::gate::{self, Count, Gate};
use crate::{NodeSet, highest, lower};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use synod_core::NodeId;

/// Which sets of nodes are enough: a monotone quorum system over at most
/// [`MAX_MEMBERS`](crate::MAX_MEMBERS) nodes.
///
/// A value that exists is valid: all members together are a quorum, no members are none, and a
/// set that contains a quorum is one. Cloning costs at most two reference counts. Equal values
/// have equal member lists and equal normal forms (the order of parts, a weight common to all
/// parts, and thresholds over one part make no difference); two different formulas for the same
/// quorums are different values.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Quorum, QuorumError};
///
/// let quorum = Quorum::majority([7, 3, 9].map(NodeId))?;
/// assert_eq!(quorum.members(), [3, 7, 9].map(NodeId));
/// assert!(quorum.is_quorum(quorum.set([NodeId(3), NodeId(9)])));
///
/// // values in member order: the entries that n3, n7 and n9 hold
/// assert_eq!(quorum.highest(&[12, 10, 4]), 10);
///
/// assert_eq!(Quorum::majority([]), Err(QuorumError::Empty));
/// let twice = Quorum::majority([NodeId(3), NodeId(3)]);
/// assert_eq!(twice, Err(QuorumError::Duplicate(NodeId(3))));
/// # Ok::<(), QuorumError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(
    feature = "serde",
    serde(try_from = "crate::form::Form", into = "crate::form::Form")
)]
pub struct Quorum {
    members: Arc<[NodeId]>,
    rule: Rule,
}

/// The common shapes stand inline; the shape follows from the normal form, so that equal systems
/// are equal values.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Rule {
    Count(Count),
    Joint(Count, Count),
    Gates(Arc<[Gate]>),
}

impl Quorum {
    /// The quorum system of a formula; its nodes are the members.
    ///
    /// # Errors
    /// A threshold outside its range, an empty list, a node twice in one threshold, a weight of
    /// zero, or a limit reached, as [`QuorumError`] names them.
    pub fn new(expr: Expr) -> Result<Self, QuorumError> {
        let expr = lower::normalise(expr, 0)?;
        let members = lower::members(&expr)?;
        Self::assemble(&expr, members)
    }

    /// More than half of `nodes`.
    ///
    /// # Errors
    /// No node, a node twice, or too many.
    pub fn majority(nodes: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        Self::new(Expr::majority(nodes))
    }

    /// Any `need` of `nodes`.
    ///
    /// # Errors
    /// No node, a node twice, too many, or `need` not between 1 and their number.
    pub fn count(
        need: usize,
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self, QuorumError> {
        Self::new(Expr::choose(need, nodes))
    }

    /// Nodes whose weights sum up to at least `need` (Gifford, *Weighted Voting*, 1979).
    ///
    /// # Errors
    /// No node, a node twice, too many, a weight of zero, or `need` not between 1 and the total.
    pub fn weighted(
        need: u64,
        nodes: impl IntoIterator<Item = (NodeId, u32)>,
    ) -> Result<Self, QuorumError> {
        Self::new(Expr::weighted(need, nodes))
    }

    /// Nodes that carry more than half of the total weight.
    ///
    /// # Errors
    /// As [`Quorum::weighted`].
    pub fn weighted_majority(
        nodes: impl IntoIterator<Item = (NodeId, u32)>,
    ) -> Result<Self, QuorumError> {
        let nodes: Vec<_> = nodes.into_iter().collect();
        let total: u64 = nodes.iter().map(|(_, weight)| u64::from(*weight)).sum();
        Self::weighted(total / 2 + 1, nodes)
    }

    /// A majority of groups, in each of which a majority agrees (Kumar, *Hierarchical Quorum
    /// Consensus*, 1991). Three groups of three make quorums of four nodes out of nine.
    ///
    /// # Errors
    /// No group, an empty group, a node twice, or a limit reached.
    pub fn hierarchical<G: IntoIterator<Item = NodeId>>(
        groups: impl IntoIterator<Item = G>,
    ) -> Result<Self, QuorumError> {
        let groups: Vec<Vec<NodeId>> = groups.into_iter().map(Vec::from_iter).collect();
        lower::member_list(groups.concat())?;
        Self::new(Expr::majority(groups.into_iter().map(Expr::majority)))
    }

    /// Both systems at once: a set is a quorum if it is one in `old` and in `new` (Raft §6, joint
    /// consensus).
    ///
    /// # Errors
    /// More members than the limit, or an expression beyond its limits.
    pub fn joint(old: &Self, new: &Self) -> Result<Self, QuorumError> {
        let mut nodes = [old.members(), new.members()].concat();
        nodes.sort_unstable();
        nodes.dedup();
        // all(q, q) is q
        let expr = match (old.expr(), new.expr()) {
            (old, new) if old == new => old,
            (old, new) => Expr::all([old, new]),
        };
        Self::new(expr)?.over(nodes)
    }

    /// The system whose quorums are exactly the sets that meet every quorum of this one; the dual
    /// of the dual is the system itself. See [`Expr::dual`].
    #[must_use]
    pub fn dual(&self) -> Self {
        let expr = lower::normalise(self.expr().dual(), 0);
        expr.and_then(|expr| Self::assemble(&expr, self.members.to_vec()))
            .expect("the dual of a valid system has the same shape, and is valid")
    }

    /// The same quorums over a wider list of members, so that masks and values of several systems
    /// have the same positions. The added members make no difference to any answer.
    ///
    /// # Errors
    /// A node twice, too many, or one of this system's nodes missing.
    pub fn over(&self, members: impl IntoIterator<Item = NodeId>) -> Result<Self, QuorumError> {
        let members = lower::member_list(members.into_iter().collect())?;
        if *self.members == *members {
            return Ok(self.clone());
        }
        Self::assemble(&self.expr(), members)
    }

    pub(crate) fn assemble(expr: &Expr, members: Vec<NodeId>) -> Result<Self, QuorumError> {
        let gates = lower::gates(expr, &members)?;
        Ok(Self {
            members: members.into(),
            rule: rule(gates),
        })
    }

    /// The members, ascending. Positions in masks and values are positions in this list.
    #[inline]
    #[must_use]
    pub fn members(&self) -> &[NodeId] {
        &self.members
    }

    /// Where `node` stands in the member list; `None` for a stranger.
    #[inline]
    #[must_use]
    pub fn position(&self, node: NodeId) -> Option<usize> {
        // a scan of one or two cache lines beats the mispredicted branches of a search
        if self.members.len() <= 8 {
            self.members.iter().position(|member| *member == node)
        } else {
            self.members.binary_search(&node).ok()
        }
    }

    /// All members.
    #[inline]
    #[must_use]
    pub fn all(&self) -> NodeSet {
        NodeSet::first(self.members.len())
    }

    /// The set of those `nodes` that are members; strangers are left out.
    #[must_use]
    pub fn set(&self, nodes: impl IntoIterator<Item = NodeId>) -> NodeSet {
        nodes
            .into_iter()
            .filter_map(|node| self.position(node))
            .collect()
    }

    /// The nodes of `set`, ascending; positions past the member list are left out.
    pub fn nodes(&self, set: NodeSet) -> impl Iterator<Item = NodeId> {
        set.iter()
            .map_while(|place| self.members.get(place).copied())
    }

    /// Whether `set` is a quorum or contains one. Positions past the member list do not count.
    #[inline]
    #[must_use]
    pub fn is_quorum(&self, set: NodeSet) -> bool {
        match &self.rule {
            Rule::Count(count) => count.holds(set),
            Rule::Joint(old, new) => old.holds(set) && new.holds(set),
            Rule::Gates(gates) => gate::holds(gates, set),
        }
    }

    /// Whether no quorum is left once the members of `set` are gone: they said no, or have failed.
    #[inline]
    #[must_use]
    pub fn is_blocked_by(&self, set: NodeSet) -> bool {
        !self.is_quorum(self.all() - set)
    }

    /// The highest value that a quorum has reached: the greatest `v` such that the members with a
    /// value of at least `v` are a quorum. `values` are in member order.
    ///
    /// With the last log index that each member holds, this is what is committed (Raft §5.3); with
    /// the time at which each was last heard (in nanoseconds), it is the time since which a quorum
    /// was heard from (check-quorum). A member that has reached nothing is given as 0.
    ///
    /// Allocates nothing: a threshold is the n-th highest of its parts, evaluated once each.
    ///
    /// # Panics
    /// If there are not as many values as members.
    #[inline]
    #[must_use]
    pub fn highest(&self, values: &[u64]) -> u64 {
        assert_eq!(values.len(), self.members.len(), "one value per member");
        self.highest_by(|position| values[position])
    }

    /// As [`Quorum::highest`], where `value` gives the value of the member at a position; it may
    /// be asked more than once for the same one.
    #[inline]
    #[must_use]
    pub fn highest_by(&self, value: impl Fn(usize) -> u64) -> u64 {
        match &self.rule {
            Rule::Count(count) => highest::of_count(*count, &value),
            Rule::Joint(old, new) => {
                highest::of_count(*old, &value).min(highest::of_count(*new, &value))
            }
            Rule::Gates(gates) => highest::of_gates(gates, &value),
        }
    }

    /// Members taken out of `set` one by one as long as it stays a quorum: a minimal quorum inside
    /// `set`, or `None` if `set` is no quorum.
    #[must_use]
    pub fn shrink(&self, set: NodeSet) -> Option<NodeSet> {
        if !self.is_quorum(set) {
            return None;
        }
        let mut small = set & self.all();
        for position in small {
            let without = small - NodeSet::single(position);
            if self.is_quorum(without) {
                small = without;
            }
        }
        Some(small)
    }

    /// The formula, in normal form. It does not name members added by [`Quorum::over`].
    #[must_use]
    pub fn expr(&self) -> Expr {
        let gates = self.gates();
        gate::raise(&gates, &self.members, gates.len() - 1)
    }

    /// The thresholds, the whole formula last.
    pub(crate) fn gates(&self) -> Vec<Gate> {
        match &self.rule {
            Rule::Count(count) => vec![Gate::from(*count)],
            Rule::Joint(old, new) => {
                let both = Gate {
                    need: 2,
                    leaves: NodeSet::EMPTY,
                    gates: NodeSet::first(2),
                    weights: [].into(),
                };
                vec![Gate::from(*old), Gate::from(*new), both]
            }
            Rule::Gates(gates) => gates.to_vec(),
        }
    }
}

fn rule(gates: Vec<Gate>) -> Rule {
    match &*gates {
        [only] if let Some(count) = only.as_count() => Rule::Count(count),
        [old, new, both] if both.need == 2 && both.gates.len() == 2 && both.len() == 2 => {
            match (old.as_count(), new.as_count()) {
                (Some(old), Some(new)) if both.weights.is_empty() => Rule::Joint(old, new),
                _ => Rule::Gates(gates.into()),
            }
        }
        _ => Rule::Gates(gates.into()),
    }
}

impl fmt::Display for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let expr = self.expr();
        write!(f, "{expr}")?;
        match lower::members(&expr) {
            Ok(named) if *named == *self.members => Ok(()),
            _ => write!(f, " among {}", Braces(&self.members)),
        }
    }
}

impl fmt::Debug for Quorum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quorum({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is asked with every answer of every round is asked of a few words, not of a list.
    #[test]
    fn the_usual_systems_have_a_form_of_their_own() -> Result<(), QuorumError> {
        let old = Quorum::majority([1, 2, 3].map(NodeId))?;
        let new = Quorum::majority([3, 4, 5].map(NodeId))?;
        assert!(matches!(old.rule, Rule::Count(_)));
        assert!(matches!(Quorum::joint(&old, &new)?.rule, Rule::Joint(..)));
        let weighted = Quorum::weighted(3, [(NodeId(1), 2), (NodeId(2), 1), (NodeId(3), 1)])?;
        assert!(matches!(weighted.rule, Rule::Gates(_)));
        Ok(())
    }
}
