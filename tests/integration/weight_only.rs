//! Weight-only precisions: their quality with default options, every storage format, and combinations that are rejected.

use lexivec_convert::{AccuracyTarget, ConvertOptions, Error, Silent, convert};
use lexivec_models::{Blocks, Checkpoint, Compute, LinearPrecision, Precision, Target};
use lexivec_tests::surgery::Surgery;

use crate::quality::{Quality, hard_case};
use crate::support::{converted, nano, options, options_for};

pub(crate) const INT8: Quality = Quality {
    min: 0.998,
    mean: 0.9995,
};
pub(crate) const INT4: Quality = Quality {
    min: 0.95,
    mean: 0.99,
};

/// Checks both precisions on the same checkpoint.
fn hard(name: &str, surgery: &Surgery) {
    hard_case(name, surgery, Precision::Int8Weight, INT8);
    hard_case(name, surgery, Precision::Int4Weight, INT4);
}

#[test]
fn nano_keeps_its_vectors_in_every_storage_format() {
    for (precision, required) in [(Precision::Int8Weight, INT8), (Precision::Int4Weight, INT4)] {
        for (size, zero_points, compute) in [
            (32, false, Compute::Fp32),
            (32, true, Compute::Fp16),
            (64, true, Compute::Fp32),
            (128, false, Compute::Fp16),
        ] {
            let blocks = Blocks {
                size,
                zero_points,
                compute,
            };
            let options = ConvertOptions {
                blocks,
                ..options(precision)
            };
            let quality = Quality::of(&converted(&nano(), &options).report.dir);
            println!("{precision} {blocks:?}: {quality:?}");
            // Larger blocks are coarser, and the required quality is that of the default size.
            let wider = size as f64 / 32.0;
            let required = Quality {
                min: 1.0 - (1.0 - required.min) * wider,
                mean: 1.0 - (1.0 - required.mean) * wider,
            };
            assert!(
                quality.reaches(required),
                "{precision} {blocks:?}: {quality:?}"
            );
        }
    }
}

#[test]
fn channel_outliers() {
    hard("channel outliers", &Surgery::on(&nano()).channel_outliers());
}

#[test]
fn large_up_and_small_down() {
    hard(
        "large up, small down",
        &Surgery::on(&nano()).large_up_small_down(),
    );
}

#[test]
fn heavy_tails() {
    hard("heavy tails", &Surgery::on(&nano()).heavy_tails());
}

#[test]
fn massive_activations() {
    hard("massive tokens", &Surgery::on(&nano()).massive_tokens());
}

#[test]
fn a_requested_cosine_is_reached_by_finer_linear_groups() {
    let options = options_for(Precision::Int4Weight, AccuracyTarget::at_least(0.997));
    let plan = converted(&nano(), &options).report.quantization.unwrap();
    assert!(plan.min_cosine >= 0.997, "{}", plan.min_cosine);
    let count = |p| {
        plan.linear_groups
            .iter()
            .filter(|x| x.precision == p)
            .count()
    };
    assert!(count(LinearPrecision::Int8Weight) > 0 && count(LinearPrecision::Int4Weight) > 0);
}

#[test]
fn the_cost_limit_is_kept_and_a_missed_target_is_noted() {
    let allowed = 300e3;
    let target = AccuracyTarget {
        min_cosine: 0.95,
        mean_cosine: 0.9999,
        cost: allowed,
        floor: 0.5,
    };
    let convert = |required| converted(&nano(), &options_for(Precision::Int4Weight, required));
    let (asked, least) = (convert(target), convert(AccuracyTarget::at_least(0.0)));
    let more = asked.report.bytes - least.report.bytes;
    assert!(more > 0 && (more as f64) < allowed * 1.05, "{more}");
    assert!(
        asked
            .report
            .notes
            .iter()
            .any(|n| n.contains("accuracy target was missed"))
    );
    assert!(
        least
            .report
            .notes
            .iter()
            .all(|n| !n.contains("accuracy target was missed"))
    );
}

#[test]
fn formats_that_do_not_fit_blocks_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let rejected = |options: &ConvertOptions| {
        let checkpoint = Checkpoint::open(&nano()).unwrap();
        convert(&checkpoint, &dir.path().join("x"), options, &Silent).unwrap_err()
    };
    let standard = ConvertOptions {
        target: Target::Standard,
        ..options(Precision::Int4Weight)
    };
    let error = rejected(&standard);
    assert!(matches!(error, Error::Combination { .. }));
    assert!(
        error.to_string().contains("execution provider cpu or cuda"),
        "{error}"
    );
    let odd = ConvertOptions {
        blocks: Blocks {
            size: 48,
            ..Blocks::default()
        },
        ..options(Precision::Int8Weight)
    };
    let error = rejected(&odd).to_string();
    assert!(
        error.contains("hidden_size") && error.contains("block size"),
        "{error}"
    );
}
