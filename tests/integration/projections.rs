//! Projections that `lexivec terms` wrote, applied by `lexivec embed` and over HTTP.

use std::path::Path;
use std::process::Output;

use safetensors::SafeTensors;
use serde_json::{Value, json};

use crate::program::{lexivec, text};
use crate::server::program::{Program, model, serve};

const TERMS: [&str; 8] = [
    "heart attack",
    "cardiac arrest",
    "myocardial infarction",
    "contract",
    "breach of contract",
    "interest rate",
    "bank interest rate",
    "利率",
];

fn run(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = lexivec();
    command.current_dir(dir).args(arguments);
    command.output().unwrap()
}

fn succeed(dir: &Path, arguments: &[&str]) {
    let output = run(dir, arguments);
    assert!(output.status.success(), "{}", text(&output.stderr));
}

/// The rows of an .npy file of `lexivec embed`.
fn rows(path: &Path) -> Vec<Vec<f32>> {
    let bytes = fs_err::read(path).unwrap();
    let numbers: Vec<f32> = bytes[128..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    let width = numbers.len() / TERMS.len();
    numbers.chunks(width).map(<[f32]>::to_vec).collect()
}

/// The numbers of a tensor.
fn tensor(path: &Path, name: &str) -> Vec<f64> {
    let bytes = fs_err::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = file.tensor(name).unwrap();
    let numbers = data.data().chunks_exact(4);
    numbers
        .map(|bytes| f64::from(f32::from_le_bytes(bytes.try_into().unwrap())))
        .collect()
}

/// (row - mean) · components, as scikit-learn's transform, divided by its length if `unit`.
fn transform(row: &[f32], file: &Path, unit: bool) -> Vec<f64> {
    let (mean, components) = (tensor(file, "mean"), tensor(file, "components"));
    let centred: Vec<f64> = row
        .iter()
        .zip(&mean)
        .map(|(x, m)| f64::from(*x) - m)
        .collect();
    let components = components.chunks(mean.len());
    let product = |c: &[f64]| c.iter().zip(&centred).map(|(a, b)| a * b).sum::<f64>();
    let projected: Vec<f64> = components.map(product).collect();
    let length = projected.iter().map(|x| x * x).sum::<f64>().sqrt();
    let divisor = if unit { length } else { 1.0 };
    projected.into_iter().map(|x| x / divisor).collect()
}

fn assert_near(found: &[f32], expected: &[f64]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (f64::from(*found) - expected).abs() < 1e-5,
            "{found} {expected}"
        );
    }
}

/// A folder with vectors.npy and projection.safetensors of the terms, analysed at 64 dimensions.
fn analysed() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("terms.txt"), TERMS.join("\n") + "\n").unwrap();
    let model = model();
    let model = model.to_str().unwrap();
    let analysis = ["--min-cluster-size", "2", "--pca", "4", "-d", "64"];
    let command = ["terms", "terms.txt", "-o", "map", "--model", model];
    succeed(dir.path(), &[&command[..], &analysis].concat());
    dir
}

const FILE: &str = "map/projection.safetensors";

/// Writes the same projection as one of another model.
fn of_another_model(dir: &Path) -> &'static str {
    let mut bytes = fs_err::read(dir.join(FILE)).unwrap();
    let key = b"\"model\":\"";
    let start = bytes.windows(key.len()).position(|w| w == key).unwrap() + key.len();
    let last = if bytes[start] == b'0' { b'1' } else { b'0' };
    bytes[start] = last;
    fs_err::write(dir.join("other.safetensors"), bytes).unwrap();
    "other.safetensors"
}

