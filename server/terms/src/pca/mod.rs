//! Principal component analysis in one pass over the vectors.
//!
//! [`Moments`] takes rows as they come, and keeps their mean and their scatter matrix: memory grows with the square of the width, not
//! with the number of rows. [`Moments::decompose`] computes the eigenvectors of the covariance matrix, and [`Pca::projection`] keeps the
//! first of them.
//!
//! ```
//! use lexivec_terms::pca::{Components, Moments};
//! use ndarray::array;
//!
//! let rows = array![[1.0, 0.1], [-1.0, -0.1], [2.0, 0.1], [-2.0, -0.1]];
//! let mut moments = Moments::new(2)?;
//! moments.push(rows.view())?;
//! let pca = moments.decompose()?;
//! assert_eq!(pca.components_for(0.95), 1);
//! let projection = pca.projection(Components::Count(1), None)?;
//! assert_eq!(projection.reduce(rows.view())?.row(2).to_vec(), [1.0]);
//! # Ok::<(), lexivec_terms::Error>(())
//! ```

mod decomposition;
mod moments;

pub use decomposition::{Components, Pca};
pub use moments::Moments;

#[cfg(test)]
mod tests;
