//! Sessions have to give the vector that the conversion recorded.

use lexivec_convert::ConvertOptions;
use lexivec_models::{Manifest, Precision, Verification};
use lexivec_runtime::{Engine, EngineOptions, Error};

use crate::support::{converted, options, project};

#[test]
fn every_precision_answers_what_was_recorded_and_a_wrong_answer_does_not_serve() {
    let checkpoint = project("tests/fixtures/tiny/qwen3");
    for precision in [
        Precision::Fp32,
        Precision::Fp16,
        Precision::Int8,
        Precision::Int8Weight,
    ] {
        let model = converted(&checkpoint, &options(precision));
        let dir = &model.report.dir;
        let mut manifest = Manifest::read(dir).unwrap();
        let passed = matches!(manifest.verification, Verification::Passed { .. });
        assert!(passed, "{:?}", manifest.verification);
        let known = manifest.known_answer.clone().unwrap();
        assert!(Engine::open(dir, &EngineOptions::default()).is_ok());

        let mut turned = known;
        turned.vector.rotate_left(1);
        manifest.known_answer = Some(turned);
        manifest.write(dir).unwrap();
        let error = Engine::open(dir, &EngineOptions::default()).unwrap_err();
        assert!(matches!(error, Error::WrongAnswer { .. }), "{error}");
    }
}

#[test]
fn what_was_not_verified_has_no_known_answer() {
    let options = ConvertOptions {
        verify: false,
        ..options(Precision::Fp32)
    };
    let model = converted(&project("tests/fixtures/tiny/qwen3"), &options);
    let manifest = Manifest::read(&model.report.dir).unwrap();
    assert_eq!(manifest.known_answer, None);
    assert!(Engine::open(&model.report.dir, &EngineOptions::default()).is_ok());
}
