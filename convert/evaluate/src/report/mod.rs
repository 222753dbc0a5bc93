//! What a comparison found: one value, from which every output is made. Its JSON is the `--json` file.

use serde::{Deserialize, Serialize};

use super::bootstrap::Interval;
use super::embedder::Facts;
use super::gates::Verdict;
use super::histogram::Histogram;
use super::layers::LayerError;
use super::pairs::PairMeasures;
use super::quality::Quality;
use super::retrieval::RetrievalMeasures;
use super::speed::Speed;

/// The version of the JSON's form; raised where a field changes its meaning or goes.
pub const REPORT_FORMAT: u32 = 1;

/// A whole comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`REPORT_FORMAT`].
    pub format: u32,
    /// The program that made it, `lexivec 0.1.0`.
    pub program: String,
    /// The machine that it was made on.
    pub machine: String,
    /// What was compared on.
    pub data: DataFacts,
    /// What the candidates were held against.
    pub baseline: Baseline,
    /// One for each candidate, in the order given.
    pub candidates: Vec<Candidate>,
    /// Every bound that was asked for, for every candidate.
    pub gates: Vec<Verdict>,
}

/// The data of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Where the texts come from: the files, or the built-in set.
    pub source: String,
    /// Texts compared.
    pub texts: usize,
    /// Texts left out because they were there already.
    pub duplicates: usize,
    /// Texts among which neighbours and pairs were compared: all, or a sample drawn from the seed.
    pub sampled: usize,
    /// What lengths are counted in: tokens, or characters where no side tells tokens.
    pub length_unit: String,
    /// Scored pairs; `None` without.
    pub pairs: Option<PairFacts>,
    /// The retrieval set; `None` without.
    pub retrieval: Option<RetrievalFacts>,
    /// Of the drawing of samples and resamples.
    pub seed: u64,
    /// Resamples of each interval.
    pub resamples: usize,
    /// What the intervals cover, 0 to 1.
    pub confidence: f64,
}

/// The scored pairs of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFacts {
    /// The file.
    pub source: String,
    /// How many.
    pub pairs: usize,
}

/// The retrieval set of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetrievalFacts {
    /// The folder.
    pub source: String,
    /// Queries with something relevant.
    pub queries: usize,
    /// Documents.
    pub documents: usize,
    /// What stood before each query.
    pub instruction: Option<String>,
}

/// What the candidates were held against.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// What it is.
    pub facts: Facts,
    /// How its similarities follow the scores, by width.
    pub pairs: Vec<PairMeasures>,
    /// What its searches score, by width.
    pub retrieval: Vec<RetrievalMeasures>,
    /// Texts cut to what it takes.
    pub cut: usize,
    /// Texts whose vector was not finite; they count as vectors of zeros.
    pub not_finite: Vec<TextName>,
}

/// A candidate, held against the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// What it is.
    pub facts: Facts,
    /// How like the baseline it is, by width; the full one first.
    pub quality: Vec<Quality>,
    /// Cosines to the baseline at full width; `None` where the widths differ.
    pub histogram: Option<Histogram>,
    /// The texts with the least cosines, the worst first.
    pub worst: Vec<WorstText>,
    /// The error of each layer.
    pub layers: Option<Vec<LayerError>>,
    /// Why there is none.
    pub layers_missing: Option<String>,
    /// How its similarities follow the scores, by width.
    pub pairs: Vec<PairMeasures>,
    /// What Spearman's correlation gained at full width; negative where it lost.
    pub spearman_change: Option<Change>,
    /// What its searches score, by width.
    pub retrieval: Vec<RetrievalMeasures>,
    /// What nDCG@10 gained at full width; negative where it lost.
    pub ndcg_change: Option<Change>,
    /// How fast both are; `None` where it was not measured.
    pub speed: Option<Speed>,
    /// Texts cut to what it takes.
    pub cut: usize,
    /// Texts whose vector was not finite; they count as vectors of zeros.
    pub not_finite: Vec<TextName>,
    /// What the reader should know; full sentences.
    pub notes: Vec<String>,
}

/// A difference of two sides on the same data.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Its mean.
    pub mean: f64,
    /// The mean's interval.
    pub interval: Option<Interval>,
}

/// A text by its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextName {
    /// The text's beginning.
    pub text: String,
    /// Where it stands.
    pub place: String,
}

/// One of the texts that suffered most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorstText {
    /// Its cosine to the baseline, at full width.
    pub cosine: f64,
    /// The text's beginning.
    pub text: String,
    /// Where it stands.
    pub place: String,
    /// Its script.
    pub script: String,
    /// Its tokens, or characters.
    pub length: usize,
}
