//! A comparison from beginning to end: embed the data with each side, then hold a candidate against the baseline.

use std::time::Duration;

use super::bootstrap::Bootstrap;
use super::embedder::{Embedded, Side};
use super::error::{Error, Result};
use super::groups::{groups, script};
use super::histogram::Histogram;
use super::layers::layer_errors;
use super::pairs::{ScoredPair, pair_cosines, pair_measures, spearman_change};
use super::quality::{Measuring, cosines};
use super::report::{Baseline, Candidate, Change, TextName, WorstText};
use super::retrieval::{QueryScores, Retrieval, ndcg_change};
use super::sample::{Sample, draw};
use super::speed;
use super::vectors::Vectors;
use crate::progress::Progress;
use crate::shortened::shortened;

/// Texts handed to a side at once.
pub const CHUNK: usize = 256;
/// Worst texts that are named.
const WORST: usize = 20;
/// Characters of a text that reports show.
const SHOWN: usize = 240;
/// Texts whose speed is measured, and their characters together.
const SPEED_TEXTS: (usize, usize) = (64, 16_000);
/// Texts that layers are looked at with, and the characters of all of them together: each of their tokens gives two
/// rows for every layer.
const LAYER_TEXTS: (usize, usize) = (32, 2_000);

/// What is compared on.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    /// Texts, none twice.
    pub texts: Vec<Sample>,
    /// Scored pairs; may be empty.
    pub pairs: Vec<ScoredPair>,
    /// A retrieval set.
    pub retrieval: Option<Retrieval>,
}

/// How it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Widths besides the full one; those that a side has not are left out.
    pub dimensions: Vec<usize>,
    /// Texts among which neighbours and pairs are compared, at most: the work grows with the square.
    pub neighbour_texts: usize,
    /// For intervals and samples.
    pub bootstrap: Bootstrap,
    /// Time to spend on a candidate's speed; zero for none.
    pub speed: Duration,
}

/// A comparison's data and settings.
#[derive(Clone, Copy)]
pub struct Comparison<'a> {
    /// On what.
    pub data: &'a Data,
    /// How.
    pub settings: &'a Settings,
    /// Told what is under way, in texts.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Comparison<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Comparison")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// A side and its vectors of the data.
#[derive(Debug)]
pub struct Measured {
    /// The side.
    pub side: Side,
    texts: Embedded,
    /// Of the first and second texts of each pair.
    pairs: Option<[Vectors; 2]>,
    /// Of queries and documents.
    retrieval: Option<[Vectors; 2]>,
}

impl Measured {
    /// Whether the side tells how many tokens each text has.
    #[must_use]
    pub fn tells_lengths(&self) -> bool {
        !self.texts.lengths.is_empty()
    }
}

