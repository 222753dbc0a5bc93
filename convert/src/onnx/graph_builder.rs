//! A small typed layer over the ONNX messages: values, nodes, initializers.
//!
//! Large initializers are external data. The writer decides where in a file they lie once the whole graph is known
//! ([`OnnxModel::into_message`]).

use std::path::PathBuf;

use super::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto::AttributeType,
    tensor_proto::DataLocation, tensor_shape_proto, type_proto,
};
use crate::tensor::{DType, TensorSource};

/// The ONNX opset of every graph: the first with Attention, RMSNormalization and RotaryEmbedding.
const OPSET: i64 = 23;
/// The newest IR version that every reader of opset 23 supports.
const IR_VERSION: i64 = 11;
/// The domain of ONNX Runtime's own operators.
pub(crate) const CONTRIB: &str = "com.microsoft";
/// The domain of lexivec's own operators.
pub(crate) const OWN: &str = lexivec_runtime::operators::DOMAIN;

/// An edge of the graph, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Value(String);

impl Value {
    /// An optional input that is left out.
    pub(crate) fn none() -> Self {
        Self(String::new())
    }
}

/// Where an initializer's bytes come from.
#[derive(Debug)]
pub(crate) enum InitializerData {
    /// Bytes in memory.
    Bytes(Vec<u8>),
    /// Bytes that are computed when the graph is written.
    Computed(Box<dyn TensorSource>),
    /// Bytes of a file that exists already: the checkpoint's own.
    File(FileRange),
}

/// The place of an initializer's bytes in a file.
#[derive(Debug)]
pub(crate) struct FileRange {
    /// The file, which may be a symbolic link.
    pub(crate) path: PathBuf,
    /// The first byte.
    pub(crate) start: usize,
}

/// A constant of the graph.
#[derive(Debug)]
pub(crate) struct Initializer {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: InitializerData,
}

impl Initializer {
    /// Size in bytes.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.size()
    }
}

/// An attribute's value.
pub(crate) enum Attribute {
    Int(i64),
    Float(f32),
}

/// A graph under construction.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: Vec<NodeProto>,
    inputs: Vec<ValueInfoProto>,
    outputs: Vec<ValueInfoProto>,
    initializers: Vec<Initializer>,
    /// Prefix of the names of new nodes and values: `layers.3.self_attn.`
    scope: String,
}

impl Graph {
    /// Sets the prefix of new names, so that profiles and error messages name the layer.
    pub(crate) fn scope(&mut self, scope: impl Into<String>) {
        self.scope = scope.into();
    }

    /// Declares a graph input; dimensions are numbers or names.
    pub(crate) fn input(&mut self, name: &str, dtype: DType, shape: &[&str]) -> Value {
        self.inputs.push(value_info(name, dtype, shape));
        Value(name.to_owned())
    }

    /// Makes `value` a graph output of this name.
    pub(crate) fn output(&mut self, name: &str, value: &Value, dtype: DType, shape: &[&str]) {
        self.push(
            "Identity",
            "",
            std::slice::from_ref(value),
            vec![name.to_owned()],
            &[],
        );
        self.outputs.push(value_info(name, dtype, shape));
    }

    /// Adds a constant.
    pub(crate) fn initializer(&mut self, initializer: Initializer) -> Value {
        let value = Value(initializer.name.clone());
        self.initializers.push(initializer);
        value
    }

    /// Adds a small constant vector of int64 (shapes, axes, indices).
    pub(crate) fn ints(&mut self, values: &[i64]) -> Value {
        let name = self.unique("const");
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.constant(name, DType::I64, vec![values.len()], data)
    }

    /// Adds a constant scalar given as little-endian bytes.
    pub(crate) fn scalar(&mut self, dtype: DType, bytes: &[u8]) -> Value {
        let name = self.unique("const");
        self.constant(name, dtype, vec![], bytes.to_vec())
    }

    /// Adds a computed constant.
    pub(crate) fn constant(
        &mut self,
        name: impl Into<String>,
        dtype: DType,
        shape: Vec<usize>,
        data: Vec<u8>,
    ) -> Value {
        let name = name.into();
        debug_assert_eq!(shape.iter().product::<usize>() * dtype.size(), data.len());
        self.initializer(Initializer {
            name,
            dtype,
            shape,
            data: InitializerData::Bytes(data),
        })
    }

