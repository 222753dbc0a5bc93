//! The architecture of a decoder, as its `config.json` describes it.
//!
//! Qwen3, Qwen2, Llama and Mistral differ only in optional biases and in whether queries and keys are normalised, so one
//! description serves all four. Defaults are those of each family's configuration class in transformers. An option that would
//! change the arithmetic and is not implemented is rejected by name. Every size is checked, so that later code may multiply sizes
//! without overflow.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Error, Result};
use crate::files::{parse_json, read_text};

mod rope;
mod sizes;

use rope::Rope;
use sizes::{MAX_LAYERS, MAX_POSITIONS, MAX_VOCABULARY, MAX_WIDTH, Sizes, positive};

/// A family of decoders, named as `model_type` in `config.json` names it.
///
/// ```
/// use lexivec_models::Family;
///
/// assert_eq!(Family::Qwen3.as_str(), "qwen3");
/// assert_eq!(Family::Mistral.to_string(), "mistral");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// Normalised queries and keys; Qwen3-Embedding is of this family.
    Qwen3,
    /// Biases on query, key and value.
    Qwen2,
    /// Optional biases on attention and on the MLP.
    Llama,
    /// No biases.
    Mistral,
}

impl Family {
    const ALL: [Family; 4] = [Family::Qwen3, Family::Qwen2, Family::Llama, Family::Mistral];

    /// The family's `model_type`.
    pub fn as_str(self) -> &'static str {
        match self {
            Family::Qwen3 => "qwen3",
            Family::Qwen2 => "qwen2",
            Family::Llama => "llama",
            Family::Mistral => "mistral",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The sizes and options of a decoder: everything besides the weights that its arithmetic depends on.
///
/// Names in parentheses are those of the fields in `config.json`.
///
/// ```
/// use lexivec_models::{Decoder, Error, Family};
///
/// let json = r#"{"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
///     "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 64, "max_position_embeddings": 128}"#;
/// let decoder = Decoder::parse(json, "config.json".as_ref())?;
/// assert_eq!((decoder.family, decoder.head_dim), (Family::Qwen3, 128));
///
/// let bert = r#"{"model_type": "bert"}"#;
/// let error = Decoder::parse(bert, "config.json".as_ref()).unwrap_err();
/// assert!(matches!(error, Error::Unsupported { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decoder {
    /// The family (`model_type`).
    pub family: Family,
    /// Rows of the token embedding (`vocab_size`).
    pub vocab_size: usize,
    /// Width of the hidden state, and of the embedding before truncation (`hidden_size`).
    pub hidden_size: usize,
    /// Number of decoder layers (`num_hidden_layers`).
    pub layers: usize,
    /// Query heads (`num_attention_heads`).
    pub heads: usize,
    /// Key and value heads (`num_key_value_heads`); divides [`heads`](Self::heads).
    pub kv_heads: usize,
    /// Width of one head (`head_dim`); `heads * head_dim` need not equal the hidden size.
    pub head_dim: usize,
    /// Width inside the MLP (`intermediate_size`).
    pub intermediate_size: usize,
    /// The maximum number of positions, in tokens (`max_position_embeddings`).
    pub max_positions: usize,
    /// Base of the rotary frequencies (`rope_theta`, in `rope_parameters`, in `rope_scaling` or by itself).
    pub rope_theta: f64,
    /// Added to the variance in every RMSNorm (`rms_norm_eps`).
    pub rms_norm_eps: f64,
    /// Whether the output projection shares the token embedding (`tie_word_embeddings`). An embedding model does not use the
    /// output projection, but the checkpoint's tensors depend on this.
    pub tied_embeddings: bool,
    /// Whether queries and keys pass an RMSNorm over the head before the rotation (Qwen3).
    pub qk_norm: bool,
    /// Whether the query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has a bias.
    pub output_bias: bool,
    /// Whether the three MLP projections have a bias.
    pub mlp_bias: bool,
}

/// `config.json` as written. Every field is optional, so that errors can name the missing one.
#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
    vocab_size: Option<usize>,
    hidden_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: Option<usize>,
    max_position_embeddings: Option<usize>,
    rms_norm_eps: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Rope>,
    rope_parameters: Option<Rope>,
    partial_rotary_factor: Option<Value>,
    hidden_act: Option<String>,
    tie_word_embeddings: Option<bool>,
    attention_bias: Option<bool>,
    mlp_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    // Absent and null differ: in a Mistral, transformers reads an absent window as 4096 and null as none.
    #[serde(default, deserialize_with = "present")]
    sliding_window: Option<Option<usize>>,
    layer_types: Option<Vec<String>>,
    is_causal: Option<bool>,
    use_bidirectional_attention: Option<bool>,
    quantization_config: Option<Value>,
    compression_config: Option<Value>,
    text_config: Option<Value>,
}

