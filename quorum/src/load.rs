//! How much a system can carry: load and capacity under the best choice of quorums.
//!
//! Source: Whittaker, Charapko, Hellerstein, Howard, Stoica, *Read-Write Quorum Systems Made
//! Practical* (2021), §3.3 and §3.4; Naor and Wool, *The Load, Capacity, and Availability of Quorum
//! Systems* (1998).

use crate::error::{Role, TooComplex};
use crate::minimal::{self, Budget, Classes};
use crate::simplex::{Optimum, Program};
use crate::{NodeSet, Quorum, ReadWrite, resilient};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use synod_core::NodeId;

/// The work for which a system is planned: how much of it is reads, and what each node can do.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Demand, Expr, Quorum, ReadWrite};
///
/// let [a, b, c, d] = [1, 2, 3, 4].map(NodeId);
/// let reads = Expr::any([Expr::all([a, b]), Expr::all([c, d])]);
/// let grid = ReadWrite::from_reads(&Quorum::new(reads)?);
///
/// // half of the operations are reads; c and d are half as fast as a and b
/// let mut demand = Demand::reads(0.5);
/// for (node, read, write) in [(a, 200.0, 100.0), (b, 200.0, 100.0), (c, 100.0, 50.0), (d, 100.0, 50.0)] {
///     demand = demand.node(node, read, write);
/// }
/// let plan = grid.plan(&demand)?;
/// assert!((plan.capacity() - 200.0).abs() < 1e-6);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    cases: Vec<(f64, f64)>,
    nodes: BTreeMap<NodeId, [f64; 2]>,
    failures: usize,
}

/// Why no plan can be made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// A share of reads is not between 0 and 1.
    #[error("the fraction of reads ({0}) must be between 0 and 1")]
    Fraction(f64),
    /// The weights of a mixed demand are not positive and finite, or there are none.
    #[error("the weight of a fraction of reads ({0}) must be above 0 and finite")]
    Weight(f64),
    /// A capacity is not positive and finite.
    #[error("the capacity of {node} ({capacity}) must be above 0 and finite")]
    Capacity {
        /// Whose.
        node: NodeId,
        /// Which.
        capacity: f64,
    },
    /// Not even all members together can lose so many and still be a quorum.
    #[error("no {role} quorum survives {failures} failures")]
    Resilience {
        /// Read or write.
        role: Role,
        /// How many failures the strategy was to survive.
        failures: usize,
    },
    /// There are too many different minimal quorums to choose from.
    #[error(transparent)]
    TooComplex(#[from] TooComplex),
    /// Capacities so far apart that the calculation drowned in rounding errors.
    #[error("the best strategy could not be calculated: the capacities are too far apart")]
    Rounding,
}

impl Demand {
    /// A share of `fraction` (0 to 1) of the operations are reads, the others are writes. Each
    /// node can do one read or one write per unit of time.
    #[must_use]
    pub fn reads(fraction: f64) -> Self {
        Self::mixed([(fraction, 1.0)])
    }

    /// The share of reads changes over time: pairs of a share of reads and how much of the time it
    /// is that (in any unit, the sum need not be 1). One strategy has to do for all.
    #[must_use]
    pub fn mixed(cases: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            cases: cases.into_iter().collect(),
            nodes: BTreeMap::new(),
            failures: 0,
        }
    }

    /// Gives `node` a capacity in reads and in writes per unit of time.
    #[must_use]
    pub fn node(mut self, node: NodeId, reads: f64, writes: f64) -> Self {
        self.nodes.insert(node, [reads, writes]);
        self
    }

    /// Asks with every operation so many nodes that the answers are still enough when any
    /// `failures` of them do not come; the default is 0. Source: Whittaker et al. (2021), §3.5.
    #[must_use]
    pub const fn surviving(mut self, failures: usize) -> Self {
        self.failures = failures;
        self
    }

    fn capacity(&self, node: NodeId) -> [f64; 2] {
        self.nodes.get(&node).copied().unwrap_or([1.0, 1.0])
    }

    fn check(&self) -> Result<(), PlanError> {
        if self.cases.is_empty() {
            return Err(PlanError::Weight(0.0));
        }
        for (fraction, weight) in &self.cases {
            if !(0.0..=1.0).contains(fraction) {
                return Err(PlanError::Fraction(*fraction));
            }
            if !positive(*weight) {
                return Err(PlanError::Weight(*weight));
            }
        }
        for (node, capacities) in &self.nodes {
            if let Some(capacity) = capacities.iter().find(|capacity| !positive(**capacity)) {
                return Err(PlanError::Capacity {
                    node: *node,
                    capacity: *capacity,
                });
            }
        }
        Ok(())
    }
}

