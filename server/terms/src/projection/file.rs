//! `projection.safetensors`: mean, components and explained variance, with the model's digest.
//!
//! | tensor | type, shape |
//! |---|---|
//! | `mean` | float32 `[width]` |
//! | `components` | float32 `[components, width]` |
//! | `explained_variance` | float64 `[components]` |
//! | `total_variance` | float64 `[1]` |
//!
//! The header's metadata has `format` (`lexivec-projection`), `version` (1), `dimensions` (the width), and `model` (the digest) if it is known.

use std::collections::{BTreeMap, HashMap};
use std::fs::Permissions;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ndarray::{Array1, Array2};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::Projection;
use crate::rows::{MAX_WIDTH, check_width};
use crate::{Error, Result};

const FORMAT: &str = "lexivec-projection";
const VERSION: &str = "1";
/// The largest file that is read: the largest projection, and a header.
const MOST_BYTES: u64 = (MAX_WIDTH * MAX_WIDTH * 4 + (1 << 24)) as u64;

impl Projection {
    /// Writes the projection to a file, which appears when it is complete.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let bytes = self.to_bytes().map_err(|error| Error::ProjectionFile {
            path: path.to_owned(),
            reason: format!("it cannot be written: {error}"),
        })?;
        let folder = match path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        let named = |error: std::io::Error| {
            let message = format!("{}: it cannot be written: {error}", path.display());
            Error::File(std::io::Error::new(error.kind(), message))
        };
        // A temporary file is private by default. This one becomes the output, so the umask decides.
        let mode = Permissions::from_mode(0o666);
        let file = tempfile::Builder::new()
            .permissions(mode)
            .tempfile_in(folder);
        let mut file = file.map_err(named)?;
        file.write_all(&bytes).map_err(named)?;
        file.persist(path).map_err(|error| named(error.error))?;
        Ok(())
    }

    /// Reads a projection from a file.
    ///
    /// # Errors
    /// The file cannot be read, is no projection, is damaged, or is of a newer version.
    pub fn load(path: &Path) -> Result<Self> {
        Self::load_with_bytes(path).map(|(projection, _)| projection)
    }

    /// Reads a projection from a file, and returns the file's bytes as well.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with_bytes(path: &Path) -> Result<(Self, Vec<u8>)> {
        let failed = |reason: String| Error::ProjectionFile {
            path: path.to_owned(),
            reason,
        };
        let mut bytes = Vec::new();
        // A device or pipe has no size to look at first.
        let file = fs_err::File::open(path)?;
        file.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(failed(format!(
                "it is larger than {MOST_BYTES} bytes, and no projection is"
            )));
        }
        Ok((Self::from_bytes(&bytes).map_err(failed)?, bytes))
    }

    pub(super) fn to_bytes(&self) -> std::result::Result<Vec<u8>, safetensors::SafeTensorError> {
        let floats = |numbers: &mut dyn Iterator<Item = &f32>| -> Vec<u8> {
            numbers.flat_map(|number| number.to_le_bytes()).collect()
        };
        let mean = floats(&mut self.mean.iter());
        let components = floats(&mut self.components.iter());
        let variance = self.explained_variance.iter();
        let variance: Vec<u8> = variance.flat_map(|number| number.to_le_bytes()).collect();
        let total = self.total_variance.to_le_bytes();
        let (kept, width) = self.components.dim();
        let tensors = [
            ("mean", TensorView::new(Dtype::F32, vec![width], &mean)?),
            (
                "components",
                TensorView::new(Dtype::F32, vec![kept, width], &components)?,
            ),
            (
                "explained_variance",
                TensorView::new(Dtype::F64, vec![kept], &variance)?,
            ),
            (
                "total_variance",
                TensorView::new(Dtype::F64, vec![1], &total)?,
            ),
        ];
        let mut metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("version".to_owned(), VERSION.to_owned()),
            ("dimensions".to_owned(), width.to_string()),
        ]);
        if let Some(model) = &self.model {
            metadata.insert("model".to_owned(), model.clone());
        }
        let mut bytes = safetensors::serialize(tensors, Some(metadata))?;
        sort_metadata(&mut bytes)?;
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let damaged = |error: safetensors::SafeTensorError| {
            format!("the file is not a complete .safetensors file: {error}")
        };
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(format!(
                "the file is no projection: its metadata has no `format` {FORMAT}"
            ));
        }
        match metadata.get("version").map(String::as_str) {
            Some(VERSION) => {}
            version => {
                let version = version.unwrap_or("none");
                return Err(format!(
                    "the projection has version {version}, and this program reads version {VERSION}: update it, or compute the \
                     projection again"
                ));
            }
        }
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let (shape, components) = tensor(&file, "components", Dtype::F32, f32_numbers)?;
        let &[kept, width] = shape.as_slice() else {
            return Err(format!(
                "`components` has {} axes instead of 2",
                shape.len()
            ));
        };
        check_width(width).map_err(|error| error.to_string())?;
        if kept == 0 || kept > width {
            return Err(format!(
                "it has {kept} components for {width} dimensions: from 1 to {width} are possible"
            ));
        }
        if metadata.get("dimensions") != Some(&width.to_string()) {
            return Err(format!(
                "`components` has {width} dimensions, and the metadata's `dimensions` says otherwise"
            ));
        }
        let (_, mean) = of_length(&file, "mean", width, Dtype::F32, f32_numbers)?;
        let (_, variance) = of_length(&file, "explained_variance", kept, Dtype::F64, f64_numbers)?;
        let (_, total) = of_length(&file, "total_variance", 1, Dtype::F64, f64_numbers)?;
        let finite = mean.iter().chain(&components).all(|n| n.is_finite());
        let positive = variance.iter().all(|n| n.is_finite() && *n >= 0.0);
        if !finite || !positive || !total[0].is_finite() || total[0] <= 0.0 {
            return Err(
                "it has numbers that no projection has (not finite, or a negative variance)"
                    .to_owned(),
            );
        }
        let components =
            Array2::from_shape_vec((kept, width), components).map_err(|e| e.to_string())?;
        let model = metadata.get("model").cloned();
        Ok(Self::new(
            Array1::from(mean),
            components,
            variance,
            total[0],
            model,
        ))
    }
}

