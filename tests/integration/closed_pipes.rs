//! Reports that nobody reads to the end: a quiet end, and the exit code of the work.

use std::io::{BufRead as _, BufReader, pipe};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use lexivec_runtime::Library;
use serde_json::json;

use crate::program::{QUICK, copy_of_nano, lexivec, lines, signal, text};
use crate::server::client::Client;
use crate::server::program::{model, serve};
use crate::support::nano;

/// A pipe whose reader has gone.
fn closed() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

/// The exit code of a command whose output nobody reads; with `both`, standard error as well.
fn code(dir: &Path, arguments: &[&str], both: bool) -> Option<i32> {
    let mut command = lexivec();
    command
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(closed());
    if both {
        let status = command.stderr(closed()).status().unwrap();
        return status.code();
    }
    let output = command.stderr(Stdio::piped()).output().unwrap();
    let said = text(&output.stderr);
    assert!(
        !said.contains("panicked") && !said.contains("Broken pipe"),
        "{said}"
    );
    output.status.code()
}

#[test]
fn reports_end_quietly_with_the_code_of_their_work() {
    let dir = tempfile::tempdir().unwrap();
    let (model, nano) = (model(), nano());
    let (model, nano) = (model.to_str().unwrap(), nano.to_str().unwrap());
    let coarse = [
        "-p",
        "int4-weight",
        "--no-calibration",
        "--no-verify",
        "-o",
        "coarse",
    ];
    let convert = [&["convert", nano][..], &coarse].concat();
    let force = [&convert[..], &["--force"]].concat();
    fs_err::write(dir.path().join("texts.txt"), lines(12)).unwrap();
    let quick = [&["--texts", "texts.txt"][..], &QUICK].concat();
    let passed = [&["compare", model, model][..], &quick].concat();
    let gate = [
        &["compare", model, "coarse", "--min-cosine", "0.9999"][..],
        &quick,
    ]
    .concat();
    assert_eq!(code(dir.path(), &convert, false), Some(0));
    assert!(dir.path().join("coarse/lexivec.json").is_file());
    for both in [false, true] {
        for (arguments, expected) in [
            (&["inspect", model][..], 0),
            (&["inspect", model, "--json"], 0),
            (&["inspect", "coarse"], 0),
            (&["inspect", "nowhere"], 1),
            (&["doctor"], 0),
            (&["doctor", "--json"], 0),
            (&["doctor", "--onnxruntime", "/nowhere/onnxruntime.so"], 1),
            (&["--help"], 0),
            (&["--version"], 0),
            (&["convert"], 2),
            (&force, 0),
            (&passed, 0),
            (&gate, 1),
        ] {
            let found = code(dir.path(), arguments, both);
            assert_eq!(found, Some(expected), "{arguments:?}, both: {both}");
        }
    }
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    for both in [false, true] {
        assert_eq!(code(dir.path(), &["embed", model, "a.txt"], both), Some(0));
        let file = ["embed", model, "a.txt", "-o", "a.npy"];
        assert_eq!(code(dir.path(), &file, both), Some(0));
        let missing = ["embed", model, "b.txt"];
        assert_eq!(code(dir.path(), &missing, both), Some(1));
    }
}

#[test]
fn a_first_use_whose_notes_nobody_reads_converts() {
    let dir = tempfile::tempdir().unwrap();
    let checkpoint = copy_of_nano(dir.path());
    // Without it there is a note.
    fs_err::remove_file(checkpoint.join("modules.json")).unwrap();
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    let library = Library::load(None, false).unwrap().path();
    for cache in ["told", "closed"] {
        let mut command = lexivec();
        command
            .current_dir(dir.path())
            .env("LEXIVEC_CACHE", dir.path().join(cache))
            .args(["embed", "checkpoint", "a.txt", "-o", "a.npy"])
            .arg("--onnxruntime")
            .arg(library);
        if cache == "told" {
            let output = command.output().unwrap();
            let said = text(&output.stderr);
            assert!(said.contains("note: There is no modules.json"), "{said}");
        } else {
            let status = command.stderr(closed()).status().unwrap();
            assert_eq!(status.code(), Some(0));
        }
    }
}

#[test]
fn a_server_whose_log_nobody_reads_goes_on() {
    for format in ["text", "json"] {
        let mut process = serve(&["--log-format", format])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
        let address: SocketAddr = loop {
            let line = log.next().unwrap().unwrap();
            if let Some((_, rest)) = line.split_once("://") {
                break rest.split(['/', '"']).next().unwrap().parse().unwrap();
            }
        };
        drop(log);
        for _ in 0..3 {
            let answer = Client::connect(address).embed(&json!("heart"));
            assert_eq!(answer.status, 200);
        }
        signal(&process, "-TERM");
        assert_eq!(process.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn a_full_disk_is_an_error() {
    let full = fs_err::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = lexivec()
        .arg("inspect")
        .arg(model())
        .stdout(full.into_parts().0)
        .stderr(Stdio::piped())
        .output()
        .unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output cannot be written"), "{said}");
}
