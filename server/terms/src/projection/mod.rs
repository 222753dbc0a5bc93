//! Projection of vectors onto principal components.

mod file;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;

use crate::rows::check_finite;
use crate::{Error, Result};

/// Rows that one product projects.
const BLOCK: usize = 256;

/// A mean and principal components, which reduce vectors to fewer dimensions.
///
/// [`crate::pca`] computes it, and [`save`](Self::save) writes it as `projection.safetensors`.
#[derive(Debug, Clone, PartialEq)]
pub struct Projection {
    mean: Array1<f32>,
    /// `[components, width]`.
    components: Array2<f32>,
    explained_variance: Vec<f64>,
    total_variance: f64,
    model: Option<String>,
}

impl Projection {
    pub(crate) fn new(
        mean: Array1<f32>,
        components: Array2<f32>,
        explained_variance: Vec<f64>,
        total_variance: f64,
        model: Option<String>,
    ) -> Self {
        Self {
            mean,
            components,
            explained_variance,
            total_variance,
            model,
        }
    }

    /// The dimensions of the vectors that it takes.
    #[must_use]
    pub fn input_width(&self) -> usize {
        self.components.ncols()
    }

    /// The dimensions of the vectors that it returns.
    #[must_use]
    pub fn output_width(&self) -> usize {
        self.components.nrows()
    }

    /// The variance along each component that is kept, in descending order.
    #[must_use]
    pub fn explained_variance(&self) -> &[f64] {
        &self.explained_variance
    }

    /// The share of the variance that the kept components explain together, from 0 to 1.
    #[must_use]
    pub fn explained_share(&self) -> f64 {
        self.explained_variance.iter().sum::<f64>() / self.total_variance
    }

    /// The digest of the model whose vectors it was computed from, if that was known.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Checks that vectors of the model with this digest may be projected. A projection without a model accepts all.
    ///
    /// # Errors
    /// It was computed from another model's vectors.
    pub fn check_model(&self, digest: &str) -> Result<()> {
        match &self.model {
            Some(model) if model != digest => Err(Error::OtherModel {
                projection: model.clone(),
                vectors: digest.to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Coordinates of rows along the components, `[rows, components]`: the mean is subtracted, and the result is not normalised. The
    /// first two are the axes of a map.
    ///
    /// # Errors
    /// The rows have another width, or a number is not finite.
    pub fn coordinates(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        if rows.ncols() != self.input_width() {
            return Err(Error::Width {
                expected: self.input_width(),
                found: rows.ncols(),
            });
        }
        check_finite(rows, 0)?;
        let mean = self.mean.mapv(f64::from);
        let components = self.components.mapv(f64::from);
        let mut projected = Array2::zeros((rows.nrows(), self.output_width()));
        let targets = projected.axis_chunks_iter_mut(Axis(0), BLOCK);
        let blocks: Vec<_> = rows.axis_chunks_iter(Axis(0), BLOCK).zip(targets).collect();
        blocks.into_par_iter().for_each(|(rows, mut target)| {
            // In float64, so that a mean that is long beside the differences between rows costs no accuracy.
            let centred = rows.mapv(f64::from) - &mean;
            let mut product = Array2::zeros(target.dim());
            general_mat_mul(1.0, &centred, &components.t(), 0.0, &mut product);
            target.zip_mut_with(&product, |narrow, wide| *narrow = *wide as f32);
        });
        Ok(projected)
    }

    /// Coordinates of one vector, as [`coordinates`](Self::coordinates). It needs no memory beyond two vectors, and runs on the caller's
    /// thread.
    ///
    /// # Errors
    /// The vector has another width, or a number of it or of the result is not finite.
    pub fn coordinates_of(&self, vector: &[f32]) -> Result<Vec<f32>> {
        if vector.len() != self.input_width() {
            return Err(Error::Width {
                expected: self.input_width(),
                found: vector.len(),
            });
        }
        if let Some(column) = vector.iter().position(|number| !number.is_finite()) {
            return Err(Error::NotFinite {
                row: 0,
                column,
                value: vector[column],
            });
        }
        let means = self.mean.iter().map(|mean| f64::from(*mean));
        let centred: Vec<f64> = vector
            .iter()
            .zip(means)
            .map(|(number, mean)| f64::from(*number) - mean)
            .collect();
        let components = self.components.rows().into_iter();
        let product = |component: ArrayView1<'_, f32>| match component.as_slice() {
            Some(component) => dot(component, &centred),
            None => dot(&component.to_vec(), &centred),
        };
        let coordinates: Vec<f32> = components.map(|row| product(row) as f32).collect();
        // A damaged file may hold numbers so large that products overflow.
        match coordinates.iter().position(|number| !number.is_finite()) {
            Some(column) => Err(Error::NotFinite {
                row: 0,
                column,
                value: coordinates[column],
            }),
            None => Ok(coordinates),
        }
    }

    /// Reduces one vector to a unit vector, as [`reduce`](Self::reduce).
    ///
    /// # Errors
    /// Those of [`coordinates_of`](Self::coordinates_of), or the vector has no part along the components.
    pub fn reduce_one(&self, vector: &[f32]) -> Result<Vec<f32>> {
        let coordinates = self.coordinates_of(vector)?;
        let mut rows = Array2::from_shape_vec((1, coordinates.len()), coordinates)
            .map_err(|_| Error::ZeroVector { row: 0 })?;
        normalise(&mut rows)?;
        Ok(rows.into_iter().collect())
    }

    /// Reduces rows to unit vectors, `[rows, components]`: [`coordinates`](Self::coordinates), divided by their length.
    ///
    /// # Errors
    /// The rows have another width, a number is not finite, or a row has no part along the components (it equals the mean).
    pub fn reduce(&self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>> {
        let mut projected = self.coordinates(rows)?;
        normalise(&mut projected)?;
        Ok(projected)
    }
}

/// The dot product in float64. The compiler keeps the partial sums in vector registers.
fn dot(component: &[f32], centred: &[f64]) -> f64 {
    const LANES: usize = 8;
    let (components, rest) = component.as_chunks::<LANES>();
    let (numbers, last) = centred.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (components, numbers) in components.iter().zip(numbers) {
        for lane in 0..LANES {
            sums[lane] += f64::from(components[lane]) * numbers[lane];
        }
    }
    let rest = rest.iter().zip(last);
    let rest = rest.map(|(component, number)| f64::from(*component) * number);
    sums.iter().sum::<f64>() + rest.sum::<f64>()
}

/// Divides each row by its Euclidean length.
///
/// # Errors
/// A row is a zero vector; the rows before it are normalised then.
pub fn normalise(rows: &mut Array2<f32>) -> Result<()> {
    for (row, mut numbers) in rows.rows_mut().into_iter().enumerate() {
        let squares = numbers.iter().map(|number| f64::from(*number).powi(2));
        let length = squares.sum::<f64>().sqrt();
        if length == 0.0 {
            return Err(Error::ZeroVector { row: row as u64 });
        }
        numbers.mapv_inplace(|number| (f64::from(number) / length) as f32);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