#[test]
fn embed_projects_vectors_as_scikit_learn_does() {
    let dir = analysed();
    let model = model();
    let model = model.to_str().unwrap();
    let embed = ["embed", model, "terms.txt", "-o", "out.npy", "--projection"];
    succeed(dir.path(), &[&embed[..], &[FILE]].concat());
    let found = rows(&dir.path().join("out.npy"));
    let vectors = rows(&dir.path().join("map/vectors.npy"));
    for (found, vector) in found.iter().zip(&vectors) {
        assert_near(found, &transform(vector, &dir.path().join(FILE), true));
    }
    let other = of_another_model(dir.path());
    fs_err::write(dir.path().join("none.safetensors"), "no projection").unwrap();
    for (arguments, code, reason) in [
        (
            &[other][..],
            1,
            "other.safetensors: the projection was computed from vectors of the model",
        ),
        (
            &["none.safetensors"],
            1,
            "none.safetensors: the file is not a complete .safetensors file",
        ),
        (&["missing.safetensors"], 1, "missing.safetensors"),
        (&[FILE, "-d", "32"], 2, "--dimensions"),
    ] {
        let output = run(dir.path(), &[&embed[..], arguments].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}

#[test]
fn requests_choose_projections_by_name() {
    let dir = analysed();
    let file = dir.path().join(FILE);
    let named = format!("map={}", file.display());
    // From the configuration file, as other lists.
    let config = dir.path().join("config.toml");
    fs_err::write(&config, format!("[serve]\nprojection = [{named:?}]\n")).unwrap();
    let program = Program::start(&["--config", config.to_str().unwrap()]);
    let mut client = program.connect();
    let mut embed = |fields: Value| {
        let mut body = json!({"model": "fake", "input": TERMS});
        body.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        client.post("/v1/embeddings", &body)
    };
    let vectors = rows(&dir.path().join("map/vectors.npy"));
    let plain = embed(json!({"dimensions": 64})).vectors();
    // The second response comes from the cache, and so do the vectors without a projection after it.
    for fields in [
        json!({"projection": "map"}),
        json!({"projection": "map", "encoding_format": "base64"}),
        json!({"projection": "map", "dimensions": 4}),
    ] {
        let response = embed(fields);
        assert_eq!(response.status, 200, "{}", response.json());
        let base64 = response.json()["data"][0]["embedding"].is_string();
        if !base64 {
            for (found, vector) in response.vectors().iter().zip(&vectors) {
                assert_near(found, &transform(vector, &file, true));
            }
        }
    }
    let response = embed(json!({"projection": "map", "normalize": false}));
    for (found, vector) in response.vectors().iter().zip(&vectors) {
        assert_near(found, &transform(vector, &file, false));
    }
    assert_eq!(embed(json!({"dimensions": 64})).vectors(), plain);
    assert_eq!(
        embed(json!({"projection": null, "dimensions": 64})).vectors(),
        plain
    );
    for (fields, param, reason) in [
        (
            json!({"projection": "other"}),
            "projection",
            "no projection `other`; this server has map",
        ),
        (
            json!({"projection": "map", "dimensions": 64}),
            "dimensions",
            "the projection `map` returns 4 dimensions",
        ),
    ] {
        let response = embed(fields);
        assert_eq!(response.outcome(), (400, "invalid_value".to_owned()));
        let error = &response.json()["error"];
        assert_eq!(error["param"], param);
        assert!(
            error["message"].as_str().unwrap().contains(reason),
            "{error}"
        );
    }
}

#[test]
fn a_projection_that_fits_no_model_is_an_error_at_the_start() {
    let dir = analysed();
    let other = dir.path().join(of_another_model(dir.path()));
    let other = format!("map={}", other.display());
    let file = format!("map={}", dir.path().join(FILE).display());
    for (arguments, code, reason) in [
        (
            &["--projection", &other][..],
            1,
            "the projection `map` fits no served model",
        ),
        (
            &["--projection", &file, "--projection", &file],
            1,
            "two projections are named `map`",
        ),
        (&["--projection", "map"], 2, "not of the form NAME=FILE"),
        (&["--projection", "map=missing"], 1, "missing"),
    ] {
        let output = serve(arguments).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(reason), "{said}");
    }
}
