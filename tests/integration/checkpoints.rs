//! Checkpoint folders as users have them: saved by other releases, next to an export, or with weights that do not fit.

mod settings;

use std::path::Path;
use std::process::{Output, Stdio};

use lexivec_convert::{Silent, convert};
use lexivec_models::{Checkpoint, Precision, Target, WeightStorage};
use lexivec_runtime::vector::cosine;
use lexivec_runtime::{Library, Request, Truncate};
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::lexivec;
use crate::support::{Case, converted, engine, json, options, project};

#[derive(Debug, Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

/// A copy of a folder of fixtures.
fn copy_of(fixture: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&project(fixture), dir.path());
    dir
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let source = entry.unwrap().path();
        let target = to.join(source.file_name().unwrap());
        match source.is_dir() {
            true => copy(&source, &target),
            false => drop(fs_err::copy(&source, &target).unwrap()),
        }
    }
}

/// The golden vector of a fixture for a text.
fn golden(family: &str, text: &str) -> Vec<f32> {
    let golden: Value = json("tests/fixtures/tiny/golden.json");
    let cases: Vec<Case> = serde_json::from_value(golden["families"][family].clone()).unwrap();
    let case = cases.into_iter().find(|case| case.text == text);
    case.unwrap().embedding
}

const TEXT: &str = "cardiac arrest";

