//! Checkpoints that compute exactly what another computes, with weights and activations that are hard to quantise.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;
use serde_json::Value;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";

/// What else a checkpoint folder holds.
const COPIED: [&str; 6] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "modules.json",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
];

/// Fields of `config.json`.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Sizes {
    num_hidden_layers: usize,
    hidden_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    intermediate_size: usize,
}

/// A checkpoint in bfloat16 with one weight file, in memory, to be changed. Factors are powers of two unless said: they
/// leave every digit of a weight.
#[derive(Debug)]
pub struct Surgery {
    checkpoint: PathBuf,
    sizes: Sizes,
    tensors: BTreeMap<String, (Vec<usize>, Vec<bf16>)>,
}

/// What makes a checkpoint hard.
pub type Operation = fn(Surgery) -> Surgery;

/// All operations by name, for the command line.
pub const CASES: [(&str, Operation); 8] = [
    ("channel-outliers", Surgery::channel_outliers),
    ("large-up-small-down", Surgery::large_up_small_down),
    ("heavy-tails", Surgery::heavy_tails),
    ("massive-tokens", Surgery::massive_tokens),
    ("repeated-neurons", Surgery::repeated_neurons),
    ("overflowing-neurons", Surgery::overflowing_neurons),
    ("overflowing-values", Surgery::overflowing_values),
    ("large-residual", Surgery::large_residual),
];

