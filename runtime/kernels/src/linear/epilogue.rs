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
    #[inline(always)]
    pub(super) fn of<D: Dot>(linear: &Linear<'_>, panel: usize) -> Self {
        let first = panel * COLUMNS;
        let count = COLUMNS.min(linear.outputs() - first);
        let mut columns = Self {
            scales: [0.0; COLUMNS],
            offsets: [0; COLUMNS],
            bias: [0.0; COLUMNS],
            first,
            count,
        };
        columns.scales[..count].copy_from_slice(&linear.weights.scales[first..][..count]);
        for (offset, sum) in columns
            .offsets
            .iter_mut()
            .zip(&linear.weights.sums[first..][..count])
        {
            *offset = i32::from(D::ZERO) * sum;
        }
        if let Some(bias) = linear.bias {
            columns.bias[..count].copy_from_slice(&bias[first..][..count]);
        }
        columns
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
        // SAFETY: no other task writes these outputs. `added` and `to` have 16 values, those of the padding where there are fewer
        // columns.
        unsafe {
            let part = out.part(row * linear.outputs() + self.first, self.count);
            let scale = match term {
                Term::Coarse => linear.scales[row],
                Term::Fine => linear.scales[row] / FINER,
            };
            // The last panel may be narrower than a vector.
            let mut padded = [0.0; COLUMNS];
            let to = match self.count == COLUMNS {
                true => part.as_mut_ptr(),
                false => {
                    padded[..self.count].copy_from_slice(part);
                    padded.as_mut_ptr()
                }
            };
            let added = match term {
                Term::Coarse => self.bias.as_ptr(),
                Term::Fine => to.cast_const(),
            };
            sums.finish(self, scale, added, to);
            if self.count < COLUMNS {
                part.copy_from_slice(&padded[..self.count]);
            }
        }
    }
}
