//! The lightest edge that leaves each component, by comparing rows of different components.

use std::sync::Mutex;

use super::{Edge, Graph, Outgoing};
use crate::lock::{into_inner, lock};
use crate::neighbours::rounded_up;
use crate::tiles::{STEP, TILE, Tile, any_below, for_each_tile};

/// The limit of rows that need no search: below any distance.
const NOT_SEARCHED: f32 = -1.0;

/// Returns the lightest edge that leaves each component, among those between these rows. `outgoing` is what the lists of neighbours say.
pub(super) fn lightest_edges(
    graph: &Graph<'_, '_>,
    rows: Vec<u32>,
    components: &[u32],
    outgoing: &[Outgoing],
) -> Vec<Edge> {
    // A row's list has all of its edges that are lighter than the list's end. Lists of an approximate search count as complete,
    // so this search runs only if none of them has an edge between components.
    let is_searched = |row: u32| {
        let best = outgoing[components[row as usize] as usize].best;
        !graph.neighbours.are_exact() || graph.list_end(row as usize) < best.weight
    };
    let mut order = rows;
    // Components lie together, so that tiles within a large one are left out; so do rows that need no search.
    order.sort_by_cached_key(|row| (!is_searched(*row), components[*row as usize], *row));
    let blocks: Vec<Block> = order
        .chunks(TILE)
        .map(|rows| Block::new(rows, components, is_searched))
        .collect();
    let best = outgoing.iter().map(|outgoing| Mutex::new(outgoing.best));
    let best: Vec<_> = best.collect();
    for_each_tile(
        graph.space,
        &order.chunks(TILE).collect::<Vec<_>>(),
        |a, b| {
            let (a, b) = (&blocks[a], &blocks[b]);
            let is_one = a.only.is_some() && a.only == b.only;
            (a.has_searched || b.has_searched) && !is_one
        },
        |_, _, tile| {
            let left = Side::new(tile.left, components, &best, is_searched);
            let right = Side::new(tile.right, components, &best, is_searched);
            compare(graph, tile, left, right, &best);
        },
    );
    best.into_iter().map(into_inner).collect()
}

/// What is known of a block of rows.
struct Block {
    has_searched: bool,
    /// The component of all rows, if it is one.
    only: Option<u32>,
}

impl Block {
    fn new(rows: &[u32], components: &[u32], is_searched: impl Fn(u32) -> bool) -> Self {
        let first = components[rows[0] as usize];
        let is_one = rows.iter().all(|row| components[*row as usize] == first);
        Self {
            has_searched: rows.iter().any(|row| is_searched(*row)),
            only: is_one.then_some(first),
        }
    }
}

/// The rows of one side of a tile.
struct Side {
    components: Vec<u32>,
    /// A number that is not below the weight of the lightest known edge of the row's component.
    limits: Vec<f32>,
}

impl Side {
    fn new(
        rows: &[u32],
        components: &[u32],
        best: &[Mutex<Edge>],
        is_searched: impl Fn(u32) -> bool,
    ) -> Self {
        let components: Vec<u32> = rows.iter().map(|row| components[*row as usize]).collect();
        let limit = |(row, component): (&u32, &u32)| match is_searched(*row) {
            true => rounded_up(lock(&best[*component as usize]).weight),
            false => NOT_SEARCHED,
        };
        let limits = rows.iter().zip(&components).map(limit).collect();
        Self { components, limits }
    }

    /// Lowers the limits of a component's rows.
    fn lower(&mut self, component: u32, weight: f64) {
        let limit = rounded_up(weight);
        for (known, of) in self.limits.iter_mut().zip(&self.components) {
            if *of == component {
                *known = known.min(limit);
            }
        }
    }
}

fn compare(graph: &Graph<'_, '_>, tile: &Tile<'_>, left: Side, right: Side, best: &[Mutex<Edge>]) {
    let (mut left, mut right) = (left, right);
    for (index, row) in tile.left.iter().enumerate() {
        let (mut first, bounds) = tile.row(index);
        for bounds in bounds.chunks(STEP) {
            let limits = &right.limits[first..][..bounds.len()];
            if any_below(bounds, limits, left.limits[index]) {
                for (place, bound) in (first..).zip(bounds) {
                    let limit = left.limits[index].max(right.limits[place]);
                    let sides = [left.components[index], right.components[place]];
                    let other = tile.right[place];
                    let core = graph.core[*row as usize].max(graph.core[other as usize]);
                    if *bound > limit || sides[0] == sides[1] || core > f64::from(limit) {
                        continue;
                    }
                    let edge = graph.edge(*row, other, graph.space.squared(*row, other));
                    for component in sides {
                        if lock(&best[component as usize]).improve(edge) {
                            left.lower(component, edge.weight);
                            right.lower(component, edge.weight);
                        }
                    }
                }
            }
            first += bounds.len();
        }
    }
}
