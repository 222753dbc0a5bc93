//! A checkpoint folder per case, each with only the files that the case is about.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

mod text_settings;

const OLD: &str = "sentence_transformers.models";
const NEW: &str = "sentence_transformers.base.modules";

fn write(dir: &TempDir, name: &str, value: &Value) {
    let path = dir.path().join(name);
    fs_err::create_dir_all(path.parent().unwrap()).unwrap();
    fs_err::write(path, value.to_string()).unwrap();
}

fn modules(prefix: &str, classes: &[(&str, &str)]) -> Value {
    let module = |(idx, (class, path)): (usize, &(&str, &str))| json!({"idx": idx, "name": idx.to_string(), "path": path, "type": format!("{prefix}.{class}")});
    classes.iter().enumerate().map(module).collect()
}

fn usual(prefix: &str) -> Value {
    modules(
        prefix,
        &[
            ("Transformer", ""),
            ("Pooling", "1_Pooling"),
            ("Normalize", "2_Normalize"),
        ],
    )
}

fn last_token() -> Value {
    json!({"word_embedding_dimension": 1024, "pooling_mode_cls_token": false, "pooling_mode_mean_tokens": false,
        "pooling_mode_max_tokens": false, "pooling_mode_mean_sqrt_len_tokens": false,
        "pooling_mode_weightedmean_tokens": false, "pooling_mode_lasttoken": true, "include_prompt": true})
}

/// A checkpoint with the usual modules and this pooling config.
fn pooled(config: &Value) -> Result<SentenceConfig> {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "modules.json", &usual(OLD));
    write(&dir, "1_Pooling/config.json", config);
    SentenceConfig::read(dir.path())
}

/// A checkpoint with these modules and last-token pooling.
fn composed(modules: &Value) -> Result<SentenceConfig> {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "modules.json", modules);
    write(&dir, "1_Pooling/config.json", &last_token());
    SentenceConfig::read(dir.path())
}

#[track_caller]
fn unsupported(result: Result<SentenceConfig>, named: &str) {
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
    assert!(error.to_string().contains(named), "{error}");
}

#[test]
fn reads_the_published_files() {
    let dir = tempfile::tempdir().unwrap();
    let query = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:";
    write(&dir, "modules.json", &usual(OLD));
    write(&dir, "1_Pooling/config.json", &last_token());
    write(
        &dir,
        "config_sentence_transformers.json",
        &json!({"prompts": {"query": query, "document": ""}, "default_prompt_name": null,
            "similarity_fn_name": "cosine"}),
    );
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"max_seq_length": 32768, "do_lower_case": false}),
    );
    let config = SentenceConfig::read(dir.path()).unwrap();
    let expected = BTreeMap::from([
        ("query".into(), query.into()),
        ("document".into(), String::new()),
    ]);
    assert_eq!(config.prompts, expected);
    assert_eq!(
        (config.default_prompt, config.max_length, config.assumed),
        (None, Some(32768), false)
    );
    assert!(config.notes.is_empty());
    assert_eq!(
        module_configs(dir.path()).unwrap(),
        ["1_Pooling/config.json", "2_Normalize/config.json"]
    );
}

#[test]
fn without_files_last_token_is_assumed_with_a_note() {
    let dir = tempfile::tempdir().unwrap();
    let config = SentenceConfig::read(dir.path()).unwrap();
    assert!(config.assumed);
    assert!(config.notes[0].contains("assumed"));
    assert!(module_configs(dir.path()).unwrap().is_empty());
}

#[test]
fn module_names_of_later_releases_are_understood() {
    let config = composed(&usual(NEW)).unwrap();
    assert!(!config.assumed);
}

#[test]
fn a_missing_normalize_module_is_accepted_with_a_note() {
    let config = composed(&modules(
        OLD,
        &[("Transformer", ""), ("Pooling", "1_Pooling")],
    ))
    .unwrap();
    assert!(config.notes[0].contains("Normalize"));
}

#[test]
fn other_modules_are_rejected_by_name() {
    let dense = [
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        ("Dense", "2_Dense"),
        ("Normalize", "3"),
    ];
    unsupported(composed(&modules(OLD, &dense)), "module `Dense`");
    unsupported(
        composed(&modules(OLD, &[("Transformer", "")])),
        "module sequence Transformer",
    );
    unsupported(composed(&json!([])), "module sequence");
    unsupported(
        composed(&modules(
            OLD,
            &[("Transformer", "0_Transformer"), ("Pooling", "1_Pooling")],
        )),
        "folder `0_Transformer`",
    );
}

#[test]
fn other_pooling_is_rejected_by_name() {
    for (key, name) in [
        ("pooling_mode_mean_tokens", "`mean`"),
        ("pooling_mode_cls_token", "`cls`"),
        ("pooling_mode_max_tokens", "`max`"),
        ("pooling_mode_mean_sqrt_len_tokens", "`mean_sqrt_len`"),
        ("pooling_mode_weightedmean_tokens", "`weightedmean`"),
        ("pooling_mode_of_tomorrow", "`of_tomorrow`"),
    ] {
        // Beside the last token as well: sentence-transformers would concatenate the two.
        let mut config = last_token();
        config[key] = true.into();
        unsupported(pooled(&config), name);
        config["pooling_mode_lasttoken"] = false.into();
        unsupported(pooled(&config), name);
    }
    unsupported(pooled(&json!({"pooling_mode": "mean"})), "`mean`");
    unsupported(
        pooled(&json!({"pooling_mode": ["lasttoken", "cls"]})),
        "`cls`",
    );
    unsupported(
        pooled(&json!({"word_embedding_dimension": 8})),
        "does not choose `lasttoken`",
    );
}

