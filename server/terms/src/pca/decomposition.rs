//! Principal components: eigenvectors of the covariance matrix, and how much variance each explains.

use nalgebra::DMatrix;
use ndarray::{Array1, Array2, ArrayView1, s};

use crate::projection::Projection;
use crate::{Error, Result};

/// Principal components of a set of rows, sorted by the variance that they explain.
#[derive(Debug, Clone)]
pub struct Pca {
    count: u64,
    mean: Array1<f64>,
    /// A component a row, `[width, width]`.
    components: Array2<f64>,
    variances: Vec<f64>,
}

/// How many components a projection keeps.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Components {
    /// This many, from 1.
    Count(usize),
    /// As few as explain more than this share of the variance, between 0 and 1, both excluded.
    Variance(f64),
}

impl Components {
    /// Checks that the number or the share may be kept of vectors of some width, before vectors are computed.
    ///
    /// # Errors
    /// The number is 0, or the share is not between 0 and 1.
    pub fn check(self) -> Result<()> {
        match self {
            Self::Count(0) => Err(Error::setting("the number of components", 0, "at least 1")),
            Self::Variance(share) if !(share > 0.0 && share < 1.0) => {
                let range = "between 0 and 1, both excluded";
                Err(Error::setting("the share of variance", share, range))
            }
            _ => Ok(()),
        }
    }
}

/// Decomposes the covariance matrix of `count` rows.
pub(super) fn decompose(count: u64, mean: Array1<f64>, covariance: Array2<f64>) -> Result<Pca> {
    let width = mean.len();
    let (numbers, _) = covariance.into_raw_vec_and_offset();
    // The matrix is symmetric, so that the order of its numbers does not matter.
    let eigen = DMatrix::from_vec(width, width, numbers).symmetric_eigen();
    let mut order: Vec<usize> = (0..width).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));

    // Rows span at most `count - 1` directions. The other eigenvalues are rounding errors, as are those below zero.
    let rank = usize::try_from(count - 1).unwrap_or(usize::MAX);
    let variance = |(place, index): (usize, &usize)| match place < rank {
        true => eigen.eigenvalues[*index].max(0.0),
        false => 0.0,
    };
    let variances: Vec<f64> = order.iter().enumerate().map(variance).collect();
    // The mean of equal rows differs from them by its rounding.
    let rounding = mean.dot(&mean) * (4.0 * f64::EPSILON).powi(2);
    if variances[0] <= rounding {
        return Err(Error::NoVariance { rows: count });
    }
    let mut components = Array2::zeros((width, width));
    for (mut component, index) in components.rows_mut().into_iter().zip(&order) {
        let vector = eigen.eigenvectors.column(*index);
        let sign = sign(ArrayView1::from(vector.as_slice()));
        let numbers = component.iter_mut().zip(vector.iter());
        numbers.for_each(|(to, from)| *to = sign * from);
    }
    Ok(Pca {
        count,
        mean,
        components,
        variances,
    })
}

/// 1 or -1: the sign that makes the number of the largest magnitude positive, the first one if there are several.
fn sign(vector: ArrayView1<'_, f64>) -> f64 {
    let largest = vector.iter().fold(0.0_f64, |largest, number| {
        if number.abs() > largest.abs() {
            *number
        } else {
            largest
        }
    });
    1.0_f64.copysign(largest)
}

impl Pca {
    /// How many rows the components were computed from.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.count
    }

    /// The rows' mean, `[width]`.
    #[must_use]
    pub fn mean(&self) -> ArrayView1<'_, f64> {
        self.mean.view()
    }

    /// A component: a unit vector, `[width]`. The number of the largest magnitude is positive, because an eigenvector's sign is
    /// arbitrary (as in scikit-learn: `svd_flip` with `u_based_decision=False`). `None` if there are not so many.
    #[must_use]
    pub fn component(&self, index: usize) -> Option<ArrayView1<'_, f64>> {
        (index < self.components.nrows()).then(|| self.components.row(index))
    }

    /// The variance along each component, in descending order; `rows - 1` is the divisor. Zero where rounding leaves nothing.
    #[must_use]
    pub fn explained_variance(&self) -> &[f64] {
        &self.variances
    }

    /// The share of the total variance that each component explains.
    #[must_use]
    pub fn explained_variance_ratio(&self) -> Vec<f64> {
        let total: f64 = self.variances.iter().sum();
        self.variances
            .iter()
            .map(|variance| variance / total)
            .collect()
    }

    /// The smallest number of components that explain more than `share` of the variance.
    #[must_use]
    pub fn components_for(&self, share: f64) -> usize {
        let mut sum = 0.0;
        let ratios = self.explained_variance_ratio();
        let enough = ratios.iter().position(|ratio| {
            sum += ratio;
            sum > share
        });
        enough.map_or_else(|| self.most_components(), |place| place + 1)
    }

    /// How many components there can be: the width, or the number of rows less one.
    fn most_components(&self) -> usize {
        let rank = usize::try_from(self.count - 1).unwrap_or(usize::MAX);
        rank.min(self.mean.len())
    }

    /// The projection onto the first components. `model` is the digest of the model that computed the rows, if it is known: the
    /// projection then rejects other models' vectors.
    ///
    /// # Errors
    /// The number of components is 0, above the width, or not below the number of rows; or the share of variance is not between 0 and 1.
    pub fn projection(&self, components: Components, model: Option<String>) -> Result<Projection> {
        components.check()?;
        let kept = match components {
            Components::Count(count) => count,
            Components::Variance(share) => self.components_for(share),
        };
        let width = self.mean.len();
        if kept > width {
            let range = format!("from 1 to {width}, the dimensions of the vectors");
            return Err(Error::setting("the number of components", kept, range));
        }
        if kept > self.most_components() {
            return Err(Error::TooFewRows {
                rows: self.count,
                needed: kept as u64 + 1,
                purpose: "so many principal components",
            });
        }
        Ok(Projection::new(
            self.mean.mapv(|number| number as f32),
            self.components
                .slice(s![..kept, ..])
                .mapv(|number| number as f32),
            self.variances[..kept].to_vec(),
            self.variances.iter().sum(),
            model,
        ))
    }
}
