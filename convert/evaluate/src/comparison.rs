//! A comparison from start to finish: embeds the data with each system, then compares a candidate with the baseline.

use std::time::Duration;

use crate::bootstrap::Bootstrap;
use crate::error::{Error, Result};
use crate::histogram::Histogram;
use crate::layer_errors::{LayerError, layer_errors};
use crate::quality::{Measuring, cosines};
use crate::report::{Baseline, Candidate, Change, TextName, WorstText};
use crate::retrieval::{QueryScores, Retrieval, ndcg_change};
use crate::sample_texts::{Sample, draw};
use crate::scored_pairs::{PairMeasures, ScoredPair, pair_cosines, pair_measures, spearman_change};
use crate::speed::{self, Speed};
use crate::system::{Embedded, System};
use crate::text_groups::{groups, script};
use crate::vectors::Vectors;
use lexivec_convert::Progress;
use lexivec_convert::text_preview;

/// Texts that a system is given at a time.
pub const CHUNK: usize = 256;
/// The number of worst texts in a report.
const WORST: usize = 20;
/// The length of a text's preview in reports.
const SHOWN: usize = 240;
/// The most texts whose speed is measured, and their most characters together.
const SPEED_TEXTS: (usize, usize) = (64, 16_000);
/// The most texts on which layers are compared, and their most characters together. Each token gives two rows per layer.
const LAYER_TEXTS: (usize, usize) = (32, 2_000);

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

    /// The measures of the baseline alone.
    #[must_use]
    pub fn baseline(&self, baseline: &MeasuredSystem) -> Baseline {
        let widths = self.widths(baseline.system.facts.width);
        Baseline {
            facts: baseline.system.facts.clone(),
            pairs: self.pair_measures(baseline, &widths),
            retrieval: self.scores(baseline, &widths).map_or(Vec::new(), measures),
            truncated: baseline.texts.truncated,
            not_finite: self.names(&baseline.texts.not_finite),
        }
    }

    /// Compares a candidate with the baseline.
    ///
    /// # Errors
    /// A system fails while its speed is measured.
    pub fn compare(
        &self,
        baseline: &mut MeasuredSystem,
        candidate: &mut MeasuredSystem,
    ) -> Result<Candidate> {
        let name = candidate.system.facts.name.clone();
        self.progress.stage(&format!("comparing {name}"), 0);
        let full = [&*baseline, candidate].map(|m| m.system.facts.width);
        let lengths = lengths(baseline, candidate).to_vec();
        let texts = &self.data.texts;
        let measuring = Measuring {
            baseline: &baseline.texts.vectors,
            candidate: &candidate.texts.vectors,
            groups: &groups(texts, &lengths),
            sample: &self.sample(),
            bootstrap: self.settings.bootstrap,
        };
        let narrower = self.narrower(full[0].min(full[1]));
        let narrower = narrower.into_iter().map(Some);
        let quality = std::iter::once(None).chain(narrower);
        let quality = quality.map(|width| measuring.at(width)).collect();
        let cosines =
            (full[0] == full[1]).then(|| cosines(measuring.baseline, measuring.candidate, full[0]));
        let worst = cosines.as_deref().map(|c| self.worst(c, &lengths));

        let widths = self.widths(full[1]);
        let found = self.scores(candidate, &widths);
        let before = self.scores(baseline, &[full[0]]);
        let ndcg = before.zip(found.as_ref()).map(|(before, after)| Change {
            mean: after[0].measures.ndcg_at_10 - before[0].measures.ndcg_at_10,
            interval: ndcg_change(&before[0], &after[0], self.settings.bootstrap),
        });
        let (layers, layers_missing) = self.layers(baseline, candidate)?;
        let report = Candidate {
            quality,
            histogram: cosines.as_deref().map(Histogram::of),
            worst: worst.unwrap_or_default(),
            layers,
            layers_missing,
            pairs: self.pair_measures(candidate, &widths),
            spearman_change: self.spearman_change(baseline, candidate),
            retrieval: found.map_or(Vec::new(), measures),
            ndcg_change: ndcg,
            speed: self.speed(baseline, candidate)?,
            truncated: candidate.texts.truncated,
            not_finite: self.names(&candidate.texts.not_finite),
            notes: notes(baseline, candidate),
            facts: candidate.system.facts.clone(),
        };
        Ok(report)
    }

    /// The positions of the texts among which neighbours and pairs are compared.
    #[must_use]
    fn sample(&self) -> Vec<usize> {
        let (n, most) = (self.data.texts.len(), self.settings.neighbour_texts);
        draw(n, most, self.settings.bootstrap.seed)
    }

    /// The requested widths below `full`, widest first.
    fn narrower(&self, full: usize) -> Vec<usize> {
        let asked = self.settings.dimensions.iter().copied();
        let mut widths: Vec<usize> = asked.filter(|d| *d < full).collect();
        widths.sort_unstable_by(|a, b| b.cmp(a));
        widths.dedup();
        widths
    }

    fn widths(&self, full: usize) -> Vec<usize> {
        [vec![full], self.narrower(full)].concat()
    }

    fn worst(&self, cosines: &[f64], lengths: &[usize]) -> Vec<WorstText> {
        let mut order: Vec<usize> = (0..cosines.len()).collect();
        order.sort_by(|a, b| cosines[*a].total_cmp(&cosines[*b]));
        let worst = order.into_iter().take(WORST).map(|i| {
            let sample = &self.data.texts[i];
            let characters = || sample.text.chars().count();
            WorstText {
                cosine: cosines[i],
                text: text_preview(&sample.text, SHOWN),
                place: sample.place.clone(),
                script: script(&sample.text),
                length: lengths.get(i).copied().unwrap_or_else(characters),
            }
        });
        worst.collect()
    }

    fn names(&self, positions: &[usize]) -> Vec<TextName> {
        let name = |i: &usize| TextName {
            text: text_preview(&self.data.texts[*i].text, SHOWN),
            place: self.data.texts[*i].place.clone(),
        };
        positions.iter().map(name).collect()
    }

    fn pair_scores(&self) -> Vec<f64> {
        self.data.pairs.iter().map(|p| p.score).collect()
    }

    fn pair_measures(&self, system: &MeasuredSystem, widths: &[usize]) -> Vec<PairMeasures> {
        let scores = self.pair_scores();
        let Some([a, b]) = &system.pairs else {
            return Vec::new();
        };
        let at = |width: &usize| pair_measures(&pair_cosines(a, b, *width), &scores, *width);
        widths.iter().map(at).collect()
    }

    fn spearman_change(
        &self,
        baseline: &MeasuredSystem,
        candidate: &MeasuredSystem,
    ) -> Option<Change> {
        let cosines = |system: &MeasuredSystem| {
            let [a, b] = system.pairs.as_ref()?;
            Some(pair_cosines(a, b, a.width()))
        };
        let (before, after) = (cosines(baseline)?, cosines(candidate)?);
        let scores = self.pair_scores();
        let correlation = |cosines| pair_measures(cosines, &scores, 0).spearman;
        Some(Change {
            mean: correlation(&after)? - correlation(&before)?,
            interval: spearman_change(&before, &after, &scores, self.settings.bootstrap),
        })
    }

    fn scores(&self, system: &MeasuredSystem, widths: &[usize]) -> Option<Vec<QueryScores>> {
        let set = self.data.retrieval.as_ref()?;
        let [queries, documents] = system.retrieval.as_ref()?;
        let at = |width: &usize| set.score(queries, documents, *width);
        Some(widths.iter().map(at).collect())
    }

    /// Texts drawn from the seed, within a limit on their number and their characters.
    fn drawn(&self, (most, characters): (usize, usize)) -> Vec<&str> {
        let mut left = characters;
        let positions = draw(self.data.texts.len(), most, self.settings.bootstrap.seed);
        let texts = positions
            .into_iter()
            .map(|i| self.data.texts[i].text.as_str());
        let fits = |text: &&str| {
            let length = text.chars().count();
            let fits = length <= left;
            left -= if fits { length } else { 0 };
            fits
        };
        texts.filter(fits).collect()
    }

    fn layers(
        &self,
        baseline: &mut MeasuredSystem,
        candidate: &mut MeasuredSystem,
    ) -> Result<(Option<Vec<LayerError>>, Option<String>)> {
        let texts = self.drawn(LAYER_TEXTS);
        let missing = |reason: String| Ok((None, Some(reason)));
        if texts.is_empty() {
            return missing("all texts are too long to compare layers on".to_owned());
        }
        let mut systems = [baseline, candidate].map(|m| &mut m.system);
        let mut found = Vec::new();
        for system in &mut systems {
            let layers = system.embedder.layers(&texts)?;
            if layers.is_empty() {
                let name = &system.facts.name;
                return missing(format!(
                    "{name} does not show its layers; only model directories of the packed layout and checkpoints do"
                ));
            }
            found.push(layers);
        }
        match layer_errors(&found[0], &found[1]) {
            Some(errors) => Ok((Some(errors), None)),
            None => missing("the two models' layers differ in shape".to_owned()),
        }
    }

    /// The texts on which speed is measured.
    #[must_use]
    pub fn speed_texts(&self) -> Vec<&str> {
        self.drawn(SPEED_TEXTS)
    }

    fn speed(
        &self,
        baseline: &mut MeasuredSystem,
        candidate: &mut MeasuredSystem,
    ) -> Result<Option<Speed>> {
        let texts = self.speed_texts();
        if self.settings.speed.is_zero() || texts.is_empty() {
            return Ok(None);
        }
        let name = &candidate.system.facts.name;
        self.progress.stage(&format!("timing {name}"), 0);
        let systems = (&mut baseline.system, &mut candidate.system);
        let (budget, bootstrap) = (self.settings.speed, self.settings.bootstrap);
        speed::measure(systems.0, systems.1, &texts, budget, bootstrap).map(Some)
    }
}

fn measures(scores: Vec<QueryScores>) -> Vec<crate::retrieval::RetrievalMeasures> {
    scores.into_iter().map(|s| s.measures).collect()
}

/// The number of tokens of each text, from whichever system reports it; empty if none does.
fn lengths<'a>(baseline: &'a MeasuredSystem, candidate: &'a MeasuredSystem) -> &'a [usize] {
    match baseline.texts.lengths.as_slice() {
        [] => &candidate.texts.lengths,
        lengths => lengths,
    }
}

fn notes(baseline: &MeasuredSystem, candidate: &MeasuredSystem) -> Vec<String> {
    let (before, after) = (&baseline.system.facts, &candidate.system.facts);
    let mut notes = Vec::new();
    if before.width != after.width {
        notes.push(format!(
            "its vectors have {} dimensions and the baseline's {}, so there is no cosine at full width",
            after.width, before.width
        ));
    }
    if let (Some(one), Some(other)) = (&before.source, &after.source)
        && one != other
    {
        notes.push(format!(
            "it was made from {other} and the baseline from {one}: cosines between different models are meaningless, neighbours are \
             not"
        ));
    }
    notes
}
