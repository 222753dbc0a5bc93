//! Verdicts on the bounds of a candidate.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The verdict on a bound for a candidate.
///
/// ```
/// use lexivec_evaluate::Verdict;
///
/// let verdict = Verdict {
///     candidate: "int8".to_owned(),
///     gate: "--min-mean-cosine".to_owned(),
///     bound: 0.999,
///     value: Some(0.9985),
///     passed: false,
///     detail: "the mean of 200 texts".to_owned(),
/// };
/// let text = "gate failed: int8: --min-mean-cosine 0.999: 0.9985, the mean of 200 texts";
/// assert_eq!(verdict.to_string(), text);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The candidate's name.
    pub candidate: String,
    /// The name of the bound, as the `lexivec` program spells it.
    pub gate: String,
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
        let (candidate, gate, bound) = (&self.candidate, &self.gate, self.bound);
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
