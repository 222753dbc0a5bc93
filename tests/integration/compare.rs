//! Runs `lexivec compare` on model directories, a checkpoint and a server, and checks its reports and exit codes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use lexivec_models::{Manifest, Precision};
use lexivec_runtime::Request;
use lexivec_runtime::vector::cosine;
use serde_json::Value;
use tempfile::TempDir;

use crate::program::lexivec;
use crate::support::{converted, engine, nano, options, project};

mod server;
mod usage;

/// Texts in several scripts, one of which occurs twice.
const TEXTS: [&str; 18] = [
    "cardiac arrest",
    "心脏骤停",
    "инфаркт миокарда",
    "السكتة القلبية",
    "हृदय गति रुकना",
    "심정지",
    "breach of contract",
    "合同违约责任",
    "нарушение договора",
    "interest rate",
    "taux d'intérêt",
    "利率",
    "machine learning",
    "機械学習",
    "fn main() { println!(\"{}\", 1 + 1); }",
    "import",
    "The court held that the contract was void.",
    "cardiac arrest",
];

/// A folder with texts, pairs, a retrieval set, and nano in some precisions.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new(precisions: &[Precision]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, content: String| {
            let path = dir.path().join(name);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, content).unwrap();
        };
        write("texts.txt", TEXTS.join("\n"));
        let pairs = [
            (0, 1, 5),
            (0, 6, 1),
            (6, 7, 4),
            (9, 11, 5),
            (9, 12, 0),
            (12, 13, 5),
        ];
        let rows =
            pairs.map(|(a, b, score)| format!("\"{}\",\"{}\",{score}\n", TEXTS[a], TEXTS[b]));
        write(
            "pairs.csv",
            format!("text_a,text_b,score\n{}", rows.concat()),
        );
        let line =
            |id: String, text: &str| format!("{}\n", serde_json::json!({"_id": id, "text": text}));
        let documents = TEXTS
            .iter()
            .enumerate()
            .map(|(i, t)| line(format!("d{i}"), t));
        write("beir/corpus.jsonl", documents.collect());
        let queries = ["heart stops", "contract broken", "price of money"];
        let queries = queries
            .iter()
            .enumerate()
            .map(|(i, t)| line(format!("q{i}"), t));
        write("beir/queries.jsonl", queries.collect());
        let judgements = "query-id\tcorpus-id\tscore\nq0\td0\t2\nq0\td1\t1\nq1\td6\t2\nq1\td7\t1\nq2\td9\t2\nq2\td11\t1\n";
        write("beir/qrels/test.tsv", judgements.to_owned());
        for precision in precisions {
            let converted = converted(&nano(), &options(*precision));
            fs_err::rename(&converted.report.dir, dir.path().join(precision.as_str())).unwrap();
        }
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Runs `lexivec compare` with few resamples.
    fn compare(&self, arguments: &[&str]) -> Output {
        lexivec()
            .current_dir(self.dir.path())
            .args(["compare", "--threads", "1", "--resamples", "50"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn report(&self, arguments: &[&str]) -> Value {
        let output = self.compare(&[arguments, &["--json", "report.json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        self.json("report.json")
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_slice(&fs_err::read(self.path(name)).unwrap()).unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Every similarity of two systems in a report, by its place.
fn similarities(candidate: &Value) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut add = |place: String, value: &Value| {
        if let Some(value) = value.as_f64() {
            found.insert(place, value);
        }
    };
    for quality in candidate["quality"].as_array().unwrap() {
        let groups = quality["groups"].as_array().unwrap();
        for measures in groups.iter().chain([&quality["all"]]) {
            let place = format!("{} {}", quality["dimensions"], measures["name"]);
            for key in ["min", "p1", "mean"] {
                add(format!("{place} {key}"), &measures["cosine"][key]);
            }
            for k in 0..3 {
                add(format!("{place} overlap {k}"), &measures["overlap"][k]);
            }
            add(
                format!("{place} spearman"),
                &measures["similarity_spearman"],
            );
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    let status = Command::new("cp")
        .arg("-r")
        .args([from, to])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_copy_of_a_model_is_identical_in_every_figure() {
    let scene = Scene::new(&[Precision::Int8]);
    copy(&scene.path("int8"), &scene.path("copy"));
    let report = scene.report(&[
        "int8",
        "copy",
        "--texts",
        "texts.txt",
        "--pairs",
        "pairs.csv",
        "--retrieval",
        "beir",
        "--speed-seconds",
        "0",
        "--min-cosine",
        "1",
        "--min-mean-cosine",
        "1",
        "--min-overlap",
        "1",
        "--max-ndcg-drop",
        "0",
    ]);
    let candidate = &report["candidates"][0];
    let found = similarities(candidate);
    assert!(found.len() > 40, "{found:?}");
    let others: Vec<_> = found.iter().filter(|(_, value)| **value != 1.0).collect();
    assert!(others.is_empty(), "{others:?}");
    let widths: Vec<_> = candidate["quality"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| q["dimensions"].clone())
        .collect();
    assert_eq!(widths, [256, 128, 64, 32]);
    let layers = candidate["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 6);
    assert!(
        layers.iter().all(|l| l["key"] == 0.0 && l["value"] == 0.0),
        "{layers:?}"
    );
    assert_eq!(candidate["retrieval"], report["baseline"]["retrieval"]);
    assert_eq!(candidate["pairs"], report["baseline"]["pairs"]);
    assert_eq!(candidate["ndcg_change"]["mean"], 0.0);
    assert_eq!(
        (&report["data"]["texts"], &report["data"]["duplicates"]),
        (&17.into(), &1.into())
    );
}

/// The quality that int8 must keep with default options, on the built-in texts, which calibration does not use.
#[test]
fn int8_keeps_nanos_vectors_and_neighbours() {
    let scene = Scene::new(&[Precision::Int8]);
    let checkpoint = nano();
    scene.report(&[
        checkpoint.to_str().unwrap(),
        "int8",
        "--speed-seconds",
        "0",
        "--min-cosine",
        "0.995",
        "--min-mean-cosine",
        "0.999",
        "--min-overlap",
        "0.97",
    ]);
}

#[test]
fn precisions_are_compared_with_the_checkpoint_and_a_gate_names_the_worst_text() {
    let scene = Scene::new(&[Precision::Fp16, Precision::Int8]);
    let checkpoint = nano();
    let output = scene.compare(&[
        checkpoint.to_str().unwrap(),
        "fp16",
        "int8",
        "--texts",
        "texts.txt",
        "--pairs",
        "pairs.csv",
        "--retrieval",
        "beir",
        "--domain",
        "general",
        "--speed-seconds",
        "0.1",
        "--min-cosine",
        "0.9999",
        "--json",
        "r.json",
        "--markdown",
        "r.md",
        "--html",
        "r.html",
    ]);
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    let report = scene.json("r.json");
    let [fp16, int8] = [&report["candidates"][0], &report["candidates"][1]];

    // The engine's own vectors, text by text.
    let truth = converted(&checkpoint, &options(Precision::Fp32));
    let quantised = scene.path("int8");
    let engines = [engine(&truth.report.dir), engine(&quantised)];
    let cosines = TEXTS.map(|text| {
        let [a, b] = engines
            .each_ref()
            .map(|e| e.embed(&[Request::text(text)]).unwrap().remove(0).vector);
        cosine(&a, &b)
    });
    let worst = (0..TEXTS.len())
        .min_by(|a, b| cosines[*a].total_cmp(&cosines[*b]))
        .unwrap();
    let named = &int8["worst"][0];
    assert_eq!(named["text"], TEXTS[worst]);
    assert!((named["cosine"].as_f64().unwrap() - cosines[worst]).abs() < 1e-6);
    assert_eq!(named["place"], format!("texts.txt:{}", worst + 1));
    assert!(
        errors.contains("error: --min-cosine: gate failed: int8: minimum cosine 0.9999: 0."),
        "{errors}"
    );
    assert!(
        errors.contains(&format!("on {:?} (texts.txt:{})", TEXTS[worst], worst + 1)),
        "{errors}"
    );
    assert!(!errors.contains("gate failed: fp16"));
    let order: Vec<f64> = int8["worst"]
        .as_array()
        .unwrap()
        .iter()
        .map(|w| w["cosine"].as_f64().unwrap())
        .collect();
    assert!(order.is_sorted() && order.len() == 17);

    let full = |candidate: &Value, key: &str| {
        candidate["quality"][0]["all"]["cosine"][key]
            .as_f64()
            .unwrap()
    };
    assert_eq!(full(int8, "min"), order[0]);
    assert!(
        full(fp16, "min") > 0.9999
            && full(int8, "mean") < full(fp16, "mean")
            && full(int8, "min") > 0.99
    );
    let layers = |candidate: &Value| candidate["layers"][5]["value"].as_f64().unwrap();
    assert!(layers(fp16) > 0.0 && layers(fp16) < layers(int8) && layers(int8) < 0.1);

    // Facts are read from the manifest and the files.
    let facts = &int8["facts"];
    assert_eq!(
        (&facts["precision"], &facts["width"]),
        (&"int8".into(), &256.into())
    );
    let bytes: u64 = Manifest::read(&quantised)
        .unwrap()
        .files
        .values()
        .map(|f| f.size)
        .sum();
    assert_eq!(facts["bytes"], bytes);
    assert_eq!(report["baseline"]["facts"]["precision"], "fp32");
    for system in [&report["baseline"], fp16, int8] {
        let footprint = &system["facts"]["footprint"];
        assert!(
            footprint["loaded_bytes"].as_u64().unwrap() > 1 << 20,
            "{footprint}"
        );
        assert!(footprint["peak_bytes"].as_u64() >= footprint["loaded_bytes"].as_u64());
        assert!(footprint["load_seconds"].as_f64().unwrap() > 0.0);
    }
    assert!(
        int8["speed"]["candidate"]["tokens_per_second"]
            .as_f64()
            .unwrap()
            > 0.0
    );
    assert!(int8["speed"]["rounds"].as_u64().unwrap() >= 3);
    assert_eq!(
        report["data"]["retrieval"]["instruction"],
        "Represent this text:"
    );

    let markdown = fs_err::read_to_string(scene.path("r.md")).unwrap();
    for heading in [
        "Size and speed",
        "By output dimension",
        "By script",
        "Error by layer",
        "Worst texts",
        "Retrieval",
        "Gates",
    ] {
        assert!(markdown.contains(&format!("\n## {heading}")), "{heading}");
    }
    let html = fs_err::read_to_string(scene.path("r.html")).unwrap();
    let (_, data) = html.split_once("id=\"report\">").unwrap();
    let (data, _) = data.split_once("</script>").unwrap();
    assert_eq!(serde_json::from_str::<Value>(data).unwrap(), report);
    // The namespace of SVG is a name, not an address from which anything is loaded.
    let addresses =
        html.matches("http").count() - html.matches("http://www.w3.org/2000/svg").count();
    assert_eq!(addresses, html.matches("http-equiv").count());
}

/// `make precision-report` names every precision that a CPU runs.
#[test]
fn the_precision_report_has_every_precision() {
    let makefile = fs_err::read_to_string(project("Makefile")).unwrap();
    let line = makefile
        .lines()
        .find_map(|l| l.strip_prefix("PRECISIONS ?= "))
        .unwrap();
    let named: Vec<&str> = line.split_whitespace().collect();
    let here = |p: &&Precision| {
        let form = lexivec_models::GraphForm {
            precision: **p,
            compute: Some(lexivec_models::Compute::Fp32),
            target: lexivec_models::Target::Ort,
            attention: lexivec_models::AttentionForm::default(),
        };
        let reason = lexivec_runtime::unsupported(lexivec_runtime::Provider::Cpu, form);
        reason.is_none()
    };
    let all: Vec<&str> = Precision::ALL
        .iter()
        .filter(here)
        .map(|p| p.as_str())
        .collect();
    assert_eq!(named, all);
}
