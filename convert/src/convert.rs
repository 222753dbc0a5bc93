//! A conversion from start to finish.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lexivec_models::{
    Checkpoint, Dimensions, Error as ModelError, FORMAT_VERSION, Manifest, Quantization, Source,
    Verification, WeightStorage,
};
use lexivec_runtime::{Library, mapped_files};

use crate::calibrate::{self, CalibrationInput, CalibrationResult};
use crate::error::{Error, Result};
use crate::graph::{self, Variant};
use crate::input_files::InputFiles;
use crate::onnx::{InitializerData, OnnxModel};
use crate::options::ConvertOptions;
use crate::progress::Progress;
use crate::verify::{self, VerificationInput, Verifier};
use crate::weights::{self, Weights};
use crate::write::external_data;
use crate::write::file_records::{digest_of, of_checkpoint, of_written};
use crate::write::output_folder::Staging;
use crate::write::share_files::share;

/// The folder, inside the output folder, that holds merged weights while a model with an adapter is converted. If the
/// conversion is killed, the next one removes it.
const MERGED: &str = ".merged";

/// The result of a conversion.
#[derive(Debug, Clone)]
pub struct ConversionReport {
    /// The model directory.
    pub dir: PathBuf,
    /// Duration in seconds.
    pub seconds: f64,
    /// Size of graph and weights in bytes, including linked files.
    pub bytes: u64,
    /// How the weights are stored: in files of the model's own, or the checkpoint's.
    pub weights: WeightStorage,
    /// How close the model's vectors are to float32.
    pub verification: Verification,
    /// The decisions of calibration, if the model was calibrated.
    pub quantization: Option<Quantization>,
    /// Notes for the user, in full sentences.
    pub notes: Vec<String>,
}

/// Converts a checkpoint into a model directory at `output`, which appears completely or not at all.
///
/// # Errors
/// Every [`Error`] names the file, tensor or text at fault.
///
/// # Example
/// ```
/// use lexivec_convert::{ConvertOptions, Error, Silent, convert};
/// use lexivec_models::{Checkpoint, Verification, WeightStorage};
/// use lexivec_runtime::Provider;
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// let folder = tempfile::tempdir()?;
/// let output = folder.path().join("nano-fp32");
/// // Verification would load ONNX Runtime.
/// let mut options = ConvertOptions {
///     verify: false,
///     ..ConvertOptions::for_provider(Provider::Cpu, None)
/// };
/// let report = convert(&checkpoint, &output, &options, &Silent)?;
/// assert_eq!(report.dir, output);
/// assert!(matches!(report.verification, Verification::Skipped { .. }));
/// // The checkpoint's weights are bfloat16, so fp32 needs a weight file of its own.
/// assert_eq!(report.weights, WeightStorage::Own);
///
/// let again = convert(&checkpoint, &output, &options, &Silent);
/// assert!(matches!(again, Err(Error::Exists { .. })));
/// options.force = true;
/// convert(&checkpoint, &output, &options, &Silent)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn convert(
    checkpoint: &Checkpoint,
    output: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<ConversionReport> {
    mapped_files::survive_truncation();
    let inputs = InputFiles::snapshot(checkpoint)?;
    let converted = convert_inputs(checkpoint, &inputs, output, options, progress);
    if let Err(error) = &converted
        && !matches!(
            error,
            Error::Busy { .. } | Error::Exists { .. } | Error::Interrupted
        )
    {
        // A changed input file explains any failure better than the failure itself.
        inputs.check()?;
    }
    converted
}