fn present<'de, D: serde::Deserializer<'de>>(
    value: D,
) -> std::result::Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(value).map(Some)
}

impl Decoder {
    /// Reads a `config.json`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] and [`Error::Json`] if the file cannot be read, [`Error::Invalid`] for a field that is missing or out of
    /// range, [`Error::Unsupported`] for an architecture or option that is not implemented.
    pub fn read(path: &Path) -> Result<Decoder> {
        Decoder::parse(&read_text(path)?, path)
    }

    /// Parses the text of a `config.json`; `path` is for messages.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn parse(json: &str, path: &Path) -> Result<Decoder> {
        let config: Config = parse_json(json, path)?;
        let family = config.family(path)?;
        config.reject_other_arithmetic(path)?;
        config.reject_sliding_window(family, path)?;
        let rope_theta = config.rope_theta(path)?;

        let sizes = Sizes { path };
        let hidden_size = sizes.check("hidden_size", config.hidden_size, MAX_WIDTH)?;
        let heads = sizes.check("num_attention_heads", config.num_attention_heads, MAX_WIDTH)?;
        let kv_heads = sizes.check(
            "num_key_value_heads",
            config.num_key_value_heads.or(Some(heads)),
            heads,
        )?;
        if !heads.is_multiple_of(kv_heads) {
            let reason = format!(
                "is {kv_heads}, which does not divide the {heads} of `num_attention_heads`"
            );
            return Err(Error::invalid(path, "num_key_value_heads", reason));
        }
        let head_dim = match (config.head_dim, family) {
            (Some(given), _) => given,
            (None, Family::Qwen3) => 128,
            (None, _) if hidden_size.is_multiple_of(heads) => hidden_size / heads,
            (None, _) => {
                let reason = format!(
                    "is missing, and {heads} heads do not divide a `hidden_size` of {hidden_size}"
                );
                return Err(Error::invalid(path, "head_dim", reason));
            }
        };
        let head_dim = sizes.check("head_dim", Some(head_dim), MAX_WIDTH)?;
        if !head_dim.is_multiple_of(8) {
            // The rotation needs pairs, and the attention kernels read eight numbers at a time.
            let reason = format!("is {head_dim}; it must be a multiple of 8");
            return Err(Error::invalid(path, "head_dim", reason));
        }
        sizes.check(
            "num_attention_heads * head_dim",
            heads.checked_mul(head_dim),
            MAX_WIDTH,
        )?;

        let attention_bias = config.attention_bias.unwrap_or(false);
        let optional_bias = matches!(family, Family::Qwen3 | Family::Llama) && attention_bias;
        Ok(Decoder {
            family,
            vocab_size: sizes.check("vocab_size", config.vocab_size, MAX_VOCABULARY)?,
            hidden_size,
            layers: sizes.check("num_hidden_layers", config.num_hidden_layers, MAX_LAYERS)?,
            heads,
            kv_heads,
            head_dim,
            intermediate_size: sizes.check(
                "intermediate_size",
                config.intermediate_size,
                MAX_WIDTH,
            )?,
            max_positions: sizes.check(
                "max_position_embeddings",
                config.max_position_embeddings,
                MAX_POSITIONS,
            )?,
            rope_theta,
            rms_norm_eps: positive("rms_norm_eps", config.rms_norm_eps.unwrap_or(1e-6), path)?,
            tied_embeddings: config.tie_word_embeddings.unwrap_or(false),
            qk_norm: family == Family::Qwen3,
            qkv_bias: family == Family::Qwen2 || optional_bias,
            output_bias: optional_bias,
            mlp_bias: family == Family::Llama && config.mlp_bias.unwrap_or(false),
        })
    }
}

