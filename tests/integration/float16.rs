//! What float16 cannot hold is moved into its range, and only that.

use lexivec_convert::{ConvertOptions, Silent, convert};
use lexivec_models::{Checkpoint, Manifest, Precision};
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
