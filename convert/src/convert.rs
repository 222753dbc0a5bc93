//! A conversion from beginning to end.

use std::path::{Path, PathBuf};
use std::time::Instant;

use lexivec_models::{
    Checkpoint, Dimensions, Error as ModelError, FORMAT_VERSION, Manifest, Quantization, Source,
    Verification, WeightStorage,
};
use lexivec_runtime::{Library, mapped_files};

use crate::calibrate::{self, Calibrated};
use crate::error::{Error, Result};
use crate::external;
use crate::graph::{self, Data, Model, Variant};
use crate::inputs::Inputs;
use crate::options::ConvertOptions;
use crate::output::Staging;
use crate::progress::Progress;
use crate::records::{digest_of, of_checkpoint, of_written};
use crate::share::share;
use crate::verify::{self, Subject, Verifier};
use crate::weights::{self, Weights};

/// Where the weights of a model with an adapter are while it is converted; a killed conversion leaves it to the next one to
/// remove.
const MERGED: &str = ".merged";

/// What a conversion did.
#[derive(Debug, Clone)]
pub struct Report {
    /// The model directory.
    pub dir: PathBuf,
    /// Seconds from beginning to end.
    pub seconds: f64,
    /// Bytes of graph and weights, linked files included.
    pub bytes: u64,
    /// Whose the weight files are.
    pub weights: WeightStorage,
    /// How far the model is from float32.
    pub verification: Verification,
    /// What calibration decided, where there was one.
    pub quantization: Option<Quantization>,
    /// What a user should know about the model.
    pub notes: Vec<String>,
}

/// Converts a checkpoint into a model directory at `output`, which appears whole or not at all.
///
/// # Errors
/// See [`Error`]; each names the file, tensor or text.
pub fn convert(
    checkpoint: &Checkpoint,
    output: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Report> {
    mapped_files::survive_truncation();
    let inputs = Inputs::snapshot(checkpoint)?;
    let converted = convert_inputs(checkpoint, &inputs, output, options, progress);
    if let Err(error) = &converted
        && !matches!(
            error,
            Error::Busy { .. } | Error::Exists { .. } | Error::Interrupted
        )
    {
        // Whatever went wrong, that is why.
        inputs.check()?;
    }
    converted
}

fn convert_inputs(
    checkpoint: &Checkpoint,
    inputs: &Inputs,
    output: &Path,
    options: &ConvertOptions,
    progress: &dyn Progress,
) -> Result<Report> {
    let started = Instant::now();
    let truncated = mapped_files::zeroed_pages();
    options.check(&checkpoint.decoder)?;
    if options.provider.on_gpu() && (options.verify || options.calibration.is_some()) {
        // A process has one library: the CPU's would leave nothing to verify with. Whoever needs it reports that it is missing.
        let _ = Library::load(options.onnxruntime.as_deref(), true);
    }
    let staging = Staging::create(output, options.force)?;
    let dir = staging.dir();
    let variant = options.variant();
    // Before the work, because what is missing would be found only after it.
    let verifier = verify::verifier(options)?;
    // Its weights are those that everything below reads; the digests are of the files that the user has.
    let given = checkpoint;
    let merging = dir.join(MERGED);
    let merged = weights::merged(given, &merging, progress)?;
    let checkpoint = merged.as_ref().unwrap_or(given);
    let weights = Weights::open(checkpoint)?.temporary(merged.is_some());
    let mut source = None;
    let calibrated = match &options.calibration {
        Some(calibration) if variant.is_quantised() || variant.computes_in_float16() => {
            // A calibration of integers is kept for the same checkpoint.
            if variant.is_quantised() {
                source = Some(of_checkpoint(given)?);
            }
            let subject = calibrate::Subject {
                checkpoint,
                weights: &weights,
                digest: &source.as_ref().map(digest_of).unwrap_or_default(),
                onnxruntime: options.onnxruntime.as_deref(),
                scratch: dir,
                variant,
            };
            calibrate::calibrate(&subject, calibration, progress)?
        }
        _ => Calibrated::default(),
    };
    let variant = Variant {
        residual: calibrated.residual,
        ..variant
    };
    let model = graph::build(
        &checkpoint.decoder,
        &weights.folded(calibrated.folds.clone()),
        variant,
        calibrated.products.as_ref(),
    )?;
    let storage = place_checkpoint_files(&model, checkpoint, dir)?;
    // Reading the checkpoint for its digest takes one core, writing keeps the others busy.
    let (source, written) = rayon::join(
        || source.map_or_else(|| of_checkpoint(given), Ok),
        || external::write(model, dir, progress),
    );
    written?;
    let source = source?;
    copy_small_files(checkpoint, dir)?;
    let (verification, known_answer) = match verifier {
        Verifier::On(library, providers) => {
            let subject = Subject {
                checkpoint,
                weights: &weights,
                dir,
                precision: variant.precision,
            };
            verify::verify(&subject, library, providers, progress)?
        }
        Verifier::Nobody(reason) => (Verification::Skipped { reason }, None),
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
    Ok(Report {
        dir: output.to_path_buf(),
        seconds: started.elapsed().as_secs_f64(),
        bytes: manifest.files.values().map(|f| f.size).sum(),
        weights: storage,
        verification: manifest.verification,
        quantization: manifest.quantization,
        notes: manifest.notes,
    })
}

/// Puts the checkpoint's weight files beside a graph that refers to them, and returns how. Of files that were placed in
/// different ways, the one that a user has to know most about counts.
fn place_checkpoint_files(
    model: &Model,
    checkpoint: &Checkpoint,
    dir: &Path,
) -> Result<WeightStorage> {
    let referred = model
        .initializers()
        .iter()
        .any(|i| matches!(i.data, Data::Reference(_)));
    if !referred {
        return Ok(WeightStorage::Own);
    }
    external::check_references(model)?;
    let mut storage = WeightStorage::Cloned;
    for path in &checkpoint.weights {
        let io = |e| Error::from(ModelError::io(path, e));
        // A link to a link would not do: ONNX Runtime refuses data that lies outside the model's folder.
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

/// Copies what a file holds, and not its mode: a model that others serve must not be as private as the checkpoint was.
fn copy_content(from: &Path, to: &Path) -> std::io::Result<()> {
    let (mut from, mut to) = (fs_err::File::open(from)?, fs_err::File::create(to)?);
    std::io::copy(&mut from, &mut to).map(|_| ())
}
