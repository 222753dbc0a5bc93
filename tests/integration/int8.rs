//! INT8 with default options keeps its quality: on nano, and on checkpoints that compute the same but are hard to
//! quantise, where rounding to nearest fails.

use std::sync::LazyLock;

use lexivec_convert::{Calibration, ConvertOptions};
use lexivec_models::{LinearPrecision, Manifest, Precision};
use lexivec_runtime::vector::cosine;
use lexivec_runtime::{Library, Request};
use ort::session::Session;
use serde::Deserialize;

use crate::support::{Case, converted, engine, json, max_difference, nano, options};
use crate::surgery::Patient;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(|| json("tests/golden/nano.json"));

/// The vectors of all golden texts, bare.
fn vectors(dir: &std::path::Path) -> Vec<Vec<f32>> {
    let requests: Vec<Request<'_>> = GOLDEN
        .cases
        .iter()
        .map(|c| Request::text(c.text.as_str()))
        .collect();
    let found = engine(dir).embed(&requests).unwrap();
    found.into_iter().map(|e| e.vector).collect()
}

/// Least and mean cosine.
fn quality(expected: &[Vec<f32>], found: &[Vec<f32>]) -> (f64, f64) {
    let cosines: Vec<f64> = expected
        .iter()
        .zip(found)
        .map(|(e, f)| cosine(e, f))
        .collect();
    let least = cosines.iter().copied().fold(1.0, f64::min);
    (least, cosines.iter().sum::<f64>() / cosines.len() as f64)
}

static TRUTH: LazyLock<Vec<Vec<f32>>> =
    LazyLock::new(|| vectors(&converted(&nano(), &options(Precision::Fp32)).report.dir));

/// Checks that a checkpoint computes what nano computes, and what int8 makes of it.
fn hard_case(name: &str, patient: &Patient) {
    let dir = tempfile::tempdir().unwrap();
    patient.discharge(dir.path());
    let fp32 = vectors(&converted(dir.path(), &options(Precision::Fp32)).report.dir);
    for (expected, found) in TRUTH.iter().zip(&fp32) {
        let difference = max_difference(expected, found);
        assert!(
            difference <= 2e-5,
            "{name}: surgery changed a vector by {difference}"
        );
    }
    let plain = ConvertOptions {
        calibration: None,
        verify: false,
        ..options(Precision::Int8)
    };
    let plain = quality(&TRUTH, &vectors(&converted(dir.path(), &plain).report.dir));
    let model = converted(dir.path(), &options(Precision::Int8));
    let kept = quality(&TRUTH, &vectors(&model.report.dir));
    let plan = model.report.quantization.unwrap();
    let count = |p| plan.products.iter().filter(|x| x.precision == p).count();
    println!(
        "{name}: rounded to nearest min {:.5} mean {:.5}; calibrated min {:.5} mean {:.5}, {} int8x2, {} fp32",
        plain.0,
        plain.1,
        kept.0,
        kept.1,
        count(LinearPrecision::Int8x2),
        count(LinearPrecision::Fp32)
    );
    assert!(
        kept.1 >= 0.999 && kept.0 >= 0.995,
        "{name}: min {} mean {}",
        kept.0,
        kept.1
    );
    assert!(
        plain.0 < 0.995 || plain.1 < 0.999,
        "{name} is not hard: {plain:?}"
    );
    assert!(kept.0 > plain.0);
}

#[test]
fn nano_keeps_its_vectors() {
    let model = converted(&nano(), &options(Precision::Int8));
    let (least, mean) = quality(&TRUTH, &vectors(&model.report.dir));
    println!("nano: min {least:.5} mean {mean:.5}");
    assert!(mean >= 0.999 && least >= 0.995, "min {least} mean {mean}");
    fuses(&model.report.dir);
}

#[test]
fn channel_outliers_are_smoothed_away() {
    hard_case("channel outliers", &Patient::admit().channel_outliers());
}

#[test]
fn large_up_and_small_down_are_balanced() {
    hard_case(
        "large up, small down",
        &Patient::admit().large_up_small_down(),
    );
}

#[test]
fn heavy_tails_are_evened_out() {
    hard_case("heavy tails", &Patient::admit().heavy_tails());
}

#[test]
fn massive_tokens_do_not_drown_the_rest() {
    hard_case("massive tokens", &Patient::admit().massive_tokens());
}

#[test]
fn a_calibration_is_reproducible_and_kept() {
    let cache = tempfile::tempdir().unwrap();
    let kept = ConvertOptions {
        calibration: Some(Calibration {
            cache: Some(cache.path().to_path_buf()),
            ..Calibration::default()
        }),
        ..options(Precision::Int8)
    };
    let digest = |options: &ConvertOptions| {
        let model = converted(&nano(), options);
        Manifest::read(&model.report.dir).unwrap().digest()
    };
    let first = digest(&kept);
    // From the cache, and from the beginning.
    assert_eq!(digest(&kept), first);
    assert_eq!(digest(&options(Precision::Int8)), first);
    assert_eq!(fs_err::read_dir(cache.path()).unwrap().count(), 1);
}

/// How many nodes of an operator a graph file has: the field of its type is the only one with this tag and text.
fn count_of(graph: &[u8], operator: &str) -> usize {
    let field = [
        &[0x22, u8::try_from(operator.len()).unwrap()],
        operator.as_bytes(),
    ]
    .concat();
    graph.windows(field.len()).filter(|w| *w == field).count()
}

/// Checks that ONNX Runtime computes every product of a model's plan with integers.
fn fuses(dir: &std::path::Path) {
    let library = Library::load(None, false).unwrap();
    let optimized = tempfile::tempdir().unwrap().keep().join("optimized.onnx");
    let session = Session::builder(library.environment())
        .unwrap()
        .with_optimized_model_path(&optimized)
        .unwrap()
        .commit_from_file(dir.join("model.onnx"))
        .unwrap();
    drop(session);
    let graph = fs_err::read(&optimized).unwrap();
    fs_err::remove_dir_all(optimized.parent().unwrap()).unwrap();
    let plan = Manifest::read(dir).unwrap().quantization.unwrap();
    let integer: usize = plan
        .products
        .iter()
        .map(|p| match p.precision {
            LinearPrecision::Int8 => 1,
            LinearPrecision::Int8x2 => 2,
            LinearPrecision::Fp32 => 0,
        })
        .sum();
    assert_eq!(count_of(&graph, "MatMulIntegerToFloat"), integer);
    assert_eq!(count_of(&graph, "MatMul"), 0);
}

#[test]
fn a_higher_cosine_is_kept_by_finer_products() {
    let asked = ConvertOptions {
        calibration: Some(Calibration {
            min_cosine: 0.9999,
            ..Calibration::default()
        }),
        ..options(Precision::Int8)
    };
    let model = converted(&nano(), &asked);
    let plan = Manifest::read(&model.report.dir)
        .unwrap()
        .quantization
        .unwrap();
    assert!(plan.min_cosine >= 0.9999, "{plan:?}");
    assert!(
        plan.products
            .iter()
            .any(|p| p.precision != LinearPrecision::Int8)
    );
    let (least, _) = quality(&TRUTH, &vectors(&model.report.dir));
    assert!(least > 0.9995, "{least}");
    fuses(&model.report.dir);
}
