//! Exact nearest neighbours of every row.
//!
//! The search computes every pair once, in tiles of a float32 product whose rounding error is bounded. A pair whose distance may be below
//! a row's limit is computed again in float64, so that lists, distances and ties are those of float64. Work: `rows² * width`
//! multiplications. Memory beside the rows: 16 bytes for each entry of a list, and a tile of 1 MiB for each thread.

mod lists;

use std::sync::Mutex;

use ndarray::ArrayView2;

pub(crate) use self::lists::{Lists, rounded_up};
use crate::lock::{into_inner, lock};
use crate::space::Space;
use crate::tiles::{STEP, TILE, Tile, any_below, for_each_tile};
use crate::{Error, Metric, Result};

/// The nearest other rows of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    metric: Metric,
    rows: usize,
    /// Lists of [`TILE`] rows each.
    blocks: Vec<Lists>,
}

impl Neighbours {
    /// Finds the `count` nearest other rows of every row. Equal distances are sorted by row number.
    ///
    /// ```
    /// use lexivec_terms::{Metric, Neighbours};
    /// use ndarray::array;
    ///
    /// let rows = array![[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]];
    /// let neighbours = Neighbours::find(rows.view(), 1, Metric::Euclidean)?;
    /// assert_eq!(neighbours.of(0).collect::<Vec<_>>(), [(2, 1.0)]);
    /// # Ok::<(), lexivec_terms::Error>(())
    /// ```
    ///
    /// # Errors
    /// `count` is 0 or not below the number of rows, a number is not finite, a row is too long, or (cosine) too short or a zero vector, or there are too
    /// many rows.
    pub fn find(rows: ArrayView2<'_, f32>, count: usize, metric: Metric) -> Result<Self> {
        let space = Space::new(rows, metric)?;
        if count == 0 {
            return Err(Error::setting("the number of neighbours", 0, "at least 1"));
        }
        if count >= space.len() {
            return Err(Error::TooFewRows {
                rows: space.len() as u64,
                needed: count as u64 + 1,
                purpose: "so many neighbours of each row",
            });
        }
        Ok(Self::search(&space, count, f64::INFINITY, |_, _| true))
    }

    /// Finds for every row the `most` nearest other rows that are no farther than the squared distance `within`, among those that
    /// `is_eligible` accepts. It must accept pairs in either order.
    pub(crate) fn search(
        space: &Space<'_>,
        most: usize,
        within: f64,
        is_eligible: impl Fn(u32, u32) -> bool + Sync,
    ) -> Self {
        let order: Vec<u32> = (0..space.len() as u32).collect();
        let blocks: Vec<_> = order
            .chunks(TILE)
            .map(|block| Mutex::new(Lists::new(block.len(), most, within)))
            .collect();
        for_each_tile(
            space,
            &order,
            |_, _| true,
            |a, b, tile| {
                // `a` is never above `b`, so that threads cannot wait for each other in a circle.
                let left = &mut *lock(&blocks[a]);
                if a == b {
                    insert(space, tile, &mut Sides::Same(left), &is_eligible);
                } else {
                    let right = &mut *lock(&blocks[b]);
                    insert(space, tile, &mut Sides::Apart(left, right), &is_eligible);
                }
            },
        );
        Self {
            metric: space.metric(),
            rows: space.len(),
            blocks: blocks.into_iter().map(into_inner).collect(),
        }
    }

    /// Checks that there is a list for each of `rows` rows, with at least `count` neighbours by this distance.
    pub(crate) fn check(&self, rows: usize, count: usize, metric: Metric) -> Result<()> {
        if self.rows != rows {
            return Err(Error::Count {
                name: "lists of neighbours",
                expected: rows,
                found: self.rows,
            });
        }
        let listed = self.squared(0).len();
        if listed < count {
            let range = format!("at least {count}");
            return Err(Error::setting("the number of neighbours", listed, range));
        }
        if self.metric != metric {
            let (found, range) = (format!("{:?}", self.metric), format!("{metric:?}"));
            return Err(Error::setting(
                "the distance of the neighbours",
                found,
                range,
            ));
        }
        Ok(())
    }

    /// How many rows have a list.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The neighbours of a row and their distances, the nearest first. Empty if there is no such row.
    pub fn of(&self, row: usize) -> impl Iterator<Item = (u32, f64)> {
        let metric = self.metric;
        self.squared(row)
            .iter()
            .map(move |(squared, other)| (*other, metric.of_squared(*squared)))
    }

    /// Squared distances and rows, the nearest first.
    pub(crate) fn squared(&self, row: usize) -> &[(f64, u32)] {
        let block = self.blocks.get(row / TILE);
        block.map_or(&[], |lists| lists.get(row % TILE))
    }
}

/// The lists of a tile's rows on the left and on the right.
enum Sides<'a> {
    Apart(&'a mut Lists, &'a mut Lists),
    Same(&'a mut Lists),
}

impl Sides<'_> {
    fn left(&mut self) -> &mut Lists {
        match self {
            Self::Apart(left, _) => left,
            Self::Same(both) => both,
        }
    }

    fn right(&mut self) -> &mut Lists {
        match self {
            Self::Apart(_, right) => right,
            Self::Same(both) => both,
        }
    }
}

/// Inserts the pairs of a tile whose distance is below the limit of either row.
fn insert(
    space: &Space<'_>,
    tile: &Tile<'_>,
    sides: &mut Sides<'_>,
    is_eligible: &impl Fn(u32, u32) -> bool,
) {
    for (left, row) in tile.left.iter().enumerate() {
        let (mut first, bounds) = tile.row(left);
        for bounds in bounds.chunks(STEP) {
            let limit = sides.left().limit(left);
            let limits = &sides.right().limits()[first..][..bounds.len()];
            if any_below(bounds, limits, limit) {
                for right in first..first + bounds.len() {
                    let other = tile.right[right];
                    let is_near = sides.left().may_take(left, bounds[right - first], other)
                        || sides.right().may_take(right, bounds[right - first], *row);
                    if is_near && is_eligible(*row, other) {
                        let squared = space.squared(*row, other);
                        sides.left().insert(left, squared, other);
                        sides.right().insert(right, squared, *row);
                    }
                }
            }
            first += bounds.len();
        }
    }
}

#[cfg(test)]
mod tests;
