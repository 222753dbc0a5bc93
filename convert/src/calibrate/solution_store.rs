//! The folder that a calibration fills: a safetensors file per layer, and a summary of measurements. The cache folder keeps
//! it under a name that depends on weights, texts and program version, so that other targets and layouts of the same
//! checkpoint reuse it.
#![allow(unsafe_code)] // memory maps

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lexivec_kernels::hadamard;
use lexivec_models::{Decoder, Error as ModelError, LinearPrecision};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::basis::{Basis, SEED, STRENGTHS_BEFORE_ROTATION};
use super::calibration::CalibrationInput;
use super::linear_group::LinearGroup;
use super::rescaling::Rescaling;
use super::rounding_grid::{EncodedWeights, Scheme};
use super::solve::{Solution, WORTH_ROTATING};
use crate::error::{Error, Result};
use crate::quantized::{BlockFormat, BlockWeights, Float8Weights, Int8Weights, QuantizedLinear};
use crate::write::output_folder::Staging;

/// Must change whenever the solver gives other weights, or a pass through the layers measures other sensitivities, for the same texts.
const SOLVER: u32 = 3;
const SUMMARY: &str = "calibration.json";

/// The store of a calibration's solutions.
pub(super) enum SolutionStore {
    /// A folder of the cache, which is complete or does not exist yet.
    Cached(PathBuf),
    /// A temporary folder, deleted after the conversion.
    Scratch(TempDir),
}

impl SolutionStore {
    /// The store for these weights and sequences.
    pub(super) fn new(
        cache: Option<&Path>,
        input: &CalibrationInput<'_>,
        rescaling: &Rescaling,
        scheme: Scheme,
        sequences: &[Vec<u32>],
    ) -> Result<Self> {
        let Some(cache) = cache else {
            return Self::scratch(input.scratch);
        };
        let mut digest = Sha256::new();
        digest.update(env!("CARGO_PKG_VERSION"));
        digest.update(input.digest);
        digest.update(format!(
            "{SOLVER} {} {:?}",
            cache_key(scheme),
            rescaling.notes
        ));
        for sequence in sequences {
            digest.update((sequence.len() as u64).to_le_bytes());
            digest.update(bytemuck::cast_slice::<u32, u8>(sequence));
        }
        let key = hex::encode(&digest.finalize()[..8]);
        let name = input.checkpoint.source.name.replace('/', "--");
        Ok(Self::Cached(cache.join(format!("{name}-{key}"))))
    }

    fn scratch(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix(".calibration")
            .tempdir_in(parent)
            .map_err(|e| ModelError::io(parent, e))?;
        Ok(Self::Scratch(dir))
    }

    pub(super) fn dir(&self) -> &Path {
        match self {
            Self::Cached(dir) => dir,
            Self::Scratch(dir) => dir.path(),
        }
    }

    /// Returns the store with its summary, after `fill` has filled it if it was empty. A folder in the cache appears
    /// completely or not at all. While another process fills it, this process calibrates on its own, in a folder below
    /// `parent`.
    pub(super) fn filled(
        self,
        parent: &Path,
        fill: impl FnOnce(&Path) -> Result<CalibrationSummary>,
    ) -> Result<(Self, CalibrationSummary)> {
        let dir = match &self {
            Self::Scratch(dir) => {
                let summary = fill(dir.path())?;
                return Ok((self, summary));
            }
            Self::Cached(dir) => dir,
        };
        if let Some(summary) = summary(dir) {
            return Ok((self, summary));
        }
        let staging = match Staging::create(dir, false) {
            Err(Error::Busy { .. }) => return Self::scratch(parent)?.filled(parent, fill),
            staging => staging?,
        };
        let summary = fill(staging.dir())?;
        let path = staging.dir().join(SUMMARY);
        let text = serde_json::to_string_pretty(&summary).unwrap_or_default();
        fs_err::write(&path, text).map_err(|e| ModelError::io(&path, e))?;
        staging.commit()?;
        Ok((self, summary))
    }

    /// The temporary folder, which must exist until the model is written.
    pub(super) fn into_scratch(self) -> Option<TempDir> {
        match self {
            Self::Cached(_) => None,
            Self::Scratch(dir) => Some(dir),
        }
    }
}

