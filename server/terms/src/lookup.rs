//! The rows that are nearest to each query, among rows that come block by block.
//!
//! The search computes a float32 product of queries and rows whose rounding error is bounded, and in float64 the pairs that may belong to
//! a list, so that lists, distances and ties are those of float64. Memory: the queries, a list for each, and one block.

use std::sync::Mutex;

use ndarray::linalg::{general_mat_mul, general_mat_vec_mul};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;

use crate::lock::{into_inner, lock};
use crate::neighbours::Lists;
use crate::space::Space;
use crate::tiles::{STEP, TILE};
use crate::{Error, Metric, Result};

/// Rows of a block that are compared together. A block is divided among threads.
const ROWS: usize = 256;
/// At most this many queries are multiplied one by one. A product of matrices copies the rows first, and this copy would serve few queries.
const FEW_QUERIES: usize = 4;

/// A search for the nearest rows of each query.
///
/// ```
/// use lexivec_terms::{Lookup, Metric};
/// use ndarray::array;
///
/// let queries = array![[1.0, 0.1]];
/// let mut lookup = Lookup::new(queries.view(), 1, Metric::Cosine)?;
/// lookup.push(array![[0.0, 1.0], [1.0, 0.0]].view(), |_, _| true)?;
/// lookup.push(array![[1.0, 0.1], [2.0, 0.2]].view(), |_query, row| row != 2)?;
/// let found = lookup.finish();
/// assert_eq!(found[0][0].0, 3);
/// # Ok::<(), lexivec_terms::Error>(())
/// ```
#[derive(Debug)]
pub struct Lookup<'a> {
    queries: Space<'a>,
    /// Lists of [`TILE`] queries each.
    lists: Vec<Mutex<Lists>>,
    /// Rows so far.
    rows: usize,
}

impl<'a> Lookup<'a> {
    /// Starts a search for the `count` nearest rows of each query.
    ///
    /// # Errors
    /// `count` is 0, a number of a query is not finite, or a query is too long, or (cosine) too short or a zero vector.
    pub fn new(queries: ArrayView2<'a, f32>, count: usize, metric: Metric) -> Result<Self> {
        if count == 0 {
            return Err(Error::setting(
                "the number of nearest rows",
                0,
                "at least 1",
            ));
        }
        let queries = Space::new(queries, metric)?;
        let lists = (0..queries.len()).step_by(TILE).map(|first| {
            let queries = TILE.min(queries.len() - first);
            Mutex::new(Lists::new(queries, count, f64::INFINITY))
        });
        Ok(Self {
            lists: lists.collect(),
            queries,
            rows: 0,
        })
    }

