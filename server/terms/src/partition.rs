//! Blocks of rows that are near each other, and which blocks are near which.
//!
//! k-means divides the rows into clusters. One that is larger than a block is halved again and again, at the median of its rows' products
//! with the difference of two means. Every block then is near the [`NEAREST`] blocks whose means are nearest to its own, and those are near it. An approximate
//! search compares rows of near blocks only. Samples are drawn with a fixed seed, so the result depends on the rows alone.

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayViewMut1, Axis};
use rayon::prelude::*;

use crate::space::Space;
use crate::tiles::TILE;

/// How many blocks each block is compared with at least, itself included. 1,000,000 rows have 2,000 to 4,000 blocks.
const NEAREST: usize = 24;
/// The most clusters. More rows than this times [`TILE`] have larger clusters, so that the work stays linear in the rows.
const MOST_CLUSTERS: usize = 4096;
/// Rows for each cluster from which the clusters' means are computed, before all rows are assigned.
const SAMPLE_PER_CLUSTER: usize = 32;
/// Rounds of k-means.
const ROUNDS: usize = 3;
/// Rows of a cluster that decide how it is halved.
const SAMPLE: usize = 1024;

/// Blocks of rows.
#[derive(Debug)]
pub(crate) struct Partition {
    /// At most [`TILE`] rows each.
    blocks: Vec<Vec<u32>>,
    /// For each block, the blocks that it is compared with, in ascending order.
    near: Vec<Vec<u32>>,
}

impl Partition {
    /// Divides the rows. Work: `rows * width` multiplications for each cluster, of which there is one for [`TILE`] rows.
    pub(crate) fn new(space: &Space<'_>) -> Self {
        let clusters = space.len().div_ceil(TILE).clamp(1, MOST_CLUSTERS);
        let means = means(space, clusters);
        let all: Vec<u32> = (0..space.len() as u32).collect();
        let mut members: Vec<Vec<u32>> = vec![Vec::new(); clusters];
        for (row, cluster) in all.iter().zip(nearest(space, &all, &means)) {
            members[cluster as usize].push(*row);
        }
        let blocks = members.into_par_iter().map(|mut rows| {
            divide(space, &mut rows);
            let each = rows.len().div_ceil(rows.len().div_ceil(TILE).max(1)).max(1);
            rows.chunks(each).map(<[u32]>::to_vec).collect()
        });
        let blocks: Vec<Vec<Vec<u32>>> = blocks.collect();
        let blocks = blocks.concat();
        Self {
            near: near(space, &blocks),
            blocks,
        }
    }

    /// All rows, each in one block.
    pub(crate) fn blocks(&self) -> Vec<&[u32]> {
        self.blocks.iter().map(Vec::as_slice).collect()
    }

    /// Whether the rows of two blocks are compared.
    pub(crate) fn are_near(&self, block: usize, other: usize) -> bool {
        self.near[block].binary_search(&(other as u32)).is_ok()
    }
}

/// The means of clusters of the rows, `[clusters, width]`.
fn means(space: &Space<'_>, clusters: usize) -> Array2<f32> {
    let sample = sample(space.len(), clusters.saturating_mul(SAMPLE_PER_CLUSTER), 1);
    // The sample is in random order.
    let mut means = gathered(space, &sample[..clusters]);
    for _ in 0..ROUNDS {
        let mut sums = Array2::<f32>::zeros(means.raw_dim());
        let mut counts = vec![0f32; clusters];
        for (row, cluster) in sample.iter().zip(nearest(space, &sample, &means)) {
            add_scaled(space, *row, sums.row_mut(cluster as usize));
            counts[cluster as usize] += 1.0;
        }
        for (cluster, count) in counts.iter().enumerate() {
            // A cluster that has lost all rows keeps its mean.
            if *count > 0.0 {
                let mean = &sums.row(cluster) / *count;
                means.row_mut(cluster).assign(&mean);
            }
        }
    }
    means
}

/// The numbers of different rows, or of all if there are fewer, in random order. Rows at equal intervals may all be of one kind.
pub(crate) fn sample(rows: usize, count: usize, seed: u64) -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut sample = random.choose_multiple(0..rows as u32, count);
    random.shuffle(&mut sample);
    sample
}

/// The number of the mean that is nearest to each of the rows.
fn nearest(space: &Space<'_>, rows: &[u32], means: &Array2<f32>) -> Vec<u32> {
    let halves: Vec<f32> = means.rows().into_iter().map(|m| m.dot(&m) / 2.0).collect();
    let chunks = rows.par_chunks(TILE).map(|rows| {
        let rows = gathered(space, rows);
        let mut best = vec![(f32::NEG_INFINITY, 0); rows.nrows()];
        let mut products = Array2::zeros((rows.nrows(), TILE));
        for (first, means) in (0..)
            .step_by(TILE)
            .zip(means.axis_chunks_iter(Axis(0), TILE))
        {
            let mut products = products.slice_mut(ndarray::s![.., ..means.nrows()]);
            general_mat_mul(1.0, &rows, &means.t(), 0.0, &mut products);
            for (best, products) in best.iter_mut().zip(products.rows()) {
                for ((mean, product), half) in (first..).zip(products).zip(&halves[first..]) {
                    // The square of the distance is |row|² - 2 (product - |mean|² / 2).
                    if product - half > best.0 {
                        *best = (product - half, mean);
                    }
                }
            }
        }
        let numbers = best.into_iter().map(|(_, mean)| mean as u32);
        numbers.collect::<Vec<u32>>()
    });
    chunks.collect::<Vec<_>>().concat()
}