/// The part of the cache key that describes a scheme. Changing it would invalidate calibrations that are cached already.
fn cache_key(scheme: Scheme) -> String {
    match scheme {
        Scheme::Channels { rotates: false } => "Channels".to_owned(),
        Scheme::Channels { rotates: true } => format!(
            "Channels, rotated by {SEED} after {STRENGTHS_BEFORE_ROTATION:?} if worth {WORTH_ROTATING}"
        ),
        Scheme::Float8 => "Float8".to_owned(),
        Scheme::Blocks(BlockFormat {
            bits,
            size,
            zero_points,
        }) => {
            format!("Blocks(Format {{ bits: {bits}, size: {size}, zero_points: {zero_points} }})")
        }
    }
}

fn summary(dir: &Path) -> Option<CalibrationSummary> {
    let text = fs_err::read_to_string(dir.join(SUMMARY)).ok()?;
    serde_json::from_str(&text).ok()
}

/// The solution of a linear group, in a file.
pub(super) struct StoredSolution {
    pub(super) basis: Basis,
    pub(super) rounding: String,
    scheme: Scheme,
    inputs: usize,
    outputs: usize,
    scales: Vec<f32>,
    zeros: Option<Vec<u8>>,
    file: Arc<Mmap>,
    start: usize,
}

impl StoredSolution {
    /// The quantised linear group in this precision, which is not [`LinearPrecision::Fp32`]. `rescale` multiplies rows: it is
    /// given the scales and the number of scales per row.
    pub(super) fn quantized_linear(
        &self,
        precision: LinearPrecision,
        rescale: impl FnOnce(&mut [f32], usize),
    ) -> QuantizedLinear {
        let mut scales = self.scales.clone();
        let codes = (Arc::clone(&self.file), self.start);
        match self.scheme {
            Scheme::Channels { .. } => {
                rescale(&mut scales, 1);
                let (file, start) = codes;
                let rotation = self.basis.rotation;
                let quantized = Int8Weights::stored(self.inputs, rotation, scales, file, start);
                let quantized = Arc::new(quantized);
                match precision {
                    LinearPrecision::Int8x2 => QuantizedLinear::Int8x2(quantized),
                    _ => QuantizedLinear::Int8(quantized),
                }
            }
            Scheme::Float8 => {
                let weights = Float8Weights::stored(self.inputs, self.outputs, scales[0], codes);
                QuantizedLinear::Float8(weights.into())
            }
            // 8 bits are so fine that rounding to nearest is as good as the solution would be.
            Scheme::Blocks(format)
                if precision == LinearPrecision::Int8Weight && format.bits < 8 =>
            {
                QuantizedLinear::BlocksRoundedToNearest(BlockFormat { bits: 8, ..format })
            }
            Scheme::Blocks(format) => {
                rescale(&mut scales, format.blocks(self.inputs));
                let zeros = self.zeros.clone();
                let blocks = BlockWeights::stored(format, self.inputs, scales, zeros, codes);
                QuantizedLinear::Blocks(blocks.into())
            }
        }
    }
}

/// The measurements of a calibration.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct CalibrationSummary {
    pub(super) texts: usize,
    pub(super) tokens: usize,
    /// By linear groups and inexact precisions of the scheme: the mean of 1 - cosine if only this group is quantised.
    #[serde(alias = "effects")]
    pub(super) sensitivities: Vec<Vec<f64>>,
}

