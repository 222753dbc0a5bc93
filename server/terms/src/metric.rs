//! How far two vectors are apart.

use serde::{Deserialize, Serialize};

/// A distance between vectors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Metric {
    /// One minus the cosine of the angle, from 0 to 2, as scikit-learn's `cosine`. Vectors need not be normalised. It is half the square
    /// of the Euclidean distance of the normalised vectors: both order pairs alike, but clusters' stabilities differ.
    #[default]
    Cosine,
    /// The length of the difference. Comparisons are fastest if rows lie around zero, as principal components do: far from it, more pairs
    /// are computed in float64.
    Euclidean,
}

impl Metric {
    /// The distance of rows from the square of their Euclidean distance (of the normalised rows in the case of [`Metric::Cosine`]).
    pub(crate) fn of_squared(self, squared: f64) -> f64 {
        match self {
            Self::Cosine => squared / 2.0,
            Self::Euclidean => squared.sqrt(),
        }
    }

    /// The inverse of [`of_squared`](Self::of_squared).
    pub(crate) fn to_squared(self, distance: f64) -> f64 {
        match self {
            Self::Cosine => distance * 2.0,
            Self::Euclidean => distance * distance,
        }
    }
}
