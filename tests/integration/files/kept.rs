//! Jobs that end early, and go on.

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{embed, embed_from, rejected, write};
use crate::program::{lexivec, lines, signal, text};
use crate::server::program::model;

pub(super) fn names(dir: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(dir).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_computed_before_a_bad_row_is_kept_and_continued() {
    let dir = tempfile::tempdir().unwrap();
    let all = lines(2500);
    let whole = embed_from(dir.path(), &["-", "-o", "whole.npy"], all.as_bytes());
    assert!(whole.status.success(), "{}", text(&whole.stderr));
    let whole = fs_err::read(dir.path().join("whole.npy")).unwrap();
    fs_err::remove_file(dir.path().join("whole.npy")).unwrap();

    let bad = [lines(1500).as_bytes(), b"caf\xe9\n", b"more\n"].concat();
    let job = ["-", "-o", "a.npy"];
    let said = rejected(&embed_from(dir.path(), &job, &bad));
    assert!(
        said.contains("standard input:1501: the line is not UTF-8"),
        "{said}"
    );
    assert!(
        said.contains("1500 vectors are kept in a.npy.partial"),
        "{said}"
    );
    assert_eq!(names(dir.path()), ["a.npy.partial", "a.npy.partial.json"]);

    // Nothing that was kept is lost by accident.
    let said = rejected(&embed_from(dir.path(), &job, all.as_bytes()));
    assert!(said.contains("--resume"), "{said}");
    let resume = [&job[..], &["--resume"]].concat();
    for (flags, input, words) in [
        (&["--domain", "medical"][..], &all, "another prompt"),
        (&["--skip-empty"], &all, "another --skip-empty"),
        (&[], &lines(1400), "does not begin with the 1500 rows"),
        (
            &[],
            &all.replace("number 7\n", "number 8\n"),
            "does not begin with the 1500 rows",
        ),
    ] {
        let output = embed_from(dir.path(), &[&resume[..], flags].concat(), input.as_bytes());
        let said = rejected(&output);
        assert!(said.contains(words), "{said}");
    }
    let output = embed_from(dir.path(), &resume, all.as_bytes());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("1500 of them were in the unfinished output"),
        "{said}"
    );
    assert_eq!(names(dir.path()), ["a.npy"]);
    let resumed = fs_err::read(dir.path().join("a.npy")).unwrap();
    // The header, and vectors that another batch may round otherwise.
    assert_eq!(
        (resumed.len(), &resumed[..128]),
        (whole.len(), &whole[..128])
    );
    let values = |bytes: &[u8]| -> Vec<f32> {
        let (values, _) = bytes[128..].as_chunks::<4>();
        values.iter().map(|b| f32::from_le_bytes(*b)).collect()
    };
    let difference = crate::support::max_difference(&values(&resumed), &values(&whole));
    assert!(difference < 1e-5, "{difference}");
}

#[test]
fn a_killed_job_continues_and_leaves_rows_out_once() {
    let dir = tempfile::tempdir().unwrap();
    // A bad row in each thousand.
    let content: Vec<u8> = (0..30)
        .flat_map(|_| [lines(999).as_bytes(), b"caf\xe9\n"].concat())
        .collect();
    write(dir.path(), "a.txt", content);
    let job = ["a.txt", "-o", "a.jsonl", "--on-error", "skip"];
    let mut child = lexivec()
        .current_dir(dir.path())
        .arg("embed")
        .arg(model())
        .args(["-d", "32"])
        .args(job)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !dir.path().join("a.jsonl.partial.json").exists() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "no part was kept"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
    // While it runs, nobody else writes the same output.
    let busy = embed(dir.path(), &[&job[..], &["--resume"]].concat());
    let said = text(&busy.stderr);
    assert!(said.contains("another process is writing it"), "{said}");
    child.kill().unwrap();
    child.wait().unwrap();
    let output = embed(dir.path(), &[&job[..], &["--resume"]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(
        names(dir.path()),
        ["a.jsonl", "a.jsonl.errors.jsonl", "a.txt"]
    );
    let written = super::rows(&fs_err::read(dir.path().join("a.jsonl")).unwrap());
    let indices: Vec<u64> = written.iter().map(|(index, _)| *index).collect();
    let expected: Vec<u64> = (0..30_000).filter(|i| i % 1000 != 999).collect();
    assert!(indices == expected, "{} rows", indices.len());
    let errors = fs_err::read_to_string(dir.path().join("a.jsonl.errors.jsonl")).unwrap();
    assert_eq!(errors.lines().count(), 30);
}

#[test]
fn an_interrupt_before_the_first_part_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = lexivec()
        .current_dir(dir.path())
        .arg("embed")
        .arg(model())
        .args(["-o", "a.npy"])
        .stdin(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !dir.path().join("a.npy.partial").exists() {
        assert!(begun.elapsed() < Duration::from_secs(60), "no output began");
        std::thread::sleep(Duration::from_millis(2));
    }
    // The file is registered right after it is there.
    std::thread::sleep(Duration::from_millis(100));
    signal(&child, "-INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(dir.path()), [""; 0]);
}
