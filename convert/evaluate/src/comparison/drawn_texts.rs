//! Measures that would take too long on all texts: layers and speed.

use super::{Comparison, MeasuredSystem};
use crate::error::Result;
use crate::layer_errors::{LayerError, layer_errors};
use crate::sample_texts::draw;
use crate::speed::{self, Speed};

/// The most texts whose speed is measured, and their most characters together.
const SPEED_TEXTS: (usize, usize) = (64, 16_000);
/// The most texts on which layers are compared, and their most characters together. Each token gives two rows per layer.
const LAYER_TEXTS: (usize, usize) = (32, 2_000);

impl Comparison<'_> {
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

    /// How much the layers of two systems differ, or the reason why they are not compared.
    pub(super) fn layers(
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

    /// The speed of a candidate and of the baseline, in turns.
    pub(super) fn speed(
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
