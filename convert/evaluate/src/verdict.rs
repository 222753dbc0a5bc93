//! Verdicts on the bounds of a candidate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A bound that a candidate must keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gate {
    /// The least cosine of any text.
    #[serde(rename = "minimum cosine")]
    MinCosine,
    /// The mean cosine.
    #[serde(rename = "minimum mean cosine")]
    MinMeanCosine,
    /// The mean overlap of the ten nearest neighbours.
    #[serde(rename = "minimum overlap")]
    MinOverlap,
    /// The fall of nDCG@10.
    #[serde(rename = "maximum nDCG drop")]
    MaxNdcgDrop,
}

impl Gate {
    /// The gate's name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MinCosine => "minimum cosine",
            Self::MinMeanCosine => "minimum mean cosine",
            Self::MinOverlap => "minimum overlap",
            Self::MaxNdcgDrop => "maximum nDCG drop",
        }
    }
}

/// The verdict on a bound for a candidate.
///
/// ```
/// use lexivec_evaluate::{Gate, Verdict};
///
/// let verdict = Verdict {
///     candidate: "int8".to_owned(),
///     gate: Gate::MinMeanCosine,
///     bound: 0.999,
///     value: Some(0.9985),
///     passed: false,
///     detail: "the mean of 200 texts".to_owned(),
/// };
/// let text = "gate failed: int8: minimum mean cosine 0.999: 0.9985, the mean of 200 texts";
/// assert_eq!(verdict.to_string(), text);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The candidate's name.
    pub candidate: String,
    /// The gate that sets the bound.
    pub gate: Gate,
    /// The bound.
    pub bound: f64,
    /// The measured value; `None` if it cannot be measured, which fails.
    pub value: Option<f64>,
    /// Whether the bound was kept.
    pub passed: bool,
    /// What the value refers to, such as the worst text, or why there is none.
    pub detail: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (candidate, gate, bound) = (&self.candidate, self.gate.name(), self.bound);
        let outcome = if self.passed { "passed" } else { "failed" };
        write!(f, "gate {outcome}: {candidate}: {gate} {bound}: ")?;
        match self.value {
            Some(value) => write!(f, "{}, {}", digits(value), self.detail),
            None => f.write_str(&self.detail),
        }
    }
}

/// Nine decimals without trailing zeros, so that a narrow failure does not look like a pass.
fn digits(value: f64) -> String {
    let text = format!("{value:.9}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    match short {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}
