//! Quantises the weights of a checkpoint: solves every linear group, measures its sensitivity, and chooses precisions.

use std::path::Path;

use lexivec_models::{Precision, Quantization, Target};
use lexivec_runtime::Library;

use super::accuracy_target::AccuracyTarget;
use super::basis::SEED;
use super::calibration::{Calibration, CalibrationInput, CalibrationResult};
use super::calibration_texts as texts;
use super::layer_pass::{Batches, LayerPass};
use super::layer_solutions::LayerSolutions;
use super::linear_group::LinearGroup;
use super::mixed_precision::{self, MixedPrecisionPlan};
use super::rescaling::Rescaling;
use super::rounding_grid::Scheme;
use super::sensitivity::SensitivityPass;
use super::solution_store::{self, CalibrationSummary, SolutionStore};
use super::solve;
use crate::error::{Error, Result};
use crate::progress::Progress;
use crate::quantized::QuantizedLinears;
use crate::reference::data_folder;
use crate::weights::ScaleFolding;

/// Quantises a checkpoint whose weights are read with `rescaling`.
pub(super) fn quantise(
    input: &CalibrationInput<'_>,
    rescaling: &Rescaling,
    options: &Calibration,
    progress: &dyn Progress,
) -> Result<CalibrationResult> {
    let d = &input.checkpoint.decoder;
    let library = Library::load(input.onnxruntime, false)?;
    let sequences = texts::sequences(input.checkpoint, &options.texts)?;
    let batches = Batches::new(&sequences);
    let folder = data_folder(&input.checkpoint.weights)?;
    let pass =
        LayerPass::new(library, d, input.weights, folder, &batches).rescaled(rescaling.residual);

    let scheme = match (input.variant.format(), input.variant.precision) {
        (Some(format), _) => Scheme::Blocks(format),
        (None, Precision::Fp8) => Scheme::Float8,
        // Only lexivec's own operators rotate at no cost worth mentioning.
        (None, _) => Scheme::Channels {
            rotates: input.variant.target == Target::Cpu,
        },
    };
    let accuracy = options.accuracy_target;
    let accuracy = accuracy.unwrap_or_else(|| AccuracyTarget::of(input.variant.precision));
    let store = SolutionStore::new(
        options.cache.as_deref(),
        input,
        rescaling,
        scheme,
        &sequences,
    )?;
    let (store, summary) = store.filled(input.scratch, |dir| {
        fill(&pass, input, scheme, &sequences, dir, progress)
    })?;
    let layers = (0..d.layers)
        .map(|layer| {
            let groups = LinearGroup::of_layer(layer);
            solution_store::read_layer(store.dir(), &groups, scheme, d)
        })
        .collect::<Result<Vec<_>>>()?;
    let solutions = LayerSolutions {
        decoder: d,
        scheme,
        first: 0,
        layers,
    };
    let chosen = mixed_precision::choose(
        &pass.with_products_of(input.variant.target),
        &batches,
        &solutions,
        &MixedPrecisionPlan::new(scheme, &summary.sensitivities, d),
        accuracy,
        progress,
    )?;
    let (quantized, folding) =
        solutions.assemble(0..d.layers, |group| chosen.precisions[group.index()]);
    let report = Quantization {
        texts: summary.texts,
        tokens: summary.tokens,
        min_cosine_asked: accuracy.min_cosine,
        mean_cosine_asked: accuracy.mean_cosine,
        min_cosine: chosen.min_cosine,
        mean_cosine: chosen.mean_cosine,
        rotation_seed: solutions.rotates(&chosen.precisions).then_some(SEED),
        linear_groups: solutions.report(&chosen.precisions, &summary),
    };
    let missed = chosen.excess(accuracy) > 1.0;
    let note = missed.then(|| {
        format!(
            "the accuracy target was missed (cosine to fp32 of at least {}, and {} in the mean of held-out texts): reaching it \
             would take more than {:.0} MB for finer linear groups; an explicit least cosine is reached at any cost",
            accuracy.min_cosine,
            accuracy.mean_cosine,
            accuracy.cost / 1e6
        )
    });
    Ok(CalibrationResult {
        quantized: Some(quantized),
        folding,
        report: Some(report),
        notes: note.into_iter().collect(),
        scratch: store.into_scratch(),
        ..CalibrationResult::default()
    })
}

/// Passes through the layers once. For each layer, solves every linear group on the inputs that it sees, writes the
/// solutions, and measures how they move the embeddings of held-out texts.
fn fill(
    pass: &LayerPass<'_>,
    input: &CalibrationInput<'_>,
    scheme: Scheme,
    sequences: &[Vec<u32>],
    dir: &Path,
    progress: &dyn Progress,
) -> Result<CalibrationSummary> {
    let (d, weights) = (&input.checkpoint.decoder, input.weights);
    let size = |group: &LinearGroup| group.weight_count(d) as u64;
    let total: u64 = (0..d.layers)
        .flat_map(LinearGroup::of_layer)
        .map(|g| size(&g))
        .sum();
    progress.stage("calibrating", total);
    let (solved, held_out) = texts::split(sequences.iter().cloned());
    let batches = Batches::new(&solved);
    let mut states = pass.embed(&batches)?;
    let mut sensitivities = SensitivityPass::new(pass, &held_out)?;
    for layer in 0..d.layers {
        let mut solutions = Vec::new();
        // A session holds its layer's weights in float32, and solving leaves no memory for them. So `observe` closes its
        // session, and the sensitivities get a new one.
        for (group, inputs) in pass.observe(layer, &batches, &mut states)? {
            if progress.cancelled() {
                return Err(Error::Interrupted);
            }
            let weights = group.weights(d, weights)?;
            solutions.push(solve::solve(group, d, scheme, inputs, weights));
            progress.advance(size(&group));
        }
        let groups = LinearGroup::of_layer(layer);
        solution_store::write_layer(dir, &groups, &solutions)?;
        let solved = LayerSolutions {
            decoder: d,
            scheme,
            first: layer,
            layers: vec![solution_store::read_layer(dir, &groups, scheme, d)?],
        };
        let mut network = pass.open(
            layer,
            &ScaleFolding::default(),
            &QuantizedLinears::default(),
        )?;
        sensitivities.run_layer(layer, &mut network, &solved)?;
    }
    Ok(CalibrationSummary {
        texts: sequences.len(),
        tokens: sequences.iter().map(Vec::len).sum(),
        sensitivities: sensitivities.finish(scheme)?,
    })
}
