//! What is in each cluster: its label, size, languages and domains, and the clusters near it.

use std::collections::HashMap;

use ndarray::{Array1, Array2, ArrayView2};
use rayon::prelude::*;
use serde::Serialize;

use crate::hdbscan::Clustering;
use crate::space::Space;
use crate::{Error, Metric, Neighbours, Result};

/// A cluster of terms.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cluster {
    /// Its number in [`Clustering::labels`].
    pub cluster: usize,
    /// How many rows it has.
    pub size: usize,
    /// The row whose term labels the cluster: the one with the smallest mean cosine distance to the others, which is the row nearest to their
    /// centroid. The first one if there are several.
    pub medoid: usize,
    /// The mean of its rows' probabilities, 0 to 1.
    pub mean_probability: f64,
    /// The clusters whose centroids have the smallest angle to this one's, the nearest first.
    pub nearest: Vec<Near>,
}

/// A cluster near another one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Near {
    /// Its number.
    pub cluster: usize,
    /// The cosine of the angle between the centroids, -1 to 1.
    pub similarity: f64,
}

/// Describes the clusters, in the order of their numbers, each with at most `most_near` near ones. `rows` are the vectors that were
/// clustered, `[rows, width]`. The work is linear in the rows, and quadratic in the clusters.
///
/// # Errors
/// There is another number of rows than labels, or a row is a zero vector or not finite.
pub fn describe(
    rows: ArrayView2<'_, f32>,
    clustering: &Clustering,
    most_near: usize,
) -> Result<Vec<Cluster>> {
    if rows.nrows() != clustering.labels.len() {
        return Err(Error::Count {
            name: "labels",
            expected: rows.nrows(),
            found: clustering.labels.len(),
        });
    }
    let space = Space::new(rows, Metric::Cosine)?;
    let members = members(clustering);
    let centroids: Vec<Array1<f64>> = members
        .par_iter()
        .map(|members| centroid(&space, members))
        .collect();
    let near = nearest(&centroids, most_near)?;
    let clusters = members.iter().zip(&centroids).zip(near).enumerate();
    Ok(clusters
        .map(|(cluster, ((members, centroid), nearest))| {
            let probabilities = members.iter().map(|row| clustering.probabilities[*row]);
            Cluster {
                cluster,
                size: members.len(),
                medoid: medoid(&space, members, centroid),
                mean_probability: probabilities.sum::<f64>() / members.len() as f64,
                nearest,
            }
        })
        .collect())
}

/// How often each value, such as a language, occurs in each cluster, the most frequent first, those of equal frequency in their own order.
/// `values` has an entry for each row; rows without one do not count.
///
/// # Errors
/// There is another number of values than labels.
pub fn counts<'a>(
    clustering: &Clustering,
    values: &[Option<&'a str>],
) -> Result<Vec<Vec<(&'a str, usize)>>> {
    if values.len() != clustering.labels.len() {
        return Err(Error::Count {
            name: "values",
            expected: clustering.labels.len(),
            found: values.len(),
        });
    }
    let count = |members: Vec<usize>| {
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for value in members.iter().filter_map(|row| values[*row]) {
            *counts.entry(value).or_default() += 1;
        }
        let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
        counts.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        counts
    };
    Ok(members(clustering).into_iter().map(count).collect())
}

/// The rows of each cluster in ascending order.
fn members(clustering: &Clustering) -> Vec<Vec<usize>> {
    let mut members = vec![Vec::new(); clustering.clusters];
    for (row, label) in clustering.labels.iter().enumerate() {
        if let Some(members) = usize::try_from(*label)
            .ok()
            .and_then(|l| members.get_mut(l))
        {
            members.push(row);
        }
    }
    members
}

/// The sum of the rows' unit vectors. It has the direction of the centroid.
fn centroid(space: &Space<'_>, members: &[usize]) -> Array1<f64> {
    let mut sum = Array1::zeros(space.rows().ncols());
    for row in members {
        let scale = space.scale(*row);
        let numbers = sum.iter_mut().zip(space.row(*row));
        numbers.for_each(|(sum, number)| *sum += f64::from(*number) * scale);
    }
    sum
}

/// The row that is nearest to the centroid. The sum of its cosine distances to the `n` rows is `n` less its product with their sum.
fn medoid(space: &Space<'_>, members: &[usize], centroid: &Array1<f64>) -> usize {
    let product = |row: usize| {
        let numbers = space.row(row).iter().zip(centroid);
        let product: f64 = numbers.map(|(number, sum)| f64::from(*number) * sum).sum();
        product * space.scale(row)
    };
    let products = members.iter().map(|row| (product(*row), *row));
    let best = products.reduce(|best, next| if next.0 > best.0 { next } else { best });
    best.map_or(0, |(_, row)| row)
}

