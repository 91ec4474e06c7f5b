//! A small linear program: mix columns so that the highest row is as low as possible.

use alloc::vec;
use alloc::vec::Vec;

/// Coefficients below this count as zero. The caller scales the largest one to about 1.
const EPSILON: f64 = 1e-9;

/// Pivots without progress after which the choice of columns changes to one that cannot cycle.
const STALLED: usize = 64;

/// The most pivots; more do not happen to the sizes that the callers allow.
const MAX_PIVOTS: usize = 100_000;

/// Minimise `Σ share(k) · height(k)` over two mixes (non-negative, each summing up to 1), where
/// `height(k)` is the highest row of case `k`, and each row is a sum over both mixes' columns.
pub(crate) struct Program {
    /// How much the height of each case counts.
    pub(crate) shares: Vec<f64>,
    /// Rows of each case.
    pub(crate) rows: usize,
    /// Columns of the first mix; in each, the rows of all cases one after another.
    pub(crate) first: Vec<Vec<f64>>,
    /// Columns of the second mix.
    pub(crate) second: Vec<Vec<f64>>,
}

/// A mix of each kind, and the proof that none is better.
#[derive(Debug)]
pub(crate) struct Optimum {
    /// How much of each column of the first mix.
    pub(crate) first: Vec<f64>,
    /// How much of each column of the second mix.
    pub(crate) second: Vec<f64>,
    /// A price for each row, of each case in sum its share: at these prices no column of either
    /// mix costs less than those used do. This bounds the value from below.
    pub(crate) prices: Vec<f64>,
}

impl Program {
    /// Solves it by the simplex method, from the corner where each mix is its first column. `None`
    /// if rounding keeps it from coming to an end.
    pub(crate) fn solve(&self) -> Option<Optimum> {
        let mut tableau = Tableau::new(self);
        let mut stalled = 0;
        for _ in 0..MAX_PIVOTS {
            let Some(column) = tableau.entering(stalled < STALLED) else {
                return Some(tableau.optimum(self));
            };
            let (row, step) = tableau.leaving(column)?;
            stalled = if step > EPSILON { 0 } else { stalled + 1 };
            tableau.pivot(row, column);
        }
        None
    }
}

/// Columns: the first mix, the second mix, the height of each case, a slack for each row, and the
/// right-hand side. Rows: `row - height + slack = 0` for each row of each case, `sum = 1` for
/// either mix, and the reduced costs.
struct Tableau {
    cells: Vec<Vec<f64>>,
    basis: Vec<usize>,
    heights: usize,
    slacks: usize,
    right: usize,
}

impl Tableau {
    fn new(program: &Program) -> Self {
        let rows = program.rows * program.shares.len();
        let heights = program.first.len() + program.second.len();
        let slacks = heights + program.shares.len();
        let right = slacks + rows;
        let mut cells = vec![vec![0.0; right + 1]; rows + 3];
        for (c, column) in program.first.iter().chain(&program.second).enumerate() {
            for (r, value) in column.iter().enumerate() {
                cells[r][c] = *value;
            }
            let mix = if c < program.first.len() { 0 } else { 1 };
            cells[rows + mix][c] = 1.0;
        }
        for r in 0..rows {
            cells[r][heights + r / program.rows] = -1.0;
            cells[r][slacks + r] = 1.0;
        }
        cells[rows][right] = 1.0;
        cells[rows + 1][right] = 1.0;
        cells[rows + 2][heights..slacks].copy_from_slice(&program.shares);
        let basis = (slacks..slacks + rows + 2).collect();
        let mut tableau = Self {
            cells,
            basis,
            heights,
            slacks,
            right,
        };
        tableau.first_corner(program, rows);
        tableau
    }

    /// Each mix is its first column, and each height is its case's highest row: no slack is
    /// negative then.
    fn first_corner(&mut self, program: &Program, rows: usize) {
        self.pivot(rows, 0);
        self.pivot(rows + 1, program.first.len());
        for case in 0..program.shares.len() {
            let of_case = case * program.rows..(case + 1) * program.rows;
            // the slacks are now minus the rows, so the highest row is the least slack
            let mut lowest = of_case.start;
            for row in of_case {
                if self.cells[row][self.right] < self.cells[lowest][self.right] {
                    lowest = row;
                }
            }
            self.pivot(lowest, self.heights + case);
        }
    }

    /// A column that lowers the value: the one that promises most, or (`greedy` unset) the first,
    /// which cannot cycle (Bland 1977).
    fn entering(&self, greedy: bool) -> Option<usize> {
        let costs = &self.cells.last()?[..self.right];
        let mut improving = (0..self.right).filter(|c| costs[*c] < -EPSILON);
        if greedy {
            improving.min_by(|a, b| costs[*a].total_cmp(&costs[*b]))
        } else {
            improving.next()
        }
    }

    /// The row that limits how much of `column` can be used, and how much that is.
    fn leaving(&self, column: usize) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        for row in 0..self.basis.len() {
            let cell = self.cells[row][column];
            if cell <= EPSILON {
                continue;
            }
            // rounding can leave a right-hand side a little below zero
            let ratio = self.cells[row][self.right].max(0.0) / cell;
            let better = best.is_none_or(|(other, least)| {
                ratio < least || (ratio <= least && self.basis[row] < self.basis[other])
            });
            if better {
                best = Some((row, ratio));
            }
        }
        best
    }

    fn pivot(&mut self, row: usize, column: usize) {
        let by = self.cells[row][column];
        for cell in &mut self.cells[row] {
            *cell /= by;
        }
        let pivot = core::mem::take(&mut self.cells[row]);
        for other in &mut self.cells {
            // the pivot row itself is away, and empty
            let Some(&factor) = other.get(column) else {
                continue;
            };
            if factor != 0.0 {
                for (cell, from) in other.iter_mut().zip(&pivot) {
                    *cell -= factor * from;
                }
            }
        }
        self.cells[row] = pivot;
        self.basis[row] = column;
    }

    fn optimum(&self, program: &Program) -> Optimum {
        let mut values = vec![0.0; self.right + 2];
        for (row, column) in self.basis.iter().enumerate() {
            values[*column] = self.cells[row][self.right].max(0.0);
        }
        let (first, rest) = values.split_at(program.first.len());
        let costs = self.cells.last().map_or(&[][..], |costs| costs);
        Optimum {
            first: first.to_vec(),
            second: rest[..program.second.len()].to_vec(),
            prices: costs[self.slacks..self.right].to_vec(),
        }
    }
}
