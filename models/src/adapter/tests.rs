//! Settings that peft 0.21 writes, and one of each kind that is rejected.

use serde_json::json;
use tempfile::TempDir;

use super::*;

/// The settings that peft 0.21.2 saves for `LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj"])`.
fn saved() -> Value {
    json!({"alora_invocation_tokens": null, "alpha_pattern": {}, "arrow_config": null, "auto_mapping": null,
        "base_model_name_or_path": "Qwen/Qwen3-Embedding-0.6B", "bias": "none", "corda_config": null,
        "ensure_weight_tying": false, "eva_config": null, "exclude_modules": null, "fan_in_fan_out": false,
        "inference_mode": true, "init_lora_weights": true, "kasa_config": null, "layer_replication": null,
        "layers_pattern": null, "layers_to_transform": null, "loftq_config": {}, "lora_alpha": 6, "lora_bias": false,
        "lora_dropout": 0.1, "lora_ga_config": null, "megatron_config": null, "megatron_core": "megatron.core",
        "modules_to_save": null, "monteclora_config": null, "peft_type": "LORA", "peft_version": "0.21.2",
        "qalora_group_size": 16, "r": 4, "rank_pattern": {}, "revision": null, "target_modules": ["q_proj"],
        "target_parameters": null, "task_type": null, "trainable_token_indices": null, "use_bdlora": null,
        "use_dora": false, "use_qalora": false, "use_rslora": false, "velora_config": null})
}

fn folder(config: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join(ADAPTER_CONFIG), config).unwrap();
    fs_err::write(dir.path().join(ADAPTER_WEIGHTS), "").unwrap();
    dir
}

/// The adapter with some settings changed.
fn with(changes: &Value) -> Result<Adapter> {
    let mut config = saved();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    let dir = folder(&config.to_string());
    Adapter::find(dir.path()).map(|found| found.unwrap())
}

const QUERY: &str = "model.layers.0.self_attn.q_proj";

#[test]
fn reads_what_peft_saves() {
    let adapter = with(&json!({})).unwrap();
    assert_eq!(adapter.base, "Qwen/Qwen3-Embedding-0.6B");
    assert_eq!(adapter.revision, None);
    assert_eq!((adapter.rank(QUERY), adapter.scale(QUERY)), (4, 1.5));
    let stabilised = with(&json!({"use_rslora": true})).unwrap();
    assert_eq!(stabilised.scale(QUERY), 3.0);
    let empty = tempfile::tempdir().unwrap();
    assert!(Adapter::find(empty.path()).unwrap().is_none());
}

/// peft's `get_pattern_key` on the same names.
#[test]
fn the_first_pattern_that_matches_the_end_of_a_name_counts() {
    // As text, because the order of the entries counts.
    let patterns = r#""rank_pattern": {"layers\\.0\\.self_attn\\.q_proj": 2, "q_proj": 16},
        "alpha_pattern": {".*\\.[12]\\.self_attn\\.q_proj": 32, "q_proj": 1}"#;
    let text = saved().to_string();
    let text = text.replace("\"alpha_pattern\":{},", "");
    let text = text.replace("\"rank_pattern\":{}", patterns);
    let dir = folder(&text);
    let adapter = Adapter::find(dir.path()).unwrap().unwrap();
    let of = |layer: usize, module: &str| {
        let name = format!("model.layers.{layer}.self_attn.{module}");
        (adapter.rank(&name), adapter.scale(&name))
    };
    assert_eq!(of(0, "q_proj"), (2, 0.5));
    assert_eq!(of(1, "q_proj"), (16, 2.0));
    assert_eq!(of(3, "q_proj"), (16, 1.0 / 16.0));
    assert_eq!(of(1, "k_proj"), (4, 1.5));
    // Not in the middle of a name, nor a part of its last word.
    assert_eq!(adapter.rank("layers.0.my_q_proj"), 4);
    assert_eq!(adapter.rank("layers.0.q_proj.inner"), 4);
    assert_eq!(adapter.rank("q_proj"), 16);
}

