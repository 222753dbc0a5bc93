//! Vectors against sentence-transformers (nano) and transformers (tiny random checkpoints of each family).

use std::collections::BTreeMap;

use lexivec_convert::Calibration;
use lexivec_models::{Blocks, Compute, Layout, Precision, Target};
use lexivec_runtime::vector::cosine;
use lexivec_runtime::{Engine, Prompt, Request};
use lexivec_tests::surgery::Surgery;
use serde::Deserialize;

use crate::support::{Case, converted, engine, json, max_difference, nano, options, project};

#[derive(Debug, Deserialize)]
pub(crate) struct Golden {
    pub(crate) cases: Vec<Case>,
    matryoshka: Vec<Matryoshka>,
}

#[derive(Debug, Deserialize)]
struct Matryoshka {
    text: String,
    dimension: usize,
    embedding: Vec<f32>,
}

fn request(case: &Case) -> Request<'_> {
    Request {
        prompt: case
            .instruction
            .clone()
            .map_or(Prompt::None, Prompt::Instruction),
        ..Request::text(case.text.as_str())
    }
}

/// Embeds all cases together and each alone; checks cosine and, where given, the largest difference.
pub(crate) fn check(
    engine: &Engine,
    cases: &[Case],
    least_cosine: f64,
    most_difference: Option<f32>,
) {
    let requests: Vec<Request<'_>> = cases.iter().map(request).collect();
    let together = engine.embed(&requests).unwrap();
    for (case, found) in cases.iter().zip(together) {
        let similarity = cosine(&case.embedding, &found.vector);
        assert!(
            similarity >= least_cosine,
            "{:?}: cosine {similarity}",
            case.text
        );
        if let Some(most) = most_difference {
            let difference = max_difference(&case.embedding, &found.vector);
            assert!(
                difference <= most,
                "{:?}: differs by {difference}",
                case.text
            );
        }
        assert_eq!(found.tokens, case.token_ids.len(), "{:?}", case.text);
    }
}

#[test]
fn token_ids_are_those_of_sentence_transformers() {
    let golden: Golden = json("tests/golden/nano.json");
    let path = nano().join("tokenizer.json");
    let tokenizer = lexivec_runtime::Tokenizer::open(&path, 16_384, 4096).unwrap();
    for case in &golden.cases {
        let encoding = tokenizer.encode(&request(case)).unwrap();
        assert_eq!(encoding.ids, case.token_ids, "{:?}", case.text);
    }
}

#[test]
fn nano_equals_sentence_transformers_at_every_precision_target_and_layout() {
    let golden: Golden = json("tests/golden/nano.json");
    // One calibration does for all targets and layouts.
    let calibrations = tempfile::tempdir().unwrap();
    let exact = (0.999_99, Some(2e-5));
    for (precision, target, (least, most)) in [
        (Precision::Fp32, Target::Cpu, exact),
        (Precision::Fp32, Target::Ort, exact),
        (Precision::Fp32, Target::Cuda, exact),
        (Precision::Fp32, Target::Standard, exact),
        // Attention in float16.
        (Precision::Fp32, Target::TensorRt, (0.999_9, None)),
        (Precision::Fp16, Target::Cpu, (0.999, None)),
        (Precision::Fp16, Target::Ort, (0.999, None)),
        (Precision::Fp16, Target::Cuda, (0.999, None)),
        (Precision::Fp16, Target::Standard, (0.999, None)),
        (Precision::Fp8, Target::Ort, (0.99, None)),
        (Precision::Int8, Target::Cpu, (0.99, None)),
        (Precision::Int8, Target::Ort, (0.99, None)),
        (Precision::Int8, Target::Standard, (0.99, None)),
        (Precision::Int8, Target::TensorRt, (0.99, None)),
        (Precision::Int8Weight, Target::Cuda, (0.99, None)),
    ] {
        for &layout in Layout::ALL {
            if matches!(target, Target::Cpu | Target::Cuda) && layout == Layout::Padded {
                continue;
            }
            let options = lexivec_convert::ConvertOptions {
                target,
                layout,
                blocks: Blocks {
                    compute: match target {
                        Target::Cuda => Compute::Fp16,
                        _ => Compute::Fp32,
                    },
                    ..Blocks::default()
                },
                calibration: Some(Calibration {
                    cache: Some(calibrations.path().to_path_buf()),
                    ..Calibration::default()
                }),
                ..options(precision)
            };
            let model = converted(&nano(), &options);
            check(&engine(&model.report.dir), &golden.cases, least, most);
        }
    }
}

#[test]
fn linear_layers_larger_than_what_is_written_at_a_time_are_written_whole() {
    let golden: Golden = json("tests/golden/nano.json");
    let checkpoint = tempfile::tempdir().unwrap();
    Surgery::on(&nano())
        .repeated_neurons()
        .write(checkpoint.path());
    for (precision, least) in [
        (Precision::Fp32, 0.999_99),
        (Precision::Fp16, 0.999),
        (Precision::Fp8, 0.99),
        (Precision::Int8, 0.99),
        (Precision::Int8Weight, 0.99),
        (Precision::Int4Weight, 0.9),
    ] {
        let options = lexivec_convert::ConvertOptions {
            calibration: None,
            ..options(precision)
        };
        let model = converted(checkpoint.path(), &options);
        check(&engine(&model.report.dir), &golden.cases, least, None);
    }
}

#[test]
fn cut_vectors_equal_sentence_transformers() {
    let golden: Golden = json("tests/golden/nano.json");
    let model = converted(&nano(), &options(Precision::Fp32));
    let engine = engine(&model.report.dir);
    for case in &golden.matryoshka {
        let request = Request {
            dimensions: Some(case.dimension),
            ..Request::text(case.text.as_str())
        };
        let found = engine.embed(&[request]).unwrap().remove(0).vector;
        let difference = max_difference(&case.embedding, &found);
        assert!(
            difference <= 2e-5,
            "{:?} at {}: {difference}",
            case.text,
            case.dimension
        );
        let length: f32 = found.iter().map(|v| v * v).sum();
        assert!((length - 1.0).abs() < 1e-6);
    }
}

#[test]
fn every_decoder_family_equals_transformers() {
    #[derive(Deserialize)]
    struct Tiny {
        families: BTreeMap<String, Vec<Case>>,
    }
    let golden: Tiny = json("tests/fixtures/tiny/golden.json");
    assert_eq!(golden.families.len(), 4);
    for (family, cases) in &golden.families {
        let checkpoint = project(&format!("tests/fixtures/tiny/{family}"));
        for target in [Target::Cpu, Target::Ort, Target::Cuda, Target::Standard] {
            let options = lexivec_convert::ConvertOptions {
                target,
                ..options(Precision::Fp32)
            };
            let model = converted(&checkpoint, &options);
            check(&engine(&model.report.dir), cases, 0.999_99, Some(2e-5));
        }
    }
}