fn positive(number: f64) -> bool {
    number.is_finite() && number > 0.0
}

/// Quorums that a strategy uses.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// An example. Its members can be exchanged for members of the same [class](Plan::classes),
    /// and a strategy does so evenly.
    pub quorum: NodeSet,
    /// How often such a quorum is chosen, above 0 and up to 1.
    pub probability: f64,
}

/// The strategy that spreads a demand best, and what the system carries with it.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For each case its weight (in sum 1) and the load of each member.
    cases: Vec<(f64, Vec<f64>)>,
    classes: Vec<NodeSet>,
    reads: Vec<Choice>,
    writes: Vec<Choice>,
    bound: f64,
}

impl Plan {
    /// The load: how long the busiest node works per operation, in units of time; the mean over
    /// the cases of a mixed demand. With capacities of 1 it is the share of the operations that
    /// the busiest node takes part in.
    #[must_use]
    pub fn load(&self) -> f64 {
        let busiest = |(weight, loads): &(f64, Vec<f64>)| weight * highest(loads);
        self.cases.iter().map(busiest).sum()
    }

    /// The capacity: operations per unit of time until the busiest node is at its limit; the mean
    /// over the cases of a mixed demand.
    #[must_use]
    pub fn capacity(&self) -> f64 {
        let most = |(weight, loads): &(f64, Vec<f64>)| weight / highest(loads);
        self.cases.iter().map(most).sum()
    }

    /// The load of each member, in member order; the mean over the cases of a mixed demand.
    #[must_use]
    pub fn loads(&self) -> Vec<f64> {
        let members = self.cases.first().map_or(0, |(_, loads)| loads.len());
        let mean = |member: usize| self.cases.iter().map(|(w, loads)| w * loads[member]).sum();
        (0..members).map(mean).collect()
    }

    /// No strategy has a load below this. It differs from [`Plan::load`] only by rounding, which
    /// shows that the strategy is optimal.
    #[must_use]
    pub const fn lower_bound(&self) -> f64 {
        self.bound
    }

    /// Which quorums are read, and how often.
    #[must_use]
    pub fn reads(&self) -> &[Choice] {
        &self.reads
    }

    /// Which quorums are written, and how often.
    #[must_use]
    pub fn writes(&self) -> &[Choice] {
        &self.writes
    }

    /// The classes of members that nothing tells apart, neither the system nor their capacities.
    #[must_use]
    pub fn classes(&self) -> &[NodeSet] {
        &self.classes
    }

    /// The mean number of nodes that an operation asks, if a share of `fraction` are reads.
    #[must_use]
    pub fn network_load(&self, fraction: f64) -> f64 {
        let mean = |choices: &[Choice]| -> f64 {
            let size = |choice: &Choice| choice.probability * choice.quorum.len() as f64;
            choices.iter().map(size).sum()
        };
        fraction * mean(&self.reads) + (1.0 - fraction) * mean(&self.writes)
    }
}

fn highest(loads: &[f64]) -> f64 {
    loads.iter().copied().fold(0.0, f64::max)
}

impl ReadWrite {
    /// Finds the strategy with the least load.
    ///
    /// A strategy chooses a read quorum for each read and a write quorum for each write at random.
    /// Like members share their work evenly in the best one, so the linear program has a row per
    /// class of like members and a column per representative quorum: a majority of any size is
    /// one row.
    ///
    /// # Errors
    /// A number out of its range, or a system too complex for an exact answer.
    pub fn plan(&self, demand: &Demand) -> Result<Plan, PlanError> {
        demand.check()?;
        let classes = self.classes(demand);
        let reads = quorums(self.reads(), Role::Read, &classes, demand.failures)?;
        let writes = quorums(self.writes(), Role::Write, &classes, demand.failures)?;
        let model = Model {
            system: self,
            demand,
            classes: classes.as_slice(),
        };
        // the simplex method wants numbers around 1, and so a unit of time to match
        let unit = model.unit();
        let total: f64 = demand.cases.iter().map(|(_, weight)| weight).sum();
        let program = Program {
            shares: demand
                .cases
                .iter()
                .map(|(_, weight)| weight / total)
                .collect(),
            rows: model.classes.len(),
            first: reads.iter().map(|q| model.column(*q, 0, unit)).collect(),
            second: writes.iter().map(|q| model.column(*q, 1, unit)).collect(),
        };
        let optimum = program.solve().ok_or(PlanError::Rounding)?;
        Ok(Plan {
            cases: model.loads(&program, &optimum, unit),
            classes: model.classes.to_vec(),
            bound: lower_bound(&program, &optimum) * unit,
            reads: choices(&reads, &optimum.first),
            writes: choices(&writes, &optimum.second),
        })
    }

