//! LoRA adapters, compared with peft: alone, next to the weights of the base, and adapters that cannot be merged.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Adapter, Checkpoint, Precision, Target, WeightStorage};
use lexivec_runtime::Library;
use lexivec_runtime::vector::cosine;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::checkpoints::copy;
use crate::golden::check;
use crate::program::{QUICK, lexivec};
use crate::support::{self, Case, engine, options, project};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

#[derive(Debug, Deserialize)]
struct Golden {
    adapters: BTreeMap<String, Vec<Case>>,
}

fn golden() -> Golden {
    support::json("tests/fixtures/adapters/golden.json")
}

fn base() -> PathBuf {
    project("tests/fixtures/tiny/qwen3")
}

fn fixture(name: &str) -> PathBuf {
    project("tests/fixtures/adapters").join(name)
}

/// A copy of an adapter with the absolute path of its base and some changed settings.
fn adapter(name: &str, changes: &Value) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture(name), dir.path());
    let path = dir.path().join(CONFIG);
    let text = fs_err::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config["base_model_name_or_path"] = base().canonicalize().unwrap().to_str().unwrap().into();
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs_err::write(&path, config.to_string()).unwrap();
    dir
}

fn adapted(name: &str) -> Checkpoint {
    let adapter = Adapter::find(&fixture(name)).unwrap().unwrap();
    Checkpoint::open_adapted(adapter, &base()).unwrap()
}

#[test]
fn merged_adapters_equal_peft() {
    let golden = golden();
    assert_eq!(golden.adapters.len(), 3);
    for (name, cases) in &golden.adapters {
        let checkpoint = adapted(name);
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("model");
        for (precision, target, least, most) in [
            (Precision::Fp32, Target::Ort, 0.999_99, Some(2e-5)),
            (Precision::Fp16, Target::Ort, 0.999, None),
            (Precision::Int8Weight, Target::Ort, 0.99, None),
        ] {
            let options = ConvertOptions {
                target,
                force: true,
                ..options(precision)
            };
            let report = convert(&checkpoint, &dir, &options, &Silent).unwrap();
            assert_eq!(report.weights, WeightStorage::Own);
            assert!(
                report
                    .notes
                    .iter()
                    .any(|note| note.contains("LoRA adapter"))
            );
            check(&engine(&dir), cases, least, most);
        }
        // The merged weights are deleted, and the manifest lists the adapter's files.
        let names: Vec<_> = fs_err::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert!(
            names
                .iter()
                .all(|name| !name.to_string_lossy().starts_with('.'))
        );
        let manifest = lexivec_models::Manifest::read(&dir).unwrap();
        for file in [CONFIG, WEIGHTS, "model.safetensors"] {
            assert!(manifest.source.files.contains_key(file), "{file}");
        }
        assert_eq!(manifest.source.id.name, *name);
    }
}

#[test]
fn a_bf16_model_has_its_merged_weights_and_no_link_to_the_base() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("model");
    let options = ConvertOptions {
        target: Target::Cuda,
        verify: false,
        ..options(Precision::Bf16)
    };
    let report = convert(&adapted("linear"), &dir, &options, &Silent).unwrap();
    assert_eq!(report.weights, WeightStorage::Own);
    assert!(!dir.join("model.safetensors").exists());
    assert!(dir.join("model.onnx.data").is_file());
}

const TEXT: &str = "cardiac arrest";

fn embed(model: &Path, cache: &Path) -> Output {
    embedding(model, cache).output().unwrap()
}

