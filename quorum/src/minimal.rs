//! Enumerating minimal quorums, one representative of all that differ only by an exchange of
//! members that nothing tells apart.
//!
//! Majority of 64 has 10¹⁸ minimal quorums, and one representative. All exact answers (do two
//! systems intersect, how many failures, what load) are searches over representatives.

use crate::error::TooComplex;
use crate::gate::Gate;
use crate::{NodeSet, Quorum};
use alloc::vec;
use alloc::vec::Vec;

/// The most minimal quorums that an exact search looks at, per system.
pub const MAX_QUORUMS: usize = 1 << 14;

/// The most steps of one search. It keeps a proof, which may be of a system that came from
/// elsewhere, to a fraction of a second.
const MAX_STEPS: usize = 1 << 22;

/// What is left of the steps of a search.
pub(crate) struct Budget(usize);

impl Budget {
    pub(crate) const fn new() -> Self {
        Self(MAX_STEPS)
    }

    /// # Errors
    /// There is not so much left.
    pub(crate) fn spend(&mut self, steps: usize) -> Result<(), TooComplex> {
        self.0 = self.0.checked_sub(steps).ok_or(TooComplex {
            limit: MAX_STEPS,
            what: "steps",
        })?;
        Ok(())
    }
}

/// Members in classes: the members of one class can be exchanged for one another without changing
/// any system that the classes were [split](Classes::split_for) for.
#[derive(Clone, Debug)]
pub(crate) struct Classes(Vec<NodeSet>);

impl Classes {
    /// All `members` alike.
    pub(crate) fn alike(members: NodeSet) -> Self {
        Self(vec![members])
    }

    /// Each of `members` for itself.
    fn distinct(members: NodeSet) -> Self {
        Self(members.iter().map(NodeSet::single).collect())
    }

    /// Tells the members of `set` apart from the others.
    pub(crate) fn split(&mut self, set: NodeSet) {
        let split = |class: &NodeSet| [*class & set, *class - set];
        let parts = self.0.iter().flat_map(split);
        self.0 = parts.filter(|class| !class.is_empty()).collect();
    }

    /// Tells members apart that stand in different thresholds of `quorum`, or in the same one with
    /// different weights.
    pub(crate) fn split_for(mut self, quorum: &Quorum) -> Self {
        for gate in quorum.gates() {
            let mut weights: Vec<_> = gate.leaf_weights().map(|(_, weight)| weight).collect();
            weights.sort_unstable();
            weights.dedup();
            for weight in weights {
                let same = gate.leaf_weights().filter(|(_, w)| *w == weight);
                self.split(same.map(|(leaf, _)| leaf).collect());
            }
        }
        self
    }

    pub(crate) fn as_slice(&self) -> &[NodeSet] {
        &self.0
    }
}

impl Quorum {
    /// All minimal quorums: quorums from which no member can be left out. The smallest come
    /// first.
    ///
    /// ```
    /// use synod_core::NodeId;
    /// use synod_quorum::{NodeSet, Quorum};
    ///
    /// let quorum = Quorum::majority([1, 2, 3].map(NodeId))?;
    /// let pairs = [0b011, 0b101, 0b110].map(NodeSet::from_bits);
    /// assert_eq!(quorum.minimal_quorums()?, pairs);
    /// # Ok::<(), Box<dyn core::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// There are more than [`MAX_QUORUMS`], or finding them took too long.
    pub fn minimal_quorums(&self) -> Result<Vec<NodeSet>, TooComplex> {
        representatives(self, &Classes::distinct(self.all()), &mut Budget::new())
    }
}

/// The minimal quorums whose members are the first ones of each class: every minimal quorum is one
/// of these after members within classes are exchanged. `classes` must be split for `quorum`.
pub(crate) fn representatives(
    quorum: &Quorum,
    classes: &Classes,
    budget: &mut Budget,
) -> Result<Vec<NodeSet>, TooComplex> {
    let gates = quorum.gates();
    of_gate(&gates, gates.len() - 1, classes, budget)
}

