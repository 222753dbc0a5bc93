//! Prefetches weights.

use super::super::{COLUMNS, Linear, Task, Tasks};
use super::{DEPTH, STEP};
use crate::simd::prefetch_far;

/// Codes of a cache line.
const LINE: usize = 64;

/// Prefetches the weights of the next panels into the second-level cache. ONNX Runtime gives a thread consecutive tasks, so these are
/// the weights of its next task. A task of one block of rows is bound by memory already, where further requests do harm.
pub(super) struct WeightPrefetch {
    weights: *const u8,
    lines_per_step: usize,
}

impl WeightPrefetch {
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

    /// Prefetches what is due in a step of [`DEPTH`] inputs.
    #[inline(always)]
    pub(super) fn step(&mut self) {
        for _ in 0..self.lines_per_step {
            prefetch_far(self.weights);
            self.weights = self.weights.wrapping_add(LINE);
        }
    }
}
