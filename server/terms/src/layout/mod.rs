//! A map: places in the plane for rows, so that near rows are near each other.
//!
//! ```text
//! Neighbours ──▶ graph: a weight for each pair of neighbours ──▶ descent: attraction, repulsion ──▶ places
//!                                        first places (PCA) ────────╯
//! ```
//!
//! The method is UMAP (McInnes, Healy & Melville 2018, "UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction") with
//! two changes. All rows move at once in each epoch, by Adam, as in the batch mode of uwot: the places do not depend on the number of
//! threads. And the similarity of two places is `1 / (1 + d²)`, as in t-SNE and in uwot's `tumap`: each step is exact arithmetic and the
//! same on every machine, where powers with fractions would not be.

mod descent;
mod graph;
mod trust;

use ndarray::{Array2, ArrayView2};

pub use self::trust::trustworthiness;
use self::{descent::descend, graph::Graph};
use crate::rows::check_finite;
use crate::{Error, Neighbours, Result};

/// The neighbours of each row that a map keeps near, the same number as in umap-learn.
pub const NEIGHBOURS: usize = 15;

/// The largest coordinate of the first places, as in umap-learn.
const EXTENT: f32 = 10.0;

/// Places rows in the plane, `[rows, 2]`, so that each is near its first [`NEIGHBOURS`] neighbours. Distances between groups that are far
/// apart have little meaning. The same neighbours, first places and seed give the same result.
///
/// `first` are first places, `[rows, 2]` in any unit: the first two principal components arrange the groups.
///
/// Memory: about 400 bytes for each row.
///
/// ```
/// use lexivec_terms::layout::place;
/// use lexivec_terms::{Metric, Neighbours};
/// use ndarray::{array, s};
///
/// let rows = array![[1.0, 0.0, 0.1], [1.0, 0.1, 0.0], [0.0, 1.0, 0.1], [0.1, 1.0, 0.0]];
/// let neighbours = Neighbours::find(rows.view(), 1, Metric::Cosine)?;
/// let places = place(&neighbours, rows.slice(s![.., ..2]), 1)?;
/// assert_eq!(places.dim(), (4, 2));
/// # Ok::<(), lexivec_terms::Error>(())
/// ```
///
/// # Errors
/// The first places are of another number of rows, have another width than 2, or are not finite.
pub fn place(
    neighbours: &Neighbours,
    first: ArrayView2<'_, f32>,
    seed: u64,
) -> Result<Array2<f32>> {
    if first.nrows() != neighbours.len() {
        return Err(Error::Count {
            name: "first places",
            expected: neighbours.len(),
            found: first.nrows(),
        });
    }
    if first.ncols() != 2 {
        return Err(Error::Width {
            expected: 2,
            found: first.ncols(),
        });
    }
    check_finite(first, 0)?;
    let graph = Graph::new(neighbours, NEIGHBOURS);
    let mut places = descend(&graph, scaled(first), seed);
    centre(&mut places);
    Ok(Array2::from(places))
}

/// Places whose largest coordinate is [`EXTENT`].
fn scaled(first: ArrayView2<'_, f32>) -> Vec<[f32; 2]> {
    let largest = first
        .iter()
        .fold(0.0_f32, |most, number| most.max(number.abs()));
    // Rows that are all in one place stay there: repulsion divides them.
    let scale = if largest > 0.0 { EXTENT / largest } else { 0.0 };
    first
        .rows()
        .into_iter()
        .map(|row| [row[0] * scale, row[1] * scale])
        .collect()
}

/// Moves the mean of the places to the origin.
fn centre(places: &mut [[f32; 2]]) {
    let count = places.len().max(1) as f64;
    for axis in 0..2 {
        let sum: f64 = places.iter().map(|place| f64::from(place[axis])).sum();
        let mean = (sum / count) as f32;
        places.iter_mut().for_each(|place| place[axis] -= mean);
    }
}

#[cfg(test)]
mod tests;
