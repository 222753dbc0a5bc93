//! One config per family, and one damaged or unsupported config per check.

use std::path::Path;

use serde_json::{Value, json};

use super::{Decoder, Family};
use crate::error::{Error, Result};

/// The 0.6B model's published config.
fn qwen3() -> Value {
    json!({
        "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
        "bos_token_id": 151643, "eos_token_id": 151643, "head_dim": 128, "hidden_act": "silu",
        "hidden_size": 1024, "intermediate_size": 3072, "max_position_embeddings": 32768,
        "max_window_layers": 28, "model_type": "qwen3", "num_attention_heads": 16, "num_hidden_layers": 28,
        "num_key_value_heads": 8, "rms_norm_eps": 1e-6, "rope_scaling": null, "rope_theta": 1000000,
        "sliding_window": null, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
        "use_cache": true, "use_sliding_window": false, "vocab_size": 151669
    })
}

fn parse(config: &Value) -> Result<Decoder> {
    Decoder::parse(&config.to_string(), Path::new("/m/config.json"))
}

/// The 0.6B config with some fields set; a field set to `null` by the test is written as null.
fn with(changes: &Value) -> Result<Decoder> {
    let mut config = qwen3();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    parse(&config)
}

fn without(family: &str, fields: &[&str]) -> Result<Decoder> {
    let mut config = qwen3();
    config["model_type"] = family.into();
    for field in fields {
        config.as_object_mut().unwrap().remove(*field);
    }
    parse(&config)
}

#[track_caller]
fn unsupported(result: Result<Decoder>, named: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    let message = error.to_string();
    assert!(
        message.contains(named) && message.contains("/m/config.json"),
        "{message}"
    );
}

#[track_caller]
fn invalid(result: Result<Decoder>, named: &str) {
    match result.unwrap_err() {
        Error::Invalid { field, .. } => assert_eq!(field, named),
        error => panic!("{error:?}"),
    }
}

#[test]
fn reads_the_published_config() {
    let expected = Decoder {
        family: Family::Qwen3,
        vocab_size: 151669,
        hidden_size: 1024,
        layers: 28,
        heads: 16,
        kv_heads: 8,
        head_dim: 128,
        intermediate_size: 3072,
        max_positions: 32768,
        rope_theta: 1e6,
        rms_norm_eps: 1e-6,
        tied_embeddings: true,
        qk_norm: true,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
    };
    assert_eq!(parse(&qwen3()).unwrap(), expected);
}

#[test]
fn rope_parameters_are_equivalent_to_rope_theta() {
    let mut config = qwen3();
    config.as_object_mut().unwrap().remove("rope_theta");
    config["rope_parameters"] = json!({"rope_theta": 1000000, "rope_type": "default"});
    assert_eq!(parse(&config).unwrap(), parse(&qwen3()).unwrap());
}

/// The values that transformers 5.24 reads (`AutoConfig.from_pretrained(…).rope_parameters["rope_theta"]`).
#[test]
fn rope_theta_is_read_from_each_of_its_places() {
    for (fields, expected) in [
        (
            json!({"rope_scaling": {"rope_theta": 3e6, "rope_type": "default"}}),
            3e6,
        ),
        (json!({"rope_parameters": {"rope_theta": 3e6}}), 3e6),
        (
            json!({"rope_scaling": {"rope_theta": 3e6}, "rope_theta": 5e5}),
            3e6,
        ),
        (
            json!({"rope_parameters": {"rope_theta": 3e6}, "rope_theta": 5e5}),
            3e6,
        ),
        (
            json!({"rope_parameters": {"rope_type": "default"}, "rope_theta": 5e5}),
            5e5,
        ),
        (json!({"rope_scaling": {}}), 10_000.0),
    ] {
        let mut config = qwen3();
        config.as_object_mut().unwrap().remove("rope_theta");
        for (field, value) in fields.as_object().unwrap() {
            config[field] = value.clone();
        }
        assert_eq!(parse(&config).unwrap().rope_theta, expected, "{fields}");
    }
    let two = json!({"rope_scaling": {"rope_theta": 1e6}, "rope_parameters": {"rope_theta": 2e6}});
    invalid(with(&two), "rope_scaling.rope_theta");
    invalid(
        with(&json!({"rope_scaling": {"rope_theta": "1e6"}})),
        "rope_scaling.rope_theta",
    );
}

