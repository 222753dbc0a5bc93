//! The Qwen3 decoder (and Qwen2, Llama, Mistral, which leave parts of it out), as its paper draws it
//! (arXiv 2505.09388; the reference is transformers' `modeling_qwen3.py`).
//!
//! ```text
//!   x = embed(ids)
//!   for each layer:
//!     x = x + attention(rms_norm(x))      q, k: RMS-normalised per head, then rotated
//!     x = x + mlp(rms_norm(x))            down(silu(gate) * up)
//!   rms_norm(x)
//! ```
//!
//! The network works on *tokens*, one row of a matrix each. Only attention needs to know which tokens form a sequence, and [`Wiring`]
//! tells it.

use lexivec_models::Decoder;

use super::dialect::{HeadCounts, Lengths, PackedAttention, PackedInputs, RotaryValues};
use super::group_input::{GroupInput, ResidualStream};
use super::linear::{GroupOutput, Projection};
use super::ops::Ops;
use super::wiring::{Cached, TokensInPlace, Wiring};
use crate::error::Result;
use crate::onnx::Value;
use crate::tensor::DType;

/// Values that all layers share; the graph computes them once.
struct LayerContext<'a> {
    decoder: &'a Decoder,
    wiring: &'a Wiring,
    /// `[tokens, 1]`; [`Value::none`] if attention includes the rotary embeddings.
    positions: Value,
    rotary: RotaryValues,
    lengths: Option<Lengths>,
}

impl<'a> LayerContext<'a> {
    fn new(ops: &mut Ops<'_>, decoder: &'a Decoder, wiring: &'a Wiring) -> Self {
        let d = decoder;
        let dialect = ops.style.dialect;
        let separate = dialect.fused_attention().is_none() && wiring.in_place().is_none();
        let positions = match separate {
            false => Value::none(),
            true => {
                let axis = ops.graph.ints(&[1]);
                ops.graph.op("Unsqueeze", &[&wiring.positions, &axis], &[])
            }
        };
        // Attention in place is in float32, whatever the type of the other operators.
        let tables = match wiring.in_place() {
            Some(_) => DType::F32,
            None => ops.style.compute,
        };
        Self {
            decoder,
            wiring,
            positions,
            rotary: ops.rotary_tables(d.max_positions, d.head_dim, d.rope_theta, tables),
            lengths: dialect.lengths(&mut ops.graph, &wiring.rectangle),
        }
    }
}

/// Builds the network over the tokens `ids`. Returns hidden states after the final norm, in float32: those of every token, or
/// of each sequence's last token if the wiring selects it.
pub(super) fn build(ops: &mut Ops<'_>, decoder: &Decoder, wiring: &Wiring) -> Result<Value> {
    let d = decoder;
    let context = LayerContext::new(ops, d, wiring);
    let mut stream = ResidualStream {
        x: ops.embed(&wiring.ids, d.vocab_size, d.hidden_size)?,
        added: None,
    };
    for layer in 0..d.layers {
        // No later layer reads the other tokens.
        let last_tokens = layer + 1 == d.layers;
        stream = through_layer(ops, &context, layer, stream, last_tokens)?;
    }
    let epsilon = residual_epsilon(ops, d);
    ops.final_norm(&stream, d.hidden_size, epsilon)
}

/// Builds a single layer: the residual stream in, the residual stream out.
pub(super) fn layer(
    ops: &mut Ops<'_>,
    decoder: &Decoder,
    wiring: &Wiring,
    layer: usize,
    residual: &Value,
) -> Result<Value> {
    let context = LayerContext::new(ops, decoder, wiring);
    let stream = ResidualStream {
        x: residual.clone(),
        added: None,
    };
    let stream = through_layer(ops, &context, layer, stream, false)?;
    Ok(ops.sum(&stream))
}

/// The residual stream behind a layer, of all tokens or of each sequence's last one.
fn through_layer(
    ops: &mut Ops<'_>,
    context: &LayerContext<'_>,
    layer: usize,
    stream: ResidualStream,
    last_tokens: bool,
) -> Result<ResidualStream> {
    let (d, wiring) = (context.decoder, context.wiring);
    let epsilon = residual_epsilon(ops, d);
    ops.graph.scope(format!("layers.{layer}."));
    let input = norm(stream, norm_name(layer), epsilon);
    let (slots, residual) = attention(ops, context, layer, &input, last_tokens)?;
    let (x, residual) = match last_tokens {
        true => wiring.select_last(ops, slots, residual),
        false => (wiring.to_rows(ops, slots), residual),
    };
    let stream = ResidualStream {
        x: output_projection(ops, d, layer, x)?,
        added: Some(residual),
    };
    mlp(ops, d, layer, &norm(stream, post_norm_name(layer), epsilon))
}

