//! How texts are prepared: lower-casing, length limits, and the settings of the Transformer module.

use super::*;

#[test]
fn lower_casing_and_empty_lengths_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": null, "do_lower_case": true}),
    );
    unsupported(SentenceConfig::read(dir.path()), "do_lower_case");
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": 0}),
    );
    assert!(matches!(
        SentenceConfig::read(dir.path()),
        Err(Error::Invalid { .. })
    ));
}

/// A checkpoint with these settings of the Transformer module.
fn transformer(config: &Value) -> Result<SentenceConfig> {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "sentence_bert_config.json", config);
    SentenceConfig::read(dir.path())
}

#[test]
fn the_tokenizers_limit_applies_if_there_is_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let config = || SentenceConfig::read(dir.path());
    // A tokenizer without a limit, as transformers writes it.
    let unlimited = json!({"model_max_length": 1_000_000_000_000_000_019_884_624_838_656.0});
    write(&dir, "tokenizer_config.json", &unlimited);
    assert_eq!(config().unwrap().longest(4096), 4096);
    write(
        &dir,
        "tokenizer_config.json",
        &json!({"model_max_length": 64}),
    );
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": 512}),
    );
    assert_eq!(config().unwrap().longest(4096), 512);
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": null}),
    );
    assert_eq!(config().unwrap().longest(4096), 64);
    for bad in [json!(0), json!(-1), json!("64")] {
        write(
            &dir,
            "tokenizer_config.json",
            &json!({ "model_max_length": bad }),
        );
        let error = config().unwrap_err().to_string();
        assert!(error.contains("model_max_length"), "{error}");
    }
}

#[test]
fn settings_that_change_how_texts_are_prepared_are_rejected() {
    for (config, named) in [
        (json!({"transformer_task": "fill-mask"}), "transformer_task"),
        (
            json!({"module_output_name": "scores"}),
            "module_output_name",
        ),
        (
            json!({"modality_config": {"message": {"method": "forward"}}}),
            "modality_config",
        ),
        (
            json!({"modality_config": {"text": {"method": "forward", "method_output_name": "logits"}}}),
            "modality_config",
        ),
        (
            json!({"processing_kwargs": {"text": {"max_length": 64}}}),
            "text.max_length",
        ),
        (
            json!({"processing_kwargs": {"common": {"add_special_tokens": false}}}),
            "common.add_special_tokens",
        ),
        (json!({"query_length": 32}), "query_length"),
        (json!({"document_length": 32}), "document_length"),
        (
            json!({"query_expansion": {"length": 32}}),
            "query_expansion",
        ),
        (
            json!({"processor_kwargs": {"model_max_length": 64}}),
            "processor_kwargs with model_max_length 64",
        ),
        (
            json!({"tokenizer_args": {"add_eos_token": false}}),
            "tokenizer_args",
        ),
        (json!({"config_args": {"rope_theta": 10000}}), "config_args"),
        (
            json!({"config_kwargs": {"num_hidden_layers": 2}}),
            "config_kwargs",
        ),
        (json!({"model_args": {"variant": "fp16"}}), "model_args"),
        (
            json!({"model_kwargs": {"subfolder": "other"}}),
            "model_kwargs",
        ),
    ] {
        unsupported(transformer(&config), named);
    }
    let harmless = json!({"processing_kwargs": {"text": {"padding": "longest", "truncation": true}},
        "model_args": {"torch_dtype": "bfloat16", "trust_remote_code": true}, "tokenizer_args": {"padding_side": "left"},
        "config_args": {}, "query_length": null});
    assert!(transformer(&harmless).is_ok());
}