#[test]
fn the_named_form_of_last_token_is_understood() {
    assert!(pooled(&json!({"pooling_mode": "lasttoken"})).is_ok());
    // The last token never belongs to the prompt, so excluding the prompt from pooling changes nothing.
    assert!(pooled(&json!({"pooling_mode": "lasttoken", "include_prompt": false})).is_ok());
}

#[test]
fn a_pooling_module_without_config_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write(&dir, "modules.json", &usual(OLD));
    let error = SentenceConfig::read(dir.path()).unwrap_err();
    assert!(matches!(error, Error::Missing { .. }), "{error:?}");
    assert!(error.to_string().contains("1_Pooling"));
}

#[test]
fn module_paths_stay_inside_the_checkpoint() {
    for path in ["../elsewhere", "/etc", "a/../../b"] {
        let result = composed(&modules(OLD, &[("Transformer", ""), ("Pooling", path)]));
        assert!(
            matches!(result, Err(Error::Invalid { .. })),
            "{path}: {result:?}"
        );
    }
}

#[test]
fn a_default_prompt_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let name = "config_sentence_transformers.json";
    write(
        &dir,
        name,
        &json!({"prompts": {"query": "q: "}, "default_prompt_name": "query"}),
    );
    assert_eq!(
        SentenceConfig::read(dir.path())
            .unwrap()
            .default_prompt
            .as_deref(),
        Some("query")
    );
    write(
        &dir,
        name,
        &json!({"prompts": {"query": "q: "}, "default_prompt_name": "passage"}),
    );
    assert!(
        SentenceConfig::read(dir.path())
            .unwrap_err()
            .to_string()
            .contains("`passage`")
    );
}

/// The files that sentence-transformers 6.2 wrote for `models/nano` after `model.max_seq_length = 128`.
#[test]
fn reads_what_sentence_transformers_6_writes() {
    let dir = tempfile::tempdir().unwrap();
    let classes = [
        "base.modules.transformer.Transformer",
        "sentence_transformer.modules.pooling.Pooling",
        "base.modules.normalize.Normalize",
    ];
    let paths = ["", "1_Pooling", "2_Normalize"];
    let listed: Vec<(&str, &str)> = classes.into_iter().zip(paths).collect();
    write(
        &dir,
        "modules.json",
        &modules("sentence_transformers", &listed),
    );
    write(
        &dir,
        "1_Pooling/config.json",
        &json!({"embedding_dimension": 256, "pooling_mode": "lasttoken", "include_prompt": true}),
    );
    let normalize = json!({"module_input_name": "sentence_embedding", "module_output_name": "sentence_embedding"});
    write(&dir, "2_Normalize/config.json", &normalize);
    write(
        &dir,
        "sentence_bert_config.json",
        &json!({"transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings"}),
    );
    write(
        &dir,
        "config_sentence_transformers.json",
        &json!({"__version__": {"sentence_transformers": "6.2.0"}, "default_prompt_name": "query",
            "model_type": "SentenceTransformer", "prompts": {"document": "", "query": "Q: "},
            "similarity_fn_name": "cosine"}),
    );
    write(
        &dir,
        "tokenizer_config.json",
        &json!({"model_max_length": 128}),
    );
    let config = SentenceConfig::read(dir.path()).unwrap();
    assert_eq!(
        (config.max_length, config.tokenizer_length),
        (None, Some(128))
    );
    assert_eq!(config.longest(4096), 128);
    assert_eq!(config.longest(64), 64);
    assert_eq!(config.default_prompt.as_deref(), Some("query"));
    assert!(config.notes.is_empty(), "{:?}", config.notes);
    assert_eq!(
        module_configs(dir.path()).unwrap(),
        ["1_Pooling/config.json", "2_Normalize/config.json"]
    );
    let tokens = json!({"module_input_name": "token_embeddings"});
    write(&dir, "2_Normalize/config.json", &tokens);
    unsupported(SentenceConfig::read(dir.path()), "module_input_name");
}

#[test]
fn other_kinds_of_models_are_rejected_and_truncation_is_noted() {
    let dir = tempfile::tempdir().unwrap();
    let name = "config_sentence_transformers.json";
    write(&dir, name, &json!({"model_type": "SparseEncoder"}));
    unsupported(SentenceConfig::read(dir.path()), "SparseEncoder");
    write(&dir, name, &json!({"truncate_dim": 64}));
    let notes = SentenceConfig::read(dir.path()).unwrap().notes;
    assert!(
        notes.iter().any(|note| note.contains("truncate_dim")),
        "{notes:?}"
    );
}
