//! A plan as the input tensors of a packed graph.

use ort::session::Session;
use ort::value::Tensor;

use crate::network::plan::{Plan, Shape};
use crate::onnxruntime::session::NamedInput;

/// The inputs that a plan provides. A graph takes some of them.
const NAMES: [&str; 9] = [
    "input_ids",
    "position_ids",
    "kv_index",
    "query_index",
    "token_index",
    "last_row",
    "last_slot",
    SEQLENS,
    TOTAL,
];
const SEQLENS: &str = "seqlens_k";
const TOTAL: &str = "total_sequence_length";

/// The inputs of a plan that a packed graph, or a layer of one, takes.
///
/// They are in pageable memory, on CUDA too: a batch costs one copy for each and a single synchronisation at its end.
/// ONNX Runtime 1.31 does not copy inputs in page-locked memory, so kernels would read them over the bus in every
/// layer.
pub(crate) fn plan_inputs(session: &Session, plan: &Plan) -> ort::Result<Vec<NamedInput<'static>>> {
    let shape = plan.shape();
    let taken = NAMES.into_iter().filter(|name| takes(session, name));
    let input = |name| {
        let value = match plan.input(name) {
            Some(values) => Tensor::from_array((shape.of_input(name), values.to_vec()))?.into(),
            None => lengths(name, shape)?.into(),
        };
        Ok((name, value))
    };
    taken.map(input).collect()
}

/// The inputs of GroupQueryAttention that follow from a batch's shape; ONNX Runtime reads them on the host.
///
/// Every sequence counts as long as the longest, because no real token sees the padding behind it.
fn lengths(name: &str, shape: Shape) -> ort::Result<Tensor<i32>> {
    let total = i32::try_from(shape.length).unwrap_or(i32::MAX);
    if name == TOTAL {
        Tensor::from_array(((), vec![total]))
    } else {
        Tensor::from_array(([shape.batch], vec![total - 1; shape.batch]))
    }
}

/// The value of an input that follows from a batch's shape alone; `None` for the other inputs.
pub(crate) fn fixed_input(name: &str, shape: Shape) -> ort::Result<Option<Tensor<i32>>> {
    let fixed = [SEQLENS, TOTAL].contains(&name);
    fixed.then(|| lengths(name, shape)).transpose()
}

/// Whether a graph has an input of this name.
pub(crate) fn takes(session: &Session, name: &str) -> bool {
    session.inputs().iter().any(|input| input.name() == name)
}
