//! OpenVINO's execution provider, a plugin, on the CPU: the vectors are the golden ones.
//!
//! It computes in float32 here: by default it takes bfloat16 where the CPU has AMX, and vectors differ more.

use std::path::Path;

use lexivec_models::{Precision, Target};
use lexivec_runtime::{
    Engine, EngineOptions, Error, Provider, ProviderOption, ProviderSettings, Request,
    SessionSettings,
};

use crate::golden::{Golden, check};
use crate::support::{converted, json, nano, options, project};

/// Another library's kernels and order of sums, in float32.
const TOLERANCE: f32 = 2e-5;

fn open(dir: &Path, options: &[(&str, &str)]) -> Result<Engine, Error> {
    let order = vec![Provider::OpenVino];
    let options = options
        .iter()
        .map(|(key, value)| ProviderOption::new(&order, key, value).unwrap())
        .collect();
    let options = EngineOptions {
        session: SessionSettings {
            providers: ProviderSettings {
                options,
                order,
                ..ProviderSettings::default()
            },
            threads: Some(2),
            ..SessionSettings::default()
        },
        ..EngineOptions::default()
    };
    Engine::open(dir, &options)
}

/// What a session with OpenVINO gives on an Intel CPU. Its library offers Intel's devices alone (microsoft/onnxruntime#31981), so on
/// other CPUs this checks that the error says so, and returns `None`.
fn on_intel<T>(opened: Result<T, Error>) -> Option<Result<T, Error>> {
    let cpu = fs_err::read_to_string("/proc/cpuinfo").unwrap();
    if cpu.contains("GenuineIntel") {
        return Some(opened);
    }
    let message = opened.err().unwrap().to_string();
    assert!(
        message.contains("It needs the provider's library"),
        "{message}"
    );
    assert!(message.contains("an Intel CPU"), "{message}");
    None
}

const FLOAT32: (&str, &str) = (
    "load_config",
    r#"{"CPU":{"INFERENCE_PRECISION_HINT":"f32"}}"#,
);

#[test]
fn a_standard_graph_gives_the_golden_vectors() {
    let standard = lexivec_convert::ConvertOptions {
        target: Target::Standard,
        ..options(Precision::Fp32)
    };
    let model = converted(&nano(), &standard);
    let Some(engine) = on_intel(open(&model.report.dir, &[FLOAT32])) else {
        return;
    };
    let engine = engine.unwrap();
    let golden: Golden = json("tests/golden/nano.json");
    check(&engine, &golden.cases, 0.999_99, Some(TOLERANCE));
}

#[test]
fn a_graph_of_another_exporter_runs() {
    let model = project("tests/fixtures/padded/states");
    let Some(engine) = on_intel(open(&model, &[FLOAT32])) else {
        return;
    };
    let engine = engine.unwrap();
    engine.embed(&[Request::text("cardiac arrest")]).unwrap();
}

#[test]
fn a_wrong_option_is_answered_with_openvinos_own_words() {
    let model = project("tests/fixtures/padded/states");
    let Some(opened) = on_intel(open(&model, &[("load_config", "zzz")])) else {
        return;
    };
    let message = opened.unwrap_err().to_string();
    assert!(message.contains("`openvino.load_config=zzz`"), "{message}");
    assert!(message.contains("JSON"), "{message}");
}

#[test]
fn a_graph_for_other_providers_is_rejected() {
    let model = converted(&nano(), &options(Precision::Fp32));
    let message = open(&model.report.dir, &[]).unwrap_err().to_string();
    assert!(
        message.contains("convert with the execution provider openvino"),
        "{message}"
    );
}
