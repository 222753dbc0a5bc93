//! From sums to outputs.

use super::dot::Dot;
use super::{COLUMNS, Linear};
use crate::codes::FINER;
use crate::parallel::Shared;

/// Which codes are multiplied.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Term {
    /// The first ones, whose products are written.
    Coarse,
    /// The finer ones, whose products are added.
    Fine,
}

/// The factors and addends that turn the sums of a panel's columns into outputs; zero for padding.
#[repr(C, align(64))]
pub(super) struct Columns {
    pub(super) scales: [f32; COLUMNS],
    /// The code of zero times the sum of weights.
    pub(super) offsets: [i32; COLUMNS],
    bias: [f32; COLUMNS],
    /// The index of the first column.
    first: usize,
    count: usize,
}

impl Columns {
    /// No columns.
    pub(super) const NONE: Self = Self {
        scales: [0.0; COLUMNS],
        offsets: [0; COLUMNS],
        bias: [0.0; COLUMNS],
        first: 0,
        count: 0,
    };

    #[inline(always)]
    pub(super) fn of<D: Dot>(linear: &Linear<'_>, panel: usize) -> Self {
        let mut columns = Self::NONE;
        columns.set::<D>(linear, panel);
        columns
    }

    /// Makes these the columns of another panel.
    #[inline(always)]
    pub(super) fn set<D: Dot>(&mut self, linear: &Linear<'_>, panel: usize) {
        let first = panel * COLUMNS;
        let count = COLUMNS.min(linear.outputs() - first);
        (self.first, self.count) = (first, count);
        self.scales[..count].copy_from_slice(&linear.weights.scales[first..][..count]);
        let sums = &linear.weights.sums[first..][..count];
        for (offset, sum) in self.offsets.iter_mut().zip(sums) {
            *offset = i32::from(D::ZERO) * sum;
        }
        if let Some(bias) = linear.bias {
            self.bias[..count].copy_from_slice(&bias[first..][..count]);
        }
    }

    /// The index after the last column.
    #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.first + self.count
    }

    /// Whether no column is padding.
    #[inline(always)]
    pub(super) fn whole(&self) -> bool {
        self.count == COLUMNS
    }

    /// Writes or adds the outputs of a row to 16 values.
    ///
    /// # Safety
    /// As the methods of [`Dot`].
    #[inline(always)]
    unsafe fn finish<D: Dot>(
        &self,
        linear: &Linear<'_>,
        term: Term,
        row: usize,
        sums: D,
        to: *mut f32,
    ) {
        let scale = linear.scales[row];
        // SAFETY: the contract is the same. `added`, which is `bias` or `to`, has 16 values as well.
        unsafe {
            match term {
                Term::Coarse => sums.finish(self, scale, self.bias.as_ptr(), to),
                Term::Fine => sums.finish(self, scale / FINER, to, to),
            }
        }
    }

    /// As [`write`](Self::write), if no column is padding.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    pub(super) unsafe fn write_whole<D: Dot>(
        &self,
        linear: &Linear<'_>,
        term: Term,
        row: usize,
        sums: D,
        out: &Shared<f32>,
    ) {
        debug_assert!(self.whole(), "a column is padding");
        // SAFETY: no other task writes these outputs, and a whole panel has 16 of them.
        unsafe {
            let to = out
                .part(row * linear.outputs() + self.first, COLUMNS)
                .as_mut_ptr();
            self.finish(linear, term, row, sums, to);
        }
    }

    /// Writes the outputs of a row in these columns.
    ///
    /// # Safety
    /// As the methods of [`Dot`], and no other task writes the same outputs.
    #[inline(always)]
    pub(super) unsafe fn write<D: Dot>(
        &self,
        linear: &Linear<'_>,
        term: Term,
        row: usize,
        sums: D,
        out: &Shared<f32>,
    ) {
        if self.whole() {
            // SAFETY: the contract is the same.
            return unsafe { self.write_whole(linear, term, row, sums, out) };
        }
        // The last panel is narrower than a vector.
        // SAFETY: no other task writes these outputs, and `padded` has 16 values.
        unsafe {
            let part = out.part(row * linear.outputs() + self.first, self.count);
            let mut padded = [0.0; COLUMNS];
            padded[..self.count].copy_from_slice(part);
            self.finish(linear, term, row, sums, padded.as_mut_ptr());
            part.copy_from_slice(&padded[..self.count]);
        }
    }
}
