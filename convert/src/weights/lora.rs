//! The matrices of a LoRA adapter, by the tensors that they change.

use std::collections::HashMap;

use lexivec_models::Adapter;

use super::{Entry, Tensor, entries};
use crate::cast::read_f32;
use crate::error::{Error, Result};
use crate::matrix::Matrix;

/// What an adapter adds to one tensor of the base: `scale · left · right`.
#[derive(Debug)]
pub(super) struct Change {
    a: Tensor,
    b: Tensor,
    /// Of the token embedding, whose matrices peft stores transposed.
    embedding: bool,
    pub(super) scale: f32,
}

impl Change {
    /// `left` has a row for each of the tensor's rows, and `right` a column for each of its columns.
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

/// The changes of an adapter by the names of the base's tensors, without prefix.
///
/// # Errors
/// A tensor that is no LoRA matrix of a tensor of the base, or whose shape or rank contradicts the base or the settings.
pub(super) fn read(
    adapter: &Adapter,
    base: &HashMap<String, Entry>,
) -> Result<HashMap<String, Change>> {
    let path = adapter.weights();
    let refuse = |reason: String| Error::Adapter {
        path: path.clone(),
        reason,
    };
    let mut pairs: HashMap<String, Pair> = HashMap::new();
    for (name, entry) in entries(&path)? {
        let Some((module, part, embedding)) = matrix_of(&name) else {
            if is_copy(&name, &entry, base)? {
                continue;
            }
            return Err(refuse(format!(
                "tensor `{name}` is neither the base's own nor a matrix of a LoRA adapter: only lora_A, lora_B and those of the \
                 token embedding are merged"
            )));
        };
        if is_output_layer(module) {
            continue;
        }
        let pair = pairs.entry(module.to_owned()).or_default();
        pair.embedding = embedding;
        let tensor = entry.tensor(&name)?;
        match part {
            Part::A => pair.a = Some(tensor),
            Part::B => pair.b = Some(tensor),
        }
    }
    let mut changes = HashMap::new();
    for (module, pair) in pairs {
        let (Some(a), Some(b)) = (pair.a, pair.b) else {
            return Err(refuse(format!(
                "`{module}` has one of its two matrices: save the adapter again"
            )));
        };
        let target = format!(
            "{}.weight",
            module.strip_prefix("model.").unwrap_or(&module)
        );
        let Some(found) = base.get(&target) else {
            return Err(refuse(format!(
                "it changes `{module}`, and the base has no tensor `{target}`: name the base that it was trained on"
            )));
        };
        let rank = adapter.rank(&module);
        let shapes = match (pair.embedding, found.shape.as_slice()) {
            (true, [rows, columns]) => Some(([rank, *rows], [*columns, rank])),
            (false, [rows, columns]) => Some(([rank, *columns], [*rows, rank])),
            _ => None,
        };
        if shapes.is_none_or(|(of_a, of_b)| a.shape != of_a || b.shape != of_b) {
            return Err(refuse(format!(
                "the matrices of `{module}` have the shapes {:?} and {:?}, which fit neither rank {rank} of adapter_config.json \
                 nor the base's `{target}` of shape {:?}, or one of the two: name the base that it was trained on",
                a.shape, b.shape, found.shape
            )));
        }
        let change = Change {
            a,
            b,
            embedding: pair.embedding,
            scale: adapter.scale(&module) as f32,
        };
        changes.insert(target, change);
    }
    if changes.is_empty() {
        return Err(refuse("it changes no tensor".to_owned()));
    }
    Ok(changes)
}

/// Whether a tensor beside the matrices changes nothing: peft saves the base's token embedding along with its matrices.
fn is_copy(name: &str, entry: &Entry, base: &HashMap<String, Entry>) -> Result<bool> {
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
        read_f32(&copy, first, &mut a[..count])?;
        read_f32(&original, first, &mut b[..count])?;
        if a[..count] != b[..count] {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Values that are compared at a time.
const PIECE: usize = 1 << 16;

/// No embedding depends on the output layer.
fn is_output_layer(module: &str) -> bool {
    module == "lm_head" || module.ends_with(".lm_head")
}

#[derive(Debug, Default)]
struct Pair {
    a: Option<Tensor>,
    b: Option<Tensor>,
    embedding: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    A,
    B,
}

/// The module that a tensor of an adapter belongs to, which of its matrices it is, and whether the module is an embedding.
fn matrix_of(name: &str) -> Option<(&str, Part, bool)> {
    let name = name.strip_prefix("base_model.model.").unwrap_or(name);
    [
        (".lora_A.weight", Part::A, false),
        (".lora_B.weight", Part::B, false),
        (".lora_embedding_A", Part::A, true),
        (".lora_embedding_B", Part::B, true),
    ]
    .into_iter()
    .find_map(|(suffix, part, embedding)| Some((name.strip_suffix(suffix)?, part, embedding)))
}

fn matrix(tensor: &Tensor) -> Result<Matrix> {
    let mut values = vec![0f32; tensor.rows() * tensor.columns()];
    read_f32(tensor, 0, &mut values)?;
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
    fn names_of_matrices_are_understood() {
        let name = "base_model.model.model.layers.3.mlp.up_proj.lora_A.weight";
        assert_eq!(
            matrix_of(name),
            Some(("model.layers.3.mlp.up_proj", Part::A, false))
        );
        let name = "base_model.model.embed_tokens.lora_embedding_B";
        assert_eq!(matrix_of(name), Some(("embed_tokens", Part::B, true)));
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
        let base: HashMap<String, Entry> = entries(&root.join("qwen3/model.safetensors"))
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
        // Of the same shape, with other values.
        assert!(!copy(
            "base_model.model.norm.weight",
            "layers.0.input_layernorm.weight"
        ));
        assert!(!copy("base_model.model.score.weight", norm));
    }

    #[test]
    fn a_transposed_matrix_has_its_rows_as_columns() {
        let matrix = Matrix::new(3, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let turned = transposed(&matrix);
        assert_eq!((turned.rows, turned.columns), (3, 2));
        assert_eq!(turned.values, [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    }
}
