//! Outputs in parts: a folder of files with a manifest.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;

use super::kept::names;
use super::{embed, embed_from, rejected, rows, write};
use crate::program::{lexivec, lines, text};
use crate::server::program::model;

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&fs_err::read(folder.join("_manifest.json")).unwrap()).unwrap()
}

/// The files of all parts, one after another.
fn joined(folder: &Path) -> Vec<u8> {
    let manifest = manifest(folder);
    assert_eq!(manifest["complete"], true);
    let parts = manifest["parts"].as_array().unwrap();
    let files = parts.iter().map(|part| part["file"].as_str().unwrap());
    let bytes = files.map(|file| fs_err::read(folder.join(file)).unwrap());
    bytes.collect::<Vec<_>>().concat()
}

#[test]
fn parts_have_all_rows_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", lines(3000));
    let all = rows(&embed(dir.path(), &["a.txt"]).stdout);
    let output = embed(
        dir.path(),
        &["a.txt", "-o", "b.jsonl", "--part-rows", "1000"],
    );
    assert!(output.status.success(), "{}", text(&output.stderr));
    let folder = dir.path().join("b.jsonl");
    assert_eq!(
        names(&folder),
        [
            "_manifest.json",
            "part-00000.jsonl",
            "part-00001.jsonl",
            "part-00002.jsonl"
        ]
    );
    assert_eq!(rows(&joined(&folder)), all);
    let found = manifest(&folder);
    assert_eq!(
        (&found["rows"], &found["inputs"][0]),
        (&3000.into(), &"a.txt".into())
    );
    let of_input = |part: usize| found["parts"][part]["input_rows"].clone();
    assert_eq!(of_input(1), serde_json::json!([1024, 2048]));
    assert_eq!(of_input(2), serde_json::json!([2048, 3000]));
    let again = ["a.txt", "-o", "b.jsonl", "--part-rows", "1000", "--resume"];
    let said = rejected(&embed(dir.path(), &again[..5]));
    assert!(
        said.contains("b.jsonl: the folder has all parts of a job"),
        "{said}"
    );
    let described = |key: &str| found[key].clone();
    assert_eq!(described("dimensions"), 32);
    assert!(described("model").is_string() && described("model_digest").is_string());
    assert!(found["resume"].get("rows").is_none());

    // A scheduler that retries a job finds it done.
    let output = embed(dir.path(), &again);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("note: the output has all 3000 texts already"),
        "{said}"
    );
    assert_eq!(manifest(&folder), found);
    assert_eq!(names(&folder).len(), 4);
    for (input, flags, reason) in [
        (lines(3001), &[][..], "the input has more now"),
        (lines(2999), &[], "the input does not begin with"),
        (lines(3000), &["--truncate"], "another truncation"),
    ] {
        write(dir.path(), "a.txt", input);
        let said = rejected(&embed(dir.path(), &[&again[..], flags].concat()));
        assert!(said.contains(reason), "{said}");
        assert!(!said.contains("are kept"), "{said}");
    }
    for stream in [
        &["--part-rows", "9"][..],
        &["-o", "-", "--part-rows", "9"],
        &["-o", "b.npy", "--part-rows", "0"],
    ] {
        let output = embed(dir.path(), &[&["a.txt"], stream].concat());
        assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    }

    // The other columns of the rows are a part of the output.
    let table = |id: usize| format!("id,text\n{id},heart attack\n2,lung\n");
    let job = ["a.csv", "-o", "d.parquet", "--part-rows", "2", "--resume"];
    write(dir.path(), "a.csv", table(1));
    for _ in 0..2 {
        let output = embed(dir.path(), &job);
        assert!(output.status.success(), "{}", text(&output.stderr));
    }
    for changed in [table(7), table(1).replace("id,", "number,")] {
        write(dir.path(), "a.csv", changed);
        let said = rejected(&embed(dir.path(), &job));
        assert!(said.contains("the input does not begin with"), "{said}");
    }

    // A table in parts is read as its folder.
    let table = ["a.txt", "-o", "c.parquet", "--part-rows", "1000"];
    assert!(embed(dir.path(), &table).status.success());
    assert_eq!(rows(&embed(dir.path(), &["c.parquet"]).stdout), all);
}

#[test]
fn a_job_in_parts_goes_on_after_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let job = ["-", "-o", "b.npy", "--part-rows", "1000"];
    let bad = [lines(1500).as_bytes(), b"caf\xe9\n"].concat();
    let said = rejected(&embed_from(dir.path(), &job, &bad));
    assert!(
        said.contains("1500 vectors are kept in b.npy, and the same command with --resume"),
        "{said}"
    );
    let all = lines(2500);
    let said = rejected(&embed_from(dir.path(), &job, all.as_bytes()));
    assert!(
        said.contains("b.npy belongs to an unfinished job: add --resume"),
        "{said}"
    );
    let other = ["-", "-o", "b.npy", "--part-rows", "900", "--resume"];
    let said = rejected(&embed_from(dir.path(), &other, all.as_bytes()));
    assert!(said.contains("another --part-rows"), "{said}");
    assert!(!said.contains("are kept"), "{said}");
    let resumed = embed_from(
        dir.path(),
        &[&job[..], &["--resume"]].concat(),
        all.as_bytes(),
    );
    let said = text(&resumed.stderr);
    assert!(
        said.contains("1500 of them were in the unfinished output"),
        "{said}"
    );
    let found = manifest(&dir.path().join("b.npy"));
    assert_eq!(
        (&found["rows"], &found["complete"]),
        (&2500.into(), &true.into())
    );

    // A job without a vector leaves nothing.
    let none = ["-", "-o", "c.npy", "--part-rows", "9", "--skip-empty"];
    rejected(&embed_from(dir.path(), &none, b"\n"));
    assert_eq!(names(dir.path()), ["b.npy"]);
}

#[test]
fn a_job_in_parts_that_is_killed_loses_and_doubles_no_row() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.txt", lines(5000));
    let expected = rows(&embed(dir.path(), &["a.txt"]).stdout);
    let mut killed = 0;
    for wait in (0..).map(|run| 500 + 250 * run) {
        let mut job = lexivec();
        let job = job.current_dir(dir.path()).arg("embed").arg(model());
        let job = job.args([
            "a.txt",
            "-d",
            "32",
            "-o",
            "b.jsonl",
            "--part-rows",
            "1000",
            "--resume",
        ]);
        let job = job.stdin(Stdio::null()).stderr(Stdio::piped());
        let mut job = job.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        // SIGKILL.
        job.kill().unwrap();
        let output = job.wait_with_output().unwrap();
        if output.status.success() {
            break;
        }
        assert_eq!(output.status.code(), None, "{}", text(&output.stderr));
        killed += 1;
    }
    assert!(killed > 0);
    assert_eq!(rows(&joined(&dir.path().join("b.jsonl"))), expected);
}
