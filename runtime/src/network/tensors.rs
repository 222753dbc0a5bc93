//! Reads the outputs of graphs.

use std::path::Path;

use half::{bf16, f16};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};
use ort::value::{DynValue, TensorElementType, ValueType};

use crate::error::Error;
use crate::onnxruntime::session::NamedInput;

/// The output of a packed graph: the pooled hidden states of a batch.
pub(crate) const EMBEDDING: &str = "embedding";

/// Runs a graph and returns only the outputs of these names, in float32.
pub(crate) fn fetch(
    session: &mut Session,
    inputs: Vec<NamedInput<'_>>,
    names: &[&str],
) -> ort::Result<Vec<Vec<f32>>> {
    let options = only(names)?;
    let outputs = session.run_with_options(inputs, &options)?;
    names.iter().map(|name| widened(&outputs[*name])).collect()
}

/// Run options that compute only the outputs of these names.
pub(crate) fn only(names: &[&str]) -> ort::Result<RunOptions<HasSelectedOutputs>> {
    let only = names
        .iter()
        .fold(OutputSelector::no_default(), |s, n| s.with(*n));
    Ok(RunOptions::new()?.with_outputs(only))
}

/// Converts a tensor's values, of any float type, to float32.
pub(crate) fn widened(value: &DynValue) -> ort::Result<Vec<f32>> {
    let kind = tensor(value.dtype()).map(|(kind, _)| kind);
    Ok(match kind {
        Some(TensorElementType::Float16) => {
            let (_, data) = value.try_extract_tensor::<f16>()?;
            data.iter().map(|v| v.to_f32()).collect()
        }
        Some(TensorElementType::Bfloat16) => {
            let (_, data) = value.try_extract_tensor::<bf16>()?;
            data.iter().map(|v| v.to_f32()).collect()
        }
        _ => value.try_extract_tensor::<f32>()?.1.to_vec(),
    })
}

/// A tensor's element type and last dimension.
pub(crate) fn tensor(kind: &ValueType) -> Option<(TensorElementType, usize)> {
    match kind {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, usize::try_from(*shape.last()?).ok()?)),
        _ => None,
    }
}

/// The error for a graph that is not a packed one.
pub(crate) fn unexpected(path: &Path) -> Error {
    Error::Signature {
        path: path.to_path_buf(),
        reason: "the graph does not have the inputs and outputs of a packed graph: convert the checkpoint again"
            .to_owned(),
    }
}
