//! Runs one decoder layer at a time, for calibration: rows in, rows out, with the inputs of its linear layers.

use std::path::Path;

use ort::session::Session;
use ort::value::{Tensor, TensorElementType};

use crate::error::{Error, Result};
use crate::library::Library;
use crate::packed;
use crate::plan::Plan;
use crate::session::{self, SessionSettings, Source};

/// A graph of one layer of a packed decoder: the inputs of the whole graph, with `residual` in place of `input_ids`.
#[derive(Debug)]
pub struct LayerNetwork {
    session: Session,
    /// The inputs that take cached rows, and their width.
    prefixes: Vec<(String, usize)>,
}

impl LayerNetwork {
    /// Opens a graph from memory; weights that it refers to lie in the files of a folder.
    ///
    /// # Errors
    /// The graph does not load.
    pub fn from_memory(
        library: &Library,
        onnx: &[u8],
        data: &Path,
        settings: &SessionSettings,
    ) -> Result<Self> {
        let session = session::open(library, &Source::Memory { onnx, data }, settings)?;
        let inputs = session.inputs().iter();
        let prefixes = inputs
            .filter(|i| i.name().starts_with("prefix_"))
            .filter_map(|i| Some((i.name().to_owned(), packed::tensor(i.dtype())?.1)))
            .collect();
        Ok(Self { session, prefixes })
    }

    /// Computes the outputs of these names from the rows of a batch, `[rows, hidden]` each way.
    ///
    /// # Errors
    /// The graph does not run, or has no such output.
    pub fn run(
        &mut self,
        plan: &Plan,
        residual: &[f32],
        outputs: &[&str],
    ) -> Result<Vec<Vec<f32>>> {
        self.try_run(plan, residual, outputs)
            .map_err(|e| Error::of_run(e.message()))
    }

    fn try_run(
        &mut self,
        plan: &Plan,
        residual: &[f32],
        names: &[&str],
    ) -> ort::Result<Vec<Vec<f32>>> {
        let rows = plan.rows();
        let states = Tensor::<f32>::from_array(([rows, residual.len() / rows], residual.to_vec()))?;
        let mut inputs = vec![("residual", states.into())];
        inputs.extend(packed::plan_inputs(plan.clone())?);
        for (name, width) in &self.prefixes {
            inputs.push((name, packed::no_rows(TensorElementType::Float32, *width)?));
        }
        packed::fetch(&mut self.session, inputs, names)
    }
}