/// For each block, the blocks that it is compared with.
fn near(space: &Space<'_>, blocks: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mean = |rows: &Vec<u32>| {
        let mut sum = Array1::zeros(space.rows().ncols());
        for row in rows {
            add_scaled(space, *row, sum.view_mut());
        }
        sum / rows.len() as f32
    };
    let means: Vec<Array1<f32>> = blocks.par_iter().map(mean).collect();
    let nearest = |block: &Array1<f32>| {
        let far = |other: &Array1<f32>| squared(block.view(), other.view());
        let mut others: Vec<(f32, u32)> = means.iter().map(far).zip(0..).collect();
        others.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        others.truncate(NEAREST);
        others.into_iter().map(|(_, other)| other).collect()
    };
    let mut near: Vec<Vec<u32>> = means.par_iter().map(nearest).collect();
    for block in 0..near.len() {
        for other in near[block].clone() {
            near[other as usize].push(block as u32);
        }
    }
    for blocks in &mut near {
        blocks.sort_unstable();
        blocks.dedup();
    }
    near
}

/// Sorts the rows so that those of each block are near each other.
fn divide(space: &Space<'_>, rows: &mut [u32]) {
    if rows.len() <= TILE {
        return;
    }
    let middle = rows.len() / 2;
    let direction = direction(space, rows);
    let mut places: Vec<(f32, u32)> = rows
        .par_iter()
        .map(|row| (product(space, *row, direction.view()), *row))
        .collect();
    places.select_nth_unstable_by(middle, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    for (row, (_, sorted)) in rows.iter_mut().zip(&places) {
        *row = *sorted;
    }
    drop(places);
    let (left, right) = rows.split_at_mut(middle);
    rayon::join(|| divide(space, left), || divide(space, right));
}

/// The difference of the means of two halves of the rows: those on either side of the middle between two far rows.
fn direction(space: &Space<'_>, rows: &[u32]) -> Array1<f32> {
    let step = rows.len().div_ceil(SAMPLE);
    let sample: Vec<u32> = rows.iter().step_by(step).copied().collect();
    let sample = gathered(space, &sample);
    let farthest_from = |center: ArrayView1<'_, f32>| {
        let distances = sample.rows().into_iter().map(|row| squared(row, center));
        let farthest = distances.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
        sample.row(farthest.map_or(0, |(row, _)| row))
    };
    let one = farthest_from(sample.row(0));
    let direction = &farthest_from(one) - &one;
    let products = sample.dot(&direction);
    let middle = products.mean().unwrap_or_default();
    let side = |above: bool| {
        let rows = (0..sample.nrows()).filter(|row| (products[*row] > middle) == above);
        let rows: Vec<usize> = rows.collect();
        sample.select(Axis(0), &rows).mean_axis(Axis(0))
    };
    match (side(true), side(false)) {
        (Some(above), Some(below)) => above - below,
        // All rows are equal.
        _ => direction,
    }
}

/// Rows as distances see them.
fn gathered(space: &Space<'_>, rows: &[u32]) -> Array2<f32> {
    let mut matrix = Array2::zeros((rows.len(), space.rows().ncols()));
    for (to, row) in matrix.rows_mut().into_iter().zip(rows) {
        add_scaled(space, *row, to);
    }
    matrix
}

fn add_scaled(space: &Space<'_>, row: u32, mut sum: ArrayViewMut1<'_, f32>) {
    let scale = space.scale(row as usize) as f32;
    sum.scaled_add(scale, &ArrayView1::from(space.row(row as usize)));
}

fn product(space: &Space<'_>, row: u32, direction: ArrayView1<'_, f32>) -> f32 {
    let numbers = ArrayView1::from(space.row(row as usize));
    numbers.dot(&direction) * space.scale(row as usize) as f32
}

fn squared(left: ArrayView1<'_, f32>, right: ArrayView1<'_, f32>) -> f32 {
    let differences = left.iter().zip(right).map(|(a, b)| (a - b) * (a - b));
    differences.sum()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::Metric;

    #[test]
    fn every_row_is_in_one_block_and_groups_stay_together() {
        let (groups, rows) = (8, 8 * TILE + 100);
        let mut random = fastrand::Rng::with_seed(1);
        let centers = Array2::from_shape_simple_fn((groups, 16), || 10.0 * (random.f32() - 0.5));
        let noise = Array2::from_shape_simple_fn((rows, 16), || 0.1 * (random.f32() - 0.5));
        let mut numbers = noise;
        for (row, mut to) in numbers.rows_mut().into_iter().enumerate() {
            to += &centers.row(row % groups);
        }
        let space = Space::new(numbers.view(), Metric::Euclidean).unwrap();
        let partition = Partition::new(&space);
        let mut sorted = partition.blocks().concat();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..rows as u32).collect::<Vec<_>>());
        // Most rows of a block are of one group. By chance an eighth would be.
        let blocks = partition.blocks();
        let largest = blocks.iter().map(|block| {
            let count = |group| {
                block
                    .iter()
                    .filter(move |row| **row as usize % groups == group)
            };
            (0..groups).map(|group| count(group).count()).max().unwrap()
        });
        let together = largest.sum::<usize>();
        assert!(together > rows * 9 / 10, "{together} of {rows}");
        for (number, block) in blocks.iter().enumerate() {
            assert!((1..=TILE).contains(&block.len()));
            assert!(partition.are_near(number, number));
        }
    }

    #[test]
    fn equal_rows_are_divided_too() {
        let ones = Array2::<f32>::ones((3 * TILE, 4));
        let space = Space::new(ones.view(), Metric::Cosine).unwrap();
        let partition = Partition::new(&space);
        let sizes = partition
            .blocks()
            .iter()
            .map(|block| block.len())
            .collect::<Vec<_>>();
        assert_eq!(sizes, [TILE; 3]);
    }
}