/// The program with arguments that embed [`TEXT`], using a cache of its own.
fn embedding(model: &Path, cache: &Path) -> Command {
    let texts = cache.join("texts.txt");
    fs_err::write(&texts, format!("{TEXT}\n")).unwrap();
    let library = Library::load(None, false).unwrap().path();
    let mut command = lexivec();
    command.arg("embed").arg(model).arg(&texts);
    command.arg("--onnxruntime").arg(library);
    command.env("LEXIVEC_CACHE", cache);
    command.stdin(Stdio::null());
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[track_caller]
fn embeds_as(output: &Output, name: &str) {
    assert!(output.status.success(), "{}", stderr(output));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found: Vec<f32> = serde_json::from_value(line["embedding"].clone()).unwrap();
    let golden = golden();
    let case = golden.adapters[name].iter().find(|case| case.text == TEXT);
    let similarity = cosine(&case.unwrap().embedding, &found);
    assert!(similarity > 0.999_99, "{name}: {similarity}");
}

#[test]
fn the_program_merges_adapters_alone_and_beside_the_weights() {
    let cache = tempfile::tempdir().unwrap();
    // The base is given by its absolute path. peft ignores the transposition for linear layers.
    let alone = adapter("linear", &json!({"fan_in_fan_out": true}));
    embeds_as(&embed(alone.path(), cache.path()), "linear");
    // The base is given relative to the adapter's folder.
    let parent = tempfile::tempdir().unwrap();
    copy(
        &fixture("patterns"),
        &parent.path().join("adapters/patterns"),
    );
    copy(&base(), &parent.path().join("adapters/tiny/qwen3"));
    embeds_as(
        &embed(&parent.path().join("adapters/patterns"), cache.path()),
        "patterns",
    );
    // Next to the weights, the named base does not matter.
    let beside = adapter(
        "embedding",
        &json!({"base_model_name_or_path": "some/other"}),
    );
    copy(&base(), beside.path());
    embeds_as(&embed(beside.path(), cache.path()), "embedding");

    // Another adapter in the same place gives another model.
    for name in [CONFIG, WEIGHTS] {
        fs_err::copy(fixture("linear").join(name), beside.path().join(name)).unwrap();
    }
    embeds_as(&embed(beside.path(), cache.path()), "linear");
}

#[test]
fn a_trainers_folder_is_an_adapter_although_it_has_the_bases_config() {
    let cache = tempfile::tempdir().unwrap();
    let dir = adapter("linear", &json!({}));
    fs_err::copy(base().join("config.json"), dir.path().join("config.json")).unwrap();
    fs_err::write(dir.path().join("training_args.bin"), "").unwrap();
    embeds_as(&embed(dir.path(), cache.path()), "linear");
    // Matrices without settings are not ignored.
    let beside = adapter("linear", &json!({}));
    copy(&base(), beside.path());
    fs_err::remove_file(beside.path().join(CONFIG)).unwrap();
    let output = embed(beside.path(), cache.path());
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(CONFIG) && said.contains(WEIGHTS), "{said}");
}

#[test]
fn a_base_is_found_in_the_hubs_cache() {
    let cache = tempfile::tempdir().unwrap();
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let model = cache.path().join("hub/models--owner--base");
    copy(&base(), &model.join("snapshots").join(commit));
    fs_err::create_dir(model.join("refs")).unwrap();
    fs_err::write(model.join("refs/main"), commit).unwrap();
    let adapter = adapter("linear", &json!({"base_model_name_or_path": "owner/base"}));
    let mut command = embedding(adapter.path(), cache.path());
    command
        .arg("--offline")
        .env("HF_HUB_CACHE", cache.path().join("hub"));
    embeds_as(&command.output().unwrap(), "linear");
}

#[test]
fn adapters_that_cannot_be_merged_are_rejected() {
    let cache = tempfile::tempdir().unwrap();
    let nowhere = adapter(
        "linear",
        &json!({"base_model_name_or_path": "/nowhere/base"}),
    );
    let rank = adapter("linear", &json!({"r": 8}));
    let dora = adapter("linear", &json!({"use_dora": true}));
    let nameless = adapter("linear", &json!({"base_model_name_or_path": null}));
    let layers = adapter("linear", &json!({"layers_to_transform": [7]}));
    let huge = adapter("linear", &json!({"lora_alpha": 1e300}));
    let llama = project("tests/fixtures/tiny/qwen2");
    let other = adapter(
        "linear",
        &json!({"base_model_name_or_path": llama.to_str().unwrap()}),
    );
    for (dir, words) in [
        (&nowhere, &["/nowhere/base", "base_model_name_or_path"][..]),
        (&rank, &["rank 8", "[4, "]),
        (&dora, &["use_dora", "merge_and_unload"]),
        (
            &nameless,
            &["names no base model", "base_model_name_or_path"],
        ),
        (&layers, &[WEIGHTS, "`layers_to_transform`", "leaves out"]),
        (&huge, &[WEIGHTS, "`lora_alpha`"]),
        (&other, &["the base", "trained on"]),
    ] {
        let output = embed(dir.path(), cache.path());
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not in: {said}");
        }
    }
    let mut inspect = lexivec();
    let output = inspect.arg("inspect").arg(nowhere.path()).output().unwrap();
    assert!(
        stderr(&output).contains("an adapter without its base"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn compare_uses_the_merged_model() {
    let cache = tempfile::tempdir().unwrap();
    let adapter = adapter("linear", &json!({}));
    let texts = cache.path().join("texts.txt");
    let lines: Vec<String> = golden().adapters["linear"]
        .iter()
        .map(|c| c.text.replace('\n', " "))
        .collect();
    fs_err::write(&texts, lines.join("\n")).unwrap();
    let compare = |candidate: &Path| {
        let mut command = lexivec();
        command.arg("compare").arg(adapter.path()).arg(candidate);
        command.arg("--texts").arg(&texts);
        command.args(["--min-cosine", "0.9999"]).args(QUICK);
        command.stdin(Stdio::null()).output().unwrap()
    };
    let same = compare(adapter.path());
    assert_eq!(same.status.code(), Some(0), "{}", stderr(&same));
    // The base alone gives other vectors.
    assert_eq!(compare(&base()).status.code(), Some(1));
}
