//! [`Grid`]: nodes in rows and columns.

use crate::error::QuorumError;
use crate::expr::Expr;
use alloc::vec::Vec;
use synod_core::NodeId;

/// Nodes in a rectangle. Its rows and columns make small quorums that intersect: of `n` nodes,
/// about `√n` are enough.
///
/// | use | first | second |
/// |---|---|---|
/// | reads and writes (Cheung et al. 1992) | [`one_per_column`](Self::one_per_column) | [`row_and_column`](Self::row_and_column) or a full [`column`](Self::column) |
/// | Flexible Paxos (Howard et al. 2016, §5.3) | [`row`](Self::row) | [`one_per_row`](Self::one_per_row), of which [`column`](Self::column) is a part |
/// | everything intersects (Maekawa 1985) | [`row_and_column`](Self::row_and_column) | the same |
///
/// ```
/// use synod_core::NodeId;
/// use synod_quorum::{Grid, Quorum, ReadWrite};
///
/// // n1 n2 n3
/// // n4 n5 n6
/// let grid = Grid::new((1..=6).map(NodeId), 3)?;
/// let reads = Quorum::new(grid.row())?;
/// let writes = Quorum::new(grid.one_per_row())?;
/// let system = ReadWrite::new(&reads, &writes)?;
/// assert_eq!(system.read_resilience()?, 1);
/// assert_eq!(system.write_resilience()?, 2);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grid {
    nodes: Vec<NodeId>,
    columns: usize,
}

impl Grid {
    /// Fills rows of `columns` nodes each, in the order given.
    ///
    /// # Errors
    /// No node, a node twice, no column, or a last row that is not full.
    pub fn new(
        nodes: impl IntoIterator<Item = NodeId>,
        columns: usize,
    ) -> Result<Self, QuorumError> {
        let nodes: Vec<_> = nodes.into_iter().collect();
        crate::lower::member_list(nodes.clone())?;
        if columns == 0 || !nodes.len().is_multiple_of(columns) {
            return Err(QuorumError::Shape {
                shape: "grid",
                nodes: nodes.len(),
                unit: columns,
            });
        }
        Ok(Self { nodes, columns })
    }

    /// The nodes of each row.
    fn rows(&self) -> impl Iterator<Item = impl Iterator<Item = NodeId> + '_> {
        self.nodes
            .chunks(self.columns)
            .map(|row| row.iter().copied())
    }

    /// The nodes of each column.
    fn columns(&self) -> impl Iterator<Item = impl Iterator<Item = NodeId> + '_> {
        let column = |c| self.nodes.iter().skip(c).step_by(self.columns).copied();
        (0..self.columns).map(column)
    }

    /// One full row.
    #[must_use]
    pub fn row(&self) -> Expr {
        Expr::any(self.rows().map(Expr::all))
    }

    /// One full column.
    #[must_use]
    pub fn column(&self) -> Expr {
        Expr::any(self.columns().map(Expr::all))
    }

    /// One node of every row: the dual of [`Grid::row`].
    #[must_use]
    pub fn one_per_row(&self) -> Expr {
        Expr::all(self.rows().map(Expr::any))
    }

    /// One node of every column: the dual of [`Grid::column`].
    #[must_use]
    pub fn one_per_column(&self) -> Expr {
        Expr::all(self.columns().map(Expr::any))
    }

    /// A full row and a full column. Any two of these intersect.
    #[must_use]
    pub fn row_and_column(&self) -> Expr {
        Expr::all([self.row(), self.column()])
    }
}

impl Expr {
    /// A hierarchy with the same threshold everywhere on a level: `levels` gives, from the root
    /// down, the threshold and the number of parts; `nodes` are the leaves from left to right.
    ///
    /// Reads and writes intersect if on each level the two thresholds sum up to more than the
    /// number of parts (Kumar, *Hierarchical Quorum Consensus*, 1991, §2).
    ///
    /// ```
    /// use synod_core::NodeId;
    /// use synod_quorum::Expr;
    ///
    /// let expr = Expr::hierarchy(&[(2, 2), (2, 3)], (1..=6).map(NodeId))?;
    /// assert_eq!(expr.to_string(), "all(majority(n1, n2, n3), majority(n4, n5, n6))");
    /// # Ok::<(), synod_quorum::QuorumError>(())
    /// ```
    ///
    /// # Errors
    /// No node, a node twice, not as many nodes as the levels have leaves, or no level.
    pub fn hierarchy(
        levels: &[(usize, usize)],
        nodes: impl IntoIterator<Item = NodeId>,
    ) -> Result<Self, QuorumError> {
        let list: Vec<NodeId> = nodes.into_iter().collect();
        // refuses an empty list, too
        crate::lower::member_list(list.clone())?;
        let nodes = list.len();
        let mut parts: Vec<Self> = list.into_iter().map(Self::Node).collect();
        let leaves = levels
            .iter()
            .try_fold(1_usize, |leaves, (_, of)| leaves.checked_mul(*of))
            .filter(|leaves| *leaves == nodes && !levels.is_empty());
        if leaves.is_none() {
            let unit = levels
                .iter()
                .fold(1, |leaves: usize, (_, of)| leaves.saturating_mul(*of));
            return Err(QuorumError::Shape {
                shape: "hierarchy",
                nodes,
                unit,
            });
        }
        for (need, of) in levels.iter().rev() {
            parts = parts
                .chunks(*of)
                .map(|chunk| Self::choose(*need, chunk.iter().cloned()))
                .collect();
        }
        Ok(parts.swap_remove(0))
    }
}