impl Config {
    fn family(&self, path: &Path) -> Result<Family> {
        let Some(model_type) = &self.model_type else {
            return Err(Error::invalid(path, "model_type", "is missing"));
        };
        Family::ALL
            .into_iter()
            .find(|family| family.as_str() == model_type)
            .ok_or_else(|| {
                let hint = "supported are qwen3, qwen2, llama and mistral";
                Error::unsupported(path, format!("model_type `{model_type}`"), hint)
            })
    }

    /// Rejects options that would change what the same weights compute.
    fn reject_other_arithmetic(&self, path: &Path) -> Result<()> {
        // compressed-tensors wrote `compression_config` before transformers had one name for all methods.
        let quantization = self.quantization_config.as_ref();
        if let Some(quantization) = quantization.or(self.compression_config.as_ref()) {
            let method = quantization
                .get("quant_method")
                .and_then(Value::as_str)
                .unwrap_or("of an unnamed method");
            let what =
                format!("a checkpoint that is already quantised (quantization_config `{method}`)");
            return Err(Error::unsupported(
                path,
                what,
                "convert from the original float checkpoint",
            ));
        }
        if let Some(activation) = self.hidden_act.as_deref().filter(|name| *name != "silu") {
            return Err(Error::unsupported(
                path,
                format!("hidden_act `{activation}`"),
                "only silu is",
            ));
        }
        if self.is_causal == Some(false) || self.use_bidirectional_attention == Some(true) {
            return Err(Error::unsupported(
                path,
                "bidirectional attention",
                "only causal decoders are",
            ));
        }
        self.reject_partial_rotation(path)?;
        if self.text_config.is_some() {
            // Some releases of transformers read its fields instead of those beside it, others do not.
            return Err(Error::unsupported(
                path,
                "a nested text_config",
                "only a text model's own config.json, with its fields at the top level, is",
            ));
        }
        Ok(())
    }

    fn reject_sliding_window(&self, family: Family, path: &Path) -> Result<()> {
        let hint = "only full attention is";
        if self
            .layer_types
            .iter()
            .flatten()
            .any(|kind| kind == "sliding_attention")
        {
            return Err(Error::unsupported(
                path,
                "a layer of type `sliding_attention`",
                hint,
            ));
        }
        if let Some(kind) = self
            .layer_types
            .iter()
            .flatten()
            .find(|kind| *kind != "full_attention")
        {
            return Err(Error::unsupported(
                path,
                format!("a layer of type `{kind}`"),
                hint,
            ));
        }
        if let (Some(types), Some(layers)) = (&self.layer_types, self.num_hidden_layers)
            && types.len() != layers
        {
            let reason = format!(
                "names {} layers, and `num_hidden_layers` is {layers}",
                types.len()
            );
            return Err(Error::invalid(path, "layer_types", reason));
        }
        // Every config of Qwen2 and Qwen3 has a window, which is used only if this switch is on.
        if self.use_sliding_window == Some(true) {
            return Err(Error::unsupported(path, "use_sliding_window", hint));
        }
        let window = self.sliding_window.unwrap_or(Some(4096));
        let reach = self.max_position_embeddings.unwrap_or(usize::MAX);
        match window {
            Some(window) if family == Family::Mistral && window < reach => Err(Error::unsupported(
                path,
                format!("a sliding_window of {window} tokens"),
                hint,
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
