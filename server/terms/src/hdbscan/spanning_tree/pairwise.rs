//! The lightest edge between any two components, and the spanning tree of these edges.

use std::ops::Range;
use std::sync::Mutex;

use super::{Edge, Graph};
use crate::hdbscan::union_find::UnionFind;
use crate::lock::{into_inner, lock};
use crate::neighbours::rounded_up;
use crate::tiles::{STEP, TILE, Tile, any_below, for_each_tile};

/// The most components of which a table is made: it has 101 MB then, and twice as much when it is sorted.
pub(super) const MOST_COMPONENTS: usize = 2900;

/// The lightest edges between a component (the index) and each higher one.
type Table = Vec<Mutex<Vec<Edge>>>;

/// Returns the edges that join all components: the minimum spanning tree between them, by the edges between these rows.
pub(super) fn lightest_edges(
    graph: &Graph<'_, '_>,
    rows: Vec<u32>,
    components: &[u32],
    count: usize,
) -> Vec<Edge> {
    let table: Table = (0..count)
        .map(|component| Mutex::new(vec![Edge::NONE; count - 1 - component]))
        .collect();
    // Known edges are limits that save most pairs of rows their exact distance.
    for (row, component) in components.iter().enumerate() {
        for (squared, other) in graph.neighbours.squared(row) {
            let pair = sorted(*component, components[*other as usize]);
            if pair.0 != pair.1 {
                let edge = graph.edge(row as u32, *other, *squared);
                lock(&table[pair.0])[pair.1 - pair.0 - 1].improve(edge);
            }
        }
    }
    let mut order = rows;
    order.sort_by_key(|row| (components[*row as usize], *row));
    let component = |row: &u32| components[*row as usize] as usize;
    let blocks: Vec<Vec<Run>> = order
        .chunks(TILE)
        .map(|rows| runs(rows, component))
        .collect();
    for_each_tile(
        graph.space,
        &order.chunks(TILE).collect::<Vec<_>>(),
        |a, b| lowest(&blocks[a]) != highest(&blocks[b]),
        |a, b, tile| compare(graph, tile, &blocks[a], &blocks[b], &table),
    );
    let mut edges: Vec<Edge> = table.into_iter().flat_map(into_inner).collect();
    edges.sort_unstable_by(Edge::order);
    let mut sets = UnionFind::new(count);
    edges.retain(|edge| {
        let ends = [edge.low, edge.high].map(|row| components[row as usize]);
        sets.join(ends[0], ends[1]).is_some()
    });
    edges
}

fn sorted(a: u32, b: u32) -> (usize, usize) {
    (a.min(b) as usize, a.max(b) as usize)
}

/// Neighbouring rows of a block that are of one component.
#[derive(Debug)]
struct Run {
    component: usize,
    places: Range<usize>,
}

fn lowest(runs: &[Run]) -> Option<usize> {
    runs.first().map(|run| run.component)
}

fn highest(runs: &[Run]) -> Option<usize> {
    runs.last().map(|run| run.component)
}

fn runs(rows: &[u32], component: impl Fn(&u32) -> usize) -> Vec<Run> {
    let mut start = 0;
    let same = rows.chunk_by(|a, b| component(a) == component(b));
    same.map(|run| {
        let places = start..start + run.len();
        start = places.end;
        Run {
            component: component(&run[0]),
            places,
        }
    })
    .collect()
}

/// Improves the table by the pairs of a tile.
fn compare(graph: &Graph<'_, '_>, tile: &Tile<'_>, left: &[Run], right: &[Run], table: &Table) {
    for left in left {
        // Components are in ascending order, in a block and among blocks.
        for right in right
            .iter()
            .filter(|right| right.component > left.component)
        {
            let entry = right.component - left.component - 1;
            let known = lock(&table[left.component])[entry];
            let mut best = known;
            for place in left.places.clone() {
                improve(graph, tile, place, &right.places, &mut best);
            }
            if best != known {
                lock(&table[left.component])[entry].improve(best);
            }
        }
    }
}

/// Improves an edge by those of a row on the left with a run of rows on the right.
fn improve(
    graph: &Graph<'_, '_>,
    tile: &Tile<'_>,
    place: usize,
    run: &Range<usize>,
    best: &mut Edge,
) {
    let row = tile.left[place];
    if graph.core[row as usize] > best.weight {
        return;
    }
    let (first, bounds) = tile.row(place);
    let mut start = run.start;
    for bounds in bounds[run.start - first..run.end - first].chunks(STEP) {
        let limit = rounded_up(best.weight);
        if any_below(bounds, &[limit; STEP], limit) {
            for (place, bound) in (start..).zip(bounds) {
                let other = tile.right[place];
                if *bound <= limit && graph.core[other as usize] <= best.weight {
                    best.improve(graph.edge(row, other, graph.space.squared(row, other)));
                }
            }
        }
        start += bounds.len();
    }
}
