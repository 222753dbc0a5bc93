//! Count, mean and scatter matrix of rows that arrive in parts.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView2, Axis, s};
use rayon::prelude::*;

use super::decomposition::{Pca, decompose};
use crate::rows::{check_finite, check_width};
use crate::{Error, Result};

/// How many rows are collected before they are added to the scatter matrix in one product.
const BLOCK: usize = 1024;
/// Rows and columns of a tile of the scatter matrix. Tiles are computed in parallel.
const TILE: usize = 256;

/// Count, mean and scatter matrix (the sum of outer products of centred rows), in float64.
///
/// Rows are added in blocks. A block is centred by its own mean, and its scatter matrix is merged with that of the earlier rows (Chan,
/// Golub & LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1): no large sums are subtracted from each other, so
/// that a mean far from zero costs no accuracy. How rows are divided among calls of [`push`](Self::push), and the number of threads, do
/// not change the result.
#[derive(Debug)]
pub struct Moments {
    count: u64,
    mean: Array1<f64>,
    /// The upper triangle of the scatter matrix, in tiles.
    tiles: Vec<Tile>,
    /// Rows that are not added yet.
    pending: Vec<f32>,
}

#[derive(Debug)]
struct Tile {
    row: usize,
    column: usize,
    sums: Array2<f64>,
}

impl Moments {
    /// Starts with no rows of `width` numbers. It takes four bytes for each entry of the covariance matrix.
    ///
    /// # Errors
    /// The width is 0 or above [`MAX_WIDTH`](crate::MAX_WIDTH).
    pub fn new(width: usize) -> Result<Self> {
        check_width(width)?;
        let starts = || (0..width).step_by(TILE);
        let tiles = starts().flat_map(|row| starts().map(move |column| (row, column)));
        let tiles = tiles.filter(|(row, column)| row <= column);
        let side = |start: usize| TILE.min(width - start);
        Ok(Self {
            count: 0,
            mean: Array1::zeros(width),
            tiles: tiles
                .map(|(row, column)| Tile {
                    row,
                    column,
                    sums: Array2::zeros((side(row), side(column))),
                })
                .collect(),
            pending: Vec::new(),
        })
    }

    /// The width of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.mean.len()
    }

    /// How many rows were pushed.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count + (self.pending.len() / self.width()) as u64
    }

    /// Adds rows, `[rows, width]`.
    ///
    /// # Errors
    /// The rows have another width, or a number is not finite; none of the rows is added then.
    pub fn push(&mut self, rows: ArrayView2<'_, f32>) -> Result<()> {
        let width = self.width();
        if rows.ncols() != width {
            return Err(Error::Width {
                expected: width,
                found: rows.ncols(),
            });
        }
        check_finite(rows, self.count())?;
        for row in rows.rows() {
            self.pending.extend(row.iter());
            if self.pending.len() == BLOCK * width {
                self.add_pending();
            }
        }
        Ok(())
    }

    fn add_pending(&mut self) {
        let width = self.width();
        let count = self.pending.len() / width;
        if count == 0 {
            return;
        }
        let mut block = Array2::zeros((count + 1, width));
        let numbers = block.iter_mut().zip(&self.pending);
        numbers.for_each(|(wide, narrow)| *wide = f64::from(*narrow));
        self.pending.clear();

        let mut rows = block.slice_mut(s![..count, ..]);
        let mean = rows.sum_axis(Axis(0)) / count as f64;
        rows -= &mean;
        let shift = mean - &self.mean;
        let (before, added) = (self.count as f64, count as f64);
        let total = before + added;
        // The outer product of the means' difference is one more row of the product.
        let difference = &shift * (before * added / total).sqrt();
        block.row_mut(count).assign(&difference);
        self.mean.scaled_add(added / total, &shift);
        self.count += count as u64;
        self.tiles.par_iter_mut().for_each(|tile| tile.add(&block));
    }

    /// Computes the principal components of all rows. The work grows with the third power of the width: about a minute on one core for
    /// 2,560 dimensions.
    ///
    /// # Errors
    /// There are fewer than two rows, or all rows are equal.
    pub fn decompose(mut self) -> Result<Pca> {
        self.add_pending();
        if self.count < 2 {
            return Err(Error::TooFewRows {
                rows: self.count,
                needed: 2,
                purpose: "principal components",
            });
        }
        let width = self.width();
        let mut covariance = Array2::zeros((width, width));
        for Tile { row, column, sums } in &self.tiles {
            let sums = sums / (self.count - 1) as f64;
            let (rows, columns) = sums.dim();
            let (below, right) = (*row..row + rows, *column..column + columns);
            covariance
                .slice_mut(s![right.clone(), below.clone()])
                .assign(&sums.t());
            covariance.slice_mut(s![below, right]).assign(&sums);
        }
        drop(self.tiles);
        decompose(self.count, self.mean, covariance)
    }
}

impl Tile {
    /// Adds the products of this tile's columns of `block`.
    fn add(&mut self, block: &Array2<f64>) {
        let (rows, columns) = self.sums.dim();
        let left = block.slice(s![.., self.row..self.row + rows]);
        let right = block.slice(s![.., self.column..self.column + columns]);
        general_mat_mul(1.0, &left.t(), &right, 1.0, &mut self.sums);
    }
}