/// The norm of the residual stream, for a linear group.
fn norm(stream: ResidualStream, weights: String, epsilon: f64) -> GroupInput {
    GroupInput::Norm {
        stream,
        weights,
        epsilon,
    }
}

/// The epsilon of norms that read the residual stream. It scales with the square of the stream.
fn residual_epsilon(ops: &Ops<'_>, d: &Decoder) -> f64 {
    d.rms_norm_eps * f64::from(ops.style.residual).powi(2)
}

fn norm_name(layer: usize) -> String {
    format!("layers.{layer}.input_layernorm.weight")
}

fn post_norm_name(layer: usize) -> String {
    format!("layers.{layer}.post_attention_layernorm.weight")
}

/// Attention without its output projection, `[flat slots, heads * D]`, and the residual stream. `last_tokens` says whether the last
/// tokens of sequences are enough, which attention in place makes use of.
fn attention(
    ops: &mut Ops<'_>,
    context: &LayerContext<'_>,
    layer: usize,
    input: &GroupInput,
    last_tokens: bool,
) -> Result<(Value, Value)> {
    let d = context.decoder;
    let (q_width, kv_width) = (d.heads * d.head_dim, d.kv_heads * d.head_dim);
    let projection = |name: &str, outputs| Projection {
        name: format!("layers.{layer}.self_attn.{name}"),
        outputs,
        bias: d.qkv_bias,
    };
    let layers = [
        projection("q_proj", q_width),
        projection("k_proj", kv_width),
        projection("v_proj", kv_width),
    ];
    let counts = HeadCounts {
        query: d.heads,
        key_value: d.kv_heads,
    };
    let dialect = ops.style.dialect;
    if let (Some(packed), Some(tokens)) = (dialect.packed_attention(), context.wiring.in_place()) {
        let qkv = ops.project(input, d.hidden_size, &layers)?;
        let residual = residual_of(&qkv);
        let mut qkv = qkv.layers;
        let none = Value::none();
        let mut query_tokens = &none;
        if last_tokens {
            qkv[0] = ops.graph.op("Gather", &[&qkv[0], &tokens.last_row], &[]);
            query_tokens = &tokens.last_row;
        }
        let y = attention_in_place(ops, context, packed, tokens, layer, &qkv, query_tokens)?;
        return Ok((y, residual));
    }
    let (y, residual) = match (dialect.fused_attention(), &context.lengths) {
        (Some(fused), Some(lengths)) => {
            let group = ops.project_stacked(input, d.hidden_size, &layers)?;
            let qkv = context.wiring.stack_to_sequences(ops, &group.layers[0]);
            let norms = qk_norms(ops, d, layer)?;
            let (epsilon, tables) = (d.rms_norm_eps as f32, &context.rotary);
            let y = fused.attention(
                &mut ops.graph,
                &qkv,
                norms,
                epsilon,
                tables,
                counts,
                lengths,
            );
            (y, residual_of(&group))
        }
        _ => {
            let group = ops.project(input, d.hidden_size, &layers)?;
            let qkv = &group.layers;
            let q = heads(ops, context, layer, "q_norm", &qkv[0], d.heads)?;
            let k = heads(ops, context, layer, "k_norm", &qkv[1], d.kv_heads)?;
            let wiring = context.wiring;
            let [q, k, v] = wiring.to_sequences(ops, layer, [&q, &k, &qkv[2]], d);
            let (g, compute) = (&mut ops.graph, ops.style.compute);
            let lengths = context.lengths.as_ref();
            let y = dialect.attention(g, compute, [&q, &k, &v], counts, lengths);
            (y, residual_of(&group))
        }
    };
    let flat = ops.graph.ints(&[-1, q_width as i64]);
    Ok((ops.graph.op("Reshape", &[&y, &flat], &[]), residual))
}

/// The residual stream behind a group whose input is its norm.
fn residual_of(group: &GroupOutput) -> Value {
    let residual = group.residual.clone();
    residual.unwrap_or_else(|| unreachable!("the input of the group is a norm"))
}

