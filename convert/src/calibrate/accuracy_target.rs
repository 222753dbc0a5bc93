//! How near to float32 a quantised model is to stay, and what that may cost.

use lexivec_models::Precision;

/// How near to float32 texts are to stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Goal {
    /// The least cosine of any calibration text.
    pub min_cosine: f64,
    /// The mean cosine of those that were kept back from rounding: they stand for all that nobody has seen.
    pub mean_cosine: f64,
    /// What finer products may cost for that, in bytes of the file where weights alone are integers.
    pub cost: f64,
    /// The least cosine that is kept at any cost.
    pub floor: f64,
}

impl Goal {
    /// That no text falls below a cosine.
    #[must_use]
    pub fn at_least(cosine: f64) -> Self {
        Self {
            min_cosine: cosine,
            mean_cosine: cosine,
            cost: f64::INFINITY,
            floor: cosine,
        }
    }

    /// What is left of it once its cost is spent.
    pub(super) fn at_any_cost(self) -> Self {
        Self {
            min_cosine: self.floor,
            mean_cosine: -1.0,
            ..self
        }
    }

    /// The goal of a conversion that asks for none. int8 is to be nearly as good as floats, and texts that were not
    /// calibrated on come out a little lower. int4-weight is chosen for its size. The error of a small model gathers in
    /// its first layers, which are cheap to compute more finely; a random 4B model would take 3.4 GB for the same, and so
    /// stays below 2.6. Single products that spoil whole texts, such as those whose large activations cancel, are not put
    /// up with in any.
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::Int4Weight => Self {
                min_cosine: 0.95,
                mean_cosine: 0.99,
                cost: 100e6,
                floor: 0.85,
            },
            // Three bits of mantissa, in activations too: finer products would be float16, at twice the time.
            Precision::Fp8 => Self {
                mean_cosine: 0.995,
                ..Self::at_least(0.99)
            },
            _ => Self::at_least(0.999),
        }
    }
}
