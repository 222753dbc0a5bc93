//! `lexivec nearest`, by the real program.

use std::io::Write as _;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::program::{lexivec, text};
use crate::server::program::model;

const TERMS: &str = "id,term,language,domain\n\
    1,heart attack,en,medicine\n2,心脏病发作,zh,medicine\n3,contract,en,law\n4,合同,zh,law\n5,interest rate,en,\n";

fn nearest_from(dir: &Path, arguments: &[&str], input: &str) -> Output {
    let mut child = lexivec()
        .current_dir(dir)
        .arg("nearest")
        .args(arguments)
        .arg("--model")
        .arg(model())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that rejects its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn nearest(dir: &Path, arguments: &[&str]) -> String {
    let output = nearest_from(dir, arguments, "");
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn rejected(dir: &Path, arguments: &[&str]) -> String {
    let output = nearest_from(dir, arguments, "");
    let said = text(&output.stderr);
    assert!(!output.status.success(), "{arguments:?}: {said}");
    said
}

fn folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    dir
}

#[test]
fn queries_find_the_nearest_terms_in_any_language_or_in_one() {
    let dir = folder();
    let table = nearest(dir.path(), &["terms.csv", "heart attack", "-k", "2"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert_eq!(lines[0], "heart attack");
    assert_eq!(lines[1], "   1.0000  heart attack  (en, medicine)");

    let json = [
        "terms.csv",
        "--json",
        "--language",
        "zh",
        "contract",
        "heart attack",
    ];
    let found = nearest(dir.path(), &json);
    let answers: Vec<Value> = found
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(answers.len(), 2);
    assert_eq!(answers[0]["query"], "contract");
    let hits = answers[1]["nearest"].as_array().unwrap();
    assert_eq!(hits.len(), 2);
    assert!(hits.iter().all(|hit| hit["language"] == "zh"));
    let cosine = |hit: &Value| hit["cosine"].as_f64().unwrap();
    assert!(cosine(&hits[0]) >= cosine(&hits[1]));
    let contract = hits.iter().find(|hit| hit["term"] == "合同").unwrap();
    assert_eq!(
        (&contract["row"], &contract["domain"]),
        (&3.into(), &"law".into())
    );
    assert_eq!(contract["columns"], serde_json::json!({"id": "4"}));

    // An instruction is put before the query and not before the terms.
    let instructed = [
        "terms.csv",
        "heart attack",
        "--instruction",
        "Find the term",
    ];
    let instructed = nearest(dir.path(), &instructed);
    assert!(!instructed.contains("1.0000"), "{instructed}");

    // Queries from files and standard input are those of the command line.
    fs_err::write(dir.path().join("a.txt"), "heart attack\n").unwrap();
    fs_err::write(dir.path().join("a.csv"), "query\nheart attack\n").unwrap();
    for file in ["a.txt", "a.csv"] {
        let from_file = ["terms.csv", "-k", "2", "--queries", file];
        assert_eq!(nearest(dir.path(), &from_file), table);
    }
    let piped = nearest_from(dir.path(), &["terms.csv", "-k", "2"], "heart attack\n");
    assert_eq!(text(&piped.stdout), table);
}

#[test]
fn vectors_of_an_index_or_a_file_are_those_that_a_model_computes() {
    let dir = folder();
    let settings = ["terms.csv", "contract", "--json", "-d", "32"];
    let with = |more: &[&'static str]| [&settings[..], more].concat();
    let expected = nearest(dir.path(), &settings);
    let index = ["--index", "index"];
    assert_eq!(nearest(dir.path(), &with(&index)), expected);
    let vectors = dir.path().join("index/vectors.npy");
    let written = fs_err::metadata(&vectors).unwrap().modified().unwrap();
    assert_eq!(nearest(dir.path(), &with(&index)), expected);
    // The width is the index's.
    let without_width = ["terms.csv", "contract", "--json", "--index", "index"];
    assert_eq!(nearest(dir.path(), &without_width), expected);
    assert_eq!(
        fs_err::metadata(&vectors).unwrap().modified().unwrap(),
        written
    );
    let from_file = ["--vectors", "index/vectors.npy"];
    assert_eq!(nearest(dir.path(), &with(&from_file)), expected);

    let mut embed = lexivec();
    let embed = embed.current_dir(dir.path()).arg("embed").arg(model());
    let embed = embed.args([
        "terms.csv",
        "--column",
        "term",
        "-d",
        "32",
        "-o",
        "terms.parquet",
    ]);
    assert!(embed.status().unwrap().success());
    let table = ["terms.parquet", "contract", "--json"];
    assert_eq!(nearest(dir.path(), &table), expected);

    let wide = with(&["--index", "index"])
        .iter()
        .map(|a| if *a == "32" { "64" } else { *a })
        .collect::<Vec<_>>();
    let said = rejected(dir.path(), &wide);
    assert!(said.contains("32 dimensions, and not 64"), "{said}");
    fs_err::write(
        dir.path().join("terms.csv"),
        TERMS.replace("contract", "tort"),
    )
    .unwrap();
    let said = rejected(dir.path(), &with(&index));
    assert!(
        said.contains("index: the index was built from other terms (5)"),
        "{said}"
    );
    let said = rejected(dir.path(), &["terms.csv", "tort", "--index", "."]);
    assert!(
        said.contains(".: the folder has files, and no index"),
        "{said}"
    );
}

#[test]
fn an_index_that_is_damaged_is_an_error_that_says_what_to_remove() {
    let dir = folder();
    let arguments = ["terms.csv", "contract", "-d", "32", "--index", "index"];
    nearest(dir.path(), &arguments);
    let path = dir.path().join("index/vectors.npy");
    let bytes = fs_err::read(&path).unwrap();
    let (beginning, row) = bytes.split_at(bytes.len() - 4 * 32);
    let with = |row: &[u8]| [beginning, row].concat();
    for damaged in [
        bytes[..bytes.len() - 4].to_vec(),
        Vec::new(),
        with(&[0xff; 4 * 32]),
        with(&vec![0; row.len()]),
    ] {
        fs_err::write(&path, damaged).unwrap();
        let said = rejected(dir.path(), &arguments);
        assert!(
            said.contains("index: the index is damaged: remove the folder"),
            "{said}"
        );
    }
    fs_err::write(&path, &bytes).unwrap();
    let about = dir.path().join("index/index.json");
    let text = fs_err::read_to_string(&about).unwrap();
    let huge = text.replace(": 32,", &format!(": {},", u64::MAX));
    assert_ne!(huge, text);
    fs_err::write(&about, huge).unwrap();
    let without_width = ["terms.csv", "contract", "--index", "index"];
    let said = rejected(dir.path(), &without_width);
    assert!(said.contains("this model's vectors have 1 to"), "{said}");
}

#[test]
fn what_cannot_be_looked_up_is_an_error_that_says_why() {
    let dir = folder();
    fs_err::write(dir.path().join("a.txt"), "heart\n").unwrap();
    fs_err::write(dir.path().join("empty.csv"), "term\n").unwrap();
    for (arguments, reason) in [
        (&["terms.csv"][..], "no query: give one"),
        (
            &["terms.csv", " "],
            "query 1: there is no query in this row",
        ),
        (&["terms.csv", "x", "-k", "0"], "0 is not in 1..=10000"),
        (
            &["terms.csv", "x", "--language", "fr"],
            "no term has the language `fr`; there are en, zh",
        ),
        (
            &["a.txt", "x", "--language", "fr"],
            "there is no column `language`",
        ),
        (&["empty.csv", "x"], "there is no term in the file"),
        (
            &["terms.csv", "x", "--queries", "a.txt"],
            "cannot be used with",
        ),
        (
            &["terms.csv", "--queries", "terms.csv"],
            "no column `query`",
        ),
        (
            &["terms.csv", "x", "--vectors", "a.txt"],
            "this is no .npy file",
        ),
    ] {
        let said = rejected(dir.path(), arguments);
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}
