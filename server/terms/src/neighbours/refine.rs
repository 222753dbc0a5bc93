//! Neighbours of neighbours are likely neighbours (Dong, Moses & Li 2011, "Efficient K-Nearest Neighbor Graph Construction for Generic
//! Similarity Measures"). The rows of a block share most of them, so the block is compared with them in tiles.

use std::cmp::Reverse;

use rayon::prelude::*;

use super::{Lists, Neighbours};
use crate::partition::Partition;
use crate::space::Space;
use crate::tiles::{STEP, TILE, Tile, TileRoom, any_below};

/// How often lists are improved. Each round reads the lists of the one before.
const ROUNDS: usize = 3;
/// How many neighbours of each neighbour are compared with a block. It bounds the work where lists are long.
const NEAREST: usize = 32;

/// The most rows that a block is compared with in a round. Vectors without structure have many more neighbours' neighbours.
const MOST_CANDIDATES: usize = 16 * TILE;

impl Neighbours {
    /// Improves the lists of an approximate search.
    pub(super) fn refined(self, space: &Space<'_>, partition: &Partition) -> Self {
        (0..ROUNDS).fold(self, |before, _| {
            let blocks = partition.blocks().into_par_iter().enumerate();
            let improved = blocks.map_init(TileRoom::new, |room, (block, rows)| {
                let mut lists = before.blocks[block].clone();
                let is_new =
                    |row: &u32| !partition.are_near(block, before.place(*row as usize) / TILE);
                for candidates in before.around(rows, is_new).chunks(TILE) {
                    room.compare(space, [rows, candidates], |tile| {
                        insert_left(space, tile, &mut lists);
                    });
                }
                lists
            });
            let blocks: Vec<Lists> = improved.collect();
            Self { blocks, ..before }
        })
    }

    /// The neighbours of these rows and the nearest neighbours of those, each once: the most frequent ones, if there are too many.
    fn around(&self, rows: &[u32], is_new: impl Fn(&u32) -> bool) -> Vec<u32> {
        let of = |row: &u32| self.squared(*row as usize).iter().map(|(_, other)| *other);
        let mut near: Vec<u32> = rows.iter().flat_map(of).collect();
        near.sort_unstable();
        near.dedup();
        let mut around: Vec<u32> = near.iter().flat_map(|row| of(row).take(NEAREST)).collect();
        around.extend(near);
        around.retain(is_new);
        around.sort_unstable();
        let counted = around.chunk_by(|a, b| a == b);
        let mut counted: Vec<(Reverse<usize>, u32)> =
            counted.map(|same| (Reverse(same.len()), same[0])).collect();
        if counted.len() > MOST_CANDIDATES {
            counted.select_nth_unstable(MOST_CANDIDATES);
            counted.truncate(MOST_CANDIDATES);
        }
        counted.into_iter().map(|(_, row)| row).collect()
    }
}

/// Inserts the pairs of a tile into the lists of its rows on the left.
fn insert_left(space: &Space<'_>, tile: &Tile<'_>, lists: &mut Lists) {
    for (left, row) in tile.left.iter().enumerate() {
        let (first, bounds) = tile.row(left);
        let rows = tile.right[first..].chunks(STEP);
        for (bounds, rows) in bounds.chunks(STEP).zip(rows) {
            let limit = lists.limit(left);
            if any_below(bounds, &[limit; STEP], limit) {
                for (bound, other) in bounds.iter().zip(rows) {
                    if lists.may_take(left, *bound, *other) && row != other {
                        lists.insert(left, space.squared(*row, *other), *other);
                    }
                }
            }
        }
    }
}
