//! Runs packed graphs: plan, feed, fetch.

use std::path::Path;

use half::{bf16, f16};
use ort::session::{OutputSelector, RunOptions, Session, SessionInputValue};

use ort::value::{Tensor, TensorElementType, ValueType};

use crate::error::{Error, Result};
use crate::library::Library;
use crate::network::{Network, States};
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

    fn run(&mut self, plan: Plan) -> ort::Result<Vec<f32>> {
        let (rows, batch, length) = (plan.rows(), plan.batch(), plan.length);
        let ints = |shape: Vec<usize>, data| -> ort::Result<SessionInputValue<'_>> {
            Ok(Tensor::<i64>::from_array((shape, data))?.into())
        };
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
            ("input_ids", ints(vec![rows], plan.input_ids)?),
            ("position_ids", ints(vec![rows], plan.position_ids)?),
            ("kv_index", ints(vec![batch, length], plan.kv_index)?),
            ("query_index", ints(vec![batch, length], plan.query_index)?),
            ("token_index", ints(vec![rows], plan.token_index)?),
            ("last_row", ints(vec![batch], plan.last_row)?),
            ("last_slot", ints(vec![batch], plan.last_slot)?),
        ];
        for name in &self.prefixes {
            inputs.push((name, no_rows(self.prefix_type, self.prefix_width)?));
        }
        let only = OutputSelector::no_default().with("embedding");
        let options = RunOptions::new()?.with_outputs(only);
        let outputs = self.session.run_with_options(inputs, &options)?;
        let (_, data) = outputs["embedding"].try_extract_tensor::<f32>()?;
        Ok(data.to_vec())
    }
}

impl Network for PackedNetwork {
    fn hidden_size(&self) -> usize {
        self.hidden_size
    }

    fn embed(&mut self, sequences: &[&[u32]]) -> Result<States> {
        let plan = Plan::new(sequences, &[]);
        let rows = plan.rows();
        let values = self.run(plan).map_err(|e| Error::of_run(e.message()))?;
        Ok(States { values, rows })
    }
}

/// Element type and last dimension.
pub(crate) fn tensor(kind: &ValueType) -> Option<(TensorElementType, usize)> {
    match kind {
        ValueType::Tensor { ty, shape, .. } => Some((*ty, usize::try_from(*shape.last()?).ok()?)),
        _ => None,
    }
}

/// An empty cache of prefix rows.
fn no_rows(kind: TensorElementType, width: usize) -> ort::Result<SessionInputValue<'static>> {
    let shape = [0, width];
    Ok(match kind {
        TensorElementType::Float16 => Tensor::from_array((shape, Vec::<f16>::new()))?.into(),
        TensorElementType::Bfloat16 => Tensor::from_array((shape, Vec::<bf16>::new()))?.into(),
        _ => Tensor::from_array((shape, Vec::<f32>::new()))?.into(),
    })
}