#[test]
fn adapters_that_cannot_be_merged_are_rejected_by_name() {
    for (changes, named) in [
        (json!({"peft_type": "IA3"}), "`IA3`"),
        (json!({"use_dora": true}), "use_dora true"),
        (json!({"bias": "all"}), "bias \"all\""),
        (json!({"lora_bias": true}), "lora_bias"),
        (json!({"modules_to_save": ["score"]}), "modules_to_save"),
        (json!({"init_lora_weights": "pissa_niter_16"}), "pissa"),
        (json!({"layer_replication": [[0, 2]]}), "layer_replication"),
        (
            json!({"trainable_token_indices": [5]}),
            "trainable_token_indices",
        ),
        (
            json!({"target_parameters": ["mlp.weight"]}),
            "target_parameters",
        ),
        (
            json!({"alora_invocation_tokens": [1]}),
            "alora_invocation_tokens",
        ),
        (json!({"use_qalora": true}), "use_qalora"),
        (json!({"megatron_config": {"a": 1}}), "megatron_config"),
        (json!({"of_tomorrow": 0.5}), "of_tomorrow"),
    ] {
        let error = with(&changes).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        let message = error.to_string();
        assert!(message.contains(named), "{message}");
        assert!(message.contains("merge_and_unload"), "{message}");
    }
    for harmless in [
        json!({"fan_in_fan_out": true}),
        json!({"init_lora_weights": "gaussian"}),
        json!({"layers_to_transform": [0, 1]}),
    ] {
        assert!(with(&harmless).is_ok(), "{harmless}");
    }
}

#[test]
fn modules_that_the_settings_leave_out_are_found() {
    let left_out = |changes: Value, module| with(&changes).unwrap().left_out_by(module);
    let second = "model.layers.1.self_attn.q_proj";
    assert_eq!(left_out(json!({}), QUERY), None);
    for first in [json!(0), json!([0]), json!([0, 7])] {
        let changes = json!({"layers_to_transform": first});
        assert_eq!(left_out(changes.clone(), QUERY), None);
        assert_eq!(left_out(changes, second), Some("layers_to_transform"));
    }
    let targets = |value: Value| json!({"target_modules": value});
    let other = "model.layers.0.self_attn.my_q_proj";
    assert_eq!(
        left_out(targets(json!(["q_proj"])), other),
        Some("target_modules")
    );
    assert_eq!(
        left_out(targets(json!(["layers.0.self_attn.q_proj"])), QUERY),
        None
    );
    for all in [
        json!("all-linear"),
        json!(".*(?<!my_)q_proj"),
        json!([]),
        Value::Null,
    ] {
        assert_eq!(left_out(targets(all), second), None);
    }
}

#[test]
fn damaged_settings_and_missing_matrices_are_named() {
    for (changes, field) in [
        (json!({"peft_type": null}), "peft_type"),
        (json!({"r": 0}), "`r`"),
        (
            json!({"r": 4.5}),
            "`r` is 4.5; it must be a whole number above 0",
        ),
        (
            json!({"rank_pattern": {"q_proj": 4.5}}),
            "gives 4.5 to `q_proj`; it must be a whole number",
        ),
        (json!({"layers_to_transform": [-1]}), "layers_to_transform"),
        (json!({"layers_to_transform": "0"}), "the index of a layer"),
        (json!({"target_modules": [1]}), "target_modules"),
        (json!({"use_rslora": "yes"}), "use_rslora"),
        (
            json!({"base_model_name_or_path": 5}),
            "base_model_name_or_path",
        ),
        (json!({"lora_alpha": "6"}), "lora_alpha"),
        (json!({"rank_pattern": {"q_proj": 0}}), "rank_pattern"),
        (json!({"alpha_pattern": {"(": 1}}), "alpha_pattern"),
    ] {
        let message = with(&changes).unwrap_err().to_string();
        assert!(message.contains(field), "{message}");
    }
    let dir = folder(&saved().to_string());
    fs_err::remove_file(dir.path().join(ADAPTER_WEIGHTS)).unwrap();
    let message = Adapter::find(dir.path()).unwrap_err().to_string();
    assert!(message.contains(ADAPTER_WEIGHTS), "{message}");
    fs_err::write(dir.path().join("adapter_model.bin"), "").unwrap();
    let message = Adapter::find(dir.path()).unwrap_err().to_string();
    assert!(message.contains("safe_serialization"), "{message}");
    // Matrices without settings.
    fs_err::remove_file(dir.path().join(ADAPTER_CONFIG)).unwrap();
    for name in [ADAPTER_BIN, ADAPTER_WEIGHTS] {
        fs_err::write(dir.path().join(name), "").unwrap();
        let message = Adapter::find(dir.path()).unwrap_err().to_string();
        assert!(
            message.contains("adapter_config.json is missing"),
            "{message}"
        );
        assert!(message.contains(name), "{message}");
    }
}

#[test]
fn an_adapter_is_alone_unless_a_base_with_weights_is_beside_it() {
    let dir = folder(&saved().to_string());
    assert!(Adapter::is_alone(dir.path()));
    fs_err::write(dir.path().join(CONFIG), "{}").unwrap();
    assert!(Adapter::is_alone(dir.path()));
    fs_err::write(dir.path().join(WEIGHTS_INDEX), "{}").unwrap();
    assert!(!Adapter::is_alone(dir.path()));
}
