//! The report of a comparison: one value, from which every output is made.
//!
//! * Its JSON has every figure.
//! * [`html`] makes a page with plots, from the files of `page/`.
//! * [`tables`] turns figures into tables; [`markdown`] writes all of them, [`terminal`] the most important ones.
//! * [`numbers`] formats figures.

mod html;
mod markdown;
mod numbers;
mod self_contained;
mod tables;
mod terminal;

pub use self_contained::SelfContained;

use serde::{Deserialize, Serialize};

use crate::bootstrap::Interval;
use crate::histogram::Histogram;
use crate::layer_errors::LayerError;
use crate::quality::Quality;
use crate::retrieval::RetrievalMeasures;
use crate::scored_pairs::PairMeasures;
use crate::speed::Speed;
use crate::system::SystemFacts;
use crate::verdict::Verdict;

/// The version of the JSON format. It is raised when a field changes its meaning or disappears.
pub const REPORT_FORMAT: u32 = 1;

/// A whole comparison. [`Comparison`](crate::Comparison) shows how it is made and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComparisonReport {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// The program that made it, `lexivec 0.1.0`.
    pub program: String,
    /// The processor of the machine that made it.
    pub machine: String,
    /// The data of the comparison.
    pub data: DataFacts,
    /// The baseline.
    pub baseline: Baseline,
    /// The candidates, in the order given.
    pub candidates: Vec<Candidate>,
    /// The verdict on every requested bound for every candidate.
    pub gates: Vec<Verdict>,
}

/// The data of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// The source of the texts: files, or the built-in set.
    pub source: String,
    /// Number of texts.
    pub texts: usize,
    /// Number of duplicates that were left out.
    pub duplicates: usize,
    /// Number of texts among which neighbours and pairs were compared: all, or a sample drawn from the seed.
    pub sampled: usize,
    /// The unit of lengths: tokens, or characters if no system reports tokens.
    pub length_unit: String,
    /// The scored pairs, if any.
    pub pairs: Option<PairFacts>,
    /// The retrieval set, if any.
    pub retrieval: Option<RetrievalFacts>,
    /// The seed of samples and resamples.
    pub seed: u64,
    /// Number of resamples per interval.
    pub resamples: usize,
    /// The confidence level of the intervals, 0 to 1.
    pub confidence: f64,
}

/// The scored pairs of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFacts {
    /// The file.
    pub source: String,
    /// Number of pairs.
    pub pairs: usize,
}

/// The retrieval set of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrievalFacts {
    /// The folder.
    pub source: String,
    /// Number of queries with a relevant document.
    pub queries: usize,
    /// Number of documents.
    pub documents: usize,
    /// The instruction before each query, if any.
    pub instruction: Option<String>,
}

/// The measures of the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The system.
    pub facts: SystemFacts,
    /// How well its similarities follow the scores, by width.
    pub pairs: Vec<PairMeasures>,
    /// The scores of its searches, by width.
    pub retrieval: Vec<RetrievalMeasures>,
    /// Number of texts that it truncated to its maximum length.
    #[serde(alias = "cut")]
    pub truncated: usize,
    /// Texts whose vector was not finite. They count as vectors of zeros.
    pub not_finite: Vec<TextName>,
}

/// The measures of a candidate, and its comparison with the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The system.
    pub facts: SystemFacts,
    /// How similar it is to the baseline, by width, full width first.
    pub quality: Vec<Quality>,
    /// Cosines to the baseline at full width; `None` if the widths differ.
    pub histogram: Option<Histogram>,
    /// The texts with the least cosines, worst first.
    pub worst: Vec<WorstText>,
    /// The error of each layer, if both systems show their layers.
    pub layers: Option<Vec<LayerError>>,
    /// Why there are no layer errors.
    pub layers_missing: Option<String>,
    /// How well its similarities follow the scores, by width.
    pub pairs: Vec<PairMeasures>,
    /// The change of Spearman's correlation at full width. Negative values are losses.
    pub spearman_change: Option<Change>,
    /// The scores of its searches, by width.
    pub retrieval: Vec<RetrievalMeasures>,
    /// The change of nDCG@10 at full width. Negative values are losses.
    pub ndcg_change: Option<Change>,
    /// The speed of both systems, if measured.
    pub speed: Option<Speed>,
    /// Number of texts that it truncated to its maximum length.
    #[serde(alias = "cut")]
    pub truncated: usize,
    /// Texts whose vector was not finite. They count as vectors of zeros.
    pub not_finite: Vec<TextName>,
    /// Notes for the reader, in full sentences.
    pub notes: Vec<String>,
}

/// A difference between two systems on the same data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The mean difference.
    pub mean: f64,
    /// The confidence interval of the mean.
    pub interval: Option<Interval>,
}

/// The place of a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextName {
    /// The beginning of the text.
    pub text: String,
    /// Its file and line.
    pub place: String,
}

/// A text with one of the least cosines.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstText {
    /// Its cosine to the baseline, at full width.
    pub cosine: f64,
    /// The beginning of the text.
    pub text: String,
    /// Its file and line.
    pub place: String,
    /// Its script.
    pub script: String,
    /// Its length in tokens or characters.
    pub length: usize,
}
