//! `lexivec terms`, by the real program.

use std::path::Path;
use std::process::Output;

use serde_json::Value;

use crate::program::{lexivec, text};
use crate::server::program::model;

mod refusals;

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

/// A few clusters of the terms above.
const SETTINGS: [&str; 7] = [
    "terms.csv",
    "-o",
    "out",
    "--min-cluster-size",
    "3",
    "--pca",
    "6",
];

/// Runs the program, which must succeed, and returns what it prints.
fn analysed(dir: &Path, arguments: &[&str]) -> String {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{}", said(&output));
    text(&output.stdout)
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
fn an_approximate_search_is_said_with_what_it_misses() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    let model = model();
    let settings = [&SETTINGS[..], &["--pairs", "0.5"]].concat();
    let analyse = |more: &[&str]| analysed(dir.path(), &[&settings[..], more].concat());
    let exact = analyse(&["--json", "--model", model.to_str().unwrap()]);
    let exact: Value = serde_json::from_str(&exact).unwrap();
    assert_eq!(
        exact["search"],
        serde_json::json!({"kind": "exact", "recall": 1.0})
    );
    let vectors = [
        "--vectors",
        "out/vectors.npy",
        "--force",
        "--search",
        "approximate",
    ];
    let summary = analyse(&[&vectors[..], &["--json"]].concat());
    let summary: Value = serde_json::from_str(&summary).unwrap();
    // So few terms are one block, and all of its pairs are compared.
    assert_eq!(
        summary["search"],
        serde_json::json!({"kind": "approximate", "recall": 1.0})
    );
    assert_eq!(summary["pairs"], exact["pairs"]);
    assert_eq!(summary["clusters"], exact["clusters"]);
    let page = fs_err::read_to_string(dir.path().join("out/report.html")).unwrap();
    assert!(page.contains("[\"search\",\"approximate\"]"));
    let summary = analyse(&vectors);
    assert!(
        summary.contains("approximate search: 100.0 % of the nearest terms found"),
        "{summary}"
    );
    assert!(
        summary.contains("translations, 100.0 % of all"),
        "{summary}"
    );
    let wrong = run(dir.path(), &[&settings[..], &["--search", "fast"]].concat());
    assert_eq!(wrong.status.code(), Some(2));
    assert!(said(&wrong).contains("the searches are exact and approximate"));
}

#[test]
fn a_map_of_components_and_none_are_written() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.csv"), TERMS).unwrap();
    let model = model();
    let columns = |more: &[&str]| {
        let printed = analysed(dir.path(), &[&SETTINGS[..], more].concat());
        let table = fs_err::read_to_string(dir.path().join("out/terms.csv")).unwrap();
        let columns = table.lines().next().unwrap().to_owned();
        (columns, table, printed)
    };
    let model = ["--map", "pca", "--model", model.to_str().unwrap()];
    let (with_places, by_components, _) = columns(&model);
    assert!(with_places.ends_with(",cluster,probability,x,y"));
    let vectors = ["--vectors", "out/vectors.npy", "--force"];
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
fn pairs_are_duplicates_and_translations() {
    let dir = tempfile::tempdir().unwrap();
    let terms = TERMS.replace("\"interest rate, fixed\"", "fixed interest rate");
    let terms = format!("{terms}14,Contract,en,law\n15,合同,zh,law\n");
    fs_err::write(dir.path().join("terms.csv"), terms).unwrap();
    let model = model();
    let model = model.to_str().unwrap();
    let settings = [
        "terms.csv",
        "--min-cluster-size",
        "3",
        "--json",
        "-o",
        "out",
    ];
    let embed = ["--pairs", "-1", "--pairs-per-term", "1", "--model", model];
    let output = run(dir.path(), &[&settings[..], &embed].concat());
    assert!(output.status.success(), "{}", said(&output));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = fs_err::read_to_string(dir.path().join("out/pairs.csv")).unwrap();
    let mut lines = table.lines();
    let header = "kind,cosine,left,right,left_language,right_language,left_row,right_row";
    assert_eq!(lines.next(), Some(header));
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let of = |kind: &str| rows.iter().filter(|row| row[0] == kind).count();
    let (duplicates, translations) = (of("duplicate"), of("translation"));
    assert_eq!(duplicates + translations, rows.len());
    assert_eq!(summary["pairs"]["duplicates"], duplicates);
    assert_eq!(summary["pairs"]["translations"], translations);
    assert!(
        rows.iter()
            .all(|row| (row[0] == "translation") == (row[4] != row[5]))
    );
    // Every term has a partner of its language and one of the other.
    assert!(duplicates >= 8 && translations >= 13, "{table}");
    let cosines: Vec<f64> = rows.iter().map(|row| row[1].parse().unwrap()).collect();
    assert!(cosines.is_sorted_by(|a, b| a >= b));

    // Without a column of languages, all pairs are duplicates.
    let again = [
        "--vectors",
        "out/vectors.npy",
        "--force",
        "--language-column",
        "none",
    ];
    let again = [&settings[..], &again, &["--pairs", "0.99999"]].concat();
    let output = run(dir.path(), &again);
    assert!(output.status.success(), "{}", said(&output));
    let table = fs_err::read_to_string(dir.path().join("out/pairs.csv")).unwrap();
    assert!(!table.contains("translation"), "{table}");
}
