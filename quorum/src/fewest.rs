//! How small a quorum can be, and how many failures a system survives.

use crate::error::TooComplex;
use crate::gate::Gate;
use crate::minimal::{self, Budget, Classes};
use crate::{MAX_MEMBERS, NodeSet, Quorum};
use alloc::vec;
use alloc::vec::Vec;

impl Quorum {
    /// How many members the smallest quorum has.
    ///
    /// # Errors
    /// [`TooComplex`], only if thresholds that share nodes are combined (a joint system, say) and
    /// have very many minimal quorums.
    pub fn smallest(&self) -> Result<usize, TooComplex> {
        let gates = self.gates();
        let classes = Classes::alike(self.all()).split_for(self);
        let mut sizes: Vec<Size> = Vec::with_capacity(gates.len());
        for index in 0..gates.len() {
            let size = Size::of(&gates, index, &sizes, &classes)?;
            sizes.push(size);
        }
        Ok(sizes.last().map_or(0, |size| size.fewest))
    }

    /// How many members can fail, whichever they are, so that the others still are a quorum.
    ///
    /// One less than the smallest set that meets every quorum, which is the smallest quorum of the
    /// [dual](Quorum::dual). Source: Whittaker et al. (2021), §3.2.
    ///
    /// ```
    /// use synod_core::NodeId;
    /// use synod_quorum::Quorum;
    ///
    /// let nodes = (1..=5).map(NodeId);
    /// assert_eq!(Quorum::majority(nodes.clone())?.resilience()?, 2);
    /// assert_eq!(Quorum::count(5, nodes)?.resilience()?, 0);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Quorum::smallest`].
    pub fn resilience(&self) -> Result<usize, TooComplex> {
        Ok(self.dual().smallest()? - 1)
    }
}

/// What is known of one threshold.
struct Size {
    /// The size of its smallest quorum.
    fewest: usize,
    /// The members it depends on.
    nodes: NodeSet,
}

impl Size {
    fn of(
        gates: &[Gate],
        index: usize,
        sizes: &[Self],
        classes: &Classes,
    ) -> Result<Self, TooComplex> {
        let gate = &gates[index];
        let mut nodes = gate.leaves;
        let mut overlap = false;
        for inner in gate.gates {
            overlap |= !nodes.is_disjoint(sizes[inner].nodes);
            nodes = nodes | sizes[inner].nodes;
        }
        let leaves = gate.leaf_weights().map(|(_, weight)| (1, weight));
        let inner = gate.gate_weights();
        let inner = inner.map(|(inner, weight)| (sizes[inner].fewest, weight));
        let parts: Vec<(usize, u64)> = leaves.chain(inner).collect();
        let one_part_is_enough = parts.iter().all(|(_, weight)| *weight >= gate.need);
        let fewest = if overlap && !one_part_is_enough {
            // what two parts share counts once, so their sizes do not add up: look at the sets
            let sets = minimal::of_gate(gates, index, classes, &mut Budget::new())?;
            sets.first().map_or(0, |set| set.len())
        } else {
            cheapest(&parts, gate.need)
        };
        Ok(Self { fewest, nodes })
    }
}

/// The least total cost of parts, each a cost and a weight, that weigh at least `need`.
fn cheapest(parts: &[(usize, u64)], need: u64) -> usize {
    // the most weight for each cost (a knapsack); no cost can be above the number of members, as
    // parts that are added up share none
    let mut most = vec![0_u64; MAX_MEMBERS + 1];
    for (cost, weight) in parts {
        for total in (*cost..=MAX_MEMBERS).rev() {
            most[total] = most[total].max(most[total - cost] + weight);
        }
    }
    let reached = most.iter().position(|weight| *weight >= need);
    reached.unwrap_or(MAX_MEMBERS)
}
