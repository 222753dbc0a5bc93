//! Calibration: the activations of the float32 network on real texts decide how each linear group is quantised.
//!
//! ```text
//! texts ── layer_pass: the reference, layer by layer ──▶ inputs of every linear group
//!             │                                              │ solve: basis, scales, rounding, by the output's error
//!             │                                              ▼
//!             └── sensitivity: each group alone ◀────── solution_store (cache folder)
//!                 on held-out texts
//!                            │
//!                            ▼
//!             mixed_precision: the fewest groups in finer precisions that reach the accuracy target
//! ```
//!
//! * `calibration` holds the options, the input and the result; `accuracy_target` what must be reached.
//! * `linear_group` describes the four linear groups of a layer.
//! * `float16_range` comes first if the graph computes in float16: it finds a `rescaling` that moves values into its range.
//! * `quantise` runs the steps of the picture, whose files are named in it; `layer_solutions` turns stored solutions into
//!   quantised linear groups, and `rounding_grid` holds the values that weights can be rounded to.
//!
//! * `basis` holds the changes of basis that make an input easier to quantise: smoothing and rotation.
//!
//! Smoothing is folded into the weights while they are written ([`crate::weights::ScaleFolding`]), so the graph has no nodes
//! for it. A rotation is an attribute of the operator that quantises.

mod accuracy_target;
mod basis;
mod calibration;
mod calibration_texts;
mod float16_range;
mod layer_pass;
mod layer_solutions;
mod linear_group;
mod mixed_precision;
mod quantise;
mod rescaling;
mod rounding_grid;
mod sensitivity;
mod solution_store;
mod solve;

pub use accuracy_target::AccuracyTarget;
pub use calibration::Calibration;
pub(crate) use calibration::{CalibrationInput, CalibrationResult};

use crate::error::Result;
use crate::progress::Progress;
use rescaling::Rescaling;

/// Calibrates a checkpoint. If the graph computes in float16, first moves values into float16's range. Then quantises the
/// weights, if the variant has quantised ones.
///
/// # Errors
/// A text cannot be tokenised, the reference does not run, or the user interrupts.
pub(crate) fn calibrate(
    input: &CalibrationInput<'_>,
    options: &Calibration,
    progress: &dyn Progress,
) -> Result<CalibrationResult> {
    let rescaling = match input.variant.computes_in_float16() {
        true => float16_range::fit_float16(input, &options.texts, progress)?,
        false => Rescaling::default(),
    };
    if !input.variant.is_quantised() {
        return Ok(CalibrationResult::default().rescaled(rescaling));
    }
    let input = CalibrationInput {
        weights: &input.weights.with_folding(&rescaling.folding),
        ..*input
    };
    Ok(quantise::quantise(&input, &rescaling, options, progress)?.rescaled(rescaling))
}
