//! Reads a LoRA adapter: its matrices, by the base tensors that they update.

use std::collections::HashMap;

use lexivec_models::Adapter;

use super::tensors::{Tensor, TensorEntry, entries};
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// The update of one base tensor: an adapter adds `scale · left · right` to it.
#[derive(Debug)]
pub(super) struct LoraUpdate {
    a: Tensor,
    b: Tensor,
    /// Whether the tensor is the token embedding, whose matrices peft stores transposed.
    embedding: bool,
    pub(super) scale: f32,
}

impl LoraUpdate {
    /// The matrices `left`, with a row for each row of the tensor, and `right`, with a column for each column.
    ///
    /// # Errors
    /// A value is not finite.
    pub(super) fn matrices(&self) -> Result<(Matrix, Matrix)> {
        let (a, b) = (matrix(&self.a)?, matrix(&self.b)?);
        Ok(match self.embedding {
            true => (transposed(&a), transposed(&b)),
            false => (b, a),
        })
    }
}

/// The updates of an adapter, by the names of the base's tensors without prefix.
///
/// # Errors
/// A tensor is not a LoRA matrix of a base tensor, or its shape or rank contradicts the base or the settings.
pub(super) fn read(
    adapter: &Adapter,
    base: &HashMap<String, TensorEntry>,
) -> Result<HashMap<String, LoraUpdate>> {
    let path = adapter.weights();
    let invalid = |reason: String| Error::Adapter {
        path: path.clone(),
        reason,
    };
    let mut pairs: HashMap<String, FactorPair> = HashMap::new();
    for (name, entry) in entries(&path)? {
        let Some((module, part, embedding)) = matrix_of(&name) else {
            if is_copy(&name, &entry, base)? {
                continue;
            }
            return Err(invalid(format!(
                "tensor `{name}` is neither the base's own nor a matrix of a LoRA adapter: only lora_A, lora_B and those of the \
                 token embedding are merged"
            )));
        };
        if is_output_layer(module) {
            continue;
        }
        if let Some(field) = adapter.left_out_by(module) {
            return Err(invalid(format!(
                "it holds matrices for `{module}`, which `{field}` of adapter_config.json leaves out, so that peft ignores them: \
                 correct `{field}`"
            )));
        }
        let pair = pairs.entry(module.to_owned()).or_default();
        pair.embedding = embedding;
        let tensor = entry.tensor(&name)?;
        match part {
            LoraFactor::A => pair.a = Some(tensor),
            LoraFactor::B => pair.b = Some(tensor),
        }
    }
    let mut updates = HashMap::new();
    for (module, pair) in pairs {
        let (Some(a), Some(b)) = (pair.a, pair.b) else {
            return Err(invalid(format!(
                "`{module}` has one of its two matrices: save the adapter again"
            )));
        };
        let target = format!(
            "{}.weight",
            module.strip_prefix("model.").unwrap_or(&module)
        );
        let Some(found) = base.get(&target) else {
            return Err(invalid(format!(
                "it updates `{module}`, but the base has no tensor `{target}`: name the base that it was trained on"
            )));
        };
        let rank = adapter.rank(&module);
        let shapes = match (pair.embedding, found.shape.as_slice()) {
            (true, [rows, columns]) => Some(([rank, *rows], [*columns, rank])),
            (false, [rows, columns]) => Some(([rank, *columns], [*rows, rank])),
            _ => None,
        };
        if shapes.is_none_or(|(of_a, of_b)| a.shape != of_a || b.shape != of_b) {
            return Err(invalid(format!(
                "the matrices of `{module}` have the shapes {:?} and {:?}, which fit neither rank {rank} of adapter_config.json \
                 nor the base's `{target}` of shape {:?}, or one of the two: name the base that it was trained on",
                a.shape, b.shape, found.shape
            )));
        }
        let update = LoraUpdate {
            a,
            b,
            embedding: pair.embedding,
            scale: adapter.scale(&module) as f32,
        };
        updates.insert(target, update);
    }
    if updates.is_empty() {
        return Err(invalid("it updates no tensor".to_owned()));
    }
    Ok(updates)
}

