//! Integers that keep their quality: what the float32 network does on real texts decides how each product is quantised.
//!
//! ```text
//! texts ── walk: the reference, layer by layer ──▶ inputs of every product
//!             │                                       │ solve: smoothing, scales, rounding, by the product's error
//!             │                                       ▼
//!             └── effects: each product alone ◀── store (cache folder)
//!                 on texts kept back
//!                            │
//!                            ▼
//!                  choose: the fewest products in finer precisions that reach the goal
//! ```
//!
//! Where the graph computes in float16, [`range`] comes first: what it moves is calibrated in its new place.
//!
//! Smoothing is folded into the weights while they are written ([`crate::fold`]); nothing of it is left in the graph.

mod choose;
mod effects;
mod goal;
mod group;
mod range;
mod solve;
mod store;
mod texts;
mod walk;

use std::path::{Path, PathBuf};

use lexivec_models::{
    Checkpoint, Decoder, LinearGroupPlan, LinearPrecision, Precision, Quantization,
};
use lexivec_runtime::Library;

use crate::error::{Error, Result};
use crate::fold::{self, Folds};
use crate::graph::Variant;
use crate::progress::Progress;
use crate::quantize::Products;
use crate::reference::data_folder;
use crate::weights::Weights;
use choose::Ladder;
use effects::Effects;
pub use goal::Goal;
use group::Group;
use range::Rescaling;
use solve::Scheme;
use store::{Stored, Summary};
use walk::{Batches, Walk};

/// How to calibrate a quantised model.
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    /// Texts like those that will be embedded; none for a built-in set of terms, sentences and code in many languages.
    pub texts: Vec<String>,
    /// How near to float32 texts are to stay: the fewest products that do it are computed more finely. `None` for what is
    /// usual for the precision, [`Goal::of`].
    pub goal: Option<Goal>,
    /// Where calibrations are kept, to be used again; none to forget them.
    pub cache: Option<PathBuf>,
}

/// What looking at texts decided, as the graph wants it.
pub(crate) struct Calibrated {
    /// How products compute; none for all alike, as the precision says.
    pub(crate) products: Option<Products>,
    pub(crate) folds: Folds,
    /// What the folds multiply the residual stream by.
    pub(crate) residual: f32,
    pub(crate) report: Option<Quantization>,
    /// What a user should know, a sentence each.
    pub(crate) notes: Vec<String>,
    /// Holds the weights until the model is written, where they are not kept in the cache.
    _scratch: Option<tempfile::TempDir>,
}

impl Default for Calibrated {
    fn default() -> Self {
        Self {
            products: None,
            folds: Folds::default(),
            residual: 1.0,
            report: None,
            notes: Vec::new(),
            _scratch: None,
        }
    }
}

impl Calibrated {
    /// Puts a rescaling before it that the weights it was calibrated with had.
    fn rescaled(self, rescaling: Rescaling) -> Self {
        Self {
            folds: fold::joined(&rescaling.folds, self.folds),
            residual: rescaling.residual,
            notes: [rescaling.notes, self.notes].concat(),
            ..self
        }
    }

    /// What a manifest says of it. Its weights must be written: with it goes their folder.
    pub(crate) fn finish(self) -> (Option<Quantization>, Vec<String>) {
        (self.report, self.notes)
    }
}

/// What to calibrate.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: &'a Weights,
    /// Changes whenever the checkpoint's weights do; looked at where weights become integers.
    pub(crate) digest: &'a str,
    pub(crate) onnxruntime: Option<&'a Path>,
    /// For weights that are not kept.
    pub(crate) scratch: &'a Path,
    pub(crate) variant: Variant,
}

/// Calibrates a checkpoint: moves values into float16's range where the graph computes in that, then finds integer
/// weights where it has any.
///
/// # Errors
/// A text cannot be tokenised, the reference does not run, or the user interrupts.
pub(crate) fn calibrate(
    subject: &Subject<'_>,
    options: &Calibration,
    progress: &dyn Progress,
) -> Result<Calibrated> {
    let rescaling = match subject.variant.computes_in_float16() {
        true => range::fit_float16(subject, &options.texts, progress)?,
        false => Rescaling::default(),
    };
    if !subject.variant.is_quantised() {
        return Ok(Calibrated::default().rescaled(rescaling));
    }
    let subject = Subject {
        weights: &subject.weights.folded(rescaling.folds.clone()),
        ..*subject
    };
    Ok(quantise(&subject, &rescaling, options, progress)?.rescaled(rescaling))
}

