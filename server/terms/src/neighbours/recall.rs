//! What an approximate search missed, measured on a sample of rows.

use ndarray::{ArrayView2, Axis};

use super::{Lists, Neighbours};
use crate::partition::sample;
use crate::space::Space;
use crate::{Error, Lookup, Result};

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
        self.recall_among(&space, count, f64::INFINITY, |_, _| true)
    }

    /// As [`recall`](Self::recall), of the rows that are no farther than the squared distance `within` and that `is_eligible` accepts.
    pub(crate) fn recall_among(
        &self,
        space: &Space<'_>,
        count: usize,
        within: f64,
        is_eligible: impl Fn(u32, u32) -> bool + Sync,
    ) -> Result<f64> {
        let sample = sample(space.len(), count, 2);
        let numbers: Vec<usize> = sample.iter().map(|row| *row as usize).collect();
        let queries = space.rows().select(Axis(0), &numbers);
        let most = self.blocks.first().map_or(1, Lists::most);
        let mut exact = Lookup::new(queries.view(), most, self.metric)?;
        exact.push(space.rows(), |query, row| {
            let (query, row) = (sample[query], row as u32);
            query != row && is_eligible(query, row)
        })?;
        let within = self.metric.of_squared(within);
        let (mut found, mut expected) = (0, 0);
        for (row, mut exact) in numbers.into_iter().zip(exact.finish()) {
            exact.retain(|(_, distance)| *distance <= within);
            let Some((_, farthest)) = exact.last() else {
                continue;
            };
            let hits = self.of(row).filter(|(_, distance)| distance <= farthest);
            found += hits.count().min(exact.len());
            expected += exact.len();
        }
        Ok(match expected {
            0 => 1.0,
            expected => found as f64 / expected as f64,
        })
    }
}
