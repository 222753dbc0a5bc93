//! Which products compute more finely than in int8: the fewest with which every calibration text keeps its cosine.
//!
//! Effects put the possible improvements in an order, those that gain most for what they cost first. How many of them
//! are needed is measured, not predicted: the whole network runs with the first half of them, then with half of what
//! is left, and so on.

use lexivec_models::{Decoder, LinearPrecision};
use lexivec_runtime::vector::cosine;

use super::Solutions;
use super::group::Group;
use super::store::Effect;
use super::walk::{Batches, Walk};
use crate::error::{Error, Result};
use crate::fold::Folds;
use crate::progress::Progress;
use crate::quantize::Products;

/// The time of a product relative to int8, on a CPU with integer instructions.
fn cost(precision: LinearPrecision) -> f64 {
    match precision {
        LinearPrecision::Int8 => 1.0,
        LinearPrecision::Int8x2 => 2.0,
        LinearPrecision::Fp32 => 5.0,
    }
}

/// Improvements of single products, in the order in which they are worth making.
pub(super) struct Ladder {
    products: usize,
    steps: Vec<(usize, LinearPrecision)>,
}

impl Ladder {
    pub(super) fn new(effects: &[Effect], d: &Decoder) -> Self {
        let groups = (0..d.layers).flat_map(Group::of_layer);
        let mut steps: Vec<(f64, usize, LinearPrecision)> = Vec::new();
        for (group, effect) in groups.zip(effects) {
            let size = (group.inputs(d) * group.outputs(d).iter().sum::<usize>()) as f64;
            let gain = |from: (f64, LinearPrecision), to: (f64, LinearPrecision)| {
                (from.0 - to.0) / (size * (cost(to.1) - cost(from.1)))
            };
            let int8 = (effect.int8, LinearPrecision::Int8);
            let int8x2 = (effect.int8x2, LinearPrecision::Int8x2);
            let fp32 = (0.0, LinearPrecision::Fp32);
            let (half, rest) = (gain(int8, int8x2), gain(int8x2, fp32));
            if half >= rest {
                steps.push((half, group.index(), LinearPrecision::Int8x2));
                steps.push((rest, group.index(), LinearPrecision::Fp32));
            } else {
                steps.push((gain(int8, fp32), group.index(), LinearPrecision::Fp32));
            }
        }
        steps.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)).then(a.2.cmp(&b.2)));
        Self {
            products: effects.len(),
            steps: steps
                .into_iter()
                .map(|(_, product, to)| (product, to))
                .collect(),
        }
    }

    /// The precision of every product once the first `count` steps are made.
    fn after(&self, count: usize) -> Vec<LinearPrecision> {
        let mut precisions = vec![LinearPrecision::Int8; self.products];
        for (product, precision) in &self.steps[..count] {
            precisions[*product] = *precision;
        }
        precisions
    }
}

/// The precisions chosen, and what they give on the calibration texts.
pub(super) struct Chosen {
    pub(super) precisions: Vec<LinearPrecision>,
    pub(super) min_cosine: f64,
    pub(super) mean_cosine: f64,
}

/// Finds the shortest part of the ladder that keeps `min_cosine`.
pub(super) fn choose(
    walk: &Walk<'_>,
    batches: &Batches,
    solutions: &Solutions<'_>,
    ladder: &Ladder,
    min_cosine: f64,
    progress: &dyn Progress,
) -> Result<Chosen> {
    progress.stage("choosing precisions", 0);
    let layers = solutions.layers.len();
    let run = |precisions: &[LinearPrecision]| -> Result<Vec<Vec<f32>>> {
        let mut states = walk.embed(batches)?;
        for layer in 0..layers {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let (products, folds) = solutions.assemble(layer..layer + 1, |g| precisions[g.index()]);
            let mut network = walk.open(layer, folds, &products)?;
            walk.step(&mut network, batches, &mut states, &[])?;
        }
        walk.finish(batches, &states)
    };
    let expected = {
        let mut states = walk.embed(batches)?;
        for layer in 0..layers {
            let mut network = walk.open(layer, Folds::default(), &Products::default())?;
            walk.step(&mut network, batches, &mut states, &[])?;
        }
        walk.finish(batches, &states)?
    };
    let measure = |count: usize| -> Result<Chosen> {
        let precisions = ladder.after(count);
        let found = run(&precisions)?;
        let cosines: Vec<f64> = expected
            .iter()
            .zip(&found)
            .map(|(e, f)| cosine(e, f))
            .collect();
        let chosen = Chosen {
            precisions,
            min_cosine: cosines.iter().copied().fold(1.0, f64::min),
            mean_cosine: cosines.iter().sum::<f64>() / cosines.len() as f64,
        };
        tracing::debug!(
            count,
            chosen.min_cosine,
            chosen.mean_cosine,
            "measured a plan"
        );
        Ok(chosen)
    };
    let mut best = measure(0)?;
    if best.min_cosine >= min_cosine {
        return Ok(best);
    }
    // `few` steps are too few, `enough` are enough: all steps leave float32 alone.
    let (mut few, mut enough) = (0, ladder.steps.len());
    while enough - few > 1 {
        // Few steps cost little and usually do: look there first.
        let middle = few + ((enough - few) / 3).max(1);
        let found = measure(middle)?;
        if found.min_cosine >= min_cosine {
            (enough, best) = (middle, found);
        } else {
            few = middle;
        }
    }
    if best.precisions != ladder.after(enough) {
        best = measure(enough)?;
    }
    Ok(best)
}
