//! Values beyond float16 are moved into its range, and no others.

use std::path::Path;

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Blocks, Checkpoint, Compute, Manifest, Precision};
use lexivec_tests::surgery::Surgery;

use crate::quality::{Quality, written};
use crate::support::{converted, nano, options};
use crate::weight_only::{INT4, INT8};

const REQUIRED: Quality = Quality {
    min: 0.9999,
    mean: 0.9999,
};

/// A checkpoint that overflows in float16 unless it is rescaled.
fn overflows(name: &str, surgery: &Surgery, tolerance: f32, what: &str) {
    let dir = written(name, surgery, tolerance);
    rescued(
        name,
        dir.path(),
        &options(Precision::Fp16),
        REQUIRED,
        &[what],
    );
}

/// Checks that a checkpoint cannot be converted without calibration, and reaches the required quality with it. The notes must
/// mention every text of `what`.
fn rescued(name: &str, dir: &Path, options: &ConvertOptions, required: Quality, what: &[&str]) {
    let checkpoint = Checkpoint::open(dir).unwrap();
    let plain = ConvertOptions {
        calibration: None,
        ..options.clone()
    };
    let failed = convert(&checkpoint, &dir.join("plain"), &plain, &Silent).unwrap_err();
    println!("{name} as it is: {failed}");
    let model = converted(dir, options);
    let quality = Quality::of(&model.report.dir);
    println!("{name} rescaled: {quality:?}");
    assert!(quality.reaches(required), "{quality:?}");
    let notes = Manifest::read(&model.report.dir).unwrap().notes;
    println!("{notes:#?}");
    for what in what {
        assert!(notes.iter().any(|n| n.contains(what)), "{notes:?}");
    }
}

#[test]
fn inputs_of_the_down_projection_are_rescaled() {
    overflows(
        "overflowing neurons",
        &Surgery::on(&nano()).overflowing_neurons(),
        2e-5,
        "mlp.down_proj reads values up to",
    );
}

#[test]
fn values_are_rescaled() {
    overflows(
        "overflowing values",
        &Surgery::on(&nano()).overflowing_values(),
        2e-5,
        "self_attn.o_proj reads values up to",
    );
}

#[test]
fn the_residual_stream_is_rescaled() {
    overflows(
        "large residual",
        &Surgery::on(&nano()).large_residual(),
        1e-3,
        "residual stream reaches",
    );
}

#[test]
fn activations_of_integer_weights_are_rescaled() {
    let surgery = Surgery::on(&nano())
        .overflowing_neurons()
        .overflowing_values()
        .large_residual();
    let dir = written("overflowing", &surgery, 1e-3);
    for (precision, required) in [(Precision::Int8Weight, INT8), (Precision::Int4Weight, INT4)] {
        let options = ConvertOptions {
            blocks: Blocks {
                compute: Compute::Fp16,
                ..Blocks::default()
            },
            ..options(precision)
        };
        let what = ["mlp.down_proj", "self_attn.o_proj", "residual stream"];
        rescued(
            &precision.to_string(),
            dir.path(),
            &options,
            required,
            &what,
        );
    }
}

#[test]
fn a_network_that_fits_is_not_rescaled() {
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
