//! The model against peaks that were measured: checkpoints of the released shapes (tests/fixtures/random_checkpoint.py
//! --sparse), converted with `lexivec convert --ep cuda`, on the stand-in device (tests/gpu). Each batch is one request to
//! a new `lexivec serve DIR --ep cuda --cuda-graphs off --max-batch-tokens 65535`, and its peak the largest `used` of the
//! device's log.

use std::path::Path;

use lexivec_models::Compute;

use super::*;

fn decoder(hidden: usize, layers: usize, heads: usize, inner: usize, positions: usize) -> Decoder {
    let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../models/nano/config.json");
    Decoder {
        vocab_size: 151_669,
        hidden_size: hidden,
        layers,
        heads,
        kv_heads: 8,
        head_dim: 128,
        intermediate_size: inner,
        max_positions: positions,
        ..Decoder::read(Path::new(nano)).unwrap()
    }
}

fn model(decoder: &Decoder, precision: Precision, attention: AttentionForm) -> MemoryModel {
    let form = GraphForm {
        precision,
        compute: precision.weight_bits().map(|_| Compute::Fp16),
        target: Target::Cuda,
        attention,
    };
    MemoryModel::new(decoder, form).unwrap()
}

fn qwen3_4b(precision: Precision, attention: AttentionForm) -> MemoryModel {
    model(&decoder(2560, 36, 32, 9728, 40_960), precision, attention)
}

fn qwen3_06b(precision: Precision, attention: AttentionForm) -> MemoryModel {
    model(&decoder(1024, 28, 16, 3072, 32_768), precision, attention)
}

/// Each case: tokens, sequences, the longest, bytes of the peak.
fn hold(model: &MemoryModel, measured: &[(usize, usize, usize, usize)]) {
    for &(tokens, sequences, longest, peak) in measured {
        let batch = BatchSize {
            tokens,
            slots: sequences * longest,
            longest,
        };
        let predicted = (model.weights() + model.activations(batch)) as f64;
        let (low, high) = (0.96 * peak as f64, 1.04 * peak as f64);
        assert!(
            (low..high).contains(&predicted),
            "{batch:?}: {predicted} predicted, {peak} measured"
        );
        // Activations alone, which the weights would hide.
        let (act, held) = (
            model.activations(batch) as f64,
            (peak - model.weights()) as f64,
        );
        if tokens > 1000 {
            assert!(
                (act / held - 1.0).abs() < 0.05,
                "{batch:?}: {act} predicted, {held} measured"
            );
        }
    }
}

#[test]
fn the_4b_shape_with_standard_attention() {
    hold(
        &qwen3_4b(Precision::Bf16, AttentionForm::Standard),
        &[
            (10, 1, 10, 8_055_476_224),
            (512, 1, 512, 8_121_081_856),
            (16_280, 88, 185, 10_174_218_240),
            (16_384, 4, 4096, 10_187_759_616),
            (16_384, 1024, 16, 10_184_143_104),
            (55_500, 300, 185, 15_280_647_680),
            // Padded 1.98 and 1.80 times.
            (15_840, 87, 360, 10_436_062_208),
            (47_880, 263, 360, 15_253_510_656),
            (15_000, 9, 3000, 10_254_944_000),
        ],
    );
}

#[test]
fn the_4b_shape_with_grouped_attention() {
    hold(
        &qwen3_4b(Precision::Bf16, AttentionForm::Grouped),
        &[
            (512, 1, 512, 8_196_004_096),
            (16_280, 88, 185, 12_541_803_520),
            (16_384, 4, 4096, 12_570_466_560),
            (16_384, 1024, 16, 12_567_458_560),
            (55_500, 300, 185, 23_350_876_160),
            (15_840, 87, 360, 15_275_914_752),
            (47_880, 263, 360, 29_638_325_760),
            (15_000, 9, 3000, 14_402_497_280),
        ],
    );
}

#[test]
fn the_06b_shape() {
    hold(
        &qwen3_06b(Precision::Bf16, AttentionForm::Standard),
        &[
            (16_280, 88, 185, 2_101_893_376),
            (16_384, 4, 4096, 2_107_653_888),
            (15_840, 87, 360, 2_268_853_504),
            (47_880, 263, 360, 4_430_685_952),
        ],
    );
    hold(
        &qwen3_06b(Precision::Fp16, AttentionForm::Grouped),
        &[
            (16_280, 88, 185, 3_902_561_536),
            (16_384, 4, 4096, 3_919_822_848),
            (15_840, 87, 360, 5_859_641_088),
            (47_880, 263, 360, 15_186_851_584),
        ],
    );
}

#[test]
fn weights_in_blocks() {
    hold(
        &qwen3_06b(Precision::Int8Weight, AttentionForm::Standard),
        &[
            (16_280, 88, 185, 1_554_955_520),
            (16_384, 4, 4096, 1_560_709_376),
            (15_840, 87, 360, 1_720_953_088),
            (47_880, 263, 360, 3_884_790_016),
        ],
    );
}

#[test]
fn the_budget_is_the_largest_that_fits() {
    let model = qwen3_4b(Precision::Bf16, AttentionForm::Standard);
    let limits = Limits::default();
    let budget = |gb: usize| model.budget(gb * 1_000_000_000, &limits, 4096);
    assert_eq!(budget(80), 16_384);
    assert_eq!(budget(8), 0);
    let found = budget(10);
    let worst = |tokens| model.needed(BatchSize::worst(tokens, 2, 4096));
    assert!(worst(found) <= 10_000_000_000 && worst(found + 1) > 10_000_000_000);
    assert!((4000..16_384).contains(&found), "{found}");
    assert_eq!(model.longest_text(80_000_000_000, 32_768), 32_768);
    assert!(model.longest_text(10_000_000_000, 32_768) < 16_384);
}

#[test]
fn other_targets_are_not_covered() {
    let form = GraphForm {
        precision: Precision::Fp16,
        compute: None,
        target: Target::Standard,
        attention: AttentionForm::Standard,
    };
    let decoder = decoder(1024, 28, 16, 3072, 32_768);
    assert_eq!(MemoryModel::new(&decoder, form), None);
}
