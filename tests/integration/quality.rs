//! How close quantised models are to float32, on nano and on checkpoints that compute the same function but are hard to
//! quantise.

use std::path::Path;
use std::sync::LazyLock;

use lexivec_convert::ConvertOptions;
use lexivec_models::Precision;
use lexivec_runtime::Request;
use lexivec_runtime::vector::cosine;
use lexivec_tests::surgery::Surgery;
use serde::Deserialize;
use tempfile::TempDir;

use crate::support::{Case, converted, engine, json, max_difference, nano, options};

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

static GOLDEN: LazyLock<Golden> = LazyLock::new(|| json("tests/golden/nano.json"));

/// nano's vectors in float32.
static TRUTH: LazyLock<Vec<Vec<f32>>> =
    LazyLock::new(|| vectors(&converted(&nano(), &options(Precision::Fp32)).report.dir));

/// The vectors of all golden texts without instructions.
fn vectors(dir: &Path) -> Vec<Vec<f32>> {
    let requests: Vec<Request<'_>> = GOLDEN
        .cases
        .iter()
        .map(|c| Request::text(c.text.as_str()))
        .collect();
    let found = engine(dir).embed(&requests).unwrap();
    found.into_iter().map(|e| e.vector).collect()
}

/// Cosines to nano's vectors.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Quality {
    pub(crate) min: f64,
    pub(crate) mean: f64,
}

impl Quality {
    pub(crate) fn of(dir: &Path) -> Self {
        let found = vectors(dir);
        let cosines = TRUTH.iter().zip(&found).map(|(e, f)| cosine(e, f));
        let cosines: Vec<f64> = cosines.collect();
        Self {
            min: cosines.iter().copied().fold(1.0, f64::min),
            mean: cosines.iter().sum::<f64>() / cosines.len() as f64,
        }
    }

    pub(crate) fn reaches(self, required: Self) -> bool {
        self.min >= required.min && self.mean >= required.mean
    }
}

/// Writes a checkpoint, and checks that its vectors equal nano's up to rounding.
pub(crate) fn written(name: &str, surgery: &Surgery, tolerance: f32) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    surgery.write(dir.path());
    let fp32 = vectors(&converted(dir.path(), &options(Precision::Fp32)).report.dir);
    for (expected, found) in TRUTH.iter().zip(&fp32) {
        let difference = max_difference(expected, found);
        assert!(
            difference <= tolerance,
            "{name}: surgery changed a vector by {difference}"
        );
    }
    dir
}

/// Checks that calibration reaches the required quality. Returns the quality of rounding to nearest, which may miss it.
pub(crate) fn hard_case(
    name: &str,
    surgery: &Surgery,
    precision: Precision,
    required: Quality,
) -> Quality {
    let dir = written(name, surgery, 2e-5);
    let plain = ConvertOptions {
        calibration: None,
        verify: false,
        ..options(precision)
    };
    let plain = Quality::of(&converted(dir.path(), &plain).report.dir);
    let model = converted(dir.path(), &options(precision));
    let kept = Quality::of(&model.report.dir);
    let plan = model.report.quantization.unwrap();
    let mut formats: Vec<String> = plan
        .linear_groups
        .iter()
        .map(|p| p.precision.to_string())
        .collect();
    formats.sort();
    let counts: Vec<String> = formats
        .chunk_by(|a, b| a == b)
        .map(|c| format!("{} {}", c.len(), c[0]))
        .collect();
    println!(
        "{name}, {precision}: rounded to nearest min {:.5} mean {:.5}; calibrated min {:.5} mean {:.5}; {}",
        plain.min,
        plain.mean,
        kept.min,
        kept.mean,
        counts.join(", ")
    );
    assert!(kept.reaches(required), "{name}: {kept:?}");
    plain
}