    fn classes(&self, demand: &Demand) -> Classes {
        let all = self.reads().all();
        let mut classes = Classes::alike(all)
            .split_for(self.reads())
            .split_for(self.writes());
        for node in self.members() {
            let capacity = demand.capacity(*node);
            let like = |place: &usize| demand.capacity(self.members()[*place]) == capacity;
            classes.split(all.iter().filter(like).collect());
        }
        classes
    }
}

/// The quorums that a strategy can choose from.
fn quorums(
    quorum: &Quorum,
    role: Role,
    classes: &Classes,
    failures: usize,
) -> Result<Vec<NodeSet>, PlanError> {
    if failures == 0 {
        return Ok(minimal::representatives(
            quorum,
            classes,
            &mut Budget::new(),
        )?);
    }
    let found = resilient::representatives(quorum, classes, failures)?;
    if found.is_empty() {
        return Err(PlanError::Resilience { role, failures });
    }
    Ok(found)
}

/// The loads that quorums cause, class by class.
struct Model<'a> {
    system: &'a ReadWrite,
    demand: &'a Demand,
    classes: &'a [NodeSet],
}

impl Model<'_> {
    fn capacity(&self, class: NodeSet) -> [f64; 2] {
        let node = class
            .iter()
            .next()
            .map(|place| self.system.members()[place]);
        node.map_or([1.0, 1.0], |node| self.demand.capacity(node))
    }

    /// How long the slowest node takes for one operation.
    fn unit(&self) -> f64 {
        let capacities = self.classes.iter().flat_map(|class| self.capacity(*class));
        1.0 / capacities.fold(f64::INFINITY, f64::min)
    }

    /// The load, in `unit`s, that choosing `quorum` and its likes puts on each class in each case.
    fn column(&self, quorum: NodeSet, kind: usize, unit: f64) -> Vec<f64> {
        let mut rows = Vec::new();
        for (fraction, _) in &self.demand.cases {
            let share = [*fraction, 1.0 - fraction][kind];
            for class in self.classes {
                let chosen = (quorum & *class).len() as f64 / class.len() as f64;
                rows.push(share * chosen / self.capacity(*class)[kind] / unit);
            }
        }
        rows
    }

    /// The weight of each case and the load of each member in it.
    fn loads(&self, program: &Program, optimum: &Optimum, unit: f64) -> Vec<(f64, Vec<f64>)> {
        let mixed = program.first.iter().zip(&optimum.first);
        let mixed = mixed.chain(program.second.iter().zip(&optimum.second));
        let mut rows = vec![0.0; program.rows * program.shares.len()];
        for (column, probability) in mixed {
            for (row, load) in rows.iter_mut().zip(column) {
                *row += load * probability * unit;
            }
        }
        let of_case = |(case, share): (usize, &f64)| {
            let rows = &rows[case * program.rows..][..program.rows];
            let mut loads = vec![0.0; self.system.members().len()];
            for (class, load) in self.classes.iter().zip(rows) {
                for place in *class {
                    loads[place] = *load;
                }
            }
            (*share, loads)
        };
        program.shares.iter().enumerate().map(of_case).collect()
    }
}

/// What the cheapest columns cost at the prices of the optimum (the dual program). The prices of
/// each case are brought to their exact sum first, so that rounding cannot make it no bound.
fn lower_bound(program: &Program, optimum: &Optimum) -> f64 {
    let mut prices: Vec<f64> = optimum.prices.iter().map(|price| price.max(0.0)).collect();
    for (prices, share) in prices.chunks_mut(program.rows).zip(&program.shares) {
        let sum: f64 = prices.iter().sum();
        if sum > 0.0 {
            prices.iter_mut().for_each(|price| *price *= share / sum);
        }
    }
    let cheapest = |columns: &[Vec<f64>]| {
        let cost = |column: &Vec<f64>| column.iter().zip(&prices).map(|(a, b)| a * b).sum();
        columns.iter().map(cost).fold(f64::INFINITY, f64::min)
    };
    cheapest(&program.first) + cheapest(&program.second)
}

fn choices(quorums: &[NodeSet], probabilities: &[f64]) -> Vec<Choice> {
    let used = quorums
        .iter()
        .zip(probabilities)
        .filter(|(_, p)| **p > 1e-9);
    let choice = |(quorum, probability): (&NodeSet, &f64)| Choice {
        quorum: *quorum,
        probability: *probability,
    };
    used.map(choice).collect()
}
