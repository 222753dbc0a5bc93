//! A comparison from start to finish: embeds the data with each system, then compares a [`candidate`] with the baseline. Layers
//! and speed are measured on fewer texts, which are [drawn](drawn_texts).

use std::time::Duration;

use lexivec_convert::Progress;

use crate::bootstrap::Bootstrap;
use crate::error::{Error, Result};
use crate::retrieval::Retrieval;
use crate::sample_texts::Sample;
use crate::scored_pairs::ScoredPair;
use crate::system::{Embedded, System};
use crate::vectors::Vectors;

mod candidate;
mod drawn_texts;

/// Texts that a system is given at a time.
pub const CHUNK: usize = 256;
/// The data of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonData {
    /// Texts without duplicates.
    pub texts: Vec<Sample>,
    /// Scored pairs; may be empty.
    pub pairs: Vec<ScoredPair>,
    /// A retrieval set, if any.
    pub retrieval: Option<Retrieval>,
}

/// The settings of a comparison.
#[derive(Debug, Clone, PartialEq)]
pub struct ComparisonSettings {
    /// Widths besides the full one. Widths that a system does not have are left out.
    pub dimensions: Vec<usize>,
    /// The most texts among which neighbours and pairs are compared. The work grows with the square of it.
    pub neighbour_texts: usize,
    /// How intervals and samples are drawn.
    pub bootstrap: Bootstrap,
    /// The time to spend on measuring a candidate's speed; zero to skip it.
    pub speed: Duration,
}

/// A comparison of systems on the same data, from their vectors to a report.
///
/// ```
/// use std::time::Duration;
///
/// use lexivec_convert::Silent;
/// use lexivec_evaluate::{
///     Bootstrap, CONFIDENCE, Comparison, ComparisonData, ComparisonReport, ComparisonSettings, DataFacts, Embedded, Embedder,
///     Gates, REPORT_FORMAT, Result, System, SystemFacts, SystemKind, built_in,
/// };
///
/// /// Embeds a text as its length and its number of words.
/// struct Counts;
///
/// impl Embedder for Counts {
///     fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
///         let mut embedded = Embedded::new(2);
///         for text in texts {
///             let words = text.split_whitespace().count();
///             embedded.vectors.push(&[text.len() as f32, words as f32]);
///         }
///         Ok(embedded)
///     }
/// }
///
/// let data = ComparisonData { texts: built_in()[..50].to_vec(), pairs: Vec::new(), retrieval: None };
/// let settings = ComparisonSettings {
///     dimensions: vec![1],
///     neighbour_texts: 50,
///     bootstrap: Bootstrap { resamples: 100, seed: 1 },
///     speed: Duration::ZERO,
/// };
/// let comparison = Comparison { data: &data, settings: &settings, progress: &Silent };
/// let system = |name: &str| System {
///     facts: SystemFacts::new(name, SystemKind::Model, 2),
///     embedder: Box::new(Counts),
/// };
/// let mut baseline = comparison.measure(system("baseline"))?;
/// let mut candidate = comparison.measure(system("candidate"))?;
/// let found = comparison.compare(&mut baseline, &mut candidate)?;
/// assert_eq!(found.quality[0].all.cosine.map(|cosine| cosine.min), Some(1.0));
///
/// let gates = Gates { min_cosine: Some(0.999), ..Gates::default() };
/// let report = ComparisonReport {
///     format: REPORT_FORMAT,
///     program: "an example".to_owned(),
///     machine: "a computer".to_owned(),
///     data: DataFacts {
///         source: "the built-in set".to_owned(),
///         texts: 50,
///         duplicates: 0,
///         sampled: 50,
///         length_unit: "characters".to_owned(),
///         pairs: None,
///         retrieval: None,
///         seed: 1,
///         resamples: 100,
///         confidence: CONFIDENCE,
///     },
///     baseline: comparison.baseline(&baseline),
///     gates: gates.judge(&found),
///     candidates: vec![found],
/// };
/// assert!(report.gates[0].passed);
/// assert!(report.to_terminal().contains("gate passed: candidate: minimum cosine 0.999"));
/// assert!(report.to_markdown().starts_with("# baseline compared"));
/// assert!(report.to_html()?.contains("</html>"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// The data.
    pub data: &'a ComparisonData,
    /// The settings.
    pub settings: &'a ComparisonSettings,
    /// Receives progress, in texts.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparison")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A system with its vectors of the data.
#[derive(Debug)]
pub struct MeasuredSystem {
    /// The system.
    pub(crate) system: System,
    texts: Embedded,
    /// The vectors of the first and of the second texts of all pairs.
    pairs: Option<[Vectors; 2]>,
    /// The vectors of queries and documents.
    retrieval: Option<[Vectors; 2]>,
}

impl MeasuredSystem {
    /// Whether the system reports the number of tokens of each text.
    #[must_use]
    pub fn reports_lengths(&self) -> bool {
        !self.texts.lengths.is_empty()
    }
}

impl Comparison<'_> {
    /// Embeds the data with a system.
    ///
    /// # Errors
    /// The system fails.
    pub fn measure(&self, mut system: System) -> Result<MeasuredSystem> {
        let texts: Vec<&str> = self.data.texts.iter().map(|s| s.text.as_str()).collect();
        let embedded = self.embed(&mut system, &texts)?;
        let mut vectors =
            |texts: Vec<&str>| -> Result<Vectors> { Ok(self.embed(&mut system, &texts)?.vectors) };
        let pairs = &self.data.pairs;
        let pairs = match pairs.is_empty() {
            true => None,
            false => Some([
                vectors(pairs.iter().map(|p| p.a.as_str()).collect())?,
                vectors(pairs.iter().map(|p| p.b.as_str()).collect())?,
            ]),
        };
        let retrieval = match &self.data.retrieval {
            None => None,
            Some(set) => Some([
                vectors(set.prompts().iter().map(String::as_str).collect())?,
                vectors(set.documents.iter().map(String::as_str).collect())?,
            ]),
        };
        Ok(MeasuredSystem {
            system,
            texts: embedded,
            pairs,
            retrieval,
        })
    }

    fn embed(&self, system: &mut System, texts: &[&str]) -> Result<Embedded> {
        let name = &system.facts.name;
        self.progress
            .stage(&format!("embedding with {name}"), texts.len() as u64);
        let mut all = Embedded::new(system.facts.width);
        for chunk in texts.chunks(CHUNK) {
            if self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            all.append(&system.embed(chunk)?);
            self.progress.advance(chunk.len() as u64);
        }
        Ok(all)
    }
}
