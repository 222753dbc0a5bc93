//! The program itself, as a user runs it: exit codes, interrupted conversions, files of texts.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lexivec_models::Checkpoint;
use lexivec_runtime::Library;

use crate::support::{nano, project};

/// The program, which `make test` builds first: cargo builds no other package's binary for a test.
pub(crate) fn lexivec() -> Command {
    let test = std::env::current_exe().unwrap();
    let programs = test.ancestors().map(|folder| folder.join("lexivec"));
    let program: Option<PathBuf> = programs.into_iter().find(|p| p.is_file());
    Command::new(
        program.expect(
            "the program is not built: run `cargo build --bin lexivec` first, or `make test`",
        ),
    )
}

/// Sends a signal, such as `-TERM`, to a process.
pub(crate) fn signal(process: &Child, signal: &str) {
    let id = process.id().to_string();
    let status = Command::new("kill").args([signal, &id]).status().unwrap();
    assert!(status.success());
}

fn run(dir: &Path, arguments: &[&str]) -> Output {
    lexivec()
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// Rows of a .txt, each another one.
pub(crate) fn lines(count: usize) -> String {
    (0..count).map(|i| format!("organ number {i}\n")).collect()
}

/// Flags of `compare` that leave out what takes long.
pub(crate) const QUICK: [&str; 4] = ["--speed-seconds", "0", "--resamples", "0"];

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_tell_failure_from_wrong_usage() {
    let dir = tempfile::tempdir().unwrap();
    let code = |arguments: &[&str]| run(dir.path(), arguments).status.code();
    assert_eq!(code(&["--version"]), Some(0));
    assert_eq!(code(&["convert", "nowhere"]), Some(1));
    assert_eq!(code(&["convert", "x", "--precision", "fp64"]), Some(2));
    assert_eq!(code(&["serve", "x", "--max-batch-tokens", "0"]), Some(2));
    assert_eq!(
        code(&["embed", "x", "--domain", "legal", "--instruction", "y"]),
        Some(2)
    );
    assert_eq!(code(&["embed", "x", "a.pdf"]), Some(2));
}

#[test]
fn a_missing_library_is_an_error_that_names_the_cure() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = ["doctor", "--onnxruntime", "/nowhere/libonnxruntime.so"];
    let output = run(dir.path(), &arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output.stdout).contains("make onnxruntime"),
        "{}",
        text(&output.stdout)
    );
    assert_eq!(run(dir.path(), &["doctor"]).status.code(), Some(0));
}

/// A copy of nano, which no cache knows.
pub(crate) fn copy_of_nano(parent: &Path) -> PathBuf {
    let copy = parent.join("checkpoint");
    let from = Checkpoint::open(&nano()).unwrap();
    fs_err::create_dir_all(copy.join("1_Pooling")).unwrap();
    for name in from.copied_files() {
        fs_err::copy(from.dir.join(&name), copy.join(&name)).unwrap();
    }
    fs_err::copy(&from.weights[0], copy.join("model.safetensors")).unwrap();
    copy
}

#[test]
fn a_provider_that_cannot_serve_a_conversion_is_an_error_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = copy_of_nano(dir.path());
    let embed = ["embed", checkpoint.to_str().unwrap()];
    for (flags, reason) in [
        (
            &["--ep", "openvino", "--ep-library", "/nowhere/openvino.so"][..],
            "/nowhere/openvino.so: there is no such file",
        ),
        (&["-p", "bf16"], "no bfloat16 kernels for CPUs"),
    ] {
        let output = run(dir.path(), &[&embed[..], flags].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("converting"), "{said}");
    }
}

