//! The minimum spanning tree of mutual reachability, without a matrix of distances.
//!
//! The mutual reachability of two rows is the largest of their distance and their core distances. Boruvka's algorithm joins each component
//! with its nearest other one, along the lightest edge that leaves it. Three ways find such edges, the cheapest first:
//!
//! 1. The lists of nearest neighbours. An edge that they contain is the lightest one if it is no longer than the end of every list in its
//!    component, because edges that no list contains are at least that long.
//! 2. [`search`]: all pairs of rows in different components, for rows whose lists end too early.
//! 3. [`pairwise`]: the lightest edge between any two components. It completes the tree at once, as soon as the components are few enough
//!    for a table of all pairs.
//!
//! Among equally light edges, the shorter one counts as lighter. Edges that are equal in both leave a choice, which does not matter: the
//! result is a minimum spanning tree, because an edge that would close a circle is left out.
//!
//! If the lists are those of an approximate search, they count as complete, and the components that they leave apart are joined by the
//! lightest edges between a sample of their rows: the tree spans all rows, and is not the lightest one.

mod pairwise;
mod search;

use std::cmp::Ordering;

use super::union_find::UnionFind;
use crate::Neighbours;
use crate::space::Space;

/// Rows that are compared to join the components that an approximate search leaves apart.
const SAMPLE: usize = 16_384;

/// An edge between two rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Edge {
    /// The squared mutual reachability.
    pub(super) weight: f64,
    /// The squared distance, which is no more. Edges of a row often are equally heavy, because its core distance is their weight.
    squared: f64,
    /// The lower row.
    pub(super) low: u32,
    /// The higher row.
    pub(super) high: u32,
}

impl Edge {
    /// No edge.
    const NONE: Self = Self {
        weight: f64::INFINITY,
        squared: f64::INFINITY,
        low: u32::MAX,
        high: u32::MAX,
    };

    /// The lightest first; among equally light ones the shortest, so that the order of rows decides only if distances are equal, too.
    pub(super) fn order(&self, other: &Self) -> Ordering {
        let rows = |edge: &Self| (edge.low, edge.high);
        let weights = self.weight.total_cmp(&other.weight);
        let distances = || self.squared.total_cmp(&other.squared);
        weights
            .then_with(distances)
            .then_with(|| rows(self).cmp(&rows(other)))
    }

    /// Replaces this edge if the other one is before it in the order. Returns whether it was replaced.
    fn improve(&mut self, other: Self) -> bool {
        let is_better = other.order(self).is_lt();
        if is_better {
            *self = other;
        }
        is_better
    }
}

/// The graph of mutual reachability.
#[derive(Debug)]
pub(super) struct Graph<'a, 'rows> {
    pub(super) space: &'a Space<'rows>,
    /// Lists of at least as many rows as core distances are made of.
    pub(super) neighbours: &'a Neighbours,
    /// Squared core distances.
    pub(super) core: &'a [f64],
}

impl Graph<'_, '_> {
    fn edge(&self, a: u32, b: u32, squared: f64) -> Edge {
        let core = self.core[a as usize].max(self.core[b as usize]);
        Edge {
            weight: squared.max(core),
            squared,
            low: a.min(b),
            high: a.max(b),
        }
    }

    /// A squared distance that no row outside the list is below.
    fn list_end(&self, row: usize) -> f64 {
        let list = self.neighbours.squared(row);
        let is_complete = list.len() + 1 == self.space.len() || !self.neighbours.are_exact();
        match list.last() {
            Some((squared, _)) if !is_complete => *squared,
            _ => f64::INFINITY,
        }
    }
}

/// The components so far, and the edges that join them.
#[derive(Debug)]
struct Forest {
    sets: UnionFind,
    edges: Vec<Edge>,
}

/// The lightest known edge that leaves a component, and a weight that no unknown one is below.
#[derive(Debug, Clone, Copy)]
struct Outgoing {
    best: Edge,
    unknown: f64,
}

impl Forest {
    fn join(&mut self, edge: Edge) {
        if edge.weight.is_finite() && self.sets.join(edge.low, edge.high).is_some() {
            self.edges.push(edge);
        }
    }

    /// The number of each row's component, from 0.
    fn components(&mut self) -> Vec<u32> {
        let rows = self.edges.len() + self.sets.sets();
        let mut numbers = vec![u32::MAX; rows];
        let mut next = 0;
        (0..rows as u32)
            .map(|row| {
                let number = &mut numbers[self.sets.find(row) as usize];
                if *number == u32::MAX {
                    *number = next;
                    next += 1;
                }
                *number
            })
            .collect()
    }
}

/// Returns the edges of the tree, one less than there are rows.
pub(super) fn spanning_tree(graph: &Graph<'_, '_>) -> Vec<Edge> {
    spanning_tree_with(graph, pairwise::MOST_COMPONENTS)
}

fn spanning_tree_with(graph: &Graph<'_, '_>, most_in_table: usize) -> Vec<Edge> {
    let rows = graph.space.len();
    let mut forest = Forest {
        sets: UnionFind::new(rows),
        edges: Vec::with_capacity(rows.saturating_sub(1)),
    };
    while forest.sets.sets() > 1 {
        let components = forest.components();
        let outgoing = in_lists(graph, &components, forest.sets.sets());
        let is_lightest = |o: &&Outgoing| o.best.weight.is_finite() && o.best.weight <= o.unknown;
        let found: Vec<Edge> = outgoing
            .iter()
            .filter(is_lightest)
            .map(|o| o.best)
            .collect();
        let found = match found.is_empty() {
            false => found,
            true => {
                let rows = match graph.neighbours.are_exact() {
                    true => (0..rows as u32).collect(),
                    false => sample(&components, outgoing.len()),
                };
                match outgoing.len() <= most_in_table {
                    true => pairwise::lightest_edges(graph, rows, &components, outgoing.len()),
                    false => search::lightest_edges(graph, rows, &components, &outgoing),
                }
            }
        };
        found.into_iter().for_each(|edge| forest.join(edge));
    }
    forest.edges
}

/// What the lists of neighbours say about the edges that leave each component.
fn in_lists(graph: &Graph<'_, '_>, components: &[u32], count: usize) -> Vec<Outgoing> {
    let nothing = Outgoing {
        best: Edge::NONE,
        unknown: f64::INFINITY,
    };
    let mut outgoing = vec![nothing; count];
    for (row, component) in components.iter().enumerate() {
        let known = &mut outgoing[*component as usize];
        known.unknown = known.unknown.min(graph.list_end(row));
        for (squared, other) in graph.neighbours.squared(row) {
            let others = components[*other as usize];
            if others != *component {
                let edge = graph.edge(row as u32, *other, *squared);
                outgoing[*component as usize].best.improve(edge);
                outgoing[others as usize].best.improve(edge);
            }
        }
    }
    outgoing
}

/// At most [`SAMPLE`] rows, or one of each component: those of a component at equal intervals.
fn sample(components: &[u32], count: usize) -> Vec<u32> {
    let mut sizes = vec![0usize; count];
    components
        .iter()
        .for_each(|component| sizes[*component as usize] += 1);
    let share = (SAMPLE / count).max(1);
    let mut seen = vec![0usize; count];
    let is_sampled = |(_, component): &(u32, &u32)| {
        let component = **component as usize;
        seen[component] += 1;
        (seen[component] - 1).is_multiple_of(sizes[component].div_ceil(share))
    };
    let rows = (0..).zip(components).filter(is_sampled);
    rows.map(|(row, _)| row).collect()
}

#[cfg(test)]
mod tests;
