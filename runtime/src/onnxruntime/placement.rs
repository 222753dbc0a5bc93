//! Checks where ONNX Runtime placed a graph's nodes.
//!
//! A node without a kernel on the requested provider runs on the CPU, with its inputs and outputs copied: correct, but
//! many times slower. ONNX Runtime itself places arithmetic on shapes there, which is right.

use std::path::Path;

use ort::session::Session;

use crate::error::{Error, Result};
use crate::onnxruntime::execution_provider::Provider;
use crate::onnxruntime::session_settings::SessionSettings;

/// Operators that compute shapes and indices, or move nothing. All others are real work.
#[rustfmt::skip]
const LIGHT: [&str; 31] = [
    "Abs", "Add", "ArgMax", "Cast", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand", "Gather",
    "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul", "Not", "Range", "ReduceMax", "ReduceMin", "ReduceProd",
    "Reshape", "Shape", "Size", "Slice", "Squeeze", "Sub", "Unsqueeze", "Where",
];

/// The number of nodes that an error names.
const NAMED: usize = 3;

/// A node and the provider that runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// ONNX Runtime's name of the provider.
    provider: String,
    name: String,
    operator: String,
}

/// Checks that ONNX Runtime's CPU kernels do no real work in a session for another device. If OpenVINO computes on the
/// CPU, sharing the work costs no copies and is only logged.
///
/// # Errors
/// [`Error::Placement`] names the nodes.
pub(crate) fn check(session: &Session, path: &Path, settings: &SessionSettings) -> Result<()> {
    let providers = &settings.providers;
    if providers.order.iter().all(|p| *p == Provider::Cpu) {
        return Ok(());
    }
    let nodes = read::nodes(session).map_err(|e| Error::Load {
        path: path.to_path_buf(),
        reason: format!("the placement of its nodes cannot be read: {}", e.message()),
    })?;
    let strays = strays(&nodes);
    if strays.is_empty() {
        return Ok(());
    }
    let reason = describe(providers.first(), &strays, nodes.len());
    if !providers.copies_for_cpu_nodes() {
        tracing::info!("{reason}");
        return Ok(());
    }
    if providers.allow_cpu_nodes {
        tracing::warn!("{reason}");
        return Ok(());
    }
    Err(Error::Placement {
        path: path.to_path_buf(),
        reason: format!(
            "{reason}. Convert the checkpoint for the execution provider {}, or allow nodes on the CPU, which makes batches slow",
            providers.first()
        ),
    })
}

/// Nodes with real work that run on the CPU.
fn strays(nodes: &[Node]) -> Vec<&Node> {
    let on_cpu = nodes
        .iter()
        .filter(|node| node.provider == Provider::Cpu.registered_name());
    on_cpu
        .filter(|node| !LIGHT.contains(&node.operator.as_str()))
        .collect()
}

fn describe(provider: Provider, strays: &[&Node], of: usize) -> String {
    let named = strays
        .iter()
        .take(NAMED)
        .map(|node| format!("{} ({})", node.name, node.operator));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = match strays.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "the execution provider `{provider}` has no kernel for {} of {of} nodes, which would run on the CPU: {named}{more}",
        strays.len()
    )
}

/// The calls to ONNX Runtime's C interface, which `ort` does not wrap.
#[allow(unsafe_code)]
mod read {
    use std::ffi::{CStr, c_char};
    use std::ptr;

    use ort::session::Session;
    use ort::sys::{OrtEpAssignedNode, OrtEpAssignedSubgraph, OrtStatusPtr};
    use ort::{AsPointer as _, Result, api};

    use super::Node;

    /// All nodes with their provider. The session must have been opened with `session.record_ep_graph_assignment_info`.
    pub(super) fn nodes(session: &Session) -> Result<Vec<Node>> {
        let mut nodes = Vec::new();
        let (mut graphs, mut count): (*const *const OrtEpAssignedSubgraph, usize) =
            (ptr::null(), 0);
        // SAFETY: the session is alive, and both results are written before they are read. The array and all that hangs
        // on it belong to the session, which this function borrows.
        let graphs = unsafe {
            done((api().Session_GetEpGraphAssignmentInfo)(
                session.ptr(),
                &raw mut graphs,
                &raw mut count,
            ))?;
            slice(graphs, count)
        };
        for graph in graphs {
            let (mut members, mut count): (*const *const OrtEpAssignedNode, usize) =
                (ptr::null(), 0);
            // SAFETY: as above; `graph` comes from the session.
            let (provider, members) = unsafe {
                done((api().EpAssignedSubgraph_GetNodes)(
                    *graph,
                    &raw mut members,
                    &raw mut count,
                ))?;
                let provider = text(|out| (api().EpAssignedSubgraph_GetEpName)(*graph, out))?;
                (provider, slice(members, count))
            };
            for node in members {
                // SAFETY: as above; `node` comes from the session.
                let (name, operator) = unsafe {
                    (
                        text(|out| (api().EpAssignedNode_GetName)(*node, out))?,
                        text(|out| (api().EpAssignedNode_GetOperatorType)(*node, out))?,
                    )
                };
                nodes.push(Node {
                    provider: provider.clone(),
                    name,
                    operator,
                });
            }
        }
        Ok(nodes)
    }

    /// # Safety
    /// The status was returned by ONNX Runtime and is not used again.
    unsafe fn done(status: OrtStatusPtr) -> Result<()> {
        // SAFETY: the caller's.
        unsafe { ort::Error::result_from_status(status) }
    }

    /// # Safety
    /// `data` points to `count` elements that live for `'a`, or `count` is 0.
    unsafe fn slice<'a, T>(data: *const T, count: usize) -> &'a [T] {
        if count == 0 || data.is_null() {
            return &[];
        }
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts(data, count) }
    }

    /// # Safety
    /// `get` gives a string that ends with a zero byte.
    unsafe fn text(get: impl FnOnce(*mut *const c_char) -> OrtStatusPtr) -> Result<String> {
        let mut out = ptr::null();
        // SAFETY: the caller's.
        unsafe {
            done(get(&raw mut out))?;
            Ok(CStr::from_ptr(out).to_string_lossy().into_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(provider: Provider, name: &str, operator: &str) -> Node {
        Node {
            provider: provider.registered_name().to_owned(),
            name: name.to_owned(),
            operator: operator.to_owned(),
        }
    }

    #[test]
    fn arithmetic_on_shapes_may_run_on_the_cpu() {
        let nodes = [
            node(Provider::Cuda, "layers.0.q_proj", "Gemm"),
            node(Provider::Cpu, "lengths", "Sub"),
        ];
        assert!(strays(&nodes).is_empty());
    }

    #[test]
    fn a_node_with_work_on_the_cpu_is_named() {
        let nodes = ["a", "b", "c", "d"].map(|name| node(Provider::Cpu, name, "MatMulInteger"));
        let message = describe(Provider::Cuda, &strays(&nodes), nodes.len());
        assert!(message.contains("4 of 4 nodes"), "{message}");
        assert!(
            message.ends_with("c (MatMulInteger) and 1 more"),
            "{message}"
        );
    }
}