    /// Adds rows to the search, except for queries with which `is_eligible` rejects them. It takes the numbers of a query and a row; the first
    /// row of the first block is row 0.
    ///
    /// # Errors
    /// The rows have another width than the queries, or there is a row that [`new`](Self::new) would not accept as a query.
    pub fn push(
        &mut self,
        block: ArrayView2<'_, f32>,
        is_eligible: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<()> {
        let expected = self.queries.rows().ncols();
        if block.ncols() != expected {
            return Err(Error::Width {
                expected,
                found: block.ncols(),
            });
        }
        let first = self.rows;
        let rows = first.saturating_add(block.nrows());
        if u32::try_from(rows).is_err() {
            return Err(Error::TooManyRows { rows });
        }
        let block = Space::from_row(block, self.queries.metric(), first as u64)?;
        let starts = (0..block.len()).step_by(ROWS);
        let tiles = starts.flat_map(|start| (0..self.lists.len()).map(move |tile| (start, tile)));
        let tiles: Vec<_> = tiles.collect();
        tiles.into_par_iter().for_each(|(start, tile)| {
            self.compare(&block, first, start, tile, &is_eligible);
        });
        self.rows = rows;
        Ok(())
    }

    /// Compares the queries of a tile with [`ROWS`] rows of a block, whose first row has the number `first`.
    fn compare(
        &self,
        block: &Space<'_>,
        first: usize,
        start: usize,
        tile: usize,
        is_eligible: &impl Fn(usize, usize) -> bool,
    ) {
        let queries = tile * TILE..(tile * TILE + TILE).min(self.queries.len());
        let rows = start..(start + ROWS).min(block.len());
        let mut bounds = Array2::zeros((queries.len(), rows.len()));
        let left = self.queries.rows();
        let (left, right) = (left.slice(s![queries.clone(), ..]), block.rows());
        let right = right.slice(s![rows.clone(), ..]);
        if queries.len() <= FEW_QUERIES {
            for (query, mut bounds) in left.rows().into_iter().zip(bounds.rows_mut()) {
                general_mat_vec_mul(-2.0, &right, &query, 0.0, &mut bounds);
            }
        } else {
            general_mat_mul(-2.0, &left, &right.t(), 0.0, &mut bounds);
        }
        let of_rows: Vec<(f32, f32)> = rows.clone().map(|row| block.bound(row as u32)).collect();
        let lists = &mut *lock(&self.lists[tile]);
        for (place, (query, mut bounds)) in queries.zip(bounds.rows_mut()).enumerate() {
            let (scale, lowered) = self.queries.bound(query as u32);
            for (bound, of_row) in bounds.iter_mut().zip(&of_rows) {
                *bound = *bound * (scale * of_row.0) + (lowered + of_row.1);
            }
            // A row of a new matrix is contiguous.
            let bounds = &*bounds.into_slice().unwrap_or_default();
            for (step, bounds) in bounds.chunks(STEP).enumerate() {
                let limit = lists.limit(place);
                // Without an early end, so that the compiler uses vector instructions.
                let any = bounds
                    .iter()
                    .fold(false, |any, bound| any | (*bound <= limit));
                if !any {
                    continue;
                }
                for (row, bound) in (start + step * STEP..).zip(bounds) {
                    let number = first + row;
                    if lists.may_take(place, *bound, number as u32) && is_eligible(query, number) {
                        let squared = self.queries.squared_to(query, block, row);
                        lists.insert(place, squared, number as u32);
                    }
                }
            }
        }
    }

    /// The nearest rows of each query and their distances, the nearest first. Equal distances are sorted by row number. There are
    /// fewer rows than asked for if no more were eligible.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<(u32, f64)>> {
        let metric = self.queries.metric();
        let of_list = |list: &[(f64, u32)]| -> Vec<(u32, f64)> {
            let distances = list.iter();
            distances
                .map(|(squared, row)| (*row, metric.of_squared(*squared)))
                .collect()
        };
        let count = self.queries.len();
        let lists: Vec<Lists> = self.lists.into_iter().map(into_inner).collect();
        (0..count)
            .map(|query| of_list(lists[query / TILE].get(query % TILE)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, Axis, s};

    use super::Lookup;
    use crate::space::Space;
    use crate::{Error, Metric};

    fn random(rows: usize, seed: u64) -> Array2<f32> {
        let mut random = fastrand::Rng::with_seed(seed);
        Array2::from_shape_simple_fn((rows, 7), || random.f32() - 0.5)
    }

    #[test]
    fn finds_what_sorting_all_distances_finds_in_blocks_of_any_size() {
        let (queries, mut rows) = (random(600, 1), random(1500, 2));
        let first = queries.slice(s![..3, ..]);
        for row in 0..200 {
            // The float32 product cannot tell these apart.
            let mut copy = queries.row(row % 9).to_owned();
            copy[0] += (row / 20) as f32 * 1e-7;
            rows.row_mut(row * 7).assign(&copy);
        }
        for metric in [Metric::Cosine, Metric::Euclidean] {
            let (left, right) = (
                Space::new(queries.view(), metric).unwrap(),
                Space::new(rows.view(), metric).unwrap(),
            );
            let is_eligible = |row: usize| row % 3 != 1;
            let expected = |query: usize| {
                let all = (0..1500).filter(|row| is_eligible(*row));
                let mut all: Vec<(f64, u32)> = all
                    .map(|row| (left.squared_to(query, &right, row), row as u32))
                    .collect();
                all.sort_by(|a, b| a.partial_cmp(b).unwrap());
                let near = all[..10].iter();
                near.map(|(squared, row)| (*row, metric.of_squared(*squared)))
                    .collect::<Vec<_>>()
            };
            for size in [1500, 1024, 100] {
                let mut lookup = Lookup::new(queries.view(), 10, metric).unwrap();
                for block in rows.axis_chunks_iter(Axis(0), size) {
                    lookup.push(block, |_, row| is_eligible(row)).unwrap();
                }
                let found = lookup.finish();
                assert_eq!(found.len(), 600);
                for (query, found) in found.iter().enumerate() {
                    assert_eq!(*found, expected(query), "{metric:?}, query {query}");
                }
                let mut few = Lookup::new(first, 10, metric).unwrap();
                for block in rows.axis_chunks_iter(Axis(0), size) {
                    few.push(block, |_, row| is_eligible(row)).unwrap();
                }
                assert_eq!(few.finish(), found[..3]);
            }
        }
    }

    #[test]
    fn a_list_is_as_long_as_there_are_eligible_rows() {
        let queries = random(2, 1);
        let mut lookup = Lookup::new(queries.view(), 5, Metric::Cosine).unwrap();
        lookup.push(random(3, 2).view(), |_, row| row > 0).unwrap();
        assert!(lookup.finish().iter().all(|list| list.len() == 2));
        let lookup = Lookup::new(queries.view(), 5, Metric::Cosine).unwrap();
        assert_eq!(lookup.finish(), [[], []]);
    }

    #[test]
    fn rows_that_cannot_be_compared_are_errors_with_their_number() {
        let queries = random(1, 1);
        let none = Lookup::new(queries.view(), 0, Metric::Cosine);
        assert!(matches!(none, Err(Error::Setting { .. })));
        let mut lookup = Lookup::new(queries.view(), 1, Metric::Cosine).unwrap();
        lookup.push(random(4, 2).view(), |_, _| true).unwrap();
        let mut rows = random(3, 3);
        rows.row_mut(1).fill(0.0);
        let zero = lookup.push(rows.view(), |_, _| true);
        assert!(matches!(zero, Err(Error::ZeroVector { row: 5 })));
        rows.row_mut(1).fill(f32::NAN);
        let nan = lookup.push(rows.view(), |_, _| true);
        assert!(matches!(nan, Err(Error::NotFinite { row: 5, .. })));
        let wide = lookup.push(Array2::ones((1, 8)).view(), |_, _| true);
        assert!(matches!(wide, Err(Error::Width { .. })));
    }
}
