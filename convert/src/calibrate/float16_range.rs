//! Moves values into float16's range: channels whose values may exceed its largest number, and channels whose weights are
//! so small that float16 has few bits for them. Multiplying by powers of two leaves the network's function unchanged.
//!
//! There are two rescalings, both exact except for numbers that become subnormal:
//!
//! * Between two linear layers, a channel is divided where it is computed and multiplied back where it is used: from norm
//!   gains to query, key and value or to gate and up; from value to output; from up to down.
//! * The whole residual stream: the embedding table and the output and down projections are multiplied by 2^-k, and the
//!   epsilon of the norms that read the stream by 4^-k. RMSNorm's result does not depend on the scale of its input.
//!
//! Two limits say how large a value may become, and the smaller one counts. RMSNorm bounds its output for every text, and so
//! the output of the linear layer after it; real values are far below that bound. Values on texts, times [`MARGIN`], are
//! closer but no guarantee.

use lexivec_models::Decoder;
use lexivec_runtime::Library;

use super::calibration::CalibrationInput;
use super::calibration_texts as texts;
use super::layer_pass::{Batches, HiddenStates, LayerPass};
use super::linear_group::LinearGroup;
use super::rescaling::Rescaling;
use crate::error::{Error, Result};
use crate::probe_texts::probes;
use crate::progress::Progress;
use crate::quantized::QuantizedLinears;
use crate::reference::data_folder;
use crate::similarity::Similarity;
use crate::tensor::cast::largest;
use crate::weights::{ScaleFolding, Weights};

/// The largest float16 number.
const LARGEST: f32 = 65_504.0;
/// How much larger a channel may become on other texts than on the calibration texts.
const MARGIN: f32 = 16.0;
/// The same for the residual stream, which has no bound. It varies less from text to text than single channels do.
const RESIDUAL_MARGIN: f32 = 4.0;
/// The least value for the largest weight of a channel. float16 numbers from 2^-14 on have full precision, so weights that
/// are 64 times smaller than this one still have it.
const LEAST_WEIGHT: f32 = 1.0 / 256.0;
/// The least cosine between vectors before and after. Powers of two only change rounding near zero.
const UNCHANGED: f64 = 1.0 - 1e-6;

/// Finds values that float16 cannot hold, on the calibration texts and the probe texts, and the factors that move them into
/// range.
///
/// # Errors
/// The network does not run, the user interrupts, or rescaling changed the vector of a text.
pub(super) fn fit_float16(
    input: &CalibrationInput<'_>,
    texts: &[String],
    progress: &dyn Progress,
) -> Result<Rescaling> {
    let (checkpoint, weights) = (input.checkpoint, input.weights);
    let d = &checkpoint.decoder;
    let library = Library::load(input.onnxruntime, false)?;
    let mut sequences = texts::sequences(checkpoint, &probes())?;
    sequences.extend(texts::sequences(checkpoint, texts)?);
    let batches = Batches::new(&sequences);
    let folder = data_folder(&checkpoint.weights)?;
    let pass = LayerPass::new(library, d, weights, folder, &batches);
    progress.stage("looking for values beyond float16", d.layers as u64);
    let mut found = Rescaling::default();
    let mut states = pass.embed(&batches)?;
    let reach =
        |states: &HiddenStates| states.iter().map(|rows| largest(rows)).fold(0f32, f32::max);
    let mut residual = reach(&states);
    for layer in 0..d.layers {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        for (group, inputs) in pass.observe(layer, &batches, &mut states)? {
            fit_channels(&mut found, group, d, &inputs.column_maxima(), weights)?;
        }
        residual = residual.max(reach(&states));
        progress.advance(1);
    }
    if residual * RESIDUAL_MARGIN > LARGEST {
        found.residual = (LARGEST / (residual * RESIDUAL_MARGIN))
            .log2()
            .floor()
            .exp2();
        scale_residual(&mut found.folding, d, found.residual);
        found.notes.push(format!(
            "the residual stream reaches {residual:.0}, so it is multiplied by 2^{:.0} for float16",
            found.residual.log2()
        ));
    }
    if !found.notes.is_empty() {
        let before = pass.finish(&batches, &states)?;
        let pass = pass.rescaled(found.residual);
        let layers = |_| (QuantizedLinears::default(), found.folding.clone());
        let after = pass.run(&batches, progress, layers)?;
        let cosine = Similarity::of(&before, &after).min;
        if cosine < UNCHANGED {
            return Err(Error::Rescaling { cosine });
        }
    }
    Ok(found)
}

/// Multiplies every weight whose output is added to the residual stream.
fn scale_residual(folding: &mut ScaleFolding, d: &Decoder, factor: f32) {
    folding.scale_all_rows("embed_tokens.weight".to_owned(), d.vocab_size, factor);
    for layer in 0..d.layers {
        for linear in ["self_attn.o_proj", "mlp.down_proj"] {
            let name = format!("layers.{layer}.{linear}.weight");
            folding.scale_all_rows(name, d.hidden_size, factor);
        }
    }
}

/// Finds the factors of the channels that a linear group reads, whose largest values are `seen`.
fn fit_channels(
    found: &mut Rescaling,
    group: LinearGroup,
    d: &Decoder,
    seen: &[f32],
    weights: &Weights,
) -> Result<()> {
    let made = group.sources(d, weights)?;
    let used = group.weights(d, weights)?.column_maxima();
    let mut factors: Vec<f32> = (0..seen.len())
        .map(|c| {
            // The divisor that makes the channel's values fit, and the divisor that makes its weights larger.
            let reach = (seen[c] * MARGIN).min(made.bounds[c]);
            let values = (reach / LARGEST).log2().ceil().exp2().max(1.0);
            let down = (LEAST_WEIGHT / used[c]).log2().ceil().exp2();
            let up = (made.weights[c] / LEAST_WEIGHT).log2().floor().exp2();
            let weights = match used[c] > 0.0 {
                true => down.min(up).max(1.0),
                false => 1.0,
            };
            values.max(weights)
        })
        .collect();
    group.tie(d, &mut factors, f32::max);
    let channels = factors.iter().filter(|f| **f > 1.0).count();
    if channels > 0 {
        group.fold_smoothing(d, &factors, &mut found.folding);
        let widest = largest(&factors);
        let reach = largest(seen);
        found.notes.push(format!(
            "{} reads values up to {reach:.0}: for float16, {channels} of its {} input channels are divided by up to 2^{:.0}, and \
             its weights multiply them back",
            group.name().trim_end_matches(".weight"),
            seen.len(),
            widest.log2()
        ));
    }
    Ok(())
}
