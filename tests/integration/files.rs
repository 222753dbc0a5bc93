//! `lexivec embed` over files as people have them, by the real program.

mod kept;
mod outputs;
mod parts;
mod rejects;
mod tables;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::program::{QUICK, lexivec, lines, text};
use crate::server::program::{model, peak_memory};

/// `lexivec embed` of nano with `input` on standard input.
fn embed_from(dir: &Path, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = lexivec()
        .current_dir(dir)
        .arg("embed")
        .arg(model())
        .args(["-d", "32"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that rejects its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

fn embed(dir: &Path, arguments: &[&str]) -> Output {
    embed_from(dir, arguments, b"")
}

/// Index and text of each line of an output.
fn rows(output: &[u8]) -> Vec<(u64, String)> {
    let lines = text(output);
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        (
            row["index"].as_u64().unwrap(),
            row["text"].as_str().unwrap().to_owned(),
        )
    };
    lines.lines().map(row).collect()
}

fn write(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    fs_err::write(dir.join(name), content).unwrap();
}

/// What a failed command said.
fn rejected(output: &Output) -> String {
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    said
}

const LINES: &str = "heart\nlung\n";

#[test]
fn marks_endings_and_names_of_files_change_no_vector() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "plain.txt", LINES);
    let expected = embed(dir.path(), &["plain.txt"]).stdout;
    assert_eq!(
        rows(&expected),
        [(0, "heart".to_owned()), (1, "lung".to_owned())]
    );
    for (name, content) in [
        ("MARKED.TXT", "heart\r\nlung"),
        ("a.jsonl", "{\"text\":\"heart\"}\n{\"text\":\"lung\"}\n"),
        ("b.ndjson", "{\"text\":\"heart\"}\n{\"text\":\"lung\"}\n"),
        ("c.CSV", "text,id\nheart,1\nlung,2\n"),
        ("d.tsv", "id\ttext\n1\theart\n2\tlung\n"),
    ] {
        write(dir.path(), name, format!("\u{feff}{content}"));
        let output = embed(dir.path(), &[name]);
        assert_eq!(output.stdout, expected, "{name}: {}", text(&output.stderr));
    }
    let marked = format!("\u{feff}{LINES}");
    for names in [&[][..], &["-"], &["/dev/stdin"]] {
        let output = embed_from(dir.path(), names, marked.as_bytes());
        assert_eq!(output.stdout, expected, "{names:?}");
    }
    let json = b"{\"text\":\"heart\"}\n{\"text\":\"lung\"}\n";
    let output = embed_from(dir.path(), &["-", "--input-format", "jsonl"], json);
    assert_eq!(output.stdout, expected);
    let tsv = b"id\ttext\n1\theart\n2\tlung\n";
    let output = embed_from(dir.path(), &["-", "--input-format", "tsv"], tsv);
    assert_eq!(output.stdout, expected);

    write(dir.path(), "wide.txt", b"\xff\xfeh\0\n\0");
    let said = rejected(&embed(dir.path(), &["wide.txt"]));
    assert!(
        said.contains("wide.txt") && said.contains("UTF-16"),
        "{said}"
    );
    let said = rejected(&embed_from(dir.path(), &["-"], b"\xfe\xff\0h"));
    assert!(
        said.contains("standard input") && said.contains("UTF-16"),
        "{said}"
    );
    let twice = embed(dir.path(), &["-", "/dev/stdin"]);
    assert_eq!(twice.status.code(), Some(2));
}

