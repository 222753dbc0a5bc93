//! Nearest neighbours of every row.
//!
//! The exact search computes every pair once, in tiles of a float32 product whose rounding error is bounded. A pair whose distance may be
//! below a row's limit is computed again in float64, so that lists, distances and ties are those of float64. Work: `rows² * width`
//! multiplications. Memory beside the rows: 16 bytes for each entry of a list, and a tile of 1 MiB for each thread.
//!
//! The approximate search computes the tiles of near blocks ([`partition`](crate::partition)), and then compares each row with the
//! neighbours of its neighbours (`refine`). Work: `rows * width` multiplications for each candidate of a row, of which near blocks have 12,000 or
//! more, and each round of `refine` up to 8,192. `recall` tells what it missed.

mod lists;
mod recall;
mod refine;

use std::sync::Mutex;

use ndarray::ArrayView2;
use serde::Serialize;

pub(crate) use self::lists::{Lists, rounded_up};
use crate::lock::{into_inner, lock};
use crate::partition::Partition;
use crate::space::Space;
use crate::tiles::{STEP, TILE, Tile, any_below, for_each_tile};
use crate::{Error, Metric, Result};

/// How near rows are searched.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// All pairs of rows are compared.
    #[default]
    Exact,
    /// Rows are compared with those of near blocks, and with their neighbours' neighbours, which misses some.
    Approximate,
}

impl Search {
    /// The most rows that [`for_rows`](Self::for_rows) searches exactly.
    pub const MOST_EXACT_ROWS: usize = 200_000;

    /// Exact as long as that takes minutes.
    #[must_use]
    pub fn for_rows(rows: usize) -> Self {
        match rows <= Self::MOST_EXACT_ROWS {
            true => Self::Exact,
            false => Self::Approximate,
        }
    }

    /// The blocks that are compared; `None` if all are.
    pub(crate) fn partition(self, space: &Space<'_>) -> Option<Partition> {
        (self == Self::Approximate).then(|| Partition::new(space))
    }
}

/// The nearest other rows of each row.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbours {
    metric: Metric,
    rows: usize,
    /// Lists of [`TILE`] rows each.
    blocks: Vec<Lists>,
    /// The place of each row in the blocks, [`TILE`] places each. `None` after an exact search, where it is the row's number.
    places: Option<Vec<u64>>,
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
        Self::find_by(Search::Exact, rows, count, metric)
    }

    /// As [`find`](Self::find), by this search. The approximate one may list farther rows, and fewer of them, than the nearest ones;
    /// [`recall`](Self::recall) measures how often.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn find_by(
        search: Search,
        rows: ArrayView2<'_, f32>,
        count: usize,
        metric: Metric,
    ) -> Result<Self> {
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
        let partition = search.partition(&space);
        let found = Self::search_in(&space, partition.as_ref(), count, f64::INFINITY, |_, _| {
            true
        });
        Ok(match &partition {
            None => found,
            Some(partition) => found.refined(&space, partition),
        })
    }

    /// Finds for every row the `most` nearest other rows that are no farther than the squared distance `within`, among those that
    /// `is_eligible` accepts. It must accept pairs in either order. With a partition, rows of near blocks alone are compared.
    pub(crate) fn search_in(
        space: &Space<'_>,
        partition: Option<&Partition>,
        most: usize,
        within: f64,
        is_eligible: impl Fn(u32, u32) -> bool + Sync,
    ) -> Self {
        let all: Vec<u32>;
        let rows: Vec<&[u32]> = match partition {
            Some(partition) => partition.blocks(),
            None => {
                all = (0..space.len() as u32).collect();
                all.chunks(TILE).collect()
            }
        };
        let blocks: Vec<_> = rows
            .iter()
            .map(|block| Mutex::new(Lists::new(block.len(), most, within)))
            .collect();
        for_each_tile(
            space,
            &rows,
            |a, b| partition.is_none_or(|partition| partition.are_near(a, b)),
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
            places: partition.map(|_| places(&rows, space.len())),
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
        // An approximate search may list fewer rows.
        let listed = self.blocks.first().map_or(0, Lists::most);
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

    /// Whether the lists are those of an exact search.
    pub(crate) fn are_exact(&self) -> bool {
        self.places.is_none()
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

    /// [`TILE`] times the number of the row's block, and its place there.
    fn place(&self, row: usize) -> usize {
        match &self.places {
            Some(places) => places.get(row).map_or(usize::MAX, |place| *place as usize),
            None => row,
        }
    }

    /// Squared distances and rows, the nearest first.
    pub(crate) fn squared(&self, row: usize) -> &[(f64, u32)] {
        let place = self.place(row);
        let block = self.blocks.get(place / TILE);
        block.map_or(&[], |lists| lists.get(place % TILE))
    }
}

/// The place of each row: [`TILE`] times its block, and its place in the block.
fn places(blocks: &[&[u32]], rows: usize) -> Vec<u64> {
    let mut places = vec![0; rows];
    for (block, rows) in blocks.iter().enumerate() {
        for (place, row) in (block * TILE..).zip(*rows) {
            places[*row as usize] = place as u64;
        }
    }
    places
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