    /// Adds a node of the standard domain with one output.
    pub(crate) fn op(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> Value {
        let [value] = self.op_n(op, "", inputs, [true], attributes);
        value
    }

    /// Adds a node; `wanted` says which of its outputs are used.
    pub(crate) fn op_n<const N: usize>(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[&Value],
        wanted: [bool; N],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let node = self.unique(op);
        let outputs: [String; N] = std::array::from_fn(|i| match (wanted[i], i) {
            (false, _) => String::new(),
            (true, 0) => node.clone(),
            (true, i) => format!("{node}:{i}"),
        });
        let inputs: Vec<Value> = inputs.iter().map(|v| (*v).clone()).collect();
        self.push(op, domain, &inputs, outputs.to_vec(), attributes);
        outputs.map(Value)
    }

    /// Converts to another type.
    pub(crate) fn cast(&mut self, x: &Value, to: DType) -> Value {
        self.op("Cast", &[x], &[("to", Attribute::Int(to as i64))])
    }

    /// Both dimensions of a matrix, int64 `[1]` each.
    pub(crate) fn shape_of(&mut self, x: &Value) -> [Value; 2] {
        [0, 1].map(|dim| {
            let range = [
                ("start", Attribute::Int(dim)),
                ("end", Attribute::Int(dim + 1)),
            ];
            self.op("Shape", &[x], &range)
        })
    }

    /// Splits `value` along axis 1 into parts of these widths.
    pub(crate) fn split(&mut self, value: &Value, widths: &[usize]) -> Vec<Value> {
        if widths.len() == 1 {
            return vec![value.clone()];
        }
        let sizes: Vec<i64> = widths.iter().map(|w| *w as i64).collect();
        let sizes = self.ints(&sizes);
        let node = self.unique("Split");
        let outputs: Vec<String> = (0..widths.len()).map(|i| format!("{node}:{i}")).collect();
        let axis = [("axis", Attribute::Int(1))];
        self.push("Split", "", &[value.clone(), sizes], outputs.clone(), &axis);
        outputs.into_iter().map(Value).collect()
    }

    /// A name that is unique in the graph.
    pub(crate) fn unique(&self, what: &str) -> String {
        // The numbers of nodes and initializers only grow, so the pair never repeats.
        format!(
            "{}{what}_{}_{}",
            self.scope,
            self.nodes.len(),
            self.initializers.len()
        )
    }

    fn push(
        &mut self,
        op: &str,
        domain: &str,
        inputs: &[Value],
        output: Vec<String>,
        attributes: &[(&str, Attribute)],
    ) {
        self.nodes.push(NodeProto {
            name: output.first().cloned(),
            op_type: Some(op.to_owned()),
            domain: Some(domain.to_owned()),
            input: inputs.iter().map(|v| v.0.clone()).collect(),
            output,
            attribute: attributes.iter().map(|(n, a)| attribute(n, a)).collect(),
            ..NodeProto::default()
        });
    }

    /// Finishes the graph.
    pub(crate) fn into_model(self) -> OnnxModel {
        OnnxModel { graph: self }
    }
}

/// A finished graph and its initializers.
#[derive(Debug)]
pub(crate) struct OnnxModel {
    graph: Graph,
}

impl OnnxModel {
    /// The constants, in the order in which they were added.
    pub(crate) fn initializers(&self) -> &[Initializer] {
        &self.graph.initializers
    }

    /// The constants, to change where their bytes come from.
    pub(crate) fn initializers_mut(&mut self) -> &mut [Initializer] {
        &mut self.graph.initializers
    }

    /// The protobuf message. An initializer for which `place` returns a file name and an offset becomes external data; the
    /// others are stored in the message.
    pub(crate) fn into_message(
        self,
        place: impl Fn(&Initializer) -> Option<(String, usize)>,
    ) -> ModelProto {
        let Graph {
            nodes,
            inputs,
            outputs,
            initializers,
            ..
        } = self.graph;
        let initializer = initializers
            .into_iter()
            .map(|i| match place(&i) {
                Some((file, offset)) => external(&i, &file, offset),
                None => inline(i),
            })
            .collect();
        let opset = |domain: &str, version| OperatorSetIdProto {
            domain: Some(domain.to_owned()),
            version: Some(version),
        };
        let mut opset_import = vec![opset("", OPSET)];
        for domain in [CONTRIB, OWN] {
            if nodes.iter().any(|n| n.domain() == domain) {
                opset_import.push(opset(domain, 1));
            }
        }
        ModelProto {
            ir_version: Some(IR_VERSION),
            opset_import,
            producer_name: Some("lexivec".to_owned()),
            producer_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            graph: Some(GraphProto {
                name: Some("decoder".to_owned()),
                node: nodes,
                input: inputs,
                output: outputs,
                initializer,
                ..GraphProto::default()
            }),
            ..ModelProto::default()
        }
    }
}

fn header(i: &Initializer) -> TensorProto {
    TensorProto {
        name: Some(i.name.clone()),
        data_type: Some(i.dtype as i32),
        dims: i.shape.iter().map(|d| *d as i64).collect(),
        ..TensorProto::default()
    }
}

fn inline(i: Initializer) -> TensorProto {
    let message = header(&i);
    let InitializerData::Bytes(raw) = i.data else {
        unreachable!("only bytes in memory are stored in the message")
    };
    TensorProto {
        raw_data: Some(raw),
        ..message
    }
}

fn external(i: &Initializer, file: &str, offset: usize) -> TensorProto {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value),
    };
    TensorProto {
        data_location: Some(DataLocation::External as i32),
        external_data: vec![
            entry("location", file.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", i.len().to_string()),
        ],
        ..header(i)
    }
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut message = AttributeProto {
        name: Some(name.to_owned()),
        ..AttributeProto::default()
    };
    match value {
        Attribute::Int(i) => {
            message.r#type = Some(AttributeType::Int as i32);
            message.i = Some(*i);
        }
        Attribute::Float(f) => {
            message.r#type = Some(AttributeType::Float as i32);
            message.f = Some(*f);
        }
    }
    message
}

fn value_info(name: &str, dtype: DType, shape: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let dim = shape
        .iter()
        .map(|d| Dimension {
            value: Some(match d.parse() {
                Ok(number) => dimension::Value::DimValue(number),
                Err(_) => dimension::Value::DimParam((*d).to_owned()),
            }),
            ..Dimension::default()
        })
        .collect();
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: Some(dtype as i32),
                shape: Some(TensorShapeProto { dim }),
            })),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}
