//! Checks of rows that come from outside.

use ndarray::ArrayView2;
use rayon::prelude::*;

use crate::{Error, Result};

/// The largest width of a vector. The covariance matrix has its square, in float64: 2 GiB at this width.
pub const MAX_WIDTH: usize = 16_384;

pub(crate) fn check_width(width: usize) -> Result<()> {
    if (1..=MAX_WIDTH).contains(&width) {
        return Ok(());
    }
    Err(Error::UnsupportedWidth {
        width,
        most: MAX_WIDTH,
    })
}

/// Checks that every number is finite. `first` is the number of the first row, for the error.
pub(crate) fn check_finite(rows: ArrayView2<'_, f32>, first: u64) -> Result<()> {
    let bad = (0..rows.nrows()).into_par_iter().find_map_first(|row| {
        let values = rows.row(row);
        let column = values.iter().position(|value| !value.is_finite())?;
        Some((row, column, values[column]))
    });
    match bad {
        None => Ok(()),
        Some((row, column, value)) => Err(Error::NotFinite {
            row: first + row as u64,
            column,
            value,
        }),
    }
}