fn nearest(centroids: &[Array1<f64>], most: usize) -> Result<Vec<Vec<Near>>> {
    let most = most.min(centroids.len().saturating_sub(1));
    let width = centroids.first().map_or(0, Array1::len);
    // A centroid has no direction if its rows cancel each other out. Then it is near no other one.
    let length = |index: usize| centroids[index].dot(&centroids[index]).sqrt();
    let directed: Vec<usize> = (0..centroids.len()).filter(|c| length(*c) > 0.0).collect();
    let mut near = vec![Vec::new(); centroids.len()];
    if most == 0 || directed.is_empty() {
        return Ok(near);
    }
    let rows = Array2::from_shape_fn((directed.len(), width), |(row, column)| {
        (centroids[directed[row]][column] / length(directed[row])) as f32
    });
    let space = Space::new(rows.view(), Metric::Cosine)?;
    let found = Neighbours::search_in(&space, None, most, f64::INFINITY, |_, _| true);
    for (row, cluster) in directed.iter().enumerate() {
        let to_near = |(other, distance): (u32, f64)| Near {
            cluster: directed[other as usize],
            similarity: 1.0 - distance,
        };
        near[*cluster] = found.of(row).map(to_near).collect();
    }
    Ok(near)
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, array};

    use super::{counts, describe};
    use crate::Error;
    use crate::hdbscan::{Clustering, NOISE};

    fn clustering(labels: Vec<i32>) -> Clustering {
        let clusters = labels.iter().max().map_or(0, |label| label + 1);
        Clustering {
            probabilities: labels
                .iter()
                .map(|l| if *l == NOISE { 0.0 } else { 0.75 })
                .collect(),
            clusters: usize::try_from(clusters).unwrap(),
            labels,
        }
    }

    #[test]
    fn a_medoid_has_the_smallest_sum_of_cosine_distances() {
        let mut random = fastrand::Rng::with_seed(3);
        let rows = Array2::from_shape_simple_fn((60, 5), || random.f32() - 0.2);
        let labels: Vec<i32> = (0..60).map(|row| row % 4 - 1).collect();
        let clustering = clustering(labels.clone());
        let clusters = describe(rows.view(), &clustering, 1).unwrap();
        assert_eq!(clusters.len(), 3);
        for cluster in clusters {
            let label = cluster.cluster as i32;
            let members: Vec<usize> = (0..60).filter(|row| labels[*row] == label).collect();
            let cosine = |a: usize, b: usize| {
                let (a, b) = (rows.row(a), rows.row(b));
                a.dot(&b) / (a.dot(&a) * b.dot(&b)).sqrt()
            };
            let sum = |row: &usize| {
                members
                    .iter()
                    .map(|other| cosine(*row, *other))
                    .sum::<f32>()
            };
            let best = members
                .iter()
                .copied()
                .max_by(|a, b| sum(a).total_cmp(&sum(b)));
            assert_eq!(Some(cluster.medoid), best);
            assert_eq!((cluster.size, cluster.mean_probability), (15, 0.75));
            assert_eq!(cluster.nearest.len(), 1);
        }
    }

    #[test]
    fn near_clusters_are_sorted_by_the_angle_of_centroids() {
        let rows = array![
            [1.0, 0.0],
            [2.0, 0.0],
            [0.0, 1.0],
            [0.0, 3.0],
            [1.0, 1.0],
            [2.0, 2.0]
        ];
        let clustering = clustering(vec![0, 0, 1, 1, 2, 2]);
        let clusters = describe(rows.view(), &clustering, 5).unwrap();
        let near: Vec<usize> = clusters[0]
            .nearest
            .iter()
            .map(|near| near.cluster)
            .collect();
        assert_eq!(near, [2, 1]);
        assert!((clusters[0].nearest[0].similarity - 0.5_f64.sqrt()).abs() < 1e-6);
        assert!(clusters[0].nearest[1].similarity.abs() < 1e-6);
    }

    #[test]
    fn opposite_rows_and_no_clusters_are_described() {
        let rows = array![[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.1, 1.0]];
        let clusters = describe(rows.view(), &clustering(vec![0, 0, 1, 1]), 3).unwrap();
        assert_eq!(clusters[0].medoid, 0);
        assert!(clusters.iter().all(|cluster| cluster.nearest.is_empty()));
        let none = describe(rows.view(), &clustering(vec![NOISE; 4]), 3).unwrap();
        assert_eq!(none, []);
    }

    #[test]
    fn values_are_counted_by_cluster() {
        let clustering = clustering(vec![0, 1, 0, NOISE, 0, 1]);
        let values = [
            Some("en"),
            Some("zh"),
            Some("de"),
            Some("fr"),
            Some("en"),
            None,
        ];
        let found = counts(&clustering, &values).unwrap();
        assert_eq!(found, [vec![("en", 2), ("de", 1)], vec![("zh", 1)]]);
    }

    #[test]
    fn lists_of_other_lengths_are_errors() {
        let clustering = clustering(vec![0, 0]);
        let rows = array![[1.0, 0.0], [1.0, 0.1], [1.0, 0.2]];
        let found = describe(rows.view(), &clustering, 1);
        assert!(matches!(
            found,
            Err(Error::Count {
                expected: 3,
                found: 2,
                ..
            })
        ));
        assert!(matches!(
            counts(&clustering, &[None]),
            Err(Error::Count { .. })
        ));
    }
}
