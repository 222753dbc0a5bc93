//! Checkpoints that compute exactly what nano computes, with weights and activations that are hard to quantise.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::Value;

use crate::support::nano;

/// nano's sizes.
const LAYERS: usize = 6;
const HIDDEN: usize = 256;
const HEAD: usize = 32;
const INTERMEDIATE: usize = 768;

/// nano's tensors in float32, to be changed.
pub(crate) struct Patient {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
    intermediate: usize,
}

impl Patient {
    pub(crate) fn admit() -> Self {
        let bytes = fs_err::read(nano().join("model.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = file.iter().map(|(name, tensor)| {
            assert_eq!(tensor.dtype(), Dtype::BF16);
            let pairs = tensor.data().as_chunks::<2>().0;
            let widen = |b: &[u8; 2]| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16);
            let name = name.strip_prefix("model.").unwrap_or(name).to_owned();
            (
                name,
                (tensor.shape().to_vec(), pairs.iter().map(widen).collect()),
            )
        });
        Self {
            tensors: tensors.collect(),
            intermediate: INTERMEDIATE,
        }
    }

    fn get(&mut self, layer: usize, name: &str) -> &mut (Vec<usize>, Vec<f32>) {
        self.tensors
            .get_mut(&format!("layers.{layer}.{name}.weight"))
            .unwrap()
    }

    fn scale_row(&mut self, layer: usize, name: &str, row: usize, factor: f32) {
        let (shape, values) = self.get(layer, name);
        let columns: usize = shape[1..].iter().product();
        values[row * columns..(row + 1) * columns]
            .iter_mut()
            .for_each(|v| *v *= factor);
    }

    fn scale_column(&mut self, layer: usize, name: &str, column: usize, factor: f32) {
        let (shape, values) = self.get(layer, name);
        values
            .iter_mut()
            .skip(column)
            .step_by(shape[1])
            .for_each(|v| *v *= factor);
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

    /// Five channels of every norm a hundred times (128, which is exact) as large.
    pub(crate) fn channel_outliers(mut self) -> Self {
        for layer in 0..LAYERS {
            for i in 0..5 {
                self.scale_norm(layer, (layer * 37 + i * 53 + 11) % HIDDEN, 128.0);
            }
        }
        self
    }

    /// A quarter of the up channels 4 to 256 times as large, what reads them smaller.
    pub(crate) fn large_up_small_down(mut self) -> Self {
        for layer in 0..LAYERS {
            for i in 0..INTERMEDIATE / 4 {
                self.scale_up(
                    layer,
                    (i * 4 + layer) % INTERMEDIATE,
                    f32::from(4u16 << (i % 7)),
                );
            }
        }
        self
    }

    /// Powers of two with heavy tails on every channel that may be scaled: rows and columns of all weights spread over
    /// many magnitudes.
    pub(crate) fn heavy_tails(mut self) -> Self {
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
        for layer in 0..LAYERS {
            for channel in 0..HIDDEN {
                self.scale_norm(layer, channel, factor());
            }
            for channel in 0..INTERMEDIATE {
                self.scale_up(layer, channel, factor());
            }
            // Value heads are read by two query heads each.
            for channel in 0..4 * HEAD {
                let f = factor();
                self.scale_row(layer, "self_attn.v_proj", channel, f);
                let (head, i) = (channel / HEAD, channel % HEAD);
                for query in [2 * head, 2 * head + 1] {
                    self.scale_column(layer, "self_attn.o_proj", query * HEAD + i, 1.0 / f);
                }
            }
        }
        self
    }

    /// Pairs of neurons that fire alike, some hundred times as strongly as others for some tokens and not at all for
    /// the rest, and whose outputs cancel: massive tokens, which the network never feels.
    pub(crate) fn massive_tokens(mut self) -> Self {
        const PAIRS: usize = 16;
        for layer in 0..LAYERS {
            for (name, strength) in [("mlp.gate_proj", 24.0), ("mlp.up_proj", 24.0)] {
                let (shape, values) = self.get(layer, name);
                for pair in 0..PAIRS {
                    let from = (pair * 97 + layer * 13) % INTERMEDIATE * HIDDEN;
                    let row: Vec<f32> = values[from..from + HIDDEN]
                        .iter()
                        .map(|v| v * strength)
                        .collect();
                    values.extend_from_slice(&row);
                    values.extend_from_slice(&row);
                }
                shape[0] += 2 * PAIRS;
            }
            let (shape, values) = self.get(layer, "mlp.down_proj");
            let wider = values.chunks(INTERMEDIATE).flat_map(|row| {
                let cancelling = (0..PAIRS).flat_map(|p| [row[p * 47], -row[p * 47]]);
                row.iter().copied().chain(cancelling).collect::<Vec<f32>>()
            });
            *values = wider.collect();
            shape[1] += 2 * PAIRS;
        }
        self.intermediate += 2 * PAIRS;
        self
    }

    /// Some up channels of every layer 2^17 times as large, what reads them smaller: products that float16 cannot hold,
    /// read by weights that it cannot hold either.
    pub(crate) fn overflowing_neurons(mut self) -> Self {
        for layer in 0..LAYERS {
            for i in 0..7 {
                let factor = 2f32.powi(17);
                self.scale_up(layer, (i * 101 + layer * 31) % INTERMEDIATE, factor);
            }
        }
        self
    }

    /// Values of every head 2^15 times as large, what reads them smaller.
    pub(crate) fn overflowing_values(mut self) -> Self {
        for layer in 0..LAYERS {
            self.scale_all(layer, "self_attn.v_proj", 2f32.powi(15));
            self.scale_all(layer, "self_attn.o_proj", 2f32.powi(-15));
        }
        self
    }

    fn scale_all(&mut self, layer: usize, name: &str, factor: f32) {
        let (_, values) = self.get(layer, name);
        values.iter_mut().for_each(|v| *v *= factor);
    }

    /// The residual stream 4096 times as large. The epsilon of its norms stays, for queries and keys have the same: next to
    /// nothing beside what it is added to, it is less now.
    pub(crate) fn large_residual(mut self) -> Self {
        const FACTOR: f32 = 4096.0;
        let (_, table) = self.tensors.get_mut("embed_tokens.weight").unwrap();
        table.iter_mut().for_each(|v| *v *= FACTOR);
        for layer in 0..LAYERS {
            self.scale_all(layer, "self_attn.o_proj", FACTOR);
            self.scale_all(layer, "mlp.down_proj", FACTOR);
        }
        self
    }

    /// Writes the checkpoint.
    pub(crate) fn discharge(&self, dir: &Path) {
        for name in [
            "tokenizer.json",
            "tokenizer_config.json",
            "modules.json",
            "config_sentence_transformers.json",
            "sentence_bert_config.json",
        ] {
            fs_err::copy(nano().join(name), dir.join(name)).unwrap();
        }
        fs_err::create_dir_all(dir.join("1_Pooling")).unwrap();
        fs_err::copy(
            nano().join("1_Pooling/config.json"),
            dir.join("1_Pooling/config.json"),
        )
        .unwrap();
        let mut config: Value =
            serde_json::from_str(&fs_err::read_to_string(nano().join("config.json")).unwrap())
                .unwrap();
        config["intermediate_size"] = self.intermediate.into();
        fs_err::write(dir.join("config.json"), config.to_string()).unwrap();
        let bytes: BTreeMap<&String, Vec<u8>> = self
            .tensors
            .iter()
            .map(|(name, (_, values))| {
                (name, values.iter().flat_map(|v| v.to_le_bytes()).collect())
            })
            .collect();
        let views = self.tensors.iter().map(|(name, (shape, _))| {
            (
                name,
                TensorView::new(Dtype::F32, shape.clone(), &bytes[name]).unwrap(),
            )
        });
        safetensors::serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
    }
}
