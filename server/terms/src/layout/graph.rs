//! The weights of pairs of neighbours: the fuzzy simplicial set of UMAP.

use rayon::prelude::*;

use crate::Neighbours;

/// Steps of the search for a row's scale. Each halves the range.
const STEPS: usize = 64;
/// A row's scale is at least this share of the mean distance to its neighbours.
const LEAST_SCALE: f64 = 1e-3;

/// Weighted edges between rows. Each edge is listed at both of its rows.
#[derive(Debug)]
pub(super) struct Graph {
    /// Where the edges of each row begin, and the end of the last one's.
    starts: Vec<usize>,
    edges: Vec<Edge>,
}

/// An edge of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    /// The row at its other end.
    pub(super) to: u32,
    /// Its weight, 0 to 1.
    pub(super) weight: f32,
}

impl Graph {
    /// Weighs the edges to the first `count` neighbours of each row.
    pub(super) fn new(neighbours: &Neighbours, count: usize) -> Self {
        let rows = neighbours.len();
        let directed: Vec<Vec<Edge>> = (0..rows)
            .into_par_iter()
            .map(|row| weigh(neighbours.of(row).take(count).collect()))
            .collect();
        let back = |from: usize, to: u32| {
            directed[to as usize]
                .iter()
                .find(|edge| edge.to as usize == from)
                .map(|edge| edge.weight)
        };
        // A row's own edges, and those of other rows that it does not list itself.
        let mut lists: Vec<Vec<Edge>> = directed
            .par_iter()
            .enumerate()
            .map(|(row, edges)| {
                let united = |edge: &Edge| Edge {
                    to: edge.to,
                    weight: union(edge.weight, back(row, edge.to).unwrap_or(0.0)),
                };
                edges.iter().map(united).collect()
            })
            .collect();
        for (row, edges) in directed.iter().enumerate() {
            for edge in edges {
                if back(row, edge.to).is_none() {
                    lists[edge.to as usize].push(Edge {
                        to: row as u32,
                        weight: edge.weight,
                    });
                }
            }
        }
        let mut starts = vec![0];
        starts.extend(lists.iter().scan(0, |end, list| {
            *end += list.len();
            Some(*end)
        }));
        Self {
            starts,
            edges: lists.concat(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.starts.len() - 1
    }

    pub(super) fn of(&self, row: usize) -> &[Edge] {
        &self.edges[self.starts[row]..self.starts[row + 1]]
    }
}

/// The probability of either of two independent events.
fn union(a: f32, b: f32) -> f32 {
    a + b - a * b
}

/// Turns distances into weights: `exp(-(distance - nearest) / scale)`, with the scale at which they sum to `log2(count)`. The nearest
/// neighbour that is not an equal row has the weight 1, and so have equal rows.
fn weigh(neighbours: Vec<(u32, f64)>) -> Vec<Edge> {
    let distances = || neighbours.iter().map(|(_, distance)| *distance);
    let nearest = distances().find(|distance| *distance > 0.0).unwrap_or(0.0);
    let beyond: Vec<f64> = distances()
        .map(|distance| (distance - nearest).max(0.0))
        .collect();
    let count = neighbours.len() as f64;
    let scale =
        scale(&beyond, (count + 1.0).log2()).max(LEAST_SCALE * distances().sum::<f64>() / count);
    let weight = |beyond: f64| {
        if beyond > 0.0 {
            (-beyond / scale).exp()
        } else {
            1.0
        }
    };
    neighbours
        .iter()
        .zip(beyond)
        .map(|((to, _), beyond)| Edge {
            to: *to,
            weight: weight(beyond) as f32,
        })
        .collect()
}

/// The scale at which the weights sum to `target`.
fn scale(beyond: &[f64], target: f64) -> f64 {
    let (mut low, mut high, mut scale) = (0.0, f64::INFINITY, 1.0);
    for _ in 0..STEPS {
        let sum: f64 = beyond.iter().map(|beyond| (-beyond / scale).exp()).sum();
        if sum > target {
            high = scale;
            scale = f64::midpoint(low, high);
        } else {
            low = scale;
            scale = if high.is_finite() {
                f64::midpoint(low, high)
            } else {
                scale * 2.0
            };
        }
    }
    scale
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::Graph;
    use crate::{Metric, Neighbours};

    #[test]
    fn weights_are_symmetric_and_equal_rows_are_nearest() {
        let rows = array![[0.0, 0.0], [0.0, 0.0], [0.0, 1.0], [0.0, 3.0], [5.0, 5.0]];
        let neighbours = Neighbours::find(rows.view(), 3, Metric::Euclidean).unwrap();
        let graph = Graph::new(&neighbours, 3);
        let weight = |from: usize, to: usize| {
            graph
                .of(from)
                .iter()
                .find(|edge| edge.to as usize == to)
                .map(|edge| edge.weight)
        };
        for from in 0..graph.len() {
            for to in 0..graph.len() {
                assert_eq!(weight(from, to), weight(to, from), "{from}, {to}");
            }
        }
        assert_eq!(weight(0, 1), Some(1.0));
        assert_eq!(weight(0, 2), Some(1.0));
        assert!(weight(0, 3) < weight(2, 3));
        assert!(weight(4, 3) > weight(4, 2));
        assert_eq!(weight(4, 4), None);
    }

    #[test]
    fn equal_rows_alone_have_finite_weights() {
        let rows = ndarray::Array2::ones((4, 2));
        let neighbours = Neighbours::find(rows.view(), 3, Metric::Euclidean).unwrap();
        let graph = Graph::new(&neighbours, 3);
        assert!(graph.of(0).iter().all(|edge| edge.weight == 1.0));
    }
}
