//! [`Expr`]: a quorum system as a formula, the form to write and to read.

use alloc::vec::Vec;
use core::fmt;
use synod_core::NodeId;

/// A formula over nodes: a set of nodes is a quorum if it makes the formula true.
///
/// A node is true if it is in the set; everything else is a threshold over parts. The builders
/// check nothing; [`Quorum::new`](crate::Quorum::new) does.
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Expr, Quorum};
///
/// let [a, b, c, d] = [1, 2, 3, 4].map(NodeId);
/// let reads = Expr::any([Expr::all([a, b]), Expr::all([c, d])]);
/// assert_eq!(reads.to_string(), "any(all(n1, n2), all(n3, n4))");
/// assert_eq!(reads.dual().to_string(), "all(any(n1, n2), any(n3, n4))");
///
/// let quorum = Quorum::new(reads)?;
/// assert!(quorum.is_quorum(quorum.set([c, d])));
/// assert!(!quorum.is_quorum(quorum.set([b, c])));
/// # Ok::<(), synod_quorum::QuorumError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Expr {
    /// True if this node is in the set.
    Node(NodeId),
    /// True if the weights of the true parts sum up to at least `need`.
    Gate {
        /// The threshold, from 1 to the total weight.
        need: u64,
        /// The parts. Their order means nothing, and a node stands at most once among them.
        of: Vec<Term>,
    },
}

/// A part of a threshold and how much it counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Term {
    /// The part.
    pub expr: Expr,
    /// How much it counts, at least 1.
    pub weight: u32,
}

impl From<NodeId> for Expr {
    fn from(node: NodeId) -> Self {
        Self::Node(node)
    }
}

impl Expr {
    /// True if at least `need` of `parts` are.
    pub fn choose<E: Into<Self>>(need: usize, parts: impl IntoIterator<Item = E>) -> Self {
        Self::Gate {
            need: need as u64,
            of: parts.into_iter().map(one).collect(),
        }
    }

    /// True if every one of `parts` is.
    pub fn all<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        let of: Vec<_> = parts.into_iter().map(one).collect();
        Self::Gate {
            need: of.len() as u64,
            of,
        }
    }

    /// True if one of `parts` is.
    pub fn any<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        Self::choose(1, parts)
    }

    /// True if more than half of `parts` are.
    pub fn majority<E: Into<Self>>(parts: impl IntoIterator<Item = E>) -> Self {
        let of: Vec<_> = parts.into_iter().map(one).collect();
        Self::Gate {
            need: of.len() as u64 / 2 + 1,
            of,
        }
    }

    /// True if the weights of the true parts sum up to at least `need`.
    pub fn weighted<E: Into<Self>>(need: u64, parts: impl IntoIterator<Item = (E, u32)>) -> Self {
        let term = |(expr, weight): (E, u32)| Term {
            expr: expr.into(),
            weight,
        };
        Self::Gate {
            need,
            of: parts.into_iter().map(term).collect(),
        }
    }

    /// The formula whose quorums are exactly the sets that meet every quorum of this one: `all`
    /// becomes `any`, `choose k of n` becomes `choose n - k + 1 of n`.
    ///
    /// It holds of a set exactly if this formula does not hold of the other nodes. Source:
    /// Whittaker et al., *Read-Write Quorum Systems Made Practical* (2021), §3.1.
    #[must_use]
    pub fn dual(&self) -> Self {
        match self {
            Self::Node(node) => Self::Node(*node),
            Self::Gate { need, of } => {
                let dual = |term: &Term| Term {
                    expr: term.expr.dual(),
                    weight: term.weight,
                };
                Self::Gate {
                    // a threshold outside 1..=total stays outside, to be refused when it is built
                    need: (total(of) + 1).saturating_sub(*need),
                    of: of.iter().map(dual).collect(),
                }
            }
        }
    }
}

fn one(part: impl Into<Expr>) -> Term {
    Term {
        expr: part.into(),
        weight: 1,
    }
}

/// The total weight of `parts`.
pub(crate) fn total(parts: &[Term]) -> u64 {
    parts.iter().map(|term| u64::from(term.weight)).sum()
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (need, of) = match self {
            Self::Node(node) => return write!(f, "{node}"),
            Self::Gate { need, of } => (*need, of),
        };
        let total = total(of);
        let plain = of.iter().all(|term| term.weight == 1);
        match need {
            need if plain && need == total => f.write_str("all(")?,
            1 if plain => f.write_str("any(")?,
            need if plain && need == total / 2 + 1 => f.write_str("majority(")?,
            need => write!(f, "{need} of (")?,
        }
        for (i, term) in of.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if term.weight != 1 {
                write!(f, "{}*", term.weight)?;
            }
            write!(f, "{}", term.expr)?;
        }
        f.write_str(")")
    }
}