fn convert_inputs(
    checkpoint: &Checkpoint,
    inputs: &InputFiles,
    output: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<ConversionReport> {
    let started = Instant::now();
    let truncated = mapped_files::zeroed_pages();
    options.check(&checkpoint.decoder)?;
    if options.provider.on_gpu() && (options.verify || options.calibration.is_some()) {
        // A process can load only one library. Loading the GPU's now keeps verification from loading the CPU's. If the library
        // is missing, the code that needs it reports that.
        let _ = Library::load(options.onnxruntime.as_deref(), true);
    }
    let staging = Staging::create(output, options.force)?;
    let dir = staging.dir();
    let variant = options.variant();
    // Fails before the work starts if the library for verification is missing.
    let verifier = verify::verifier(options)?;
    // Weights are read from the merged checkpoint, but digests are of the user's files.
    let given = checkpoint;
    let merging = dir.join(MERGED);
    let merged = weights::merged(given, &merging, progress)?;
    let checkpoint = merged.as_ref().unwrap_or(given);
    let weights = Weights::open(checkpoint)?.temporary(merged.is_some());
    let mut source = None;
    let calibrated = match &options.calibration {
        Some(calibration) if variant.is_quantised() || variant.computes_in_float16() => {
            // The cache of calibrations needs the digest.
            if variant.is_quantised() {
                source = Some(of_checkpoint(given)?);
            }
            let input = CalibrationInput {
                checkpoint,
                weights: &weights,
                digest: &source.as_ref().map(digest_of).unwrap_or_default(),
                onnxruntime: options.onnxruntime.as_deref(),
                scratch: dir,
                variant,
            };
            calibrate::calibrate(&input, calibration, progress)?
        }
        _ => CalibrationResult::default(),
    };
    let variant = Variant {
        residual: calibrated.residual,
        ..variant
    };
    let model = graph::build(
        &checkpoint.decoder,
        &weights.with_folding(&calibrated.folding),
        variant,
        calibrated.quantized.as_ref(),
    )?;
    let storage = place_checkpoint_files(&model, checkpoint, &weights, dir)?;
    // Computing the digest keeps one core busy while the others write.
    let (source, written) = rayon::join(
        || source.map_or_else(|| of_checkpoint(given), Ok),
        || external_data::write(model, dir, progress),
    );
    written?;
    let source = source?;
    copy_small_files(checkpoint, dir)?;
    let (verification, known_answer) = match verifier {
        Verifier::On(library, providers) => {
            let input = VerificationInput {
                checkpoint,
                weights: &weights,
                dir,
                precision: variant.precision,
            };
            verify::verify(&input, library, providers, progress)?
        }
        Verifier::Skipped(reason) => (Verification::Skipped { reason }, None),
    };
    if merged.is_some() {
        fs_err::remove_dir_all(&merging).map_err(|e| ModelError::io(&merging, e))?;
    }
    let (quantization, notes) = calibrated.finish();
    let files = of_written(dir)?;
    let manifest = Manifest {
        format: FORMAT_VERSION,
        program: concat!("lexivec ", env!("CARGO_PKG_VERSION")).to_owned(),
        source: Source {
            id: checkpoint.source.clone(),
            files: source,
        },
        dimensions: Dimensions::up_to(checkpoint.decoder.hidden_size),
        decoder: checkpoint.decoder.clone(),
        precision: variant.precision,
        target: variant.target,
        attention: variant.attention,
        layout: variant.layout,
        max_length: checkpoint.max_length(),
        prompts: checkpoint.sentence.prompts.clone(),
        default_prompt: checkpoint.sentence.default_prompt.clone(),
        weights: storage,
        files,
        verification,
        known_answer,
        blocks: variant.format().map(|_| variant.blocks),
        quantization,
        notes: [
            checkpoint.notes.clone(),
            weights.note().into_iter().collect(),
            notes,
        ]
        .concat(),
    };
    inputs.check()?;
    if mapped_files::zeroed_pages() != truncated {
        return Err(Error::Unreadable {
            dir: checkpoint.dir.clone(),
        });
    }
    manifest.write(dir)?;
    if progress.cancelled() {
        return Err(Error::Interrupted);
    }
    staging.commit()?;
    Ok(ConversionReport {
        dir: output.to_path_buf(),
        seconds: started.elapsed().as_secs_f64(),
        bytes: manifest.files.values().map(|f| f.size).sum(),
        weights: storage,
        verification: manifest.verification,
        quantization: manifest.quantization,
        notes: manifest.notes,
    })
}

/// Places the checkpoint's weight files beside a graph that refers to them, and returns how. If files were placed in
/// different ways, a copy counts more than a link, and a link more than a clone.
fn place_checkpoint_files(
    model: &OnnxModel,
    checkpoint: &Checkpoint,
    weights: &Weights,
    dir: &Path,
) -> Result<WeightStorage> {
    let referred: Vec<_> = model
        .initializers()
        .iter()
        .filter(|i| matches!(i.data, InitializerData::File(_)))
        .collect();
    if referred.is_empty() {
        return Ok(WeightStorage::Own);
    }
    // An initializer that refers to a file is a single tensor, and has its name.
    weights.check_finite(
        referred
            .iter()
            .map(|i| (i.name.as_str(), i.shape.as_slice())),
    )?;
    let mut storage = WeightStorage::Cloned;
    for path in &checkpoint.weights {
        let io = |e| Error::from(ModelError::io(path, e));
        // Resolves links, because ONNX Runtime rejects data outside the model's folder.
        let real = fs_err::canonicalize(path).map_err(io)?;
        let how = share(&real, &dir.join(path.file_name().unwrap_or_default()))?;
        storage = match (storage, how) {
            (WeightStorage::Copied, _) | (_, WeightStorage::Copied) => WeightStorage::Copied,
            (WeightStorage::Linked, _) | (_, WeightStorage::Linked) => WeightStorage::Linked,
            _ => how,
        };
    }
    Ok(storage)
}

fn copy_small_files(checkpoint: &Checkpoint, dir: &Path) -> Result<()> {
    for name in checkpoint.copied_files() {
        let target = dir.join(&name);
        let io = |e| ModelError::io(&target, e);
        if let Some(parent) = target.parent() {
            fs_err::create_dir_all(parent).map_err(io)?;
        }
        copy_content(&checkpoint.path_of(&name), &target).map_err(io)?;
    }
    Ok(())
}

/// Copies the contents of a file but not its mode, because a model that others serve must be readable even if the checkpoint
/// was private.
fn copy_content(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (fs_err::File::open(from)?, fs_err::File::create(to)?);
    std::io::copy(&mut from, &mut to).map(|_| ())
}
