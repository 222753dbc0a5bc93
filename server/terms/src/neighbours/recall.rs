//! What an approximate search missed, measured on a sample of rows.

use std::sync::Mutex;

use ndarray::ArrayView2;

use super::{Lists, Neighbours, insert_left};
use crate::lock::{into_inner, lock};
use crate::partition::sample;
use crate::space::Space;
use crate::tiles::{TILE, for_each_tile_with_all};
use crate::{Error, Result};

impl Neighbours {
    /// The share of the nearest rows that the lists have, over `count` of these rows, drawn at random: 1 for an exact search. Rows at
    /// the same distance count alike. Work: `count * rows * width` multiplications.
    ///
    /// # Errors
    /// These are not as many rows as there are lists, or distances between them are not defined.
    pub fn recall(&self, rows: ArrayView2<'_, f32>, count: usize) -> Result<f64> {
        let space = Space::new(rows, self.metric)?;
        if self.rows != space.len() {
            return Err(Error::Count {
                name: "lists of neighbours",
                expected: space.len(),
                found: self.rows,
            });
        }
        Ok(self.recall_among(&space, count, f64::INFINITY, |_, _| true))
    }

    /// As [`recall`](Self::recall), of the rows that are no farther than the squared distance `within` and that `is_eligible` accepts.
    pub(crate) fn recall_among(
        &self,
        space: &Space<'_>,
        count: usize,
        within: f64,
        is_eligible: impl Fn(u32, u32) -> bool + Sync,
    ) -> f64 {
        let sample = sample(space.len(), count, 2);
        let most = self.blocks.first().map_or(0, Lists::most);
        let lists: Vec<_> = sample
            .chunks(TILE)
            .map(|rows| Mutex::new(Lists::new(rows.len(), most, within)))
            .collect();
        for_each_tile_with_all(space, &sample, |block, tile| {
            insert_left(space, tile, &mut lock(&lists[block]), &is_eligible);
        });
        let exact: Vec<Lists> = lists.into_iter().map(into_inner).collect();
        let (mut found, mut expected) = (0, 0);
        for (place, row) in sample.iter().enumerate() {
            let exact = exact[place / TILE].get(place % TILE);
            let Some((farthest, _)) = exact.last() else {
                continue;
            };
            let list = self.squared(*row as usize);
            let hits = list.iter().filter(|(squared, _)| squared <= farthest);
            found += hits.count().min(exact.len());
            expected += exact.len();
        }
        match expected {
            0 => 1.0,
            expected => found as f64 / expected as f64,
        }
    }
}
