//! Bounds that a candidate has to keep, for a build to fail where it does not.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::report::Candidate;

/// Which neighbours `min_overlap` is about: the second of [`super::NEIGHBOURS`], the ten nearest.
const TEN: usize = 1;

/// The bounds asked for; all are about the full width.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// Every text's cosine to the baseline, at least.
    pub min_cosine: Option<f64>,
    /// The mean cosine to the baseline, at least.
    pub min_mean_cosine: Option<f64>,
    /// The mean overlap of the ten nearest neighbours, at least.
    pub min_overlap: Option<f64>,
    /// What nDCG@10 may fall below the baseline's, at most.
    pub max_ndcg_drop: Option<f64>,
}

/// A bound held against a candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The candidate's name.
    pub candidate: String,
    /// The bound's flag.
    pub gate: String,
    /// The bound.
    pub bound: f64,
    /// What was found; `None` where it cannot be measured, which fails.
    pub value: Option<f64>,
    /// Whether the bound was kept.
    pub passed: bool,
    /// What the value belongs to: the worst text, or how the value came about.
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

/// Nine digits after the point, so that what fails by little does not look as though it passed; no idle zeros.
fn digits(value: f64) -> String {
    let text = format!("{value:.9}");
    let short = text.trim_end_matches('0').trim_end_matches('.');
    match short {
        "-0" => "0".to_owned(),
        short => short.to_owned(),
    }
}

impl Gates {
    /// Holds every bound against a candidate.
    #[must_use]
    pub fn judge(&self, candidate: &Candidate) -> Vec<Verdict> {
        let full = candidate.quality.iter().find(|q| q.full).map(|q| &q.all);
        let cosine = full.and_then(|m| m.cosine);
        let no_cosine = "the two sides' vectors differ in width: there is no cosine";
        let worst = candidate.worst.first();
        let verdict =
            |gate: &str, bound, value: Option<f64>, passed: bool, detail: String| Verdict {
                candidate: candidate.facts.name.clone(),
                gate: gate.to_owned(),
                bound,
                value,
                passed,
                detail,
            };
        let at_least = |gate, bound: Option<f64>, value: Option<f64>, detail: String| {
            let bound = bound?;
            let passed = value.is_some_and(|value| value >= bound);
            Some(verdict(gate, bound, value, passed, detail))
        };
        let least = worst.map_or(no_cosine.to_owned(), |worst| {
            format!("on {:?} ({})", worst.text, worst.place)
        });
        let mean = match cosine {
            Some(_) => format!("the mean of {} texts", full.map_or(0, |m| m.texts)),
            None => no_cosine.to_owned(),
        };
        let overlap = full.and_then(|m| m.overlap[TEN]);
        let neighbours = match overlap {
            Some(_) => "the mean share of the ten nearest neighbours kept".to_owned(),
            None => "there are too few texts for ten neighbours each".to_owned(),
        };
        let drop = self.max_ndcg_drop.map(|bound| {
            let drop = candidate.ndcg_change.map(|change| -change.mean);
            let detail = match candidate.ndcg_change {
                Some(_) => "by which nDCG@10 fell".to_owned(),
                None => "there is no retrieval set".to_owned(),
            };
            let passed = drop.is_some_and(|drop| drop <= bound);
            verdict("--max-ndcg-drop", bound, drop, passed, detail)
        });
        let verdicts = [
            at_least(
                "--min-cosine",
                self.min_cosine,
                cosine.map(|c| c.min),
                least,
            ),
            at_least(
                "--min-mean-cosine",
                self.min_mean_cosine,
                cosine.map(|c| c.mean),
                mean,
            ),
            at_least("--min-overlap", self.min_overlap, overlap, neighbours),
            drop,
        ];
        verdicts.into_iter().flatten().collect()
    }
}
