//! What float16 cannot hold: channels whose values may pass its largest number, or whose weights lie where it has few
//! bits. Powers of two move both into its range, and what the network computes stays what it was.
//!
//! Two rescalings, both exact but for numbers that become subnormal:
//!
//! * Between two products a channel is divided where it is made and multiplied back where it is used: norm gains and
//!   query, key, value or gate, up; value and output; up and down.
//! * The residual stream as a whole: the embedding table, output and down projections are multiplied by 2^-k, and the
//!   epsilon of the norms that read it by 4^-k, for RMSNorm does not see its input's scale.
//!
//! How large a value may become is known in two ways. RMSNorm bounds its output for every text, and so what a product makes of
//! it; the bound is far from what happens. What happens on texts, times [`MARGIN`], is no bound. The smaller counts.

use lexivec_models::Decoder;
use lexivec_runtime::Library;

use super::Subject;
use super::group::Group;
use super::texts;
use super::walk::{Batches, States, Walk};
use crate::cast::largest;
use crate::error::{Error, Result};
use crate::fold::{self, Folds};
use crate::likeness::Likeness;
use crate::probes::probes;
use crate::progress::Progress;
use crate::quantize::Products;
use crate::reference::data_folder;
use crate::weights::Weights;

/// float16's largest number.
const LARGEST: f32 = 65_504.0;
/// How much larger than on the texts looked at a channel may become on others.
const MARGIN: f32 = 16.0;
/// The same for the residual stream, which has no bound. It grows less from text to text than single channels do.
const RESIDUAL_MARGIN: f32 = 4.0;
/// The largest weight of a channel should not be smaller: float16 has all its bits from 2^-14 on, so this leaves them to
/// weights that are 64 times smaller.
const LEAST_WEIGHT: f32 = 1.0 / 256.0;
/// The least cosine of vectors before and after: powers of two change nothing, but for rounding near zero.
const UNCHANGED: f64 = 1.0 - 1e-6;

/// What is multiplied so that a network fits float16.
#[derive(Debug, Clone)]
pub(super) struct Rescaling {
    pub(super) folds: Folds,
    /// What the residual stream is multiplied by.
    pub(super) residual: f32,
    /// What was found, a sentence each.
    pub(super) notes: Vec<String>,
}

impl Default for Rescaling {
    fn default() -> Self {
        Self {
            folds: Folds::default(),
            residual: 1.0,
            notes: Vec::new(),
        }
    }
}

/// Looks for what float16 cannot hold, on the calibration texts and the probes, and for what moves it into range.
///
/// # Errors
/// The network does not run, the user interrupts, or rescaling changed what it computes.
pub(super) fn fit_float16(
    subject: &Subject<'_>,
    texts: &[String],
    progress: &dyn Progress,
) -> Result<Rescaling> {
    let (checkpoint, weights) = (subject.checkpoint, subject.weights);
    let d = &checkpoint.decoder;
    let library = Library::load(subject.onnxruntime, false)?;
    let mut sequences = texts::sequences(checkpoint, &probes())?;
    sequences.extend(texts::sequences(checkpoint, texts)?);
    let batches = Batches::new(&sequences);
    let folder = data_folder(&checkpoint.weights)?;
    let walk = Walk::new(library, d, weights, folder, &batches);
    progress.stage("looking for what float16 cannot hold", d.layers as u64);
    let mut found = Rescaling::default();
    let mut states = walk.embed(&batches)?;
    let reach = |states: &States| states.iter().map(|rows| largest(rows)).fold(0f32, f32::max);
    let mut residual = reach(&states);
    for layer in 0..d.layers {
        if progress.cancelled() {
            return Err(Error::Interrupted);
        }
        for (group, inputs) in walk.observe(layer, &batches, &mut states)? {
            found.fit(group, d, &inputs.column_maxima(), weights)?;
        }
        residual = residual.max(reach(&states));
        progress.advance(1);
    }
    if residual * RESIDUAL_MARGIN > LARGEST {
        found.residual = (LARGEST / (residual * RESIDUAL_MARGIN))
            .log2()
            .floor()
            .exp2();
        scale_residual(&mut found.folds, d, found.residual);
        found.notes.push(format!(
            "the residual stream reaches {residual:.0}: for float16 it is multiplied by 2^{:.0}",
            found.residual.log2()
        ));
    }
    if !found.notes.is_empty() {
        let before = walk.finish(&batches, &states)?;
        let walk = walk.rescaled(found.residual);
        let layers = |_| (Products::default(), found.folds.clone());
        let after = walk.run(&batches, progress, layers)?;
        let cosine = Likeness::of(&before, &after).min;
        if cosine < UNCHANGED {
            return Err(Error::Rescaling { cosine });
        }
    }
    Ok(found)
}

/// Multiplies everything that is added to the residual stream.
fn scale_residual(folds: &mut Folds, d: &Decoder, factor: f32) {
    fold::scale_rows(
        folds,
        "embed_tokens.weight".to_owned(),
        d.vocab_size,
        factor,
    );
    for layer in 0..d.layers {
        for linear in ["self_attn.o_proj", "mlp.down_proj"] {
            let name = format!("layers.{layer}.{linear}.weight");
            fold::scale_rows(folds, name, d.hidden_size, factor);
        }
    }
}

impl Rescaling {
    /// Finds the factors of the channels that a product reads.
    fn fit(&mut self, group: Group, d: &Decoder, seen: &[f32], weights: &Weights) -> Result<()> {
        let made = group.sources(d, weights)?;
        let used = group.weights(d, weights)?.column_maxima();
        let mut factors: Vec<f32> = (0..seen.len())
            .map(|c| {
                // What divides the channel so that its values fit, and then what may divide it for its weights' sake.
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
            group.fold(d, &factors, &mut self.folds);
            let widest = largest(&factors);
            let reach = largest(seen);
            self.notes.push(format!(
                "{} reads values up to {reach:.0}: for float16, {channels} of {} channels are divided before it by up to 2^{:.0}, \
                 and multiplied back by its weights",
                group.name().trim_end_matches(".weight"),
                seen.len(),
                widest.log2()
            ));
        }
        Ok(())
    }
}
