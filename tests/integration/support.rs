//! Paths, fixtures converted once per test process, comparisons.

use std::path::{Path, PathBuf};

use lexivec_convert::{
    AccuracyTarget, Calibration, ConversionReport, ConvertOptions, Silent, convert,
};
use lexivec_models::{Checkpoint, Precision};
use lexivec_runtime::{Engine, EngineOptions, Provider, SessionSettings};
use serde::Deserialize;
use tempfile::TempDir;

/// A path below the project's root.
pub(crate) fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The demonstration checkpoint.
pub(crate) fn nano() -> PathBuf {
    project("models/nano")
}

/// What the fixtures are converted with, unless a test says otherwise.
pub(crate) fn options(precision: Precision) -> ConvertOptions {
    ConvertOptions::for_provider(Provider::Cpu, Some(precision))
}

/// The same, calibrated for an accuracy target.
pub(crate) fn options_for(precision: Precision, accuracy_target: AccuracyTarget) -> ConvertOptions {
    ConvertOptions {
        calibration: Some(Calibration {
            accuracy_target: Some(accuracy_target),
            ..Calibration::default()
        }),
        ..options(precision)
    }
}

/// A converted checkpoint in a folder that goes when this is dropped.
pub(crate) struct Converted {
    pub(crate) report: ConversionReport,
    _parent: TempDir,
}

/// Converts a checkpoint folder.
pub(crate) fn converted(checkpoint: &Path, options: &ConvertOptions) -> Converted {
    let parent = tempfile::tempdir().unwrap();
    let checkpoint = Checkpoint::open(checkpoint).unwrap();
    let report = convert(&checkpoint, &parent.path().join("model"), options, &Silent).unwrap();
    Converted {
        report,
        _parent: parent,
    }
}

/// Opens a model on the CPU with two threads.
pub(crate) fn engine(dir: &Path) -> Engine {
    let options = EngineOptions {
        session: SessionSettings {
            threads: Some(2),
            ..SessionSettings::default()
        },
        ..EngineOptions::default()
    };
    Engine::open(dir, &options).unwrap()
}

/// A golden text of either golden file.
#[derive(Debug, Deserialize)]
pub(crate) struct Case {
    pub(crate) text: String,
    #[serde(default)]
    pub(crate) instruction: Option<String>,
    pub(crate) token_ids: Vec<u32>,
    pub(crate) embedding: Vec<f32>,
}

/// Reads a JSON file of the project.
pub(crate) fn json<T: for<'a> Deserialize<'a>>(path: &str) -> T {
    let text = fs_err::read_to_string(project(path)).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The largest difference of two vectors' components.
pub(crate) fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).fold(0f32, |m, (x, y)| m.max((x - y).abs()))
}
