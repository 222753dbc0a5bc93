//! How near to float32 a quantised model is to stay, and what that may cost.

use lexivec_models::Precision;

/// How near to float32 texts are to stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The least cosine of any calibration text.
    pub min_cosine: f64,
    /// The mean cosine of those that were kept back from rounding: they stand for all that nobody has seen.
    pub mean_cosine: f64,
    /// What finer products may cost for the mean's sake, in bytes of the file where weights alone are integers; the least
    /// cosine is kept at any price.
    pub mean_cost: f64,
}

impl Goal {
    /// That no text falls below a cosine.
    #[must_use]
    pub fn at_least(cosine: f64) -> Self {
        Self {
            min_cosine: cosine,
            mean_cosine: cosine,
            mean_cost: f64::INFINITY,
        }
    }

    /// The same least, whatever the mean.
    pub(super) fn of_least(self) -> Self {
        Self {
            mean_cosine: -1.0,
            ..self
        }
    }

    /// The goal of a conversion that asks for none. int8 is to be nearly as good as floats, and texts that were not
    /// calibrated on come out a little lower. int4-weight is chosen for its size, and a text may stray: the least is for single
    /// products that spoil a text, such as those whose large activations cancel; the mean for the first layers of small
    /// models, which cost little. A 4B model, that random weights would take to 3.4 GB, stays below 2.6.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::Int4Weight => Self {
                min_cosine: 0.95,
                mean_cosine: 0.99,
                mean_cost: 100e6,
            },
            _ => Self::at_least(0.999),
        }
    }
}
