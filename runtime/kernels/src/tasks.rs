//! How the output of a linear layer is divided into tasks for threads.

use crate::linear::COLUMNS;

/// A task uses the weights of its panels for all its rows. The next task has the same rows, whose codes should still be in the
/// second-level cache.
pub(crate) struct Tasks {
    rows: usize,
    panels: usize,
    rows_per_task: usize,
    panels_per_task: usize,
}

/// Some rows and panels of columns.
#[derive(Clone, Copy)]
pub(crate) struct Task {
    pub(crate) rows: [usize; 2],
    pub(crate) panels: [usize; 2],
}

impl Tasks {
    /// Bytes of codes per task.
    const CODES: usize = 384 << 10;
    /// Rows and panels per task of tile registers: weights of 4,096 inputs fit into half of a second-level cache of a megabyte.
    const TILES: [usize; 2] = [256, 8];
    /// Panels that are computed at once at most.
    pub(crate) const PANELS_AT_ONCE: usize = 2;

    /// Tasks of a multiple of `step` rows.
    pub(crate) fn of(rows: usize, inputs: usize, outputs: usize, step: usize) -> Self {
        let fitting = (Self::CODES / inputs).max(step) / step * step;
        // Equal tasks, so that no thread waits for a last small one.
        let down = rows.div_ceil(fitting).max(1);
        Self {
            rows,
            panels: outputs.div_ceil(COLUMNS),
            rows_per_task: rows.div_ceil(down).max(1).next_multiple_of(step),
            // With few rows, a task of two panels takes longer to distribute than to compute.
            panels_per_task: if rows <= step {
                4 * Self::PANELS_AT_ONCE
            } else {
                Self::PANELS_AT_ONCE
            },
        }
    }

    /// Tasks for tile registers, of a multiple of `step` rows, and of all panels' weights in turn for each `step` rows.
    #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
    pub(crate) fn of_tiles(rows: usize, outputs: usize, step: usize) -> Self {
        let [fitting, panels_per_task] = Self::TILES;
        let down = rows.div_ceil(fitting).max(1);
        Self {
            rows,
            panels: outputs.div_ceil(COLUMNS),
            rows_per_task: rows.div_ceil(down).max(1).next_multiple_of(step),
            panels_per_task,
        }
    }

    fn across(&self) -> usize {
        self.panels.div_ceil(self.panels_per_task)
    }

    pub(crate) fn count(&self) -> usize {
        self.rows.div_ceil(self.rows_per_task) * self.across()
    }

    pub(crate) fn get(&self, number: usize) -> Task {
        let part =
            |number: usize, size: usize, end: usize| [number * size, end.min((number + 1) * size)];
        Task {
            rows: part(number / self.across(), self.rows_per_task, self.rows),
            panels: part(number % self.across(), self.panels_per_task, self.panels),
        }
    }
}