/// Finds the integer weights of a checkpoint whose weights are read with a `rescaling`.
fn quantise(
    subject: &Subject<'_>,
    rescaling: &Rescaling,
    options: &Calibration,
    progress: &dyn Progress,
) -> Result<Calibrated> {
    let d = &subject.checkpoint.decoder;
    let library = Library::load(subject.onnxruntime, false)?;
    let sequences = texts::sequences(subject.checkpoint, &options.texts)?;
    let batches = Batches::new(&sequences);
    let folder = data_folder(&subject.checkpoint.weights)?;
    let walk =
        Walk::new(library, d, subject.weights, folder, &batches).rescaled(rescaling.residual);

    let scheme = match (subject.variant.format(), subject.variant.precision) {
        (Some(format), _) => Scheme::Blocks(format),
        (None, Precision::Fp8) => Scheme::Float8,
        (None, _) => Scheme::Channels,
    };
    let goal = options.goal;
    let goal = goal.unwrap_or_else(|| Goal::of(subject.variant.precision));
    let place = store::Place::new(
        options.cache.as_deref(),
        subject,
        rescaling,
        scheme,
        &sequences,
    )?;
    let (place, summary) = place.filled(subject.scratch, |dir| {
        fill(&walk, subject, scheme, &sequences, dir, progress)
    })?;
    let layers = (0..d.layers)
        .map(|layer| store::read_layer(place.dir(), &Group::of_layer(layer), scheme, d))
        .collect::<Result<Vec<_>>>()?;
    let solutions = Solutions {
        decoder: d,
        scheme,
        first: 0,
        layers,
    };
    let chosen = choose::choose(
        &walk,
        &batches,
        &solutions,
        &Ladder::new(scheme, &summary.effects, d),
        goal,
        progress,
    )?;
    let (products, folds) =
        solutions.assemble(0..d.layers, |group| chosen.precisions[group.index()]);
    let report = Quantization {
        texts: summary.texts,
        tokens: summary.tokens,
        min_cosine_asked: goal.min_cosine,
        mean_cosine_asked: goal.mean_cosine,
        min_cosine: chosen.min_cosine,
        mean_cosine: chosen.mean_cosine,
        linear_groups: solutions.report(&chosen.precisions, &summary),
    };
    let missed = chosen.excess(goal) > 1.0;
    let note = missed.then(|| {
        format!(
            "texts do not stay as near to fp32 as they should (cosine {} at least, {} in the mean of those kept back): finer \
             products would take more than {:.0} MB; --min-cosine asks for them whatever they take",
            goal.min_cosine,
            goal.mean_cosine,
            goal.cost / 1e6
        )
    });
    Ok(Calibrated {
        products: Some(products),
        folds,
        report: Some(report),
        notes: note.into_iter().collect(),
        _scratch: place.into_scratch(),
        ..Calibrated::default()
    })
}

/// Walks through the layers once: solves every product for the inputs it sees, writes the solution, and measures what
/// it does to the embedding of texts that are kept back.
fn fill(
    walk: &Walk<'_>,
    subject: &Subject<'_>,
    scheme: Scheme,
    sequences: &[Vec<u32>],
    dir: &Path,
    progress: &dyn Progress,
) -> Result<Summary> {
    let (d, weights) = (&subject.checkpoint.decoder, subject.weights);
    let size = |group: &Group| (group.inputs(d) * group.outputs(d).iter().sum::<usize>()) as u64;
    let total: u64 = (0..d.layers)
        .flat_map(Group::of_layer)
        .map(|g| size(&g))
        .sum();
    progress.stage("calibrating", total);
    let (solved, kept_back) = texts::part(sequences.iter().cloned());
    let batches = Batches::new(&solved);
    let mut states = walk.embed(&batches)?;
    let mut effects = Effects::new(walk, &kept_back)?;
    for layer in 0..d.layers {
        let mut solutions = Vec::new();
        // A layer that has run holds its weights in float32, for which there is no room while products are solved: it is
        // opened anew for the effects.
        for (group, inputs) in walk.observe(layer, &batches, &mut states)? {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let weights = group.weights(d, weights)?;
            solutions.push(solve::solve(group, d, scheme, inputs, weights));
            progress.advance(size(&group));
        }
        let groups = Group::of_layer(layer);
        store::write_layer(dir, &groups, &solutions)?;
        let solved = Solutions {
            decoder: d,
            scheme,
            first: layer,
            layers: vec![store::read_layer(dir, &groups, scheme, d)?],
        };
        let mut network = walk.open(layer, Folds::default(), &Products::default())?;
        effects.step(layer, &mut network, &solved)?;
    }
    Ok(Summary {
        texts: sequences.len(),
        tokens: sequences.iter().map(Vec::len).sum(),
        effects: effects.finish(scheme)?,
    })
}

