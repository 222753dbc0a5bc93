//! How close to float32 a quantised model must stay, and what that may cost.

use lexivec_models::Precision;

/// An accuracy target: how close to float32 the vectors of calibration texts must stay.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AccuracyTarget {
    /// The least cosine of any calibration text.
    pub min_cosine: f64,
    /// The mean cosine of held-out texts, which rounding does not use. They represent texts that calibration never sees.
    pub mean_cosine: f64,
    /// The most that finer linear groups may cost to reach the target: bytes of the file for weight-only precisions.
    pub cost: f64,
    /// The least cosine that is reached at any cost.
    pub floor: f64,
}

impl AccuracyTarget {
    /// Requires this cosine of every text, at any cost.
    ///
    /// ```
    /// let target = lexivec_convert::AccuracyTarget::at_least(0.999);
    /// assert_eq!((target.min_cosine, target.cost), (0.999, f64::INFINITY));
    /// ```
    #[must_use]
    pub fn at_least(cosine: f64) -> Self {
        Self {
            min_cosine: cosine,
            mean_cosine: cosine,
            cost: f64::INFINITY,
            floor: cosine,
        }
    }

    /// The part of the target that is reached even after its cost is spent.
    pub(super) fn at_any_cost(self) -> Self {
        Self {
            min_cosine: self.floor,
            mean_cosine: -1.0,
            ..self
        }
    }

    /// The default target of a precision.
    ///
    /// int8 must be nearly as good as floats: texts outside calibration come out slightly lower. int4-weight is chosen for
    /// its size, so its target has a price. The error of a small model accumulates in its first layers, which are cheap to
    /// compute more finely; a random 4B model of 2.6 GB would take 3.4 GB for the same accuracy. The floor catches single
    /// linear layers that ruin whole texts, such as those whose large activations cancel.
    ///
    /// ```
    /// use lexivec_convert::AccuracyTarget;
    /// use lexivec_models::Precision;
    ///
    /// let (int8, int4) = (AccuracyTarget::of(Precision::Int8), AccuracyTarget::of(Precision::Int4Weight));
    /// assert_eq!(int8.min_cosine, 0.999);
    /// assert!(int4.min_cosine < int8.min_cosine && int4.cost.is_finite());
    /// ```
    #[must_use]
    pub fn of(precision: Precision) -> Self {
        match precision {
            Precision::Int4Weight => Self {
                min_cosine: 0.95,
                mean_cosine: 0.99,
                cost: 100e6,
                floor: 0.85,
            },
            // e4m3 has three bits of mantissa, in activations too. Finer layers would be float16, at twice the time.
            Precision::Fp8 => Self {
                mean_cosine: 0.995,
                ..Self::at_least(0.99)
            },
            Precision::Fp32
            | Precision::Fp16
            | Precision::Bf16
            | Precision::Int8
            | Precision::Int8Weight => Self::at_least(0.999),
        }
    }
}
