//! The file of rows that are left out: what it may be called, and when it is written.

use std::fs::Permissions;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::kept::names;
use super::{LINES, embed, embed_from, rejected, write};
use crate::program::{lexivec, lines, text};
use crate::server::program::model;

fn read(dir: &Path, name: &str) -> String {
    fs_err::read_to_string(dir.join(name)).unwrap()
}

#[test]
fn files_of_the_job_cannot_take_the_rows_that_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let content = "text\nheart\na,b\n";
    write(dir, "in.csv", content);
    write(dir, "rows.partial", "text\nlung\n");
    write(dir, "out.jsonl", "old");
    fs_err::hard_link(dir.join("in.csv"), dir.join("hard.csv")).unwrap();
    symlink("in.csv", dir.join("soft.csv")).unwrap();
    let before = names(dir);
    for (errors, words) in [
        ("in.csv", "it is an input"),
        ("./in.csv", "it is an input"),
        ("hard.csv", "it is an input"),
        ("soft.csv", "it is an input"),
        ("rows", "rows.partial: the rows that are left out cannot"),
        ("out.jsonl", "it is the output"),
        ("out.jsonl.partial", "it is the unfinished output"),
        ("out.jsonl.partial.json", "it is the record of"),
        ("nowhere/a.jsonl", "there is no folder"),
    ] {
        let mut job = vec!["-o", "out.jsonl", "--on-error", "skip", "--errors", errors];
        job.extend(["in.csv", "rows.partial", "--input-format", "csv"]);
        let said = rejected(&embed(dir, &job));
        assert!(said.contains(words), "{errors}: {said}");
        assert_eq!(read(dir, "in.csv"), content);
        assert_eq!(read(dir, "out.jsonl"), "old");
        assert_eq!(names(dir), before, "{errors}");
    }
    let input = fs_err::File::open(dir.join("in.csv")).unwrap();
    let output = lexivec()
        .current_dir(dir)
        .arg("embed")
        .arg(model())
        .args(["-", "--on-error", "skip", "--errors", "in.csv"])
        .stdin(input.into_parts().0)
        .stderr(Stdio::piped())
        .output();
    let said = rejected(&output.unwrap());
    assert!(said.contains("it is an input"), "{said}");
    assert_eq!(read(dir, "in.csv"), content);
}

#[test]
fn an_older_list_stays_until_a_new_one_is_complete() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    write(dir, "good.txt", LINES);
    write(dir, "bad.txt", b"heart\ncaf\xe9\n");
    write(dir, "list.jsonl", "old");
    fs_err::set_permissions(dir.join("list.jsonl"), Permissions::from_mode(0o600)).unwrap();
    let job = [
        "-o",
        "out.jsonl",
        "--on-error",
        "skip",
        "--errors",
        "list.jsonl",
    ];
    let nowhere = [&["embed", "nowhere", "bad.txt"][..], &job].concat();
    let output = lexivec().current_dir(dir).args(nowhere).output();
    rejected(&output.unwrap());
    assert_eq!(names(dir), ["bad.txt", "good.txt", "list.jsonl"]);
    assert_eq!(read(dir, "list.jsonl"), "old");
    let output = embed(dir, &[&["good.txt"][..], &job].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(read(dir, "list.jsonl"), "old");
    let output = embed(dir, &[&["bad.txt"][..], &job].concat());
    let said = text(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 row was left out: list.jsonl"),
        "{said}"
    );
    let row: Value = serde_json::from_str(&read(dir, "list.jsonl")).unwrap();
    assert_eq!(row["place"], "bad.txt:2");
    let mode = fs_err::metadata(dir.join("list.jsonl")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        names(dir),
        ["bad.txt", "good.txt", "list.jsonl", "out.jsonl"]
    );
    // Devices are written as they are.
    let output = embed(
        dir,
        &["bad.txt", "--on-error", "skip", "--errors", "/dev/stderr"],
    );
    let said = text(&output.stderr);
    assert!(said.contains("\"place\":\"bad.txt:2\""), "{said}");
}

#[test]
fn a_resumed_job_continues_its_own_list_only() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let begin = format!("text\nleft,\"out\"\n{}", lines(1100));
    let job = ["-", "--input-format", "csv", "-o", "a.jsonl"];
    let with = |flags: &[&str], end: &str| {
        let arguments = [&job[..], &["--on-error", "skip"], flags].concat();
        embed_from(dir, &arguments, format!("{begin}{end}").as_bytes())
    };
    let said = rejected(&with(&["--errors", "list.jsonl"], "\"never closed\n"));
    assert!(said.contains("1100 vectors are kept"), "{said}");
    let left = ["a.jsonl.partial", "a.jsonl.partial.json"];
    assert_eq!(names(dir), [left[0], left[1], "list.jsonl.partial"]);
    let begun = read(dir, "list.jsonl.partial");
    let row: Value = serde_json::from_str(&begun).unwrap();
    assert_eq!(row["text"], "left,out");

    let end = "more\n1,2,3\n";
    write(dir, "other.jsonl", "old");
    for flags in [&["--resume"][..], &["--resume", "--errors", "other.jsonl"]] {
        let said = rejected(&with(flags, end));
        assert!(said.contains("another --errors"), "{said}");
    }
    assert_eq!(read(dir, "other.jsonl"), "old");
    let resume = ["--resume", "--errors", "list.jsonl"];
    write(dir, "list.jsonl.partial", &begun[..9]);
    let said = rejected(&with(&resume, end));
    assert!(said.contains("and it has 9: put the file back"), "{said}");
    fs_err::remove_file(dir.join("list.jsonl.partial")).unwrap();
    let said = rejected(&with(&resume, end));
    assert!(said.contains("and it has 0: put the file back"), "{said}");
    assert_eq!(names(dir), [left[0], left[1], "other.jsonl"]);

    write(dir, "list.jsonl.partial", &begun);
    let output = with(&resume, end);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert_eq!(names(dir), ["a.jsonl", "list.jsonl", "other.jsonl"]);
    let list = read(dir, "list.jsonl");
    assert!(list.starts_with(&begun) && !list.contains('\0'), "{list}");
    assert_eq!(list.lines().count(), 2);
    assert!(list.contains("\"text\":\"1,2,3\""), "{list}");
}