/// Whether a tensor besides the matrices is a copy of the base's: peft saves the base's token embedding with its matrices.
fn is_copy(name: &str, entry: &TensorEntry, base: &HashMap<String, TensorEntry>) -> Result<bool> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    let name = name.strip_prefix("model.").unwrap_or(name);
    let name = name.replace(".base_layer.", ".");
    if is_output_layer(name.trim_end_matches(".weight")) {
        return Ok(true);
    }
    let Some(original) = base.get(&name).filter(|found| found.shape == entry.shape) else {
        return Ok(false);
    };
    let (copy, original) = (entry.tensor(&name)?, original.tensor(&name)?);
    let values = copy.rows() * copy.columns();
    let (mut a, mut b) = (vec![0f32; PIECE], vec![0f32; PIECE]);
    for first in (0..values).step_by(PIECE) {
        let count = PIECE.min(values - first);
        copy.read_f32(first, &mut a[..count])?;
        original.read_f32(first, &mut b[..count])?;
        if a[..count] != b[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Values that are compared at a time.
const PIECE: usize = 1 << 16;

/// Whether a module is the output layer of a language model, which embeddings do not use.
fn is_output_layer(module: &str) -> bool {
    module == "lm_head" || module.ends_with(".lm_head")
}

/// The two matrices of a module, as far as they have been read.
#[derive(Debug, Default)]
struct FactorPair {
    a: Option<Tensor>,
    b: Option<Tensor>,
    embedding: bool,
}

/// One of the two matrices of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoraFactor {
    A,
    B,
}

/// The module of an adapter tensor, which of the two matrices it is, and whether the module is an embedding.
fn matrix_of(name: &str) -> Option<(&str, LoraFactor, bool)> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    [
        (".lora_A.weight", LoraFactor::A, false),
        (".lora_B.weight", LoraFactor::B, false),
        (".lora_embedding_A", LoraFactor::A, true),
        (".lora_embedding_B", LoraFactor::B, true),
    ]
    .into_iter()
    .find_map(|(suffix, part, embedding)| Some((name.strip_suffix(suffix)?, part, embedding)))
}

fn matrix(tensor: &Tensor) -> Result<Matrix> {
    let mut values = vec![0f32; tensor.rows() * tensor.columns()];
    tensor.read_f32(0, &mut values)?;
    Ok(Matrix {
        rows: tensor.rows(),
        columns: tensor.columns(),
        values,
    })
}

fn transposed(matrix: &Matrix) -> Matrix {
    let (rows, columns) = (matrix.columns, matrix.rows);
    let values = (0..rows * columns)
        .map(|i| matrix.values[i % columns * rows + i / columns])
        .collect();
    Matrix {
        rows,
        columns,
        values,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_matrices_are_parsed() {
        let name = "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight";
        assert_eq!(
            matrix_of(name),
            Some(("model.layers.3.mlp.up_proj", LoraFactor::A, false))
        );
        let name = "base_model.model.embed_tokens.lora_embedding_B";
        assert_eq!(matrix_of(name), Some(("embed_tokens", LoraFactor::B, true)));
        for other in [
            "base_model.model.layers.0.self_attn.q_proj.lora_magnitude_vector",
            "base_model.model.score.weight",
            "base_model.model.layers.0.self_attn.q_proj.bias",
        ] {
            assert_eq!(matrix_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_copy_of_the_bases_tensor_changes_nothing_and_another_tensor_does() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/tiny");
        let base: HashMap<String, TensorEntry> = entries(&root.join("qwen3/model.safetensors"))
            .unwrap()
            .into_iter()
            .collect();
        let copy = |name: &str, of: &str| is_copy(name, &base[of], &base).unwrap();
        let (embedding, norm) = ("embed_tokens.weight", "norm.weight");
        let saved = "base_model.model.model.embed_tokens.base_layer.weight";
        assert!(copy(saved, embedding));
        assert!(copy("base_model.model.embed_tokens.weight", embedding));
        assert!(copy("base_model.model.lm_head.weight", embedding));
        assert!(!copy(saved, norm));
        // The same shape, but other values.
        assert!(!copy(
            "base_model.model.norm.weight",
            "layers.0.input_layernorm.weight"
        ));
        assert!(!copy("base_model.model.score.weight", norm));
    }

    #[test]
    fn transposition_swaps_rows_and_columns() {
        let matrix = Matrix::new(3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let turned = transposed(&matrix);
        assert_eq!((turned.rows, turned.columns), (3, 2));
        assert_eq!(turned.values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
