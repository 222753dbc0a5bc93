//! How far the neighbours on a map can be trusted.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::space::Space;
use crate::{Error, Metric, Result};

/// The trustworthiness of places (Venna & Kaski 2001, "Neighborhood preservation in nonlinear projection methods"), from 0 to 1: 1 if the
/// `count` nearest rows of every row on the map are among its `count` nearest rows. A row that the map shows near although it is not
/// costs as much as its rank exceeds `count`. It agrees with scikit-learn's `trustworthiness` if no distances are equal.
///
/// At most `sample` rows, evenly spread, are compared with all others. Work: `sample * rows * width` multiplications, and a sort of each
/// of the rows' distances.
///
/// # Errors
/// There is another number of places than rows, `count` is not between 1 and half the number of rows, or distances are undefined.
pub fn trustworthiness(
    rows: ArrayView2<'_, f32>,
    metric: Metric,
    places: ArrayView2<'_, f32>,
    count: usize,
    sample: usize,
) -> Result<f64> {
    if places.nrows() != rows.nrows() {
        return Err(Error::Count {
            name: "places",
            expected: rows.nrows(),
            found: places.nrows(),
        });
    }
    let total = rows.nrows();
    if count == 0 || count >= total.div_ceil(2) {
        let range = format!("at least 1 and below half of the {total} rows");
        return Err(Error::setting("the number of neighbours", count, range));
    }
    let rows = Space::new(rows, metric)?;
    let places = Space::new(places, Metric::Euclidean)?;
    let sample = sample.clamp(1, total);
    let sampled = (0..sample).map(|index| index * total / sample);
    let sampled: Vec<usize> = sampled.collect();
    let costs: Vec<u64> = sampled
        .par_iter()
        .map(|row| cost(&rows, &places, *row, count))
        .collect();
    let cost: u64 = costs.iter().sum();
    let (total, count) = (total as f64, count as f64);
    let most = sample as f64 * count * (2.0 * total - 3.0 * count - 1.0) / 2.0;
    Ok(1.0 - cost as f64 / most)
}

/// By how much the ranks of the row's `count` nearest places exceed `count`, in sum.
fn cost(rows: &Space<'_>, places: &Space<'_>, row: usize, count: usize) -> u64 {
    let others = || (0..rows.len() as u32).filter(|other| *other as usize != row);
    let distances = |space: &Space<'_>| -> Vec<(f64, u32)> {
        others()
            .map(|other| (space.squared(row as u32, other), other))
            .collect()
    };
    let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
    let mut shown = distances(places);
    shown.select_nth_unstable_by(count - 1, order);
    let mut known = distances(rows);
    known.sort_unstable_by(order);
    let mut ranks = vec![0; rows.len()];
    for (rank, (_, other)) in (1..).zip(&known) {
        ranks[*other as usize] = rank;
    }
    let excess =
        |(_, other): &(f64, u32)| ranks[*other as usize] - count.min(ranks[*other as usize]);
    shown[..count]
        .iter()
        .map(|shown| excess(shown) as u64)
        .sum()
}
