//! The folder that a calibration fills: a safetensors file per layer, and what was measured. It is kept in lexivec's
//! cache under a name that changes with weights, texts and program, so that other targets and layouts of the same
//! checkpoint need not calibrate again.
#![allow(unsafe_code)] // memory maps

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lexivec_models::{Decoder, Error as ModelError, LinearPrecision};
use memmap2::Mmap;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::Subject;
use super::group::Group;
use super::range::Rescaling;
use super::solve::{Codes, Scheme, Solution};
use crate::blocks::{BlockQuantized, Format};
use crate::error::{Error, Result};
use crate::float8::Float8;
use crate::output::Staging;
use crate::quantize::{Product, Quantized};

/// Changes whenever the same texts give other weights.
const SOLVER: u32 = 2;
const SUMMARY: &str = "calibration.json";

/// Where a calibration is kept.
pub(super) enum Place {
    /// In the cache: there whole, or yet to be filled.
    Cached(PathBuf),
    /// In a folder that goes with the conversion.
    Scratch(TempDir),
}

impl Place {
    /// The place for these weights and sequences.
    pub(super) fn new(
        cache: Option<&Path>,
        subject: &Subject<'_>,
        rescaling: &Rescaling,
        scheme: Scheme,
        sequences: &[Vec<u32>],
    ) -> Result<Self> {
        let Some(cache) = cache else {
            return Self::scratch(subject.scratch);
        };
        let mut digest = Sha256::new();
        digest.update(env!("CARGO_PKG_VERSION"));
        digest.update(subject.digest);
        digest.update(format!("{SOLVER} {scheme:?} {:?}", rescaling.notes));
        for sequence in sequences {
            digest.update((sequence.len() as u64).to_le_bytes());
            digest.update(bytemuck::cast_slice::<u32, u8>(sequence));
        }
        let key: String = digest
            .finalize()
            .iter()
            .take(8)
            .map(|b| format!("{b:02x}"))
            .collect();
        let name = subject.checkpoint.source.name.replace('/', "--");
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

    /// What is there already, or what `fill` puts there. A folder in the cache appears whole or not at all; while another
    /// process fills it, this one calibrates for itself, in a folder within `parent`.
    pub(super) fn filled(
        self,
        parent: &Path,
        fill: impl FnOnce(&Path) -> Result<Summary>,
    ) -> Result<(Self, Summary)> {
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

    /// The folder that has to live until the model is written.
    pub(super) fn into_scratch(self) -> Option<TempDir> {
        match self {
            Self::Cached(_) => None,
            Self::Scratch(dir) => Some(dir),
        }
    }
}

fn summary(dir: &Path) -> Option<Summary> {
    let text = fs_err::read_to_string(dir.join(SUMMARY)).ok()?;
    serde_json::from_str(&text).ok()
}

/// One product's solution in a file.
pub(super) struct Stored {
    /// SmoothQuant's strength and factors.
    pub(super) smoothing: Option<(f32, Vec<f32>)>,
    pub(super) rounding: String,
    scheme: Scheme,
    inputs: usize,
    outputs: usize,
    scales: Vec<f32>,
    zeros: Option<Vec<u8>>,
    file: Arc<Mmap>,
    start: usize,
}

impl Stored {
    /// Its weights computing in this precision, which is not [`LinearPrecision::Fp32`], with the rows multiplied as
    /// `rescale` says; that is given the scales and how many of them a row has.
    pub(super) fn product(
        &self,
        precision: LinearPrecision,
        rescale: impl FnOnce(&mut [f32], usize),
    ) -> Product {
        let mut scales = self.scales.clone();
        let codes = (Arc::clone(&self.file), self.start);
        match self.scheme {
            Scheme::Channels => {
                rescale(&mut scales, 1);
                let quantized = Arc::new(Quantized::stored(self.inputs, scales, codes.0, codes.1));
                match precision {
                    LinearPrecision::Int8x2 => Product::Int8x2(quantized),
                    _ => Product::Int8(quantized),
                }
            }
            Scheme::Float8 => {
                let weights = Float8::stored(self.inputs, self.outputs, scales[0], codes);
                Product::Float8(weights.into())
            }
            // Eight bits round so finely that nothing is gained by choosing how.
            Scheme::Blocks(format)
                if precision == LinearPrecision::Int8Weight && format.bits < 8 =>
            {
                Product::NearestBlocks(Format { bits: 8, ..format })
            }
            Scheme::Blocks(format) => {
                rescale(&mut scales, format.blocks(self.inputs));
                let zeros = self.zeros.clone();
                let blocks = BlockQuantized::stored(format, self.inputs, scales, zeros, codes);
                Product::Blocks(blocks.into())
            }
        }
    }
}

/// What was measured of each product, beside its weights.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Summary {
    pub(super) texts: usize,
    pub(super) tokens: usize,
    /// By products, and by the scheme's precisions but for the last, which is exact: how far the embedding moves when one
    /// product alone is quantised, as mean 1 - cosine.
    pub(super) effects: Vec<Vec<f64>>,
}

/// Writes a layer's solutions.
pub(super) fn write_layer(dir: &Path, groups: &[Group], solutions: &[Solution]) -> Result<()> {
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
            Codes::Channels(codes) => (Dtype::I8, bytemuck::cast_slice(codes)),
            Codes::Blocks(codes) | Codes::Float8(codes) => (Dtype::U8, codes),
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
        if let Some((strength, factors)) = &solution.smoothing {
            let bytes = bytemuck::cast_slice(factors);
            tensors.push((
                format!("{name}.smoothing"),
                view(Dtype::F32, vec![factors.len()], bytes)?,
            ));
            metadata.insert(format!("{name}.strength"), strength.to_string());
        }
    }
    let path = file_of(dir, groups[0].layer);
    safetensors::serialize_to_file(tensors, Some(metadata), &path)
        .map_err(|source| Error::Safetensors { path, source })
}

/// Opens a layer's solutions.
pub(super) fn read_layer(
    dir: &Path,
    groups: &[Group],
    scheme: Scheme,
    d: &Decoder,
) -> Result<Vec<Stored>> {
    let path = file_of(dir, groups[0].layer);
    let damaged = |source| Error::Safetensors {
        path: path.clone(),
        source,
    };
    let file = fs_err::File::open(&path).map_err(|e| ModelError::io(&path, e))?;
    // SAFETY: the map is read-only, and the file was written by this program under a name of its own.
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
            let strength = notes
                .get(&format!("{name}.strength"))
                .and_then(|s| s.parse().ok());
            let smoothing = strength
                .map(|s| Ok::<_, Error>((s, floats(&format!("{name}.smoothing"))?)))
                .transpose()?;
            Ok(Stored {
                smoothing,
                rounding: notes
                    .get(&format!("{name}.rounding"))
                    .cloned()
                    .unwrap_or_default(),
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