/// Embeds [`TEXT`] with the program, using a cache of its own.
fn embed(model: &Path, cache: &Path, flags: &[&str]) -> Output {
    let texts = cache.join("texts.txt");
    fs_err::create_dir_all(cache).unwrap();
    fs_err::write(&texts, format!("{TEXT}\n")).unwrap();
    let library = Library::load(None, false).unwrap().path();
    let mut command = lexivec();
    command.arg("embed").arg(model).arg(&texts).args(flags);
    command.arg("--onnxruntime").arg(library);
    command.env("LEXIVEC_CACHE", cache);
    command.stdin(Stdio::null()).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn vector(output: &Output) -> Vec<f32> {
    assert!(output.status.success(), "{}", stderr(output));
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    serde_json::from_value(line["embedding"].clone()).unwrap()
}

#[track_caller]
fn rejects(output: &Output, code: i32, words: &[&str]) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

/// A checkpoint as sentence-transformers 6.2 saves it, with its golden vectors and the length of the longest text in tokens, which
/// is the limit.
fn saved_with_a_limit() -> (TempDir, Golden, Option<usize>) {
    let dir = copy_of("tests/fixtures/saved/model");
    let weights = "model.safetensors";
    let tiny = project("tests/fixtures/tiny/qwen3");
    fs_err::copy(tiny.join(weights), dir.path().join(weights)).unwrap();
    let golden: Golden = json("tests/fixtures/saved/golden.json");
    let longest = golden.cases.iter().map(|case| case.token_ids.len()).max();
    (dir, golden, longest)
}

#[test]
fn a_limit_that_sentence_transformers_6_saved_is_kept() {
    let (dir, golden, longest) = saved_with_a_limit();
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    assert_eq!(Some(checkpoint.max_length()), longest);
    assert_eq!(
        checkpoint.sentence.default_prompt.as_deref(),
        Some("document")
    );
    let model = converted(dir.path(), &options(Precision::Fp32));
    let engine = engine(&model.report.dir);
    for case in &golden.cases {
        let request = Request {
            truncate: Truncate::End,
            ..Request::text(case.text.as_str())
        };
        let found = engine.embed(&[request]).unwrap().remove(0);
        assert_eq!(found.tokens, case.token_ids.len(), "{:?}", case.text);
        let similarity = cosine(&case.embedding, &found.vector);
        assert!(similarity > 0.999_99, "{:?}: {similarity}", case.text);
    }
}

/// The tiny qwen3 checkpoint with another model's export in its folder.
fn checkpoint_with_an_older_export() -> TempDir {
    let dir = copy_of("tests/fixtures/tiny/qwen3");
    fs_err::create_dir(dir.path().join("onnx")).unwrap();
    // The export of another checkpoint, as in a folder whose weights were trained further after the export.
    let export = project("tests/fixtures/padded/states/model.onnx");
    fs_err::copy(export, dir.path().join("onnx/model.onnx")).unwrap();
    let config = dir.path().join("config.json");
    let text = fs_err::read_to_string(&config).unwrap();
    let mut trained: Value = serde_json::from_str(&text).unwrap();
    trained["rope_theta"] = 2.into();
    fs_err::write(&config, trained.to_string()).unwrap();
    dir
}

#[test]
fn weights_take_precedence_over_an_export_in_the_same_folder() {
    let dir = checkpoint_with_an_older_export();
    let cache = tempfile::tempdir().unwrap();
    let old = golden("qwen3", TEXT);

    let output = embed(dir.path(), cache.path(), &[]);
    assert!(cosine(&vector(&output), &old) < 0.9999);
    let said = stderr(&output);
    assert!(
        said.contains("onnx/model.onnx") && said.contains("--onnx"),
        "{said}"
    );
    let output = embed(dir.path(), cache.path(), &["--onnx"]);
    assert!(cosine(&vector(&output), &old) > 0.99999);

    let output = embed(dir.path(), cache.path(), &["--onnx", "-p", "int8"]);
    rejects(&output, 2, &["--precision int8", "export"]);
    fs_err::remove_dir_all(dir.path().join("onnx")).unwrap();
    let output = embed(dir.path(), cache.path(), &["--onnx"]);
    rejects(&output, 1, &["no ONNX export"]);
}

#[test]
fn a_precision_that_a_model_does_not_have_is_an_error() {
    let cache = tempfile::tempdir().unwrap();
    let model = converted(
        &project("tests/fixtures/tiny/qwen3"),
        &options(Precision::Fp32),
    );
    let dir = &model.report.dir;
    vector(&embed(dir, cache.path(), &["-p", "fp32"]));
    let output = embed(dir, cache.path(), &["-p", "int8"]);
    rejects(&output, 2, &["--precision int8", "fp32"]);
    let export = project("tests/fixtures/padded/states");
    let output = embed(&export, cache.path(), &["-p", "int8"]);
    rejects(&output, 2, &["--precision int8", "export"]);
}

#[test]
fn the_start_line_names_what_is_served_and_what_is_not() {
    let dir = checkpoint_with_an_older_export();
    let cache = tempfile::tempdir().unwrap();
    let library = Library::load(None, false).unwrap().path();
    let mut command = lexivec();
    command.arg("serve").arg(dir.path()).args(["--port", "0"]);
    command.env("LEXIVEC_CACHE", cache.path());
    let mut program =
        crate::server::program::Program::spawn(command.arg("--onnxruntime").arg(library));
    program.wait_for("which of the two models is served", |log| {
        log.contains("onnx/model.onnx: the checkpoint's weights are used")
            .then_some(())
    });
}

#[test]
fn other_weights_of_the_same_size_and_time_are_converted_again() {
    let dir = copy_of("tests/fixtures/tiny/qwen3");
    let cache = tempfile::tempdir().unwrap();
    let weights = dir.path().join("model.safetensors");
    let time = fs_err::metadata(&weights).unwrap().modified().unwrap();
    let first = vector(&embed(dir.path(), cache.path(), &[]));

    let mut bytes = fs_err::read(&weights).unwrap();
    let middle = bytes.len() / 2;
    // Changes signs and exponents of bfloat16 numbers, which gives other finite weights.
    for byte in bytes[middle..middle + 20_000].iter_mut().skip(1).step_by(2) {
        *byte ^= 0x80;
    }
    fs_err::write(&weights, &bytes).unwrap();
    let file = fs_err::OpenOptions::new()
        .write(true)
        .open(&weights)
        .unwrap();
    file.file().set_modified(time).unwrap();
    let second = vector(&embed(dir.path(), cache.path(), &[]));
    assert!(cosine(&first, &second) < 0.9999);
    let models = fs_err::read_dir(cache.path().join("models")).unwrap();
    assert_eq!(models.count(), 2);
}

/// Changes a field of config.json.
fn configure(dir: &Path, field: &str, value: impl Into<Value>) {
    let path = dir.join("config.json");
    let text = fs_err::read_to_string(&path).unwrap();
    let mut config: Value = serde_json::from_str(&text).unwrap();
    config[field] = value.into();
    fs_err::write(&path, config.to_string()).unwrap();
}

#[test]
fn unused_tensors_are_an_error_that_names_them() {
    let cache = tempfile::tempdir().unwrap();
    let shorter = copy_of("tests/fixtures/tiny/qwen3");
    configure(shorter.path(), "num_hidden_layers", 2);
    let unbiased = copy_of("tests/fixtures/tiny/llama");
    configure(unbiased.path(), "mlp_bias", false);
    for (dir, tensor) in [
        (&shorter, "layers.2.input_layernorm.weight"),
        (&unbiased, "layers.0.mlp.down_proj.bias"),
    ] {
        let output = embed(dir.path(), cache.path(), &[]);
        rejects(&output, 1, &[tensor, "--allow-unused-tensors"]);
        vector(&embed(
            dir.path(),
            cache.path(),
            &["--allow-unused-tensors"],
        ));
        let mut convert = lexivec();
        convert
            .arg("convert")
            .arg(dir.path())
            .args(["--no-verify", "-o"]);
        convert.arg(dir.path().join("model"));
        rejects(&convert.output().unwrap(), 1, &[tensor]);
        let output = convert.arg("--allow-unused-tensors").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(
            said.contains("are not used") && said.contains(tensor),
            "{said}"
        );
    }
}

#[test]
fn weights_in_another_format_are_an_error_that_says_what_to_do() {
    let dir = copy_of("tests/fixtures/tiny/qwen3");
    let weights = dir.path().join("model.safetensors");
    fs_err::rename(weights, dir.path().join("pytorch_model.bin")).unwrap();
    let other = dir.path().join("model-Q8_0.gguf");
    for words in [
        ["PyTorch's .bin format", "safe_serialization"],
        ["model-Q8_0.gguf", "llama.cpp's format"],
    ] {
        for subcommand in ["serve", "embed", "convert", "inspect"] {
            let mut command = lexivec();
            command.arg(subcommand).arg(dir.path());
            let output = command.stdin(Stdio::null()).output().unwrap();
            rejects(&output, 1, &words);
        }
        if !other.exists() {
            fs_err::rename(dir.path().join("pytorch_model.bin"), &other).unwrap();
        }
    }
    fs_err::rename(&other, dir.path().join("pytorch_model.bin")).unwrap();
    let mut compare = lexivec();
    compare.arg("compare").arg(dir.path()).arg(dir.path());
    rejects(&compare.output().unwrap(), 1, &["PyTorch's .bin format"]);
}

#[test]
fn shared_weights_are_checked_when_a_model_is_loaded() {
    let dir = copy_of("tests/fixtures/tiny/qwen3");
    let model = dir.path().join("model");
    let options = lexivec_convert::ConvertOptions {
        target: Target::Cuda,
        verify: false,
        ..options(Precision::Bf16)
    };
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let report = convert(&checkpoint, &model, &options, &Silent).unwrap();
    // Like `cp`, this keeps the file and replaces its contents.
    let weights = dir.path().join("model.safetensors");
    let mut bytes = fs_err::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 0x80;
    fs_err::write(&weights, bytes).unwrap();

    let mut inspect = lexivec();
    let output = inspect
        .arg("inspect")
        .arg(&model)
        .arg("--verify")
        .output()
        .unwrap();
    if report.weights != WeightStorage::Linked {
        assert!(output.status.success(), "{}", stderr(&output));
        return;
    }
    rejects(&output, 1, &["model.safetensors", "hard link"]);
    let mut serve = lexivec();
    serve.arg("serve").arg(&model).args(["--port", "0"]);
    let output = serve.stdin(Stdio::null()).output().unwrap();
    rejects(
        &output,
        1,
        &["model.safetensors", "hard link", "convert the model again"],
    );
}
