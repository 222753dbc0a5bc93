use ndarray::Array2;

use super::{Edge, Graph, spanning_tree_with};
use crate::hdbscan::core_distances;
use crate::hdbscan::union_find::UnionFind;
use crate::space::Space;
use crate::{Metric, Neighbours, Search};

/// Groups of rows, so that lists of neighbours do not leave them.
fn groups(rows: usize, groups: usize, spread: f32, seed: u64) -> Array2<f32> {
    let mut random = fastrand::Rng::with_seed(seed);
    let centres = Array2::from_shape_simple_fn((groups, 6), || random.f32() - 0.5);
    Array2::from_shape_fn((rows, 6), |(row, column)| {
        centres[[row % groups, column]] + spread * (random.f32() - 0.5)
    })
}

/// Kruskal's algorithm on all edges.
fn kruskal(graph: &Graph<'_, '_>) -> Vec<Edge> {
    let rows = graph.space.len() as u32;
    let pairs = (0..rows).flat_map(|a| (a + 1..rows).map(move |b| (a, b)));
    let mut edges: Vec<Edge> = pairs
        .map(|(a, b)| graph.edge(a, b, graph.space.squared(a, b)))
        .collect();
    edges.sort_unstable_by(Edge::order);
    let mut sets = UnionFind::new(rows as usize);
    edges.retain(|edge| sets.join(edge.low, edge.high).is_some());
    edges
}

/// Weights and distances, which all minimum spanning trees have in common.
fn weights(edges: &[Edge]) -> Vec<(f64, f64)> {
    let mut edges = edges.to_vec();
    edges.sort_unstable_by(Edge::order);
    edges
        .iter()
        .map(|edge| (edge.weight, edge.squared))
        .collect()
}

fn check(rows: &Array2<f32>, min_samples: usize, listed: usize, most_in_table: usize) {
    for metric in [Metric::Cosine, Metric::Euclidean] {
        let space = Space::new(rows.view(), metric).unwrap();
        let neighbours = Neighbours::search_in(&space, None, listed, f64::INFINITY, |_, _| true);
        let core = core_distances(&neighbours, min_samples);
        let graph = Graph {
            space: &space,
            neighbours: &neighbours,
            core: &core,
        };
        let found = spanning_tree_with(&graph, most_in_table);
        assert_eq!(found.len(), rows.nrows() - 1);
        let mut sets = UnionFind::new(rows.nrows());
        assert!(
            found
                .iter()
                .all(|edge| sets.join(edge.low, edge.high).is_some())
        );
        assert_eq!(weights(&found), weights(&kruskal(&graph)));
    }
}

#[test]
fn every_way_finds_the_weights_that_kruskals_algorithm_finds() {
    let rows = groups(1400, 40, 0.1, 1);
    check(&rows, 5, 8, 4096);
    // Without a table; with a table for the last components; with short lists.
    check(&rows, 5, 8, 0);
    check(&rows, 5, 8, 12);
    check(&rows, 2, 1, 300);
    check(&rows, 1, 1, 0);
}

#[test]
fn one_large_component_and_outliers_are_joined() {
    let mut rows = groups(1300, 1, 0.05, 2);
    for row in 0..60 {
        let shift = row as f32 / 10.0 + 1.0;
        rows.row_mut(row * 20)
            .map_inplace(|number| *number *= shift);
    }
    check(&rows, 4, 6, 0);
    check(&rows, 4, 6, 4096);
}

#[test]
fn ties_and_equal_rows_make_a_tree() {
    // A grid: most distances occur often.
    let grid = Array2::from_shape_fn((700, 2), |(row, column)| {
        if column == 0 {
            (row % 20 + 1) as f32
        } else {
            (row / 20) as f32
        }
    });
    check(&grid, 3, 4, 0);
    check(&grid, 3, 4, 4096);
    let equal = Array2::from_shape_fn((600, 3), |(row, _)| (row % 3 + 1) as f32);
    check(&equal, 5, 10, 0);
    check(&equal, 5, 10, 4096);
}

#[test]
fn two_rows_have_one_edge() {
    check(&groups(2, 2, 0.1, 3), 1, 1, 4096);
}

#[test]
fn lists_of_an_approximate_search_make_a_tree_that_is_nearly_as_light() {
    // Groups of 40 rows, whose lists of 8 never leave them.
    let rows = groups(16_000, 400, 0.01, 4);
    let space = Space::new(rows.view(), Metric::Euclidean).unwrap();
    let tree = |search, most_in_table| {
        let neighbours = Neighbours::find_by(search, rows.view(), 8, Metric::Euclidean).unwrap();
        let core = core_distances(&neighbours, 5);
        let graph = Graph {
            space: &space,
            neighbours: &neighbours,
            core: &core,
        };
        let edges = spanning_tree_with(&graph, most_in_table);
        assert_eq!(edges.len(), rows.nrows() - 1);
        let mut sets = UnionFind::new(rows.nrows());
        let mut joins = edges.iter().map(|edge| sets.join(edge.low, edge.high));
        assert!(joins.all(|joined| joined.is_some()));
        edges.iter().map(|edge| edge.weight.sqrt()).sum::<f64>()
    };
    let exact = tree(Search::Exact, 4096);
    for most_in_table in [4096, 0] {
        let ratio = tree(Search::Approximate, most_in_table) / exact;
        assert!((1.0..1.02).contains(&ratio), "{ratio}");
    }
}
