//! Rows, and the squared distance between two of them: exactly, and bounded from below by a product in float32.

use ndarray::{ArrayView2, CowArray, Ix2};
use rayon::prelude::*;

use crate::rows::{check_finite, check_width};
use crate::{Error, Metric, Result};

/// The longest row. The square of a distance stays far from float32's largest number.
const MOST_LENGTH: f64 = 1e12;
/// The shortest row whose direction is compared. Products of numbers that are too small for float32 stay negligible.
const LEAST_LENGTH: f64 = 1e-12;
/// Numbers that one step of a sum takes: lanes that the compiler keeps in vector registers.
const LANES: usize = 8;

/// Rows that are compared with each other.
///
/// All distances here are *squared* Euclidean distances, for [`Metric::Cosine`] those of the normalised rows. [`Metric`] converts them.
#[derive(Debug)]
pub(crate) struct Space<'a> {
    rows: CowArray<'a, f32, Ix2>,
    metric: Metric,
    /// What a row is multiplied with: 1, or one over its length.
    scales: Vec<f64>,
    /// Squared lengths after scaling, lowered so that `lowered[a] + lowered[b] - 2ab` is at most the squared distance although the product
    /// `ab` is computed in float32.
    lowered: Vec<f32>,
}

impl<'a> Space<'a> {
    /// # Errors
    /// A number is not finite, a row is too long or (cosine) too short, or there are too many rows.
    pub(crate) fn new(rows: ArrayView2<'a, f32>, metric: Metric) -> Result<Self> {
        Self::from_row(rows, metric, 0)
    }

    /// As [`new`](Self::new). `first` is the number of the first row, for errors.
    pub(crate) fn from_row(rows: ArrayView2<'a, f32>, metric: Metric, first: u64) -> Result<Self> {
        check_width(rows.ncols())?;
        if u32::try_from(rows.nrows()).is_err() {
            return Err(Error::TooManyRows { rows: rows.nrows() });
        }
        check_finite(rows, first)?;
        let rows: CowArray<'a, f32, Ix2> = if rows.is_standard_layout() {
            rows.into()
        } else {
            rows.as_standard_layout().into_owned().into()
        };
        let width = rows.ncols();
        let squares: Vec<f64> = (0..rows.nrows())
            .into_par_iter()
            .map(|row| {
                let numbers = rows.row(row);
                numbers.iter().map(|n| f64::from(*n) * f64::from(*n)).sum()
            })
            .collect();
        for (row, square) in squares.iter().enumerate() {
            let row = first + row as u64;
            let length = square.sqrt();
            let (least, range) = match metric {
                Metric::Cosine => (LEAST_LENGTH, "1e-12 to 1e12"),
                Metric::Euclidean => (0.0, "at most 1e12"),
            };
            if length == 0.0 && metric == Metric::Cosine {
                return Err(Error::ZeroVector { row });
            }
            if !(least..=MOST_LENGTH).contains(&length) {
                return Err(Error::Length { row, length, range });
            }
        }
        // A product of `width` float32 numbers, summed in any order, is off by at most `width * unit` of the product of the lengths
        // (Higham 2002, "Accuracy and Stability of Numerical Algorithms", section 3.1), which is at most half the sum of the squared
        // lengths. The second term covers the other roundings.
        let unit = f64::from(f32::EPSILON) / 2.0;
        let terms = width as f64 * unit;
        let error = terms / (1.0 - terms) + 16.0 * unit;
        let scale = |square: &f64| match metric {
            Metric::Cosine => 1.0 / square.sqrt(),
            Metric::Euclidean => 1.0,
        };
        let scales: Vec<f64> = squares.iter().map(scale).collect();
        let lowered = |(square, scale): (&f64, &f64)| {
            let length = square * scale * scale;
            // Products of tiny numbers may vanish.
            (length * (1.0 - error) - f64::from(f32::MIN_POSITIVE) * width as f64) as f32
        };
        let lowered = squares.iter().zip(&scales).map(lowered).collect();
        Ok(Self {
            rows,
            metric,
            scales,
            lowered,
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.nrows()
    }

    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    pub(crate) fn rows(&self) -> ArrayView2<'_, f32> {
        self.rows.view()
    }

    /// What the row is multiplied with: 1, or (cosine) one over its length.
    pub(crate) fn scale(&self, row: usize) -> f64 {
        self.scales[row]
    }

    /// What a product with this row is multiplied with, and its part of the lower bound.
    pub(crate) fn bound(&self, row: u32) -> (f32, f32) {
        let row = row as usize;
        (self.scales[row] as f32, self.lowered[row])
    }

    /// The squared distance, in float64 from differences of the rows' numbers. Equal rows have distance 0, and the order does not matter.
    pub(crate) fn squared(&self, left: u32, right: u32) -> f64 {
        self.squared_to(left as usize, self, right as usize)
    }

    /// As [`squared`](Self::squared), to a row of another space.
    pub(crate) fn squared_to(&self, left: usize, other: &Space<'_>, right: usize) -> f64 {
        let (a, b) = (self.scales[left], other.scales[right]);
        let (left, right) = (self.row(left), other.row(right));
        let (left, left_rest) = left.as_chunks::<LANES>();
        let (right, right_rest) = right.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (left, right) in left.iter().zip(right) {
            for lane in 0..LANES {
                let difference = f64::from(left[lane]) * a - f64::from(right[lane]) * b;
                sums[lane] += difference * difference;
            }
        }
        let rest = left_rest.iter().zip(right_rest);
        let rest = rest.map(|(left, right)| (f64::from(*left) * a - f64::from(*right) * b).powi(2));
        sums.iter().sum::<f64>() + rest.sum::<f64>()
    }

    /// The numbers of a row, not scaled.
    pub(crate) fn row(&self, row: usize) -> &[f32] {
        let width = self.rows.ncols();
        // Rows are in standard layout since `new`.
        let all = self.rows.as_slice().unwrap_or_default();
        &all[row * width..][..width]
    }
}
