//! All tensors of a checkpoint.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use lexivec_models::Checkpoint;
use rayon::prelude::*;

use super::expected_tensors;
use super::scale_folding::ScaleFolding;
use super::tensors::{BUFFER_VALUES, Tensor, TensorEntry, entries};
use crate::error::{Error, Result};
use crate::tensor::PIECE_VALUES;

/// All tensors of a checkpoint, by name.
#[derive(Debug)]
pub(crate) struct Weights {
    dir: PathBuf,
    pub(super) tensors: Arc<HashMap<String, TensorEntry>>,
    folding: ScaleFolding,
    /// Tensors that the architecture does not use and that the caller accepts.
    unused: Arc<[String]>,
    /// Whether the files are deleted when the conversion ends.
    temporary: bool,
}

impl Weights {
    /// Maps every weight file and reads the headers.
    ///
    /// # Errors
    /// A file cannot be opened or is incomplete, a tensor occurs twice, or the architecture does not use some tensors and
    /// the checkpoint does not accept that.
    pub(crate) fn open(checkpoint: &Checkpoint) -> Result<Self> {
        let mut tensors: HashMap<String, TensorEntry> = HashMap::new();
        for path in &checkpoint.weights {
            for (stored_name, entry) in entries(path)? {
                let name = stored_name.strip_prefix("model.").unwrap_or(&stored_name);
                let second = entry.shard.path.clone();
                if let Some(first) = tensors.insert(name.to_owned(), entry) {
                    return Err(Error::TensorTwice {
                        name: name.to_owned(),
                        first: first.shard.path.clone(),
                        second,
                    });
                }
            }
        }
        let unused = expected_tensors::unused(&checkpoint.decoder, tensors.keys());
        if !unused.is_empty() && !checkpoint.allow_unused_tensors {
            return Err(Error::UnusedTensors {
                names: expected_tensors::listed(&unused),
                count: unused.len(),
                dir: checkpoint.dir.clone(),
            });
        }
        Ok(Self {
            dir: checkpoint.dir.clone(),
            tensors: Arc::new(tensors),
            folding: ScaleFolding::default(),
            unused: unused.into(),
            temporary: false,
        })
    }

    /// The same tensors; `temporary` says whether their files are deleted when the conversion ends.
    pub(crate) fn temporary(self, temporary: bool) -> Self {
        Self { temporary, ..self }
    }

    /// Whether a written graph may refer to the weight files.
    pub(crate) fn can_be_referred_to(&self) -> bool {
        !self.temporary
    }

    /// A note for the user about unused tensors.
    pub(crate) fn note(&self) -> Option<String> {
        let (count, names) = (self.unused.len(), expected_tensors::listed(&self.unused));
        (count > 0).then(|| format!("{count} tensors of the weight files are not used: {names}."))
    }

    /// The same tensors with further factors applied when they are read.
    pub(crate) fn with_folding(&self, folding: &ScaleFolding) -> Self {
        Self {
            dir: self.dir.clone(),
            tensors: Arc::clone(&self.tensors),
            folding: self.folding.combined_with(folding),
            unused: Arc::clone(&self.unused),
            temporary: self.temporary,
        }
    }

    /// The tensor of this name (without `model.`), which must have this shape.
    ///
    /// # Errors
    /// The tensor is missing, or has another shape or a type that is not read.
    pub(crate) fn get(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let entry = self.tensors.get(name).ok_or_else(|| Error::MissingTensor {
            name: name.to_owned(),
            dir: self.dir.clone(),
        })?;
        if entry.shape != shape {
            return Err(Error::Shape {
                name: name.to_owned(),
                path: entry.shard.path.clone(),
                found: entry.shape.clone(),
                expected: shape.to_vec(),
            });
        }
        Ok(Tensor {
            folding: self.folding.of(name).cloned(),
            ..entry.tensor(name)?
        })
    }

    /// Reads every value of these tensors, given by name and shape.
    ///
    /// # Errors
    /// A value is NaN or infinite.
    pub(crate) fn check_finite<'a>(
        &self,
        tensors: impl Iterator<Item = (&'a str, &'a [usize])>,
    ) -> Result<()> {
        let tensors = tensors
            .map(|(name, shape)| self.get(name, shape))
            .collect::<Result<Vec<_>>>()?;
        let pieces: Vec<(&Tensor, usize)> = tensors
            .iter()
            .flat_map(|t| {
                (0..t.values())
                    .step_by(PIECE_VALUES)
                    .map(move |first| (t, first))
            })
            .collect();
        pieces.into_par_iter().try_for_each(|(tensor, first)| {
            let mut buffer = [0f32; BUFFER_VALUES];
            let end = (first + PIECE_VALUES).min(tensor.values());
            for start in (first..end).step_by(BUFFER_VALUES) {
                let buffer = &mut buffer[..BUFFER_VALUES.min(end - start)];
                tensor.read_f32(start, buffer)?;
            }
            Ok(())
        })
    }
}