/// Writes the solutions of a layer.
pub(super) fn write_layer(
    dir: &Path,
    groups: &[LinearGroup],
    solutions: &[Solution],
) -> Result<()> {
    let mut tensors: Vec<(String, TensorView<'_>)> = Vec::new();
    let mut metadata = std::collections::HashMap::new();
    let view = |dtype, shape: Vec<usize>, bytes| {
        TensorView::new(dtype, shape, bytes).map_err(|source| Error::Safetensors {
            path: dir.to_path_buf(),
            source,
        })
    };
    for (group, solution) in groups.iter().zip(solutions) {
        let name = group.name();
        let (dtype, codes): (_, &[u8]) = match &solution.codes {
            EncodedWeights::Channels(codes) => (Dtype::I8, bytemuck::cast_slice(codes)),
            EncodedWeights::Blocks(codes) | EncodedWeights::Float8(codes) => (Dtype::U8, codes),
        };
        let codes = view(dtype, vec![codes.len()], codes)?;
        tensors.push((format!("{name}.codes"), codes));
        let scales = bytemuck::cast_slice(&solution.scales);
        let scales = view(Dtype::F32, vec![solution.scales.len()], scales)?;
        tensors.push((format!("{name}.scales"), scales));
        if let Some(zeros) = &solution.zeros {
            let zeros = view(Dtype::U8, vec![zeros.len()], zeros)?;
            tensors.push((format!("{name}.zeros"), zeros));
        }
        metadata.insert(format!("{name}.rounding"), solution.rounding.to_owned());
        let basis = &solution.basis;
        if let Some(factors) = &basis.factors {
            let bytes = bytemuck::cast_slice(factors);
            let factors = view(Dtype::F32, vec![factors.len()], bytes)?;
            tensors.push((format!("{name}.smoothing"), factors));
        }
        if let Some(strength) = basis.strength {
            metadata.insert(format!("{name}.strength"), strength.to_string());
        }
        if let Some(block) = basis.rotation {
            metadata.insert(format!("{name}.rotation"), block.to_string());
        }
    }
    let path = file_of(dir, groups[0].layer);
    safetensors::serialize_to_file(tensors, Some(metadata), &path)
        .map_err(|source| Error::Safetensors { path, source })
}

/// Opens the solutions of a layer.
pub(super) fn read_layer(
    dir: &Path,
    groups: &[LinearGroup],
    scheme: Scheme,
    d: &Decoder,
) -> Result<Vec<StoredSolution>> {
    let path = file_of(dir, groups[0].layer);
    let damaged = |source| Error::Safetensors {
        path: path.clone(),
        source,
    };
    let file = fs_err::File::open(&path).map_err(|e| ModelError::io(&path, e))?;
    // SAFETY: the map is read-only, and this program wrote the file under a name that nothing else uses.
    let map = Arc::new(unsafe { Mmap::map(file.file()) }.map_err(|e| ModelError::io(&path, e))?);
    let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
    let all = SafeTensors::deserialize(&map).map_err(damaged)?;
    let notes = metadata.metadata().clone().unwrap_or_default();
    let floats = |name: &str| -> Result<Vec<f32>> {
        let tensor = all.tensor(name).map_err(damaged)?;
        let values = tensor.data().as_chunks::<4>().0;
        Ok(values.iter().map(|b| f32::from_le_bytes(*b)).collect())
    };
    groups
        .iter()
        .map(|group| {
            let name = group.name();
            let codes = format!("{name}.codes");
            let info = metadata
                .info(&codes)
                .ok_or_else(|| damaged(safetensors::SafeTensorError::TensorNotFound(codes)))?;
            let note = |what: &str| notes.get(&format!("{name}.{what}"));
            let invalid = || damaged(safetensors::SafeTensorError::TensorInvalidInfo);
            let factors = format!("{name}.smoothing");
            let has_factors = metadata.info(&factors).is_some();
            let strength = note("strength").map(|note| note.parse().map_err(|_| invalid()));
            let rotation = note("rotation").map(|note| {
                let block = note.parse().map_err(|_| invalid())?;
                hadamard::check(group.inputs(d), block).map_err(|_| invalid())?;
                Ok::<_, Error>(block)
            });
            let basis = Basis {
                strength: strength.transpose()?,
                factors: has_factors.then(|| floats(&factors)).transpose()?,
                rotation: rotation.transpose()?,
            };
            Ok(StoredSolution {
                basis,
                rounding: note("rounding").cloned().unwrap_or_default(),
                scheme,
                inputs: group.inputs(d),
                outputs: group.outputs(d).iter().sum(),
                zeros: all
                    .tensor(&format!("{name}.zeros"))
                    .ok()
                    .map(|zeros| zeros.data().to_vec()),
                scales: floats(&format!("{name}.scales"))?,
                file: Arc::clone(&map),
                start: header + 8 + info.data_offsets.0,
            })
        })
        .collect()
}

fn file_of(dir: &Path, layer: usize) -> PathBuf {
    dir.join(format!("layers.{layer}.safetensors"))
}
