//! What float16 cannot hold is moved into its range, and only that.

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Blocks, Checkpoint, Compute, Manifest, Precision};
use lexivec_tests::surgery::Surgery;

use crate::quality::{Quality, written};
use crate::support::{converted, nano, options};

const GOAL: Quality = Quality {
    min: 0.9999,
    mean: 0.9999,
};

/// A checkpoint that overflows in float16 as it is, and not rescaled.
fn overflows(name: &str, surgery: &Surgery, tolerance: f32, what: &str) {
    let dir = written(name, surgery, tolerance);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    let plain = ConvertOptions {
        calibration: None,
        ..options(Precision::Fp16)
    };
    let failed = convert(&checkpoint, &dir.path().join("plain"), &plain, &Silent).unwrap_err();
    println!("{name} as it is: {failed}");
    let model = converted(dir.path(), &options(Precision::Fp16));
    let quality = Quality::of(&model.report.dir);
    println!("{name} rescaled: {quality:?}");
    assert!(quality.reaches(GOAL), "{quality:?}");
    let notes = Manifest::read(&model.report.dir).unwrap().notes;
    println!("{notes:#?}");
    assert!(notes.iter().any(|n| n.contains(what)), "{notes:?}");
}

#[test]
fn products_of_gate_and_up() {
    overflows(
        "overflowing neurons",
        &Surgery::on(&nano()).overflowing_neurons(),
        2e-5,
        "mlp.down_proj reads values up to",
    );
}

#[test]
fn values() {
    overflows(
        "overflowing values",
        &Surgery::on(&nano()).overflowing_values(),
        2e-5,
        "self_attn.o_proj reads values up to",
    );
}

#[test]
fn the_residual_stream() {
    overflows(
        "large residual",
        &Surgery::on(&nano()).large_residual(),
        1e-3,
        "residual stream reaches",
    );
}

#[test]
fn activations_of_integer_weights() {
    let surgery = Surgery::on(&nano())
        .overflowing_neurons()
        .overflowing_values()
        .large_residual();
    let dir = written("overflowing", &surgery, 1e-3);
    let checkpoint = Checkpoint::open(dir.path()).unwrap();
    for (precision, mean) in [
        (Precision::Int8Weight, 0.9995),
        (Precision::Int4Weight, 0.99),
    ] {
        let rescaled = ConvertOptions {
            blocks: Blocks {
                compute: Compute::Fp16,
                ..Blocks::default()
            },
            ..options(precision)
        };
        let plain = ConvertOptions {
            calibration: None,
            ..rescaled.clone()
        };
        let failed = convert(&checkpoint, &dir.path().join("plain"), &plain, &Silent).unwrap_err();
        println!("{precision} as it is: {failed}");
        let model = converted(dir.path(), &rescaled);
        let quality = Quality::of(&model.report.dir);
        println!("{precision} rescaled: {quality:?}");
        assert!(quality.mean >= mean, "{quality:?}");
        let notes = Manifest::read(&model.report.dir).unwrap().notes;
        for what in ["mlp.down_proj", "self_attn.o_proj", "residual stream"] {
            assert!(notes.iter().any(|n| n.contains(what)), "{notes:?}");
        }
    }
}

#[test]
fn a_network_that_fits_is_left_alone() {
    let plain = ConvertOptions {
        calibration: None,
        ..options(Precision::Fp16)
    };
    let digest = |options| {
        let model = converted(&nano(), options);
        Manifest::read(&model.report.dir).unwrap().digest()
    };
    assert_eq!(digest(&options(Precision::Fp16)), digest(&plain));
}