/// The representatives of the minimal sets for which the threshold at `root` holds.
pub(crate) fn of_gate(
    gates: &[Gate],
    root: usize,
    classes: &Classes,
    budget: &mut Budget,
) -> Result<Vec<NodeSet>, TooComplex> {
    let inner: Vec<(u64, Vec<NodeSet>)> = gates[root]
        .gate_weights()
        .map(|(inner, weight)| Ok((weight, of_gate(gates, inner, classes, budget)?)))
        .collect::<Result<_, _>>()?;
    let mut parts: Vec<Part> = Vec::new();
    for class in classes.as_slice() {
        let mut inside = gates[root].leaf_weights();
        if let Some((_, weight)) = inside.find(|(leaf, _)| class.contains(*leaf)) {
            parts.push(Part::class(*class, weight));
        }
    }
    parts.extend(
        inner
            .into_iter()
            .map(|(weight, sets)| Part::gate(sets, weight)),
    );
    // the heaviest first: a set is complete with its lightest part, so leaving out any other one
    // leaves it short as well, and it is minimal without a check (as long as no parts overlap)
    parts.sort_by_key(|part| core::cmp::Reverse(part.weight));
    let overlap = overlap(&parts);
    let mut search = Search {
        need: gates[root].need,
        rest: rest(&parts),
        parts,
        found: Vec::new(),
        budget,
    };
    search.walk(0, 0, NodeSet::EMPTY)?;
    let found = search.found;
    smallest_first(found, overlap, budget)
}

/// A part of a threshold: the like members of a class, or an earlier threshold by its quorums.
struct Part {
    weight: u64,
    /// How often it can count.
    times: u64,
    choice: Choice,
}

enum Choice {
    Class(NodeSet),
    OneOf(Vec<NodeSet>),
}

impl Part {
    fn class(class: NodeSet, weight: u64) -> Self {
        Self {
            weight,
            times: class.len() as u64,
            choice: Choice::Class(class),
        }
    }

    fn gate(sets: Vec<NodeSet>, weight: u64) -> Self {
        Self {
            weight,
            times: 1,
            choice: Choice::OneOf(sets),
        }
    }

    fn nodes(&self) -> NodeSet {
        match &self.choice {
            Choice::Class(class) => *class,
            Choice::OneOf(sets) => sets.iter().fold(NodeSet::EMPTY, |a, b| a | *b),
        }
    }
}

/// Whether a node is in two parts.
fn overlap(parts: &[Part]) -> bool {
    let mut seen = NodeSet::EMPTY;
    for nodes in parts.iter().map(Part::nodes) {
        if !nodes.is_disjoint(seen) {
            return true;
        }
        seen = seen | nodes;
    }
    false
}

/// For each place in `parts`, the weight of all parts from there on.
fn rest(parts: &[Part]) -> Vec<u64> {
    let mut rest = vec![0; parts.len() + 1];
    for (i, part) in parts.iter().enumerate().rev() {
        rest[i] = rest[i + 1] + part.weight * part.times;
    }
    rest
}

struct Search<'a> {
    need: u64,
    parts: Vec<Part>,
    rest: Vec<u64>,
    found: Vec<NodeSet>,
    budget: &'a mut Budget,
}

impl Search<'_> {
    /// Extends `set`, of weight `sum`, by parts from `next` on in every way. The depth is the
    /// number of parts.
    fn walk(&mut self, next: usize, sum: u64, set: NodeSet) -> Result<(), TooComplex> {
        self.budget.spend(1)?;
        if sum >= self.need {
            return self.keep(set);
        }
        if sum + self.rest[next] < self.need {
            return Ok(());
        }
        let weight = self.parts[next].weight;
        self.walk(next + 1, sum, set)?;
        match &self.parts[next].choice {
            Choice::Class(class) => {
                let (mut sum, mut set) = (sum, set);
                for position in *class {
                    if sum >= self.need {
                        break;
                    }
                    sum += weight;
                    set.insert(position);
                    self.walk(next + 1, sum, set)?;
                }
            }
            Choice::OneOf(sets) => {
                for i in 0..sets.len() {
                    if let Choice::OneOf(sets) = &self.parts[next].choice {
                        let set = set | sets[i];
                        self.walk(next + 1, sum + weight, set)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn keep(&mut self, set: NodeSet) -> Result<(), TooComplex> {
        if self.found.len() == MAX_QUORUMS {
            return Err(TooComplex {
                limit: MAX_QUORUMS,
                what: "minimal quorums",
            });
        }
        self.found.push(set);
        Ok(())
    }
}

/// Sorted by size, and without sets that contain another one if there can be any.
fn smallest_first(
    mut sets: Vec<NodeSet>,
    overlap: bool,
    budget: &mut Budget,
) -> Result<Vec<NodeSet>, TooComplex> {
    sets.sort_unstable_by_key(|set| (set.len(), *set));
    if !overlap {
        return Ok(sets);
    }
    let mut minimal: Vec<NodeSet> = Vec::new();
    for set in sets {
        // a comparison is much quicker than a step
        budget.spend(minimal.len() / 64)?;
        if !minimal.iter().any(|small| small.is_subset(set)) {
            minimal.push(set);
        }
    }
    Ok(minimal)
}