impl Comparison<'_> {
    /// Embeds the data with a side.
    ///
    /// # Errors
    /// The side fails.
    pub fn measure(&self, mut side: Side) -> Result<Measured> {
        let texts: Vec<&str> = self.data.texts.iter().map(|s| s.text.as_str()).collect();
        let embedded = self.embed(&mut side, &texts)?;
        let mut vectors =
            |texts: Vec<&str>| -> Result<Vectors> { Ok(self.embed(&mut side, &texts)?.vectors) };
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
        Ok(Measured {
            side,
            texts: embedded,
            pairs,
            retrieval,
        })
    }

    fn embed(&self, side: &mut Side, texts: &[&str]) -> Result<Embedded> {
        let name = &side.facts.name;
        self.progress
            .stage(&format!("embedding with {name}"), texts.len() as u64);
        let mut all = Embedded::new(side.facts.width);
        for chunk in texts.chunks(CHUNK) {
            if self.progress.cancelled() {
                return Err(Error::Interrupted);
            }
            all.append(&side.embed(chunk)?);
            self.progress.advance(chunk.len() as u64);
        }
        Ok(all)
    }

    /// What there is to say of the baseline by itself.
    #[must_use]
    pub fn baseline(&self, baseline: &Measured) -> Baseline {
        let widths = self.widths(baseline.side.facts.width);
        Baseline {
            facts: baseline.side.facts.clone(),
            pairs: self.pair_measures(baseline, &widths),
            retrieval: self.scores(baseline, &widths).map_or(Vec::new(), measures),
            cut: baseline.texts.cut,
            not_finite: self.names(&baseline.texts.not_finite),
        }
    }

    /// Holds a candidate against the baseline.
    ///
    /// # Errors
    /// A side fails while its speed is measured.
    pub fn hold(&self, baseline: &mut Measured, candidate: &mut Measured) -> Result<Candidate> {
        let name = candidate.side.facts.name.clone();
        self.progress.stage(&format!("comparing {name}"), 0);
        let full = [&*baseline, candidate].map(|m| m.side.facts.width);
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
            cut: candidate.texts.cut,
            not_finite: self.names(&candidate.texts.not_finite),
            notes: notes(baseline, candidate),
            facts: candidate.side.facts.clone(),
        };
        Ok(report)
    }

    /// The positions of the texts among which neighbours and pairs are compared.
    #[must_use]
    pub fn sample(&self) -> Vec<usize> {
        let (n, most) = (self.data.texts.len(), self.settings.neighbour_texts);
        draw(n, most, self.settings.bootstrap.seed)
    }

    /// The widths asked for that are below `full`, widest first.
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
                text: shortened(&sample.text, SHOWN),
                place: sample.place.clone(),
                script: script(&sample.text),
                length: lengths.get(i).copied().unwrap_or_else(characters),
            }
        });
        worst.collect()
    }

    fn names(&self, positions: &[usize]) -> Vec<TextName> {
        let name = |i: &usize| TextName {
            text: shortened(&self.data.texts[*i].text, SHOWN),
            place: self.data.texts[*i].place.clone(),
        };
        positions.iter().map(name).collect()
    }

    fn pair_scores(&self) -> Vec<f64> {
        self.data.pairs.iter().map(|p| p.score).collect()
    }

    fn pair_measures(&self, side: &Measured, widths: &[usize]) -> Vec<super::pairs::PairMeasures> {
        let scores = self.pair_scores();
        let Some([a, b]) = &side.pairs else {
            return Vec::new();
        };
        let at = |width: &usize| pair_measures(&pair_cosines(a, b, *width), &scores, *width);
        widths.iter().map(at).collect()
    }

    fn spearman_change(&self, baseline: &Measured, candidate: &Measured) -> Option<Change> {
        let cosines = |side: &Measured| {
            let [a, b] = side.pairs.as_ref()?;
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

    fn scores(&self, side: &Measured, widths: &[usize]) -> Option<Vec<QueryScores>> {
        let set = self.data.retrieval.as_ref()?;
        let [queries, documents] = side.retrieval.as_ref()?;
        let at = |width: &usize| set.score(queries, documents, *width);
        Some(widths.iter().map(at).collect())
    }

    /// Texts drawn from the seed, as many as their characters together allow.
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
        baseline: &mut Measured,
        candidate: &mut Measured,
    ) -> Result<(Option<Vec<super::layers::LayerError>>, Option<String>)> {
        let texts = self.drawn(LAYER_TEXTS);
        let missing = |reason: String| Ok((None, Some(reason)));
        if texts.is_empty() {
            return missing("all texts are too long to look into the layers with".to_owned());
        }
        let mut sides = [baseline, candidate].map(|m| &mut m.side);
        let mut found = Vec::new();
        for side in &mut sides {
            let layers = side.embedder.layers(&texts)?;
            if layers.is_empty() {
                let name = &side.facts.name;
                return missing(format!(
                    "{name} does not show its layers: only model directories of the packed layout and checkpoints do"
                ));
            }
            found.push(layers);
        }
        match layer_errors(&found[0], &found[1]) {
            Some(errors) => Ok((Some(errors), None)),
            None => missing("the two models' layers differ in shape".to_owned()),
        }
    }

    /// The texts that speed is measured with.
    #[must_use]
    pub fn speed_texts(&self) -> Vec<&str> {
        self.drawn(SPEED_TEXTS)
    }

    fn speed(
        &self,
        baseline: &mut Measured,
        candidate: &mut Measured,
    ) -> Result<Option<speed::Speed>> {
        let texts = self.speed_texts();
        if self.settings.speed.is_zero() || texts.is_empty() {
            return Ok(None);
        }
        let name = &candidate.side.facts.name;
        self.progress.stage(&format!("timing {name}"), 0);
        let sides = (&mut baseline.side, &mut candidate.side);
        let (budget, bootstrap) = (self.settings.speed, self.settings.bootstrap);
        speed::measure(sides.0, sides.1, &texts, budget, bootstrap).map(Some)
    }
}

fn measures(scores: Vec<QueryScores>) -> Vec<super::retrieval::RetrievalMeasures> {
    scores.into_iter().map(|s| s.measures).collect()
}

/// Each text's tokens, from whichever side tells; empty where none does.
fn lengths<'a>(baseline: &'a Measured, candidate: &'a Measured) -> &'a [usize] {
    match baseline.texts.lengths.as_slice() {
        [] => &candidate.texts.lengths,
        lengths => lengths,
    }
}

fn notes(baseline: &Measured, candidate: &Measured) -> Vec<String> {
    let (before, after) = (&baseline.side.facts, &candidate.side.facts);
    let mut notes = Vec::new();
    if before.width != after.width {
        notes.push(format!(
            "its vectors have {} dimensions and the baseline's {}: there is no cosine at full width",
            after.width, before.width
        ));
    }
    if let (Some(one), Some(other)) = (&before.source, &after.source)
        && one != other
    {
        notes.push(format!(
            "it was made from {other} and the baseline from {one}: two models' cosines mean nothing, their neighbours do"
        ));
    }
    notes
}