#[test]
fn what_a_verification_needs_is_looked_for_before_the_conversion() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = copy_of_nano(dir.path());
    // The weights are not read before the library is found missing.
    fs_err::write(checkpoint.join("model.safetensors"), "cut short").unwrap();
    let convert = ["convert", checkpoint.to_str().unwrap(), "-o", "model"];
    let missing = ["--onnxruntime", "/nowhere/libonnxruntime.so"];
    let said = text(&run(dir.path(), &[&convert[..], &missing].concat()).stderr);
    assert!(said.contains("/nowhere/libonnxruntime.so"), "{said}");
    let said = text(&run(dir.path(), &convert).stderr);
    assert!(said.contains("safetensors"), "{said}");
}

#[test]
fn a_damaged_manifest_is_explained_in_a_few_printable_words() {
    let served = crate::server::program::model();
    let dir = tempfile::tempdir().unwrap();
    for entry in fs_err::read_dir(&served).unwrap() {
        let name = entry.unwrap().file_name();
        std::os::unix::fs::symlink(served.join(&name), dir.path().join(&name)).unwrap();
    }
    let path = dir.path().join("lexivec.json");
    let manifest = fs_err::read_to_string(&path).unwrap();
    fs_err::remove_file(&path).unwrap();
    let inspect = |manifest: &[u8]| {
        fs_err::write(&path, manifest).unwrap();
        let output = run(dir.path(), &["inspect", dir.path().to_str().unwrap()]);
        let said = text(&output.stderr) + &text(&output.stdout);
        assert!(
            said.len() < 5000 && !said.contains('\u{1b}'),
            "{} bytes",
            said.len()
        );
        (output.status.code(), said)
    };
    let with = |field: &str, value: &str| {
        let mut changed: serde_json::Value = serde_json::from_str(&manifest).unwrap();
        changed[field] = serde_json::from_str(value).unwrap();
        changed.to_string().into_bytes()
    };
    let clear = r"\u001b[2J";
    let (code, said) = inspect(&with(
        "notes",
        &format!("[\"{clear}{}\"]", "long ".repeat(1 << 20)),
    ));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(r"\u{1b}[2J") && said.contains("bytes left out"),
        "{said}"
    );
    for (wrong, words) in [
        (
            with("precision", &format!("\"{}\"", clear.repeat(1 << 18))),
            "`precision` cannot be read",
        ),
        (with("files", "null"), "`files` cannot be read"),
        (with("format", "null"), "`format` cannot be read"),
        (b"{\"program\":\"\xe9\"}".to_vec(), "not UTF-8"),
    ] {
        let (code, said) = inspect(&wrong);
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("lexivec.json") && said.contains(words),
            "{said}"
        );
    }
}

