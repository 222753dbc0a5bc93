//! Runs packed graphs: plan, feed, fetch.

use std::path::Path;

use half::{bf16, f16};
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};

use ort::value::{DynValue, Tensor, TensorElementType, ValueType};

use crate::error::{Error, Result};
use crate::library::Library;
use crate::network::{Layer, Network, States};
use crate::plan::Plan;
use crate::session::{self, SessionSettings, Source};

/// A packed graph (see ARCHITECTURE.md).
#[derive(Debug)]
pub struct PackedNetwork {
    session: Session,
    hidden_size: usize,
    /// Names and element type of the inputs that take cached rows, and their width.
    prefixes: Vec<String>,
    prefix_type: TensorElementType,
    prefix_width: usize,
}

impl PackedNetwork {
    /// Opens a graph file with its weights beside it.
    ///
    /// # Errors
    /// The graph does not load, or is not a packed one.
    pub fn open(library: &Library, path: &Path, settings: &SessionSettings) -> Result<Self> {
        Self::new(session::open(library, &Source::File(path), settings)?, path)
    }

    /// Opens a graph from memory whose weights lie in the files of a folder.
    ///
    /// # Errors
    /// The graph does not load, or is not a packed one.
    pub fn from_memory(
        library: &Library,
        onnx: &[u8],
        data: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        Self::new(
            session::open(library, &Source::Memory { onnx, data }, settings)?,
            data,
        )
    }

    fn new(session: Session, path: &Path) -> Result<Self> {
        let unexpected = || {
            Error::Signature {
            path: path.to_path_buf(),
            reason: "the graph has not the inputs and outputs of a packed graph: convert the checkpoint again".to_owned(),
        }
        };
        let prefix = |name: &str| name.starts_with("prefix_");
        let mut prefixes = Vec::new();
        let mut prefix_kind = None;
        for input in session.inputs().iter().filter(|i| prefix(i.name())) {
            prefixes.push(input.name().to_owned());
            prefix_kind = tensor(input.dtype());
        }
        let output = session.outputs().iter().find(|o| o.name() == "embedding");
        let (_, hidden_size) = output
            .and_then(|o| tensor(o.dtype()))
            .ok_or_else(unexpected)?;
        let (prefix_type, prefix_width) = prefix_kind.ok_or_else(unexpected)?;
        Ok(Self {
            session,
            hidden_size,
            prefixes,
            prefix_type,
            prefix_width,
        })
    }

    /// Runs a plan and fetches the outputs of these names.
    fn run(&mut self, plan: Plan, names: &[String]) -> ort::Result<Vec<Vec<f32>>> {
        let ids = Tensor::<i64>::from_array(([plan.rows()], plan.input_ids.clone()))?;
        let mut inputs = vec![("input_ids", ids.into())];
        inputs.extend(plan_inputs(plan)?);
        for name in &self.prefixes {
            inputs.push((name, no_rows(self.prefix_type, self.prefix_width)?));
        }
        fetch(&mut self.session, inputs, names)
    }
}

/// What a plan says of its rows besides their tokens, as a packed graph or a layer of one takes it.
pub(crate) fn plan_inputs(
    plan: Plan,
) -> ort::Result<Vec<(&'static str, SessionInputValue<'static>)>> {
    let (rows, batch, length) = (plan.rows(), plan.batch(), plan.length);
    let ints = |shape: Vec<usize>, data| -> ort::Result<SessionInputValue<'static>> {
        Ok(Tensor::<i64>::from_array((shape, data))?.into())
    };
    Ok(vec![
        ("position_ids", ints(vec![rows], plan.position_ids)?),
        ("kv_index", ints(vec![batch, length], plan.kv_index)?),
        ("query_index", ints(vec![batch, length], plan.query_index)?),
        ("token_index", ints(vec![rows], plan.token_index)?),
        ("last_row", ints(vec![batch], plan.last_row)?),
        ("last_slot", ints(vec![batch], plan.last_slot)?),
    ])
}

/// Runs a graph for the outputs of these names alone, in float32.
pub(crate) fn fetch(
    session: &mut Session,
    inputs: Vec<(&str, SessionInputValue<'_>)>,
    names: &[impl AsRef<str>],
) -> ort::Result<Vec<Vec<f32>>> {
    let only = names
        .iter()
        .fold(OutputSelector::no_default(), |s, n| s.with(n.as_ref()));
    let options = RunOptions::new()?.with_outputs(only);
    let outputs = session.run_with_options(inputs, &options)?;
    names
        .iter()
        .map(|name| widened(&outputs[name.as_ref()]))
        .collect()
}

impl Network for PackedNetwork {
    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<States> {
        let plan = Plan::new(sequences, &[]);
        let rows = plan.rows();
        let only = ["embedding".to_owned()];
        let mut outputs = self
            .run(plan, &only)
            .map_err(|e| Error::of_run(e.message()))?;
        let values = outputs.pop().unwrap_or_default();
        Ok(States { values, rows })
    }

    fn layers(&mut self, sequences: &[&[u32]]) -> Result<Vec<Layer>> {
        // An input for each layer's cached keys, another for its values.
        let layers = self.prefixes.len() / 2;
        let names: Vec<String> = (0..layers)
            .flat_map(|l| [format!("key.{l}"), format!("value.{l}")])
            .collect();
        let outputs = self
            .run(Plan::new(sequences, &[]), &names)
            .map_err(|e| Error::of_run(e.message()))?;
        let width = self.prefix_width;
        let layer = |[key, value]: &[Vec<f32>; 2]| Layer {
            key: key.clone(),
            value: value.clone(),
            width,
        };
        Ok(outputs.as_chunks().0.iter().map(layer).collect())
    }
}

/// A tensor's values in float32, whichever float they are.
fn widened(value: &DynValue) -> ort::Result<Vec<f32>> {
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

/// Element type and last dimension.
pub(crate) fn tensor(kind: &ValueType) -> Option<(TensorElementType, usize)> {
    match kind {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, usize::try_from(*shape.last()?).ok()?)),
        _ => None,
    }
}

/// An empty cache of prefix rows.
pub(crate) fn no_rows(
    kind: TensorElementType,
    width: usize,
) -> ort::Result<SessionInputValue<'static>> {
    let shape = [0, width];
    Ok(match kind {
        TensorElementType::Float16 => Tensor::from_array((shape, Vec::<f16>::new()))?.into(),
        TensorElementType::Bfloat16 => Tensor::from_array((shape, Vec::<bf16>::new()))?.into(),
        _ => Tensor::from_array((shape, Vec::<f32>::new()))?.into(),
    })
}
