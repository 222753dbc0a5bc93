//! Compares a candidate's vectors with the baseline's.

use lexivec_convert::text_preview;

use super::{Comparison, MeasuredSystem};
use crate::error::Result;
use crate::histogram::Histogram;
use crate::quality::{Measuring, cosines};
use crate::report::{Baseline, Candidate, Change, TextName, WorstText};
use crate::retrieval::{QueryScores, RetrievalMeasures, ndcg_change};
use crate::sample_texts::draw;
use crate::scored_pairs::{PairMeasures, pair_cosines, pair_measures, spearman_change};
use crate::text_groups::{groups, script};

/// The number of worst texts in a report.
const WORST: usize = 20;
/// The length of a text's preview in reports.
const SHOWN: usize = 240;
impl Comparison<'_> {
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
}

fn measures(scores: Vec<QueryScores>) -> Vec<RetrievalMeasures> {
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