#[test]
fn compare_reads_marked_texts_and_standard_input() {
    let dir = tempfile::tempdir().unwrap();
    let content = format!("\u{feff}{}\n", lines(12));
    let model = model();
    let model = model.to_str().unwrap();
    let compare = |name: &str| -> Value {
        let mut child = lexivec()
            .current_dir(dir.path())
            .args(["compare", model, model, "--texts", name])
            .args(QUICK)
            .args(["--json", "report.json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let _ = child.stdin.take().unwrap().write_all(content.as_bytes());
        let output = child.wait_with_output().unwrap();
        let said = text(&output.stderr);
        assert!(
            output.status.success() && said.contains("1 empty row was left out"),
            "{said}"
        );
        serde_json::from_slice(&fs_err::read(dir.path().join("report.json")).unwrap()).unwrap()
    };
    write(dir.path(), "texts.txt", &content);
    for name in ["texts.txt", "-"] {
        let report = compare(name);
        assert_eq!(report["data"]["texts"], 12, "{name}");
        let whole = report.to_string();
        assert!(!whole.contains('\u{feff}'), "{name}");
        assert!(whole.contains("load_seconds"), "{name}: no footprint");
    }
}

#[test]
fn a_row_without_a_text_is_an_error_that_says_where() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content, line) in [
        ("a.txt", "heart\n\nlung\n", 2),
        ("b.txt", "heart\nlung\n\n", 3),
        (
            "c.jsonl",
            "{\"text\":\"heart\"}\n{\"text\":\"\"}\n{\"text\":\"lung\"}\n",
            2,
        ),
        ("d.csv", "id,text\n1,heart\n2,\n3,lung\n", 3),
        ("e.csv", "text\nheart\n\nlung\n", 3),
    ] {
        write(dir.path(), name, content);
        let output = embed(dir.path(), &[name, "-o", "out.jsonl"]);
        let said = rejected(&output);
        assert!(
            said.contains(&format!("{name}:{line}: there is no text")),
            "{said}"
        );
        assert!(!dir.path().join("out.jsonl").exists());
        let output = embed(dir.path(), &[name, "--skip-empty"]);
        let expected = [(0, "heart".to_owned()), (1, "lung".to_owned())];
        assert_eq!(rows(&output.stdout), expected, "{name}");
        let said = text(&output.stderr);
        assert!(said.contains("1 empty row was left out"), "{said}");
    }
    let said = rejected(&embed_from(dir.path(), &[], b"heart\n\nlung\n"));
    assert!(
        said.contains("standard input:2: there is no text"),
        "{said}"
    );
}

#[test]
fn a_line_that_others_count_as_several_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "mac.txt", "heart\rlung\r");
    let said = rejected(&embed(dir.path(), &["mac.txt"]));
    assert!(
        said.contains("mac.txt:1: the line has a carriage return within it"),
        "{said}"
    );
    write(dir.path(), "a.txt", "heart\nlung\r\r\nliver\n");
    let output = embed(dir.path(), &["a.txt", "--on-error", "skip"]);
    let expected = [(0, "heart".to_owned()), (2, "liver".to_owned())];
    assert_eq!(rows(&output.stdout), expected);
    assert!(text(&output.stderr).contains("left out: a.txt:2: "));
}

#[test]
fn a_quote_that_is_not_closed_is_an_error_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    write(
        dir.path(),
        "a.csv",
        "id,text\n1,heart\n2,\"lung\n3,liver\n4,kidney\n",
    );
    let said = rejected(&embed(dir.path(), &["a.csv", "--on-error", "skip"]));
    assert!(said.contains("a.csv: line 3: the quote"), "{said}");
    // The next quote closes that one, and the rows between would become one text.
    write(
        dir.path(),
        "b.csv",
        "id,text\n1,\"heart\n2,lung\n3,\"kidney\"\n4,liver\n",
    );
    let said = rejected(&embed(dir.path(), &["b.csv", "--on-error", "skip"]));
    assert!(said.contains("b.csv: line 4: text follows"), "{said}");
}

