//! Small checkpoint folders with empty weights: opening one reads no tensor.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn config() -> Value {
    json!({"model_type": "qwen3", "vocab_size": 64, "hidden_size": 32, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64,
        "max_position_embeddings": 128})
}

fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), files);
    dir
}

fn fill(dir: &Path, files: &[(&str, &str)]) {
    fs_err::create_dir_all(dir).unwrap();
    fs_err::write(dir.join("config.json"), config().to_string()).unwrap();
    fs_err::write(dir.join("tokenizer.json"), "{}").unwrap();
    for (name, text) in files {
        fs_err::create_dir_all(dir.join(name).parent().unwrap()).unwrap();
        fs_err::write(dir.join(name), text).unwrap();
    }
}

#[track_caller]
fn rejected(dir: &TempDir, words: &[&str]) {
    let message = Checkpoint::open(dir.path()).unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "{message}");
    }
}

#[test]
fn opens_a_single_file_checkpoint() {
    let dir = folder(&[(WEIGHTS, "")]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.weights, [dir.path().join(WEIGHTS)]);
    assert_eq!(checkpoint.max_length(), 128);
    assert_eq!(checkpoint.source.revision, None);
    assert_eq!(
        checkpoint.source.name,
        dir.path().file_name().unwrap().to_string_lossy()
    );
    assert!(checkpoint.notes[0].contains("assumed"));
    assert!(Checkpoint::is_checkpoint(dir.path()));
}

#[test]
fn opens_shards_in_order() {
    let index = json!({"metadata": {"total_size": 0}, "weight_map": {
        "norm.weight": "model-00002-of-00002.safetensors", "a": "model-00001-of-00002.safetensors",
        "b": "model-00002-of-00002.safetensors"}});
    let (one, two) = (
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
    );
    let dir = folder(&[(WEIGHTS_INDEX, &index.to_string()), (one, ""), (two, "")]);
    assert_eq!(
        Checkpoint::open(dir.path()).unwrap().weights,
        [dir.path().join(one), dir.path().join(two)]
    );
    fs_err::remove_file(dir.path().join(one)).unwrap();
    rejected(&dir, &[one, "is missing"]);
}

#[test]
fn shards_stay_in_the_folder() {
    for name in [
        "../x.safetensors",
        "/x.safetensors",
        "a/b.safetensors",
        "x.bin",
        "",
    ] {
        let index = json!({"weight_map": {"a": name}}).to_string();
        rejected(&folder(&[(WEIGHTS_INDEX, &index)]), &["weight_map"]);
    }
    rejected(
        &folder(&[(WEIGHTS_INDEX, r#"{"weight_map": {}}"#)]),
        &["names no file"],
    );
}

#[test]
fn errors_name_missing_files() {
    let dir = folder(&[("pytorch_model.bin", "")]);
    rejected(&dir, &["safe_serialization=True"]);
    assert!(!Checkpoint::is_checkpoint(dir.path()));
    rejected(&folder(&[]), &["model.safetensors is missing"]);
    for (name, words) in [
        ("consolidated.00.pth", "can run code when read"),
        (
            "model-Q4_K_M.gguf",
            "model-Q4_K_M.gguf has the weights in llama.cpp's",
        ),
        ("tf_model.h5", "TensorFlow or Flax"),
        ("flax_model.msgpack", "TensorFlow or Flax"),
        (
            "model.fp16.safetensors",
            "the folder has model.fp16.safetensors, and",
        ),
        (
            "model-00001-of-00002.safetensors",
            "shards that model.safetensors.index.json names",
        ),
    ] {
        let dir = folder(&[(name, ""), ("training_args.bin", "")]);
        rejected(&dir, &["model.safetensors is missing", words]);
    }

    let dir = folder(&[(WEIGHTS, "")]);
    fs_err::remove_file(dir.path().join(TOKENIZER)).unwrap();
    rejected(&dir, &["tokenizer.json is missing", "save_pretrained"]);
    fs_err::remove_file(dir.path().join(CONFIG)).unwrap();
    rejected(
        &dir,
        &["config.json is missing", "holds a Hugging Face checkpoint"],
    );
    fs_err::write(dir.path().join(MANIFEST_FILE), "{}").unwrap();
    rejected(&dir, &["converted model"]);

    let message = Checkpoint::open(Path::new("/no/such/folder"))
        .unwrap_err()
        .to_string();
    assert!(message.contains("no such folder"), "{message}");
}

#[test]
fn the_shorter_maximum_length_wins() {
    let dir = folder(&[
        (WEIGHTS, ""),
        ("sentence_bert_config.json", r#"{"max_seq_length": 64}"#),
    ]);
    assert_eq!(Checkpoint::open(dir.path()).unwrap().max_length(), 64);
    let dir = folder(&[
        (WEIGHTS, ""),
        ("sentence_bert_config.json", r#"{"max_seq_length": 4096}"#),
    ]);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(checkpoint.max_length(), 128);
    assert!(checkpoint.notes.iter().any(|note| note.contains("4096")));
}

#[test]
fn a_snapshot_of_the_hubs_cache_knows_its_source() {
    let cache = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let dir = cache
        .path()
        .join("models--Qwen--Qwen3-Embedding-4B/snapshots")
        .join(commit);
    fill(&dir, &[(WEIGHTS, "")]);
    let expected = SourceId {
        name: "Qwen/Qwen3-Embedding-4B".into(),
        revision: Some(commit.into()),
    };
    assert_eq!(Checkpoint::open(&dir).unwrap().source, expected);
}

#[test]
fn copies_the_small_files_that_exist() {
    let modules = json!([{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]);
    let dir = folder(&[
        (WEIGHTS, ""),
        ("modules.json", &modules.to_string()),
        (
            "1_Pooling/config.json",
            r#"{"pooling_mode_lasttoken": true}"#,
        ),
        ("generation_config.json", "{}"),
    ]);
    let copied = Checkpoint::open(dir.path()).unwrap().copied_files();
    let expected = [
        "1_Pooling/config.json",
        "config.json",
        "modules.json",
        "tokenizer.json",
    ];
    assert_eq!(copied, expected.map(PathBuf::from));
}