/// The solutions of some layers, and the graph's view of them.
struct Solutions<'a> {
    decoder: &'a Decoder,
    scheme: Scheme,
    /// The first layer that is held.
    first: usize,
    layers: Vec<Vec<Stored>>,
}

impl Solutions<'_> {
    /// The products of these layers at the given precisions, and the factors that their smoothing folds into weights.
    fn assemble(
        &self,
        layers: std::ops::Range<usize>,
        precision: impl Fn(Group) -> LinearPrecision,
    ) -> (Products, Folds) {
        let d = self.decoder;
        let (mut products, mut folds) = (Products::default(), Folds::default());
        for layer in layers {
            let solutions = &self.layers[layer - self.first];
            let groups = Group::of_layer(layer);
            // Who computes in float32 reads unsmoothed inputs.
            let factors: Vec<Option<&[f32]>> = groups
                .iter()
                .zip(solutions)
                .map(|(group, solution)| {
                    let smoothed = precision(*group) != LinearPrecision::Fp32;
                    solution
                        .smoothing
                        .as_ref()
                        .filter(|_| smoothed)
                        .map(|(_, f)| f.as_slice())
                })
                .collect();
            for (group, solution) in groups.iter().zip(solutions) {
                let precision = precision(*group);
                if precision == LinearPrecision::Fp32 {
                    continue;
                }
                let product = solution.product(precision, |scales, per| {
                    for (next, factors) in groups.iter().zip(&factors) {
                        if let (true, Some(factors)) = (next.source() == Some(*group), factors) {
                            next.rescale_source(d, factors, scales, per);
                        }
                    }
                });
                products.insert(group.name(), product);
            }
            for (group, factors) in groups.iter().zip(&factors) {
                if let Some(factors) = factors {
                    group.fold(d, factors, &mut folds);
                }
            }
        }
        (products, folds)
    }

    fn report(&self, precisions: &[LinearPrecision], summary: &Summary) -> Vec<LinearGroupPlan> {
        let groups = (0..self.layers.len()).flat_map(Group::of_layer);
        groups
            .zip(self.layers.iter().flatten())
            .map(|(group, solution)| {
                let precision = precisions[group.index()];
                let float = precision == LinearPrecision::Fp32;
                LinearGroupPlan {
                    name: group.name().trim_end_matches(".weight").to_owned(),
                    precision,
                    smoothing: solution
                        .smoothing
                        .as_ref()
                        .filter(|_| !float)
                        .map(|(s, _)| *s),
                    rounding: if float {
                        "none".to_owned()
                    } else {
                        solution.rounding.clone()
                    },
                    sensitivity: summary.effects[group.index()][0],
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::progress::Silent;

    /// Numbers from 1/8 to 8.
    fn factors(seed: usize, count: usize) -> Vec<f32> {
        (0..count)
            .map(|i| 2f32.powf(((i * 7919 + seed * 104_729) % 1000) as f32 / 1000.0 * 6.0 - 3.0))
            .collect()
    }

    #[test]
    fn folding_leaves_the_function_of_every_family_unchanged() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in [
            "models/nano",
            "tests/fixtures/tiny/qwen2",
            "tests/fixtures/tiny/llama",
        ] {
            let checkpoint = Checkpoint::open(&root.join(folder)).unwrap();
            let d = &checkpoint.decoder;
            let weights = Weights::open(&checkpoint).unwrap();
            let batches = Batches::new(&[vec![5, 6, 7, 8, 9, 10, 11], vec![5, 6, 40, 2], vec![3]]);
            let data = data_folder(&checkpoint.weights).unwrap();
            let library = Library::load(None, false).unwrap();
            let walk = Walk::new(library, d, &weights, data, &batches);
            let run = |folded: bool| {
                let layers = |layer| {
                    let mut folds = Folds::default();
                    for group in Group::of_layer(layer).into_iter().filter(|_| folded) {
                        let mut smoothing = factors(group.index(), group.inputs(d));
                        group.tie(d, &mut smoothing, f32::max);
                        group.fold(d, &smoothing, &mut folds);
                    }
                    (Products::default(), folds)
                };
                walk.run(&batches, &Silent, layers).unwrap()
            };
            for (expected, found) in run(false).iter().zip(run(true)) {
                let largest = expected.iter().fold(0f32, |m, v| m.max(v.abs()));
                for (e, f) in expected.iter().zip(found) {
                    assert!((e - f).abs() <= 1e-5 * largest, "{folder}: {e} {f}");
                }
            }
        }
    }
}