#[test]
fn the_data_type_has_two_names_and_no_effect() {
    let mut config = qwen3();
    config.as_object_mut().unwrap().remove("torch_dtype");
    config["dtype"] = "float32".into();
    assert_eq!(parse(&config).unwrap(), parse(&qwen3()).unwrap());
}

#[test]
fn fields_in_a_nested_text_config_are_rejected() {
    unsupported(
        with(&json!({"text_config": {"hidden_size": 64}})),
        "text_config",
    );
    assert!(with(&json!({"text_config": null})).is_ok());
}

#[test]
fn absent_fields_take_the_defaults_of_transformers() {
    let decoder = without(
        "qwen3",
        &[
            "head_dim",
            "num_key_value_heads",
            "rope_theta",
            "rms_norm_eps",
            "tie_word_embeddings",
            "hidden_act",
        ],
    )
    .unwrap();
    assert_eq!((decoder.head_dim, decoder.kv_heads), (128, 16));
    assert_eq!((decoder.rope_theta, decoder.rms_norm_eps), (10_000.0, 1e-6));
    assert!(!decoder.tied_embeddings);
    assert_eq!(without("llama", &["head_dim"]).unwrap().head_dim, 64);
    invalid(
        with(&json!({"model_type": "llama", "hidden_size": 1000, "head_dim": null})),
        "head_dim",
    );
}

#[test]
fn families_differ_in_biases_and_norms() {
    let flags = |decoder: Decoder| {
        (
            decoder.qk_norm,
            decoder.qkv_bias,
            decoder.output_bias,
            decoder.mlp_bias,
        )
    };
    let biased = |family: &str| {
        with(&json!({"model_type": family, "attention_bias": true, "mlp_bias": true})).unwrap()
    };
    let plain = |family: &str| with(&json!({"model_type": family})).unwrap();
    assert_eq!(flags(plain("qwen3")), (true, false, false, false));
    assert_eq!(flags(biased("qwen3")), (true, true, true, false));
    assert_eq!(flags(plain("qwen2")), (false, true, false, false));
    assert_eq!(flags(biased("qwen2")), (false, true, false, false));
    assert_eq!(flags(plain("llama")), (false, false, false, false));
    assert_eq!(flags(biased("llama")), (false, true, true, true));
    assert_eq!(flags(plain("mistral")), (false, false, false, false));
    assert_eq!(flags(biased("mistral")), (false, false, false, false));
}

#[test]
fn rejects_other_model_types() {
    unsupported(
        with(&json!({"model_type": "bert"})),
        "model_type `bert` is not supported: supported are qwen3",
    );
    invalid(without("qwen3", &["model_type"]), "model_type");
    invalid(with(&json!({"model_type": null})), "model_type");
}

#[test]
fn rejects_other_activations() {
    unsupported(with(&json!({"hidden_act": "gelu"})), "hidden_act `gelu`");
}

#[test]
fn rejects_scaled_rotary_embeddings() {
    unsupported(
        with(&json!({"rope_scaling": {"type": "linear", "factor": 2.0}})),
        "rope_scaling of type `linear`",
    );
    unsupported(
        with(&json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}})),
        "rope_scaling of type `yarn`",
    );
    unsupported(
        with(&json!({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5}})),
        "`llama3`",
    );
    unsupported(
        with(&json!({"rope_parameters": {"full_attention": {"rope_theta": 1e6}}})),
        "differs between layers",
    );
    assert!(with(&json!({"rope_scaling": {"type": "default"}})).is_ok());
}

#[test]
fn old_and_new_names_of_the_rotary_type_may_occur_together() {
    let both = json!({"rope_scaling": {"type": "default", "rope_type": "default"}});
    assert!(with(&both).is_ok());
    let scaled = json!({"rope_scaling": {"type": "yarn", "rope_type": "yarn"}});
    unsupported(with(&scaled), "`yarn`");
    let mixed =
        json!({"full_attention": {"rope_theta": 1e6}, "sliding_attention": {"rope_theta": 1e4}});
    unsupported(
        with(&json!({ "rope_parameters": mixed })),
        "differs between layers",
    );
}

#[test]
fn rejects_partial_rotation() {
    unsupported(
        with(&json!({"partial_rotary_factor": 0.5})),
        "partial_rotary_factor 0.5",
    );
    unsupported(
        with(&json!({"rope_parameters": {"partial_rotary_factor": 0.5}})),
        "partial_rotary_factor 0.5",
    );
    assert!(with(&json!({"partial_rotary_factor": 1.0})).is_ok());
}

