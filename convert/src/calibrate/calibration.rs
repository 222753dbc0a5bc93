//! The options, the input and the result of a calibration.

use std::path::{Path, PathBuf};

use lexivec_models::{Checkpoint, Quantization};

use super::accuracy_target::AccuracyTarget;
use super::rescaling::Rescaling;
use crate::graph::Variant;
use crate::quantized::QuantizedLinears;
use crate::weights::{ScaleFolding, Weights};

/// How to calibrate a quantised model.
///
/// ```
/// use lexivec_convert::{AccuracyTarget, Calibration, ConvertOptions};
/// use lexivec_models::Precision;
/// use lexivec_runtime::Provider;
///
/// let calibration = Calibration {
///     texts: vec!["cardiac arrest".to_owned(), "atrial fibrillation".to_owned()],
///     accuracy_target: Some(AccuracyTarget::at_least(0.99)),
///     cache: None,
/// };
/// let options = ConvertOptions {
///     calibration: Some(calibration),
///     ..ConvertOptions::for_provider(Provider::Cpu, Some(Precision::Int8))
/// };
/// assert_eq!(options.calibration.map_or(0, |calibration| calibration.texts.len()), 2);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Calibration {
    /// Texts like those that will be embedded. Empty for a built-in set of terms, sentences and code in many languages.
    pub texts: Vec<String>,
    /// How close to float32 texts must stay. The fewest linear groups that suffice are computed more finely. `None` for the
    /// default of the precision, [`AccuracyTarget::of`].
    pub accuracy_target: Option<AccuracyTarget>,
    /// The folder that keeps calibrations for later conversions. `None` to keep none.
    pub cache: Option<PathBuf>,
}

/// The input of a calibration.
#[derive(Clone, Copy)]
pub(crate) struct CalibrationInput<'a> {
    pub(crate) checkpoint: &'a Checkpoint,
    pub(crate) weights: &'a Weights,
    /// Changes whenever the checkpoint's weights do. Only read if weights are quantised.
    pub(crate) digest: &'a str,
    pub(crate) onnxruntime: Option<&'a Path>,
    /// The folder for weights that are not cached.
    pub(crate) scratch: &'a Path,
    pub(crate) variant: Variant,
}

/// The decisions of a calibration, in the form that the graph needs.
pub(crate) struct CalibrationResult {
    /// The quantised linear groups. `None` if all groups compute as the precision says.
    pub(crate) quantized: Option<QuantizedLinears>,
    pub(crate) folding: ScaleFolding,
    /// The factor of the residual stream that is folded into the weights.
    pub(crate) residual: f32,
    pub(crate) report: Option<Quantization>,
    /// Notes for the user, a sentence each.
    pub(crate) notes: Vec<String>,
    /// Holds weights that are not cached until the model is written.
    pub(super) scratch: Option<tempfile::TempDir>,
}

impl Default for CalibrationResult {
    fn default() -> Self {
        Self {
            quantized: None,
            folding: ScaleFolding::default(),
            residual: 1.0,
            report: None,
            notes: Vec::new(),
            scratch: None,
        }
    }
}

impl CalibrationResult {
    /// Adds the rescaling with which the weights were read during calibration.
    pub(super) fn rescaled(self, rescaling: Rescaling) -> Self {
        Self {
            folding: rescaling.folding.combined_with(&self.folding),
            residual: rescaling.residual,
            notes: [rescaling.notes, self.notes].concat(),
            ..self
        }
    }

    /// The report and notes for the manifest. Deletes uncached weights, so the model must have been written before.
    pub(crate) fn finish(self) -> (Option<Quantization>, Vec<String>) {
        drop(self.scratch);
        (self.report, self.notes)
    }
}
