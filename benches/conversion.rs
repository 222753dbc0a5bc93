//! Compares conversion with `cp` of the same bytes, from a warm file cache: `cargo bench --bench conversion`.
//!
//! The checkpoint has random bfloat16 weights with the dimensions of the 0.6B model, with eight layers and a tenth of the vocabulary (about 300
//! MB). It is in a temporary folder, which TMPDIR selects.
#![allow(missing_docs, clippy::unwrap_used)]

use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Checkpoint, Precision, Target};
use lexivec_runtime::Provider;
use safetensors::tensor::{Dtype, View, serialize_to_file};

const HIDDEN: usize = 1024;
const LAYERS: usize = 8;
const VOCABULARY: usize = 16_384;
const ROUNDS: usize = 5;

/// A tensor of bfloat16 values near 0.02 and -0.02, from a fixed sequence.
struct Random(Vec<usize>);

impl View for &Random {
    fn dtype(&self) -> Dtype {
        Dtype::BF16
    }

    fn shape(&self) -> &[usize] {
        &self.0
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = 0..self.0.iter().product::<usize>() as u32;
        values
            .flat_map(|i| {
                let noise = i.wrapping_mul(2_654_435_761) >> 16;
                [
                    (noise & 0xff) as u8,
                    if noise & 0x100 == 0 { 0x3c } else { 0xbc },
                ]
            })
            .collect()
    }

    fn data_len(&self) -> usize {
        self.0.iter().product::<usize>() * 2
    }
}

fn write_checkpoint(dir: &Path) {
    let mut tensors = vec![
        (
            "embed_tokens.weight".to_owned(),
            Random(vec![VOCABULARY, HIDDEN]),
        ),
        ("norm.weight".to_owned(), Random(vec![HIDDEN])),
    ];
    for layer in 0..LAYERS {
        for (name, shape) in [
            ("self_attn.q_proj", vec![2048, HIDDEN]),
            ("self_attn.k_proj", vec![1024, HIDDEN]),
            ("self_attn.v_proj", vec![1024, HIDDEN]),
            ("self_attn.o_proj", vec![HIDDEN, 2048]),
            ("self_attn.q_norm", vec![128]),
            ("self_attn.k_norm", vec![128]),
            ("mlp.gate_proj", vec![3072, HIDDEN]),
            ("mlp.up_proj", vec![3072, HIDDEN]),
            ("mlp.down_proj", vec![HIDDEN, 3072]),
            ("input_layernorm", vec![HIDDEN]),
            ("post_attention_layernorm", vec![HIDDEN]),
        ] {
            tensors.push((format!("layers.{layer}.{name}.weight"), Random(shape)));
        }
    }
    let views = tensors.iter().map(|(name, tensor)| (name, tensor));
    serialize_to_file(views, None, &dir.join("model.safetensors")).unwrap();
    let config = format!(
        r#"{{"model_type": "qwen3", "vocab_size": {VOCABULARY}, "hidden_size": {HIDDEN}, "num_hidden_layers": {LAYERS},
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 3072,
        "max_position_embeddings": 4096, "rope_theta": 1000000, "rms_norm_eps": 1e-06, "hidden_act": "silu",
        "attention_bias": false, "use_sliding_window": false, "tie_word_embeddings": true}}"#
    );
    fs_err::write(dir.join("config.json"), config).unwrap();
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/tokenizer.json");
    fs_err::copy(tokenizer, dir.join("tokenizer.json")).unwrap();
}

/// Returns the seconds that `work` takes, and removes its output afterwards.
fn timed(output: &Path, work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    let seconds = started.elapsed().as_secs_f64();
    if output.is_dir() {
        fs_err::remove_dir_all(output).unwrap();
    } else {
        fs_err::remove_file(output).unwrap();
    }
    seconds
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let dir = tempfile::tempdir().unwrap();
    write_checkpoint(dir.path());
    let source = dir.path().join("model.safetensors");
    let output = dir.path().join("out");
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let precisions = [
        Precision::Fp32,
        Precision::Fp16,
        Precision::Bf16,
        Precision::Int8,
    ];
    let mut copy = Vec::new();
    let mut conversions = vec![Vec::new(); precisions.len()];
    // The first round warms the file cache and does not count.
    for round in 0..=ROUNDS {
        let seconds = timed(&output, || {
            let status = std::process::Command::new("cp")
                .arg(&source)
                .arg(&output)
                .status();
            assert!(status.unwrap().success());
        });
        if round > 0 {
            copy.push(seconds);
        }
        for (precision, times) in precisions.iter().zip(&mut conversions) {
            let options = ConvertOptions {
                calibration: None,
                target: Target::Ort,
                verify: false,
                ..ConvertOptions::for_provider(Provider::Cpu, Some(*precision))
            };
            let seconds = timed(&output, || {
                drop(convert(&checkpoint, &output, &options, &Silent).unwrap())
            });
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    let megabytes = fs_err::metadata(&source).unwrap().len() / 1_000_000;
    let copy = median(copy);
    println!("{megabytes} MB of bf16 weights, median of {ROUNDS} rounds; cp {copy:.3} s");
    for (precision, times) in precisions.iter().zip(conversions) {
        let seconds = median(times);
        println!("{precision}: {seconds:.3} s, {:.2} x cp", seconds / copy);
    }
}