/// Sorts the keys of a file's metadata, which `safetensors` writes in a random order: equal projections are equal files, with one digest.
fn sort_metadata(bytes: &mut [u8]) -> std::result::Result<(), safetensors::SafeTensorError> {
    const LENGTH: usize = size_of::<u64>();
    let (length, _) = SafeTensors::read_metadata(bytes)?;
    let header = &mut bytes[LENGTH..LENGTH + length];
    let mut entries: BTreeMap<String, serde_json::Value> = serde_json::from_slice(header)?;
    if let Some(metadata) = entries.get_mut("__metadata__") {
        let sorted: BTreeMap<String, String> = serde_json::from_value(metadata.take())?;
        *metadata = serde_json::to_value(sorted)?;
    }
    // The spaces that pad the header are white space of JSON, and stay.
    let sorted = serde_json::to_vec(&entries)?;
    header[..sorted.len()].copy_from_slice(&sorted);
    Ok(())
}

type Numbers<T> = (Vec<usize>, Vec<T>);

/// The shape and the numbers of a tensor.
fn tensor<T>(
    file: &SafeTensors<'_>,
    name: &str,
    dtype: Dtype,
    numbers: fn(&[u8]) -> Vec<T>,
) -> std::result::Result<Numbers<T>, String> {
    let tensor = file
        .tensor(name)
        .map_err(|_| format!("there is no tensor `{name}`"))?;
    if tensor.dtype() != dtype {
        return Err(format!(
            "`{name}` has the type {:?} instead of {dtype:?}",
            tensor.dtype()
        ));
    }
    Ok((tensor.shape().to_vec(), numbers(tensor.data())))
}

fn of_length<T>(
    file: &SafeTensors<'_>,
    name: &str,
    length: usize,
    dtype: Dtype,
    numbers: fn(&[u8]) -> Vec<T>,
) -> std::result::Result<Numbers<T>, String> {
    let found = tensor(file, name, dtype, numbers)?;
    if found.0 != [length] {
        return Err(format!(
            "`{name}` has the shape {:?} instead of [{length}]",
            found.0
        ));
    }
    Ok(found)
}

fn f32_numbers(bytes: &[u8]) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks();
    chunks
        .iter()
        .map(|bytes| f32::from_le_bytes(*bytes))
        .collect()
}

fn f64_numbers(bytes: &[u8]) -> Vec<f64> {
    let (chunks, _) = bytes.as_chunks();
    chunks
        .iter()
        .map(|bytes| f64::from_le_bytes(*bytes))
        .collect()
}
