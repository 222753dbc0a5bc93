//! Defers the widening of a written float16 graph's weights until they are used, for verification on a CPU.
//!
//! ONNX Runtime has float16 matrix products only on GPUs. On a CPU it puts a cast to float32 before each of them, and casts
//! that depend on constants alone run before everything else, so the whole model would be in memory in float32. In the
//! rewritten graph each weight's shape depends on the layer's input, so its cast cannot run before that input is computed.
//! Nodes, weights and rounding stay those of the written graph.

use std::collections::HashMap;

use prost::{DecodeError, Message as _};

use crate::onnx::proto::attribute_proto::AttributeType;
use crate::onnx::proto::{AttributeProto, ModelProto, NodeProto, TensorProto};
use crate::tensor::DType;

/// Rewrites a graph. Its external data stay in their files.
///
/// # Errors
/// The bytes are not an ONNX model.
pub(super) fn defer_widening(onnx: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut model = ModelProto::decode(onnx)?;
    let Some(graph) = &mut model.graph else {
        return Ok(onnx.to_vec());
    };
    let halves = graph.initializer.iter().filter(|t| {
        t.data_type == Some(DType::F16 as i32) && t.dims.len() == 2 && !t.external_data.is_empty()
    });
    let shapes: HashMap<String, Vec<i64>> = halves
        .map(|t| (t.name().to_owned(), t.dims.clone()))
        .collect();
    let mut nodes = Vec::with_capacity(graph.node.len());
    for mut node in std::mem::take(&mut graph.node) {
        let weight = node.input.get(1).cloned().unwrap_or_default();
        let Some(dims) = shapes.get(&weight).filter(|_| node.op_type() == "Gemm") else {
            nodes.push(node);
            continue;
        };
        let name = |what: &str| format!("{weight}.deferred.{what}");
        let x = node.input[0].clone();
        graph.initializer.push(ints(&name("dims"), dims));
        nodes.push(op("Shape", &[&x], &name("shape")));
        nodes.push(op("Mul", &[&name("shape"), ZERO], &name("zeros")));
        nodes.push(op("Add", &[&name("dims"), &name("zeros")], &name("shaped")));
        nodes.push(op("Reshape", &[&weight, &name("shaped")], &name("weight")));
        // ONNX Runtime would put casts of its own before the reshape. Explicit casts stay after it.
        node.input[1] = name("weight");
        for (place, input) in node.input.iter_mut().enumerate() {
            let wide = name(&format!("wide{place}"));
            nodes.push(cast(input, &wide, DType::F32));
            *input = wide;
        }
        let narrow = std::mem::replace(&mut node.output[0], name("output"));
        nodes.push(node);
        nodes.push(cast(&name("output"), &narrow, DType::F16));
    }
    graph.node = nodes;
    graph.initializer.push(ints(ZERO, &[0]));
    Ok(model.encode_to_vec())
}

const ZERO: &str = "deferred.zero";

fn op(kind: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(kind.to_owned()),
        input: inputs.iter().map(|&i| i.to_owned()).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn cast(input: &str, output: &str, to: DType) -> NodeProto {
    NodeProto {
        attribute: vec![AttributeProto {
            name: Some("to".to_owned()),
            r#type: Some(AttributeType::Int as i32),
            i: Some(i64::from(to as i32)),
            ..AttributeProto::default()
        }],
        ..op("Cast", &[input], output)
    }
}

fn ints(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DType::I64 as i32),
        dims: vec![values.len() as i64],
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}
