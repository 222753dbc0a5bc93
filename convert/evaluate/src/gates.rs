//! Gates: bounds that a candidate must keep, so that a build can fail if it does not.

use serde::{Deserialize, Serialize};

use crate::report::Candidate;
use crate::verdict::{Gate, Verdict};

/// The index of the ten nearest neighbours in [`crate::NEIGHBOURS`], which `min_overlap` bounds.
const TEN: usize = 1;

/// The bounds that a candidate must keep, all of them at full width. [`Comparison`](crate::Comparison) has an example.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// The least cosine to the baseline that every text must have.
    pub min_cosine: Option<f64>,
    /// The least mean cosine to the baseline.
    pub min_mean_cosine: Option<f64>,
    /// The least mean overlap of the ten nearest neighbours.
    pub min_overlap: Option<f64>,
    /// The most that nDCG@10 may fall below the baseline's.
    pub max_ndcg_drop: Option<f64>,
}

impl Gates {
    /// Checks every bound for a candidate.
    #[must_use]
    pub fn judge(&self, candidate: &Candidate) -> Vec<Verdict> {
        let full = candidate.quality.iter().find(|q| q.full).map(|q| &q.all);
        let cosine = full.and_then(|m| m.cosine);
        let no_cosine = "the vectors of the two systems differ in width, so there is no cosine";
        let worst = candidate.worst.first();
        let verdict = |gate, bound, value: Option<f64>, passed: bool, detail: String| Verdict {
            candidate: candidate.facts.name.clone(),
            gate,
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
            Some(_) => "the mean overlap of the ten nearest neighbours".to_owned(),
            None => "there are too few texts for ten neighbours each".to_owned(),
        };
        let drop = self.max_ndcg_drop.map(|bound| {
            let drop = candidate.ndcg_change.map(|change| -change.mean);
            let detail = match candidate.ndcg_change {
                Some(_) => "by which nDCG@10 fell".to_owned(),
                None => "there is no retrieval set".to_owned(),
            };
            let passed = drop.is_some_and(|drop| drop <= bound);
            verdict(Gate::MaxNdcgDrop, bound, drop, passed, detail)
        });
        let verdicts = [
            at_least(
                Gate::MinCosine,
                self.min_cosine,
                cosine.map(|c| c.min),
                least,
            ),
            at_least(
                Gate::MinMeanCosine,
                self.min_mean_cosine,
                cosine.map(|c| c.mean),
                mean,
            ),
            at_least(Gate::MinOverlap, self.min_overlap, overlap, neighbours),
            drop,
        ];
        verdicts.into_iter().flatten().collect()
    }
}
