//! From sums to outputs, while tile registers compute the next sums.

use super::super::dot::OfSums;
use super::super::epilogue::{Columns, Term};
use super::super::{COLUMNS, Linear};
use super::Sums;
use crate::parallel::Shared;
use crate::simd::prefetch_for_writing;

/// Panels of a block, at most.
const PANELS: usize = 2;

/// A block whose sums are complete, and what makes outputs of them.
pub(super) struct Finished {
    term: Term,
    row: usize,
    pub(super) rows: usize,
    columns: [Columns; PANELS],
    panels: usize,
    /// Rows whose outputs are written.
    written: usize,
}

impl Finished {
    /// Before the first block.
    #[inline(always)]
    pub(super) fn none() -> Self {
        Self {
            term: Term::Coarse,
            row: 0,
            rows: 0,
            columns: [Columns::NONE; PANELS],
            panels: 0,
            written: 0,
        }
    }

    #[inline(always)]
    pub(super) fn set<D: OfSums>(
        &mut self,
        linear: &Linear<'_>,
        term: Term,
        [row, rows]: [usize; 2],
        [panel, panels]: [usize; 2],
    ) {
        (self.term, self.row, self.rows) = (term, row, rows);
        (self.panels, self.written) = (panels, 0);
        for (p, columns) in self.columns[..panels].iter_mut().enumerate() {
            columns.set::<D>(linear, panel + p);
        }
    }

    /// Writes the outputs of the next rows, at most `count`, if they are two whole panels; [`write_rest`](Self::write_rest) writes the others.
    ///
    /// # Safety
    /// As [`Columns::write`].
    #[inline(always)]
    pub(super) unsafe fn write_some<D: OfSums>(
        &mut self,
        linear: &Linear<'_>,
        sums: &Sums,
        count: usize,
        out: &Shared<f32>,
    ) {
        if self.panels < PANELS || !self.columns[1].whole() {
            return;
        }
        let end = self.rows.min(self.written + count);
        for row in self.written..end {
            // SAFETY: the contract is the same, and the panels are whole.
            unsafe {
                self.prefetch(linear, row, out);
                let sums = sums.0.get_unchecked(row);
                for (columns, sums) in self.columns.iter().zip(sums) {
                    let sums = D::of_sums(sums);
                    columns.write_whole(linear, self.term, self.row + row, sums, out);
                }
            }
        }
        self.written = end;
    }

    /// Prefetches the outputs of a row in the next two panels: rows are too far apart for the processor to foresee.
    #[inline(always)]
    fn prefetch(&self, linear: &Linear<'_>, row: usize, out: &Shared<f32>) {
        let next = (self.row + row) * linear.outputs() + self.columns[1].end();
        for line in 0..PANELS {
            prefetch_for_writing(out.address(next + line * COLUMNS));
        }
    }

    /// Writes the outputs of the rows that are left.
    ///
    /// # Safety
    /// As [`Columns::write`].
    #[inline(always)]
    pub(super) unsafe fn write_rest<D: OfSums>(
        &mut self,
        linear: &Linear<'_>,
        sums: &Sums,
        out: &Shared<f32>,
    ) {
        for row in self.written..self.rows {
            for (columns, sums) in self.columns[..self.panels].iter().zip(&sums.0[row]) {
                // SAFETY: the contract is the same.
                unsafe { columns.write(linear, self.term, self.row + row, D::of_sums(sums), out) };
            }
        }
        self.written = self.rows;
    }
}
