//! What a server makes sure of before it serves.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::Stdio;

use lexivec_runtime::Library;
use serde_json::json;

use super::program::{Program, serve};
use crate::program::lexivec;
use crate::support::nano;

/// Changes a byte in the middle of a file, and neither its size nor its name.
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

#[test]
fn other_weights_of_the_right_size_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let original = serve(&[]);
    let original = Path::new(original.get_args().nth(1).unwrap()).to_path_buf();
    copy(&original, dir.path());
    corrupt(&dir.path().join("model.onnx.data"));
    let mut command = lexivec();
    command.arg("serve").arg(dir.path()).args(["--port", "0"]);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("model.onnx.data"), "{said}");
    assert!(said.contains("changed"), "{said}");

    command.args(["--no-verify", "--served-model-name", "fake"]);
    let hurried = Program::spawn(&mut command);
    assert_eq!(hurried.connect().embed(&json!("heart")).status, 200);
}

#[test]
fn two_first_starts_share_one_conversion() {
    let cache = tempfile::tempdir().unwrap();
    // The new cache folder has no library.
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
fn the_time_limit_of_requests_is_printed_and_a_flag_wins() {
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
fn weights_that_are_written_into_while_they_are_served_give_no_vectors() {
    let dir = tempfile::tempdir().unwrap();
    let original = serve(&[]);
    let original = Path::new(original.get_args().nth(1).unwrap()).to_path_buf();
    copy(&original, dir.path());
    let mut command = lexivec();
    command.arg("serve").arg(dir.path());
    command.args(["--port", "0", "--served-model-name", "fake"]);
    let mut program = Program::spawn(&mut command);
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);
    assert_eq!(client.get("/readyz").status, 200);

    corrupt(&dir.path().join("model.onnx.data"));
    let answer = client.embed(&json!("lungs"));
    assert_eq!(answer.outcome(), (503, "unavailable".to_owned()));
    let message = String::from_utf8(answer.body).unwrap();
    assert!(message.contains("restarted"), "{message}");
    assert!(!message.contains("model.onnx.data"), "{message}");
    let ready = client.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(String::from_utf8(ready.body).unwrap().contains("restart"));
    // What was computed before is still right.
    assert_eq!(client.embed(&json!("heart")).status, 200);
    // The log is read by another thread.
    program.wait_for("that the file was written into", |log| {
        log.contains("in_place=true").then_some(())
    });
}

#[test]
fn weights_that_are_truncated_during_a_batch_do_not_end_the_server() {
    let dir = tempfile::tempdir().unwrap();
    let original = serve(&[]);
    let original = Path::new(original.get_args().nth(1).unwrap()).to_path_buf();
    copy(&original, dir.path());
    let mut command = lexivec();
    command.arg("serve").arg(dir.path());
    command.args(["--port", "0", "--served-model-name", "fake", "--no-verify"]);
    let program = Program::spawn(&mut command);
    let mut client = program.connect();
    assert_eq!(client.embed(&json!("heart")).status, 200);

    let weights = fs_err::OpenOptions::new();
    let path = dir.path().join("model.onnx.data");
    let weights = { weights }.write(true).open(path).unwrap();
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