#[test]
fn inputs_are_checked_before_anything_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "good.txt", LINES);
    write(
        dir.path(),
        "late.jsonl",
        "{\"text\":\"heart\"}\n{\"text\":\"lung\"\n",
    );
    write(dir.path(), "columns.csv", "id,term\n1,heart\n");
    for (name, words) in [
        ("missing.txt", "missing.txt"),
        ("late.jsonl", "late.jsonl:2: the line is not JSON"),
        (
            "columns.csv",
            "there is no column `text`; it has id, term (--column)",
        ),
    ] {
        // There is no such model either, and that would be found out later.
        let command = ["embed", "nowhere", "good.txt", name, "-o", "out.npy"];
        let output = lexivec().current_dir(dir.path()).args(command).output();
        let said = rejected(&output.unwrap());
        assert!(said.contains(words), "{said}");
    }
    assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn rows_that_cannot_be_embedded_are_left_out_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let long = "heart ".repeat(200);
    let content = format!("heart\n\n{long}\ncaf\u{0}lung\n");
    let content = content.replace('\u{0}', "\u{e9}\n");
    write(
        dir.path(),
        "a.txt",
        [content.as_bytes(), b"caf\xe9\nliver\n"].concat(),
    );
    let skip = ["a.txt", "--on-error", "skip", "--max-length", "64"];
    let output = embed(dir.path(), &[&skip[..], &["-o", "out.jsonl"]].concat());
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("3 rows were left out: out.jsonl.errors.jsonl"),
        "{said}"
    );
    let written = rows(&fs_err::read(dir.path().join("out.jsonl")).unwrap());
    let expected = [(0, "heart"), (3, "caf\u{e9}"), (4, "lung"), (6, "liver")];
    assert_eq!(written, expected.map(|(i, t)| (i, t.to_owned())));
    let errors = fs_err::read_to_string(dir.path().join("out.jsonl.errors.jsonl")).unwrap();
    let errors: Vec<Value> = errors
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let places: Vec<_> = errors.iter().map(|e| (&e["index"], &e["place"])).collect();
    let expected = [(1, "a.txt:2"), (2, "a.txt:3"), (5, "a.txt:6")];
    let expected = expected.map(|(i, p)| (Value::from(i), Value::from(p)));
    assert_eq!(places, expected.each_ref().map(|(i, p)| (i, p)));
    assert_eq!(errors[1]["text"], long);

    // Without a file for them, they are told; with nothing wrong, there is no file.
    let told = text(&embed(dir.path(), &skip).stderr);
    assert!(told.contains("left out: a.txt:3: "), "{told}");
    write(dir.path(), "good.txt", LINES);
    let good = ["good.txt", "--on-error", "skip", "-o", "good.npy"];
    assert!(embed(dir.path(), &good).status.success());
    assert!(!dir.path().join("good.npy.errors.jsonl").exists());
    let alone = embed(dir.path(), &["good.txt", "--errors", "e.jsonl"]);
    assert_eq!(alone.status.code(), Some(2));
    write(dir.path(), "bad.txt", b"caf\xe9\n");
    let output = embed(
        dir.path(),
        &["bad.txt", "--on-error", "skip", "-o", "bad.npy"],
    );
    assert!(rejected(&output).contains("nothing was written"));
    assert!(!dir.path().join("bad.npy").exists());
}

#[test]
fn an_endless_input_is_written_as_it_is_read_in_bounded_memory() {
    let mut child = lexivec()
        .arg("embed")
        .arg(model())
        .args(["-d", "32", "--input-format", "jsonl"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let line = format!(
        "{{\"text\":\"heart\",\"notes\":\"{}\"}}\n",
        "x".repeat(10_000)
    );
    let writer = std::thread::spawn(move || while input.write_all(line.as_bytes()).is_ok() {});
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut read = |count: usize| {
        for _ in 0..count {
            lines.next().unwrap().unwrap();
        }
        peak_memory(&child.id().to_string())
    };
    let before = read(2_000);
    let after = read(6_000);
    // 60 MB of input.
    assert!(after - before < 12 << 20, "{before} bytes, then {after}");
    drop(lines);
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let said = text(&output.stderr);
    assert!(output.status.success() && !said.contains("error"), "{said}");
}

#[test]
fn folders_and_patterns_stand_for_their_files() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::create_dir(dir.path().join("in")).unwrap();
    for (name, content) in [
        ("in/b.csv", "text\nlung\n"),
        ("in/a.txt", "heart\n"),
        ("in/_SUCCESS", ""),
    ] {
        write(dir.path(), name, content);
    }
    let expected = embed(dir.path(), &["in/a.txt", "in/b.csv"]).stdout;
    assert_eq!(rows(&expected).len(), 2);
    for inputs in [&["in"][..], &["in/*.*"], &["in/*.txt", "in/b.csv"]] {
        let output = embed(dir.path(), inputs);
        assert_eq!(output.stdout, expected, "{}", text(&output.stderr));
    }
    let none = embed(dir.path(), &["in/*.tsv"]);
    assert_eq!(none.status.code(), Some(2));
    let said = text(&none.stderr);
    assert!(said.contains("in/*.tsv: no file matches"), "{said}");
    // An output is not read again.
    let output = embed(dir.path(), &["in", "-o", "in/c.jsonl"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let again = embed(dir.path(), &["in", "-o", "in/c.jsonl"]);
    assert!(text(&again.stderr).contains("would replace the input"));
}