impl Surgery {
    /// Reads a checkpoint folder.
    ///
    /// # Panics
    /// The folder is not a checkpoint in bfloat16 with one weight file.
    #[must_use]
    pub fn on(checkpoint: &Path) -> Self {
        let config = fs_err::read(checkpoint.join(CONFIG)).unwrap();
        let bytes = fs_err::read(checkpoint.join(WEIGHTS)).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::BF16, "{name}");
            let pairs = tensor.data().as_chunks::<2>().0;
            let values = pairs.iter().map(|b| bf16::from_le_bytes(*b)).collect();
            let name = name.strip_prefix("model.").unwrap_or(name).to_owned();
            (name, (tensor.shape().to_vec(), values))
        });
        Self {
            tensors: tensors.collect(),
            sizes: serde_json::from_slice(&config).unwrap(),
            checkpoint: checkpoint.to_path_buf(),
        }
    }

    fn get(&mut self, layer: usize, name: &str) -> &mut (Vec<usize>, Vec<bf16>) {
        self.tensors
            .get_mut(&format!("layers.{layer}.{name}.weight"))
            .unwrap()
    }

    fn scale_all(&mut self, layer: usize, name: &str, factor: f32) {
        let (_, values) = self.get(layer, name);
        scale(values.iter_mut(), factor);
    }

    fn scale_row(&mut self, layer: usize, name: &str, row: usize, factor: f32) {
        let (shape, values) = self.get(layer, name);
        let columns: usize = shape[1..].iter().product();
        scale(
            values[row * columns..(row + 1) * columns].iter_mut(),
            factor,
        );
    }

    fn scale_column(&mut self, layer: usize, name: &str, column: usize, factor: f32) {
        let (shape, values) = self.get(layer, name);
        scale(values.iter_mut().skip(column).step_by(shape[1]), factor);
    }

    /// Multiplies a channel of a norm's gain and divides what reads it.
    fn scale_norm(&mut self, layer: usize, channel: usize, factor: f32) {
        let readers: [(&str, &[&str]); 2] = [
            (
                "input_layernorm",
                &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
            ),
            (
                "post_attention_layernorm",
                &["mlp.gate_proj", "mlp.up_proj"],
            ),
        ];
        for (norm, readers) in readers {
            self.scale_row(layer, norm, channel, factor);
            for reader in readers {
                self.scale_column(layer, reader, channel, 1.0 / factor);
            }
        }
    }

    /// Multiplies a channel between up and down projection.
    fn scale_up(&mut self, layer: usize, channel: usize, factor: f32) {
        self.scale_row(layer, "mlp.up_proj", channel, factor);
        self.scale_column(layer, "mlp.down_proj", channel, 1.0 / factor);
    }

    /// One channel in fifty of every norm a hundred times (128, which is exact) as large.
    #[must_use]
    pub fn channel_outliers(mut self) -> Self {
        let hidden = self.sizes.hidden_size;
        for layer in 0..self.sizes.num_hidden_layers {
            for i in 0..hidden / 50 {
                self.scale_norm(layer, (layer * 37 + i * 53 + 11) % hidden, 128.0);
            }
        }
        self
    }

    /// A quarter of the up channels 4 to 256 times as large, what reads them smaller.
    #[must_use]
    pub fn large_up_small_down(mut self) -> Self {
        let intermediate = self.sizes.intermediate_size;
        for layer in 0..self.sizes.num_hidden_layers {
            for i in 0..intermediate / 4 {
                let channel = (i * 4 + layer) % intermediate;
                self.scale_up(layer, channel, f32::from(4u16 << (i % 7)));
            }
        }
        self
    }

    /// Powers of two with heavy tails on every channel that may be scaled: rows and columns of all weights spread over
    /// many magnitudes.
    #[must_use]
    pub fn heavy_tails(mut self) -> Self {
        let mut state = 7u64;
        let mut factor = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            // Halves the chance with each doubling, both ways.
            let doublings = (state >> 33).trailing_zeros().min(9) as i32;
            2f32.powi(if state >> 63 == 1 {
                doublings
            } else {
                -doublings
            })
        };
        let Sizes { head_dim, .. } = self.sizes;
        let heads = self.sizes.num_key_value_heads;
        let readers = self.sizes.num_attention_heads / heads;
        for layer in 0..self.sizes.num_hidden_layers {
            for channel in 0..self.sizes.hidden_size {
                self.scale_norm(layer, channel, factor());
            }
            for channel in 0..self.sizes.intermediate_size {
                self.scale_up(layer, channel, factor());
            }
            // Several query heads read one value head.
            for channel in 0..heads * head_dim {
                let f = factor();
                self.scale_row(layer, "self_attn.v_proj", channel, f);
                let (head, i) = (channel / head_dim, channel % head_dim);
                for query in head * readers..(head + 1) * readers {
                    self.scale_column(layer, "self_attn.o_proj", query * head_dim + i, 1.0 / f);
                }
            }
        }
        self
    }

    /// Pairs of neurons that fire alike, some hundred times as strongly as others for some tokens and not at all for
    /// the rest, and whose outputs cancel: massive tokens, which the network never feels.
    #[must_use]
    pub fn massive_tokens(mut self) -> Self {
        const PAIRS: usize = 16;
        const STRENGTH: f32 = 24.0;
        let (hidden, intermediate) = (self.sizes.hidden_size, self.sizes.intermediate_size);
        for layer in 0..self.sizes.num_hidden_layers {
            for name in ["mlp.gate_proj", "mlp.up_proj"] {
                let (shape, values) = self.get(layer, name);
                for pair in 0..PAIRS {
                    let from = (pair * 97 + layer * 13) % intermediate * hidden;
                    let mut row = values[from..from + hidden].to_vec();
                    scale(row.iter_mut(), STRENGTH);
                    values.extend_from_slice(&row);
                    values.extend_from_slice(&row);
                }
                shape[0] += 2 * PAIRS;
            }
            let (shape, values) = self.get(layer, "mlp.down_proj");
            let wider = values.chunks(intermediate).flat_map(|row| {
                let cancelling = (0..PAIRS).flat_map(|p| [row[p * 47], -row[p * 47]]);
                row.iter().copied().chain(cancelling).collect::<Vec<bf16>>()
            });
            *values = wider.collect();
            shape[1] += 2 * PAIRS;
        }
        self.sizes.intermediate_size += 2 * PAIRS;
        self
    }

    /// Every neuron eight times, each with an eighth of its effect: linear layers of more weights than the converter writes
    /// at a time.
    #[must_use]
    pub fn repeated_neurons(mut self) -> Self {
        const TIMES: usize = 8;
        let (hidden, intermediate) = (self.sizes.hidden_size, self.sizes.intermediate_size);
        for layer in 0..self.sizes.num_hidden_layers {
            for name in ["mlp.gate_proj", "mlp.up_proj"] {
                *self.get(layer, name) = {
                    let (_, values) = self.get(layer, name);
                    (vec![TIMES * intermediate, hidden], values.repeat(TIMES))
                };
            }
            let (shape, values) = self.get(layer, "mlp.down_proj");
            scale(values.iter_mut(), 1.0 / TIMES as f32);
            *values = values
                .chunks(intermediate)
                .flat_map(|row| row.repeat(TIMES))
                .collect();
            shape[1] *= TIMES;
        }
        self.sizes.intermediate_size *= TIMES;
        self
    }

    /// One up channel in a hundred of every layer 2^17 times as large, what reads them smaller: products that float16
    /// cannot hold, read by weights that it cannot hold either.
    #[must_use]
    pub fn overflowing_neurons(mut self) -> Self {
        let intermediate = self.sizes.intermediate_size;
        for layer in 0..self.sizes.num_hidden_layers {
            for i in 0..intermediate / 100 {
                let channel = (i * 101 + layer * 31) % intermediate;
                self.scale_up(layer, channel, 2f32.powi(17));
            }
        }
        self
    }

    /// Values of every head 2^15 times as large, what reads them smaller.
    #[must_use]
    pub fn overflowing_values(mut self) -> Self {
        for layer in 0..self.sizes.num_hidden_layers {
            self.scale_all(layer, "self_attn.v_proj", 2f32.powi(15));
            self.scale_all(layer, "self_attn.o_proj", 2f32.powi(-15));
        }
        self
    }

    /// The residual stream 4096 times as large. The epsilon of its norms stays, for queries and keys have the same: next to
    /// nothing beside what it is added to, it is less now.
    #[must_use]
    pub fn large_residual(mut self) -> Self {
        const FACTOR: f32 = 4096.0;
        let (_, table) = self.tensors.get_mut("embed_tokens.weight").unwrap();
        scale(table.iter_mut(), FACTOR);
        for layer in 0..self.sizes.num_hidden_layers {
            self.scale_all(layer, "self_attn.o_proj", FACTOR);
            self.scale_all(layer, "mlp.down_proj", FACTOR);
        }
        self
    }

    /// Writes the checkpoint into an empty folder.
    ///
    /// # Panics
    /// A file cannot be copied or written.
    pub fn write(&self, dir: &Path) {
        fs_err::create_dir_all(dir.join("1_Pooling")).unwrap();
        for name in COPIED {
            fs_err::copy(self.checkpoint.join(name), dir.join(name)).unwrap();
        }
        let config = fs_err::read(self.checkpoint.join(CONFIG)).unwrap();
        let mut config: Value = serde_json::from_slice(&config).unwrap();
        config["intermediate_size"] = self.sizes.intermediate_size.into();
        fs_err::write(dir.join(CONFIG), config.to_string()).unwrap();
        let views = self.tensors.iter().map(|(name, (shape, values))| {
            let bytes = bytemuck::cast_slice(values);
            let view = TensorView::new(Dtype::BF16, shape.clone(), bytes);
            (name, view.unwrap())
        });
        safetensors::serialize_to_file(views, None, &dir.join(WEIGHTS)).unwrap();
    }
}

fn scale<'a>(values: impl Iterator<Item = &'a mut bf16>, factor: f32) {
    values.for_each(|v| *v = bf16::from_f32(v.to_f32() * factor));
}
