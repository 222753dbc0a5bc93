//! Weights that are needed soon.

use super::super::{COLUMNS, Linear, Task, Tasks};
use super::{DEPTH, STEP};
use crate::simd::prefetch_far;

/// Codes of a cache line.
const LINE: usize = 64;

/// The weights of the next task, which probably has the next panels. While a task computes, they arrive in the second-level cache. A task
/// of one block of rows is bound by memory already, where further requests do harm.
pub(super) struct Coming {
    weights: *const u8,
    lines_per_step: usize,
}

impl Coming {
    #[inline(always)]
    pub(super) fn of(linear: &Linear<'_>, task: Task) -> Self {
        let blocks = (task.rows[1] - task.rows[0]).div_ceil(STEP);
        let terms = 1 + usize::from(linear.fine.is_some());
        let weights = linear.weights.codes.as_ptr().cast::<u8>();
        let lines = Tasks::PANELS_AT_ONCE * DEPTH * COLUMNS / LINE;
        Self {
            weights: weights.wrapping_add(task.panels[1] * linear.weights.inputs * COLUMNS),
            lines_per_step: if blocks > 1 {
                lines.div_ceil(blocks * terms)
            } else {
                0
            },
        }
    }

    /// Begins to load what is due in a step of [`DEPTH`] inputs.
    #[inline(always)]
    pub(super) fn prefetch(&mut self) {
        for _ in 0..self.lines_per_step {
            prefetch_far(self.weights);
            self.weights = self.weights.wrapping_add(LINE);
        }
    }
}
