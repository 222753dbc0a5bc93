//! The single-linkage tree: the edges of the spanning tree as merges of rows and earlier merges.

use super::spanning_tree::Edge;
use super::union_find::UnionFind;
use crate::Metric;

/// A merge of two nodes. Nodes are numbered: first the rows, then the merges in ascending order of their distance.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Merge {
    pub(super) children: [u32; 2],
    /// The mutual reachability at which they merge, in units of the metric.
    pub(super) distance: f64,
    /// How many rows are below.
    pub(super) size: u32,
}

/// Returns the merges, one for each edge. The edges join all rows.
pub(super) fn linkage(mut edges: Vec<Edge>, metric: Metric) -> Vec<Merge> {
    edges.sort_unstable_by(Edge::order);
    let rows = edges.len() + 1;
    let mut sets = UnionFind::new(rows);
    // The node of each set, at its representative.
    let mut nodes: Vec<u32> = (0..rows as u32).collect();
    let mut merges = Vec::with_capacity(edges.len());
    for edge in edges {
        let ends = [edge.low, edge.high].map(|row| sets.find(row));
        let children = ends.map(|end| nodes[end as usize]);
        if let Some(joined) = sets.join(ends[0], ends[1]) {
            nodes[joined as usize] = (rows + merges.len()) as u32;
            merges.push(Merge {
                children,
                distance: metric.of_squared(edge.weight),
                size: sets.size(joined),
            });
        }
    }
    merges
}