/// Attention over packed tokens where they are: a row for each token, or for each of `query_tokens`.
fn attention_in_place(
    ops: &mut Ops<'_>,
    context: &LayerContext<'_>,
    packed: &dyn PackedAttention,
    tokens: &TokensInPlace,
    layer: usize,
    qkv: &[Value],
    query_tokens: &Value,
) -> Result<Value> {
    let d = context.decoder;
    let compute = ops.style.compute;
    let norms = qk_norms(ops, d, layer)?;
    let float = |ops: &mut Ops<'_>, x: Value| ops.cast(x, compute, DType::F32);
    let [q, k, v] = [0, 1, 2].map(|i| float(ops, qkv[i].clone()));
    let norms = norms.map(|norms| norms.map(|x| float(ops, x)));
    let [prefix_key, prefix_value] =
        [Cached::Key, Cached::Value].map(|what| what.input(ops, layer, DType::F32, d));
    let inputs = PackedInputs {
        qkv: [&q, &k, &v],
        prefix: [&prefix_key, &prefix_value],
        positions: &context.wiring.positions,
        kv_index: &tokens.kv_index,
        token_index: &tokens.token_index,
        query_tokens,
        tables: &context.rotary,
        norms,
        epsilon: d.rms_norm_eps as f32,
        heads: HeadCounts {
            query: d.heads,
            key_value: d.kv_heads,
        },
    };
    let [y, keys] = packed.attention(&mut ops.graph, &inputs);
    for (what, rows) in [(Cached::Key, &keys), (Cached::Value, &v)] {
        what.output(ops, layer, DType::F32, rows, "T", d);
    }
    Ok(ops.cast(y, DType::F32, compute))
}

/// The weights of the query and key norms, which only Qwen3 has.
fn qk_norms(ops: &mut Ops<'_>, d: &Decoder, layer: usize) -> Result<Option<[Value; 2]>> {
    if !d.qk_norm {
        return Ok(None);
    }
    let weight = |ops: &mut Ops<'_>, norm: &str| ops.vector(&qk_norm_name(layer, norm), d.head_dim);
    Ok(Some([weight(ops, "q_norm")?, weight(ops, "k_norm")?]))
}

fn qk_norm_name(layer: usize, norm: &str) -> String {
    format!("layers.{layer}.self_attn.{norm}.weight")
}

/// Normalises the heads of a query or key, in Qwen3, and applies rotary embeddings.
fn heads(
    ops: &mut Ops<'_>,
    context: &LayerContext<'_>,
    layer: usize,
    norm: &str,
    x: &Value,
    heads: usize,
) -> Result<Value> {
    let d = context.decoder;
    let mut x = x.clone();
    if d.qk_norm {
        let split = ops.graph.ints(&[0, heads as i64, d.head_dim as i64]);
        let merge = ops.graph.ints(&[0, (heads * d.head_dim) as i64]);
        let weight = qk_norm_name(layer, norm);
        x = ops.graph.op("Reshape", &[&x, &split], &[]);
        x = ops.rms_norm(&x, &weight, d.head_dim, d.rms_norm_eps)?;
        x = ops.graph.op("Reshape", &[&x, &merge], &[]);
    }
    Ok(ops.rotary(&x, &context.positions, &context.rotary, heads))
}

fn output_projection(ops: &mut Ops<'_>, d: &Decoder, layer: usize, x: Value) -> Result<Value> {
    let projection = Projection {
        name: format!("layers.{layer}.self_attn.o_proj"),
        outputs: d.hidden_size,
        bias: d.output_bias,
    };
    ops.linear(&GroupInput::Value(x), d.heads * d.head_dim, projection)
}

/// The feed-forward network: the residual stream behind it.
fn mlp(ops: &mut Ops<'_>, d: &Decoder, layer: usize, input: &GroupInput) -> Result<ResidualStream> {
    let projection = |name: &str, outputs| Projection {
        name: format!("layers.{layer}.mlp.{name}"),
        outputs,
        bias: d.mlp_bias,
    };
    let layers = [
        projection("gate_proj", d.intermediate_size),
        projection("up_proj", d.intermediate_size),
    ];
    let mut group = ops.project(input, d.hidden_size, &layers)?;
    let residual = residual_of(&group);
    let (up, gate) = (group.layers.swap_remove(1), group.layers.swap_remove(0));
    let down = projection("down_proj", d.hidden_size);
    Ok(ResidualStream {
        x: ops.linear(&GroupInput::SwiGlu { gate, up }, d.intermediate_size, down)?,
        added: Some(residual),
    })
}
