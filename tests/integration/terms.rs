//! `lexivec terms`, by the real program.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::program::{lexivec, text};
use crate::server::program::model;

/// Terms of three subjects, in two languages.
const TERMS: &str = "id,term,language,domain\n\
    1,myocardial infarction,en,medicine\n2,heart attack,en,medicine\n3,acute myocardial infarction,en,medicine\n\
    4,cardiac arrest,en,medicine\n5,breach of contract,en,law\n6,contract,en,law\n7,contract law,en,law\n\
    8,breach of warranty contract,en,law\n9,\"interest rate, fixed\",en,finance\n10,interest rate,en,finance\n\
    11,bank interest rate,en,finance\n12,compound interest rate,en,\n13,利率,zh,finance\n";

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = lexivec();
    command.current_dir(dir).arg("terms").args(arguments);
    command.output().unwrap()
}

fn said(output: &Output) -> String {
    text(&output.stderr)
}

#[test]
fn terms_become_clusters_a_map_and_a_projection() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    let model = model();
    let settings = [
        "terms.csv",
        "--min-cluster-size",
        "3",
        "--min-samples",
        "2",
        "--pca",
        "6",
    ];
    let embed = ["-o", "out", "--json", "--model", model.to_str().unwrap()];
    let output = run(dir.path(), &[&settings[..], &embed].concat());
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["terms"], 13);
    assert_eq!(summary["components"], 6);
    assert!(summary["clusters"].as_u64().unwrap() >= 2, "{summary}");
    assert_eq!(summary["map"]["kind"], "neighbours");
    assert!(summary["map"]["trustworthiness"].as_f64().unwrap() > 0.5);

    let out = dir.path().join("out");
    let table = fs_err::read_to_string(out.join("terms.csv")).unwrap();
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines[0], "id,term,language,domain,cluster,probability,x,y");
    assert_eq!(lines.len(), 14);
    assert!(
        lines[9].starts_with("9,\"interest rate, fixed\",en,finance,"),
        "{}",
        lines[9]
    );
    let clusters = fs_err::read_to_string(out.join("clusters.csv")).unwrap();
    assert!(clusters.starts_with("cluster,label,size,probability,languages,domains,nearest\n0,"));
    assert!(out.join("projection.safetensors").is_file());
    let page = fs_err::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("\"interest rate, fixed\"") && page.contains("\"prompt\",\"none\""));

    // The same vectors, without a model.
    let vectors = ["-o", "again", "--vectors", "out/vectors.npy"];
    let output = run(dir.path(), &[&settings[..], &vectors].concat());
    assert!(output.status.success(), "{}", said(&output));
    let again = fs_err::read_to_string(dir.path().join("again/terms.csv")).unwrap();
    assert_eq!(table, again);
    assert!(!dir.path().join("again/vectors.npy").exists());
}

#[test]
fn a_map_of_components_and_none_are_written() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    let model = model();
    let settings = [
        "terms.csv",
        "-o",
        "out",
        "--min-cluster-size",
        "3",
        "--pca",
        "6",
    ];
    let columns = |more: &[&str]| {
        let output = run(dir.path(), &[&settings[..], more].concat());
        assert!(output.status.success(), "{}", said(&output));
        let table = fs_err::read_to_string(dir.path().join("out/terms.csv")).unwrap();
        let columns = table.lines().next().unwrap().to_owned();
        (columns, table, text(&output.stdout))
    };
    let model = ["--map", "pca", "--model", model.to_str().unwrap()];
    let (with_places, by_components, _) = columns(&model);
    assert!(with_places.ends_with(",cluster,probability,x,y"));
    let vectors = ["--vectors", "out/vectors.npy"];
    let (_, by_neighbours, _) = columns(&vectors);
    assert_ne!(by_components, by_neighbours);
    let (_, other_seed, _) = columns(&[&vectors[..], &["--seed", "2"]].concat());
    assert_ne!(by_neighbours, other_seed);
    let none = [&vectors[..], &["--map", "none", "--json"]].concat();
    let (without, _, summary) = columns(&none);
    assert!(without.ends_with(",cluster,probability"));
    let summary: Value = serde_json::from_str(&summary).unwrap();
    assert!(summary.get("map").is_none(), "{summary}");
    let page = fs_err::read_to_string(dir.path().join("out/report.html")).unwrap();
    assert!(page.contains("\"map\":null"));
}

#[test]
fn terms_of_every_format_give_the_same_table() {
    let dir = tempfile::tempdir().unwrap();
    let csv = TERMS.replace("\"interest rate, fixed\"", "fixed interest rate");
    let object = |row: &str| {
        let fields: Vec<&str> = row.split(',').collect();
        let [id, term, language, domain] = fields.try_into().unwrap();
        format!(
            "{{\"id\":{id},\"term\":\"{term}\",\"language\":\"{language}\",\"domain\":\"{domain}\"}}\n"
        )
    };
    let jsonl: String = csv.lines().skip(1).map(object).collect();
    let model = model();
    let table = |name: &str, content: &str| {
        fs_err::write(dir.path().join(name), content).unwrap();
        let folder = format!("out-{name}");
        let arguments = [name, "--min-cluster-size", "3", "-o", &folder, "--model"];
        let output = run(
            dir.path(),
            &[&arguments[..], &[model.to_str().unwrap()]].concat(),
        );
        assert!(output.status.success(), "{name}: {}", said(&output));
        fs_err::read_to_string(dir.path().join(folder).join("terms.csv")).unwrap()
    };
    let expected = table("terms.csv", &csv);
    assert_eq!(table("terms.tsv", &csv.replace(',', "\t")), expected);
    assert_eq!(table("terms.jsonl", &jsonl), expected);
}

#[test]
fn wrong_input_is_an_error_before_a_model_is_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, content: &str| fs_err::write(dir.path().join(name), content).unwrap();
    write("terms.csv", TERMS);
    write("empty.csv", "term\n");
    write("bad.npy", "term\n");
    fs_err::create_dir(dir.path().join("full")).unwrap();
    write("full/terms.csv", TERMS);
    for (arguments, code, reason) in [
        (
            &["terms.csv", "-o", "out"][..],
            2,
            "--model, or their vectors with --vectors",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--term-column",
                "text",
            ],
            1,
            "no column `text`; it has id, term",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--min-cluster-size",
                "1",
            ],
            1,
            "must be at least 2",
        ),
        (
            &[
                "terms.csv",
                "-o",
                "out",
                "--model",
                "x",
                "--min-samples",
                "14",
            ],
            1,
            "13 rows are too few",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--variance", "95"],
            1,
            "between 0 and 1",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--metric", "l1"],
            2,
            "cosine and euclidean",
        ),
        (
            &["terms.csv", "-o", "out", "--model", "x", "--map", "tsne"],
            2,
            "neighbours, pca, none",
        ),
        (
            &["empty.csv", "-o", "out", "--model", "x"],
            1,
            "0 rows are too few",
        ),
        (
            &["full/terms.csv", "-o", "full", "--model", "x"],
            2,
            "would replace the input",
        ),
        (
            &["terms.csv", "-o", "out", "--vectors", "bad.npy"],
            1,
            "bad.npy: this is no .npy file",
        ),
        (
            &["missing.csv", "-o", "out", "--model", "x"],
            1,
            "missing.csv",
        ),
    ] {
        let output = run(dir.path(), arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(reason),
            "{arguments:?}: {}",
            said(&output)
        );
    }
}
