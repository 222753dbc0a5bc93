//! The checks of the model's files, before and while it is served.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use lexivec_runtime::Library;
use serde_json::json;
use tempfile::TempDir;

use super::program::{Program, model};
use crate::program::lexivec;
use crate::support::nano;

/// Changes one byte in the middle of a file.
fn corrupt(path: &Path) {
    let mut file = fs_err::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let middle = file.metadata().unwrap().len() / 2;
    let mut byte = [0];
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.read_exact(&mut byte).unwrap();
    file.seek(SeekFrom::Start(middle)).unwrap();
    file.write_all(&[byte[0] ^ 1]).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let (source, target) = (entry.unwrap().path(), to);
        let target = target.join(source.file_name().unwrap());
        if source.is_dir() {
            copy(&source, &target);
        } else {
            fs_err::copy(&source, &target).unwrap();
        }
    }
}

/// A model directory that a test may change.
struct ModelCopy {
    dir: TempDir,
}

impl ModelCopy {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&model(), dir.path());
        Self { dir }
    }

    fn weights(&self) -> PathBuf {
        self.dir.path().join("model.onnx.data")
    }

    /// The command that serves the copy as `fake`.
    fn serve(&self, arguments: &[&str]) -> Command {
        let mut command = lexivec();
        command.arg("serve").arg(self.dir.path());
        command.args(["--port", "0", "--served-model-name", "fake"]);
        command.args(arguments);
        command
    }
}

#[test]
fn changed_weights_of_the_same_size_are_noticed() {
    let copy = ModelCopy::new();
    corrupt(&copy.weights());
    let output = copy.serve(&[]).stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("model.onnx.data"), "{said}");
    assert!(said.contains("changed"), "{said}");

    let unverified = Program::spawn(&mut copy.serve(&["--no-verify"]));
    assert_eq!(unverified.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn two_concurrent_first_starts_share_one_conversion() {
    let cache = tempfile::tempdir().unwrap();
    // The new cache folder has no ONNX Runtime library.
    let library = Library::load(None, false).unwrap().path();
    let start = || {
        let mut command = lexivec();
        command.arg("serve").arg(nano());
        command.args(["--port", "0", "--served-model-name", "fake", "--no-verify"]);
        command.env("LEXIVEC_CACHE", cache.path());
        Program::spawn(command.arg("--onnxruntime").arg(library))
    };
    let programs = std::thread::scope(|scope| {
        [(), ()]
            .map(|()| scope.spawn(start))
            .map(|starting| starting.join().unwrap())
    });
    for program in &programs {
        assert_eq!(program.connect().embed(&json!("heart")).status, 200);
    }
    let models = fs_err::read_dir(cache.path().join("models")).unwrap();
    assert_eq!(models.count(), 1);
}

#[test]
fn the_time_limit_of_requests_is_logged_and_follows_the_flag() {
    for (arguments, seconds) in [(&[][..], 60), (&["--request-timeout", "7"], 7)] {
        let mut program = Program::start(arguments);
        let said = format!("a request may take {seconds} s (--request-timeout)");
        program.wait_for("how long a request may take", |log| {
            log.contains(&said).then_some(())
        });
    }
    let mut json = Program::start(&["--log-format", "json"]);
    json.wait_for("how long a request may take", |log| {
        log.contains("\"request_timeout\":60").then_some(())
    });
}

#[test]
fn weights_that_change_while_they_are_served_give_no_vectors() {
    let copy = ModelCopy::new();
    let mut program = Program::spawn(&mut copy.serve(&[]));
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);
    assert_eq!(client.get("/readyz").status, 200);

    corrupt(&copy.weights());
    let response = client.embed(&json!("lungs"));
    assert_eq!(response.outcome(), (503, "unavailable".to_owned()));
    let message = String::from_utf8(response.body).unwrap();
    assert!(message.contains("restarted"), "{message}");
    assert!(!message.contains("model.onnx.data"), "{message}");
    let ready = client.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8(ready.body).unwrap().contains("restart"));
    // Cached vectors are still correct.
    assert_eq!(client.embed(&json!("heart")).status, 200);
    // Another thread reads the log.
    program.wait_for("that the file was written into", |log| {
        log.contains("in_place=true").then_some(())
    });
}

#[test]
fn truncating_the_weights_during_a_batch_does_not_end_the_server() {
    let copy = ModelCopy::new();
    let program = Program::spawn(&mut copy.serve(&["--no-verify"]));
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);

    let mut options = fs_err::OpenOptions::new();
    let weights = options.write(true).open(copy.weights()).unwrap();
    std::thread::scope(|scope| {
        let mut other = program.connect();
        let texts: Vec<String> = (0..256).map(|i| format!("{i} heart ").repeat(40)).collect();
        let asking = scope.spawn(move || other.embed(&json!(texts)));
        std::thread::sleep(std::time::Duration::from_millis(150));
        weights.set_len(0).unwrap();
        assert_eq!(asking.join().unwrap().outcome().0, 503);
    });
    assert_eq!(client.embed(&json!("lungs")).status, 503);
    assert_eq!(client.get("/livez").status, 200);
    assert_eq!(client.get("/readyz").status, 503);
}
