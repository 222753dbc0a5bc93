//! Neighbours of neighbours are likely neighbours (Dong, Moses & Li 2011, "Efficient K-Nearest Neighbor Graph Construction for Generic
//! Similarity Measures"). The rows of a block share most of them, so the block is compared with all of them in tiles.

use rayon::prelude::*;

use super::{Lists, Neighbours, insert_left};
use crate::partition::Partition;
use crate::space::Space;
use crate::tiles::{TILE, TileRoom};

/// How often lists are improved. Each round reads the lists of the one before.
const ROUNDS: usize = 3;
/// How many neighbours of each neighbour are compared with a block. It bounds the work where lists are long.
const NEAREST: usize = 32;

impl Neighbours {
    /// Improves the lists of an approximate search.
    pub(super) fn refined(self, space: &Space<'_>, partition: &Partition) -> Self {
        (0..ROUNDS).fold(self, |before, _| {
            let blocks = partition.blocks().into_par_iter().enumerate();
            let improved = blocks.map_init(TileRoom::new, |room, (block, rows)| {
                let mut lists = before.blocks[block].clone();
                let is_new =
                    |row: &u32| !partition.are_near(block, before.place(*row as usize) / TILE);
                let candidates: Vec<u32> = before.around(rows).into_iter().filter(is_new).collect();
                for candidates in candidates.chunks(TILE) {
                    room.compare(space, [rows, candidates], |tile| {
                        insert_left(space, tile, &mut lists, &|_, _| true);
                    });
                }
                lists
            });
            let blocks: Vec<Lists> = improved.collect();
            Self { blocks, ..before }
        })
    }

    /// The neighbours of these rows, and the nearest neighbours of those, each once.
    fn around(&self, rows: &[u32]) -> Vec<u32> {
        let of = |row: &u32| self.squared(*row as usize).iter().map(|(_, other)| *other);
        let mut near: Vec<u32> = rows.iter().flat_map(of).collect();
        near.sort_unstable();
        near.dedup();
        let mut around: Vec<u32> = near.iter().flat_map(|row| of(row).take(NEAREST)).collect();
        around.extend(near);
        around.sort_unstable();
        around.dedup();
        around
    }
}
