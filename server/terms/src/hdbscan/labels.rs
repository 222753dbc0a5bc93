//! Labels and probabilities of rows.

use super::condensed::{Leaving, Tree};
use super::{Clustering, NOISE};

/// Labels rows by the selected clusters, in ascending order, of which none is below another one.
pub(super) fn label(tree: &Tree, selected: &[usize], epsilon: f64) -> Clustering {
    // The selected cluster that each cluster is, or is below of. Parents are before their children.
    let mut owners: Vec<Option<usize>> = vec![None; tree.clusters.len()];
    for (index, cluster) in tree.clusters.iter().enumerate() {
        owners[index] = match selected.binary_search(&index) {
            Ok(_) => Some(index),
            Err(_) => owners[cluster.parent],
        };
    }
    // As the only cluster, the root would have no noise.
    let least = match (selected, epsilon) {
        ([0], 0.0) => tree.clusters[0].death,
        ([0], _) => 1.0 / epsilon,
        _ => 0.0,
    };
    let owner = |leaving: &Leaving| match leaving.density >= least {
        true => owners[leaving.cluster],
        false => None,
    };
    let rows: Vec<Option<usize>> = tree.rows.iter().map(owner).collect();
    let numbers = numbers(&rows, tree.clusters.len());
    let probability = |(leaving, owner): (&Leaving, &Option<usize>)| {
        owner.map_or(0.0, |owner| {
            relative(leaving.density, tree.clusters[owner].finite_death)
        })
    };
    Clustering {
        labels: rows
            .iter()
            .map(|owner| owner.map_or(NOISE, |owner| numbers[owner]))
            .collect(),
        probabilities: tree.rows.iter().zip(&rows).map(probability).collect(),
        clusters: numbers.iter().filter(|number| **number != NOISE).count(),
    }
}

/// The label of each cluster that has rows: the largest first, those of equal size by their first row.
fn numbers(rows: &[Option<usize>], clusters: usize) -> Vec<i32> {
    let mut sizes = vec![(0_usize, usize::MAX); clusters];
    for (row, owner) in rows.iter().enumerate() {
        if let Some(owner) = owner {
            let (size, first) = sizes[*owner];
            sizes[*owner] = (size + 1, first.min(row));
        }
    }
    let mut order: Vec<usize> = (0..clusters).filter(|c| sizes[*c].0 > 0).collect();
    order.sort_by_key(|cluster| (std::cmp::Reverse(sizes[*cluster].0), sizes[*cluster].1));
    let mut numbers = vec![NOISE; clusters];
    for (number, cluster) in (0..).zip(order) {
        numbers[cluster] = number;
    }
    numbers
}

/// A density relative to the highest one, at most 1.
fn relative(density: f64, highest: f64) -> f64 {
    if density >= highest {
        1.0
    } else {
        density / highest
    }
}