#[test]
fn rejects_a_sliding_window_in_use() {
    unsupported(
        with(&json!({"use_sliding_window": true})),
        "use_sliding_window",
    );
    unsupported(
        with(&json!({"layer_types": ["full_attention", "sliding_attention"]})),
        "`sliding_attention`",
    );
    unsupported(
        with(&json!({"layer_types": ["linear_attention"]})),
        "`linear_attention`",
    );
    let full = json!({"layer_types": vec!["full_attention"; 28], "sliding_window": 128});
    assert!(with(&full).is_ok());
    invalid(
        with(&json!({"layer_types": ["full_attention"]})),
        "layer_types",
    );
}

#[test]
fn rejects_a_mistral_whose_window_is_shorter_than_its_context() {
    unsupported(
        with(&json!({"model_type": "mistral", "sliding_window": 4096})),
        "sliding_window of 4096 tokens",
    );
    unsupported(
        without("mistral", &["sliding_window"]),
        "sliding_window of 4096 tokens",
    );
    assert!(with(&json!({"model_type": "mistral", "sliding_window": 32768})).is_ok());
    assert!(with(&json!({"model_type": "mistral", "sliding_window": null})).is_ok());
}

#[test]
fn rejects_bidirectional_attention() {
    unsupported(
        with(&json!({"is_causal": false})),
        "bidirectional attention",
    );
    unsupported(
        with(&json!({"use_bidirectional_attention": true})),
        "bidirectional attention",
    );
}

#[test]
fn rejects_quantised_checkpoints() {
    unsupported(
        with(&json!({"quantization_config": {"quant_method": "awq", "bits": 4}})),
        "`awq`",
    );
    unsupported(
        with(&json!({"quantization_config": {}})),
        "already quantised",
    );
    assert!(with(&json!({"quantization_config": null})).is_ok());
    unsupported(
        with(&json!({"compression_config": {"quant_method": "compressed-tensors"}})),
        "`compressed-tensors`",
    );
}

#[test]
fn rejects_heads_that_do_not_divide() {
    invalid(
        with(&json!({"num_key_value_heads": 6})),
        "num_key_value_heads",
    );
    invalid(
        with(&json!({"num_key_value_heads": 32})),
        "num_key_value_heads",
    );
}

#[test]
fn rejects_head_widths_that_the_kernels_cannot_read() {
    for head_dim in [7, 12, 127] {
        invalid(with(&json!({ "head_dim": head_dim })), "head_dim");
    }
    assert!(with(&json!({"head_dim": 8})).is_ok());
}

#[test]
fn rejects_sizes_that_are_zero_missing_or_absurd() {
    for field in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "intermediate_size",
        "max_position_embeddings",
    ] {
        invalid(with(&json!({ field: 0 })), field);
        invalid(with(&json!({ field: u64::MAX })), field);
        assert!(
            matches!(with(&json!({ field: -1 })), Err(Error::Json { .. })),
            "{field}"
        );
        assert!(
            matches!(with(&json!({ field: "8" })), Err(Error::Json { .. })),
            "{field}"
        );
    }
    for field in [
        "vocab_size",
        "hidden_size",
        "num_hidden_layers",
        "num_attention_heads",
        "intermediate_size",
    ] {
        invalid(without("qwen3", &[field]), field);
    }
}

#[test]
fn rejects_constants_that_are_not_positive() {
    invalid(with(&json!({"rms_norm_eps": 0.0})), "rms_norm_eps");
    invalid(with(&json!({"rope_theta": -1.0})), "rope_theta");
}

#[test]
fn a_description_survives_the_manifest() {
    let decoder = parse(&qwen3()).unwrap();
    let text = serde_json::to_string(&decoder).unwrap();
    assert!(text.contains(r#""family":"qwen3""#));
    assert_eq!(serde_json::from_str::<Decoder>(&text).unwrap(), decoder);
}

#[test]
fn text_that_is_not_json_is_named() {
    let error = Decoder::parse("<html>", Path::new("/m/config.json")).unwrap_err();
    assert!(matches!(error, Error::Json { .. }));
    assert!(error.to_string().contains("/m/config.json"));
}