#[test]
fn doctor_says_whether_a_provider_can_serve_a_model() {
    let dir = tempfile::tempdir().unwrap();
    let nano = nano();
    let convert = ["convert", nano.to_str().unwrap(), "--no-verify", "-p"];
    for (precision, code, said) in [
        ("fp32", 0, "fp32, target cpu"),
        ("bf16", 1, "no bfloat16 kernels for CPUs: convert with"),
    ] {
        let converted = run(
            dir.path(),
            &[&convert[..], &[precision, "-o", precision]].concat(),
        );
        let noted = text(&converted.stderr);
        assert!(converted.status.success(), "{noted}");
        let for_gpus = "this model is for GPUs (target cuda). ONNX Runtime has no bfloat16 kernels";
        assert_eq!(noted.contains(for_gpus), precision == "bf16", "{noted}");
        let doctor = run(dir.path(), &["doctor", precision]);
        let found = text(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(code), "{found}");
        assert!(found.contains(said), "{found}");
    }
    for (name, code, said) in [
        (
            "owner/nowhere",
            0,
            "owner/nowhere: not a folder on this machine",
        ),
        ("/nowhere", 1, "/nowhere: there is no such folder"),
    ] {
        let doctor = run(dir.path(), &["doctor", name]);
        let found = text(&doctor.stdout);
        assert_eq!(doctor.status.code(), Some(code), "{found}");
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn convert_inspect_and_embed_work_together() {
    let dir = tempfile::tempdir().unwrap();
    let nano = nano();
    let nano = nano.to_str().unwrap();
    let convert = || run(dir.path(), &["convert", nano, "-p", "int8", "-o", "model"]);
    let output = convert();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("verified on cpu against fp32"));
    let again = convert();
    assert!(text(&again.stderr).contains("--force"));

    let inspected = run(dir.path(), &["inspect", "model", "--json", "--verify"]);
    let json: serde_json::Value = serde_json::from_slice(&inspected.stdout).unwrap();
    assert_eq!(
        (&json["precision"], &json["kind"]),
        (&"int8".into(), &"model".into())
    );

    fs_err::write(
        dir.path().join("terms.csv"),
        "id,term\n1,cardiac arrest\n2,心脏骤停\n",
    )
    .unwrap();
    let embed = [
        "embed",
        "model",
        "terms.csv",
        "--column",
        "term",
        "--domain",
        "medical",
        "-d",
        "64",
    ];
    let lines = run(dir.path(), &embed);
    let lines = text(&lines.stdout);
    let parsed: Vec<serde_json::Value> = lines
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(parsed.len(), 2);
    assert_eq!(parsed[1]["text"], "心脏骤停");
    let numbers = |v: &serde_json::Value| -> Vec<f32> {
        serde_json::from_value(v["embedding"].clone()).unwrap()
    };

    let array = run(dir.path(), &[&embed[..], &["-o", "vectors.npy"]].concat());
    assert!(array.status.success(), "{}", text(&array.stderr));
    let bytes = fs_err::read(dir.path().join("vectors.npy")).unwrap();
    let rows: Vec<f32> = bytes[128..]
        .as_chunks::<4>()
        .0
        .iter()
        .map(|b| f32::from_le_bytes(*b))
        .collect();
    assert_eq!(rows, [numbers(&parsed[0]), numbers(&parsed[1])].concat());
}

/// Starts a conversion and waits until its hidden folder is there.
fn started(dir: &Path) -> std::process::Child {
    let nano = nano();
    let child = lexivec()
        .current_dir(dir)
        .args([
            "convert",
            nano.to_str().unwrap(),
            "-p",
            "fp32",
            "-o",
            "model",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !dir.join(".model.partial").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "no conversion began"
        );
        std::thread::yield_now();
    }
    child
}

#[test]
fn a_killed_conversion_leaves_a_hidden_folder_that_the_next_removes() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = started(dir.path());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!dir.path().join("model").exists());
    let output = run(
        dir.path(),
        &[
            "convert",
            nano().to_str().unwrap(),
            "-p",
            "bf16",
            "-o",
            "model",
        ],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let names: Vec<_> = fs_err::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(names, ["model"]);
    // What the killed run had written is not among the result.
    assert!(!dir.path().join("model/.lock").exists());
}

#[test]
fn an_interrupted_conversion_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = started(dir.path());
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_third_party_model_is_embedded_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    let model = project("tests/fixtures/padded/states");
    let output = run(dir.path(), &["embed", model.to_str().unwrap(), "a.txt"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).lines().count(), 1);
}

#[test]
fn onnx_runtime_keeps_no_identifier_of_the_machine() {
    let home = tempfile::tempdir().unwrap();
    let library = Library::load(None, false).unwrap().path();
    let mut command = lexivec();
    command.args(["doctor", "--onnxruntime"]).arg(library);
    command
        .env("HOME", home.path())
        .env("XDG_CACHE_HOME", home.path().join("cache"))
        .env("LEXIVEC_CACHE", home.path().join("lexivec"));
    // It is off by itself where it believes that it is being tested.
    for name in ["CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY"] {
        command.env_remove(name);
    }
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let kept = |path: &Path| path.join("Microsoft").exists();
    assert!(!kept(&home.path().join("cache")) && !kept(&home.path().join(".cache")));
}
