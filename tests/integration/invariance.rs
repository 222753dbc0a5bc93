//! A text's vector does not depend on who shares its batch: to the last bit on a CPU, for fp32 and int8.

use std::cell::RefCell;
use std::sync::LazyLock;

use lexivec_convert::{AccuracyTarget, ConvertOptions};
use lexivec_models::{Manifest, Precision, Target};
use lexivec_runtime::plan::Plan;
use lexivec_runtime::{Library, Network, Request, SessionSettings, open_network};
use proptest::prelude::*;

use crate::support::{Converted, converted, engine, nano, options, options_for};

static FP32: LazyLock<Converted> = LazyLock::new(|| converted(&nano(), &options(Precision::Fp32)));
static FP16: LazyLock<Converted> = LazyLock::new(|| converted(&nano(), &options(Precision::Fp16)));
static INT8: LazyLock<Converted> = LazyLock::new(|| converted(&nano(), &options(Precision::Int8)));

/// With products of two terms.
static INT8X2: LazyLock<Converted> = LazyLock::new(|| {
    let finer = options_for(Precision::Int8, AccuracyTarget::at_least(0.9999));
    converted(&nano(), &finer)
});
static INT4: LazyLock<Converted> =
    LazyLock::new(|| converted(&nano(), &options(Precision::Int4Weight)));

fn network(model: &Converted, kv_cache_bytes: usize) -> Box<dyn Network> {
    let library = Library::load(None, false).unwrap();
    let settings = SessionSettings {
        threads: Some(2),
        kv_cache_bytes,
        ..SessionSettings::default()
    };
    open_network(library, &model.report.dir, &settings).unwrap()
}

/// Token sequences that share prefixes often: a small alphabet behind one of a few instructions.
fn batches() -> impl Strategy<Value = Vec<Vec<u32>>> {
    let tail = prop::collection::vec(0u32..16_384, 1..40);
    let repetitive = prop::collection::vec(300u32..303, 1..90);
    let text = (0usize..3, prop_oneof![tail, repetitive]).prop_map(|(instruction, tail)| {
        let prefix: &[u32] = [&[][..], &[40, 41, 42, 43], &[40, 41, 50]][instruction];
        [prefix, &tail, &[16_381]].concat()
    });
    prop::collection::vec(text, 1..9)
}

fn batch_equals_alone(network: &mut dyn Network, batch: &[Vec<u32>]) -> Result<(), TestCaseError> {
    let sequences: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
    let together = network.embed(&sequences).unwrap().values;
    for (sequence, found) in sequences.iter().zip(together.chunks(network.hidden_size())) {
        let alone = network.embed(&[sequence]).unwrap().values;
        prop_assert!(alone == found, "a vector changed with its batch: {batch:?}");
    }
    Ok(())
}

#[test]
fn fp32_and_int8_are_bitwise_independent_of_the_batch() {
    for model in [&*FP32, &*INT8, &*INT8X2, &*INT4] {
        let network = RefCell::new(network(model, 0));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
        runner
            .run(&batches(), |batch| {
                batch_equals_alone(network.borrow_mut().as_mut(), &batch)
            })
            .unwrap();
    }
}

/// nano keeps 6 KiB of a token: room for 40, so that prefixes come and go.
const PREFIX_BYTES: usize = 40 * 6 * 1024;

#[test]
fn vectors_behind_kept_prefixes_are_the_same_to_the_last_bit() {
    // Of all models: random batches of a single one may happen to share nothing.
    let computed = RefCell::new((0, 0));
    for model in [&*FP32, &*FP16, &*INT8, &*INT8X2, &*INT4] {
        let plain = RefCell::new(network(model, 0));
        let keeping = RefCell::new(network(model, PREFIX_BYTES));
        let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
        runner
            .run(&batches(), |batch| {
                let sequences: Vec<&[u32]> = batch.iter().map(Vec::as_slice).collect();
                let expected = plain.borrow_mut().embed(&sequences).unwrap();
                let found = keeping.borrow_mut().embed(&sequences).unwrap();
                prop_assert!(found.values == expected.values, "{batch:?}");
                let mut rows = computed.borrow_mut();
                rows.0 += found.packed_tokens;
                rows.1 += expected.packed_tokens;
                Ok(())
            })
            .unwrap();
    }
    let (behind, all) = computed.into_inner();
    assert!(behind < all, "{behind} rows of {all}: nothing was kept");
}

#[test]
fn an_instruction_is_computed_once() {
    let mut network = network(&FP32, PREFIX_BYTES);
    let instruction: Vec<u32> = (40..60).collect();
    let mut ask = |text: &[u32]| {
        let query = [&instruction, text, &[16_381]].concat();
        network.embed(&[&query]).unwrap().packed_tokens
    };
    assert_eq!(ask(&[300]), 22);
    assert_eq!(ask(&[301]), 22);
    assert_eq!(ask(&[302, 303]), 3);
    assert_eq!(ask(&[304]), 2);
}

#[test]
fn the_same_text_twice_in_a_batch_is_computed_once_and_equal() {
    let engine = engine(&FP32.report.dir);
    let texts = ["心肌梗死", "cardiac arrest", "心肌梗死"].map(Request::text);
    let found = engine.embed(&texts).unwrap();
    assert_eq!(found[0].vector, found[2].vector);
    assert_ne!(found[0].vector, found[1].vector);
    let ids: Vec<Vec<u32>> = texts
        .iter()
        .map(|t| engine.encode(t).unwrap().ids().to_vec())
        .collect();
    let sequences: Vec<&[u32]> = ids.iter().map(Vec::as_slice).collect();
    assert_eq!(
        Plan::new(&sequences).packed_tokens(),
        ids[0].len() + ids[1].len()
    );
}

#[test]
fn a_lone_end_of_sequence_token_has_a_finite_vector() {
    let mut network = network(&FP32, 0);
    assert!(
        network
            .embed(&[&[16_381]])
            .unwrap()
            .values
            .iter()
            .all(|v| v.is_finite())
    );
}

#[test]
fn converting_twice_gives_the_same_bytes() {
    let again = converted(&nano(), &options(Precision::Fp32));
    let digest = |c: &Converted| Manifest::read(&c.report.dir).unwrap().digest();
    assert_eq!(digest(&FP32), digest(&again));
}

#[test]
fn a_batch_may_have_more_rows_than_the_model_has_positions() {
    let mut network = network(&FP32, 0);
    let long: Vec<Vec<u32>> = (0..3)
        .map(|i| [vec![300 + i; 2000], vec![16_381]].concat())
        .collect();
    let sequences: Vec<&[u32]> = long.iter().map(Vec::as_slice).collect();
    let together = network.embed(&sequences).unwrap().values;
    assert_eq!(
        network.embed(&sequences[2..]).unwrap().values,
        together[2 * network.hidden_size()..]
    );
}

/// The bytes of a token's row in nano's embedding table.
fn embedding_row(token: usize) -> Vec<u8> {
    let file = fs_err::read(nano().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    let table = tensors.tensor("embed_tokens.weight");
    let table = table
        .or_else(|_| tensors.tensor("model.embed_tokens.weight"))
        .unwrap();
    let row = table.data().len() / table.shape()[0];
    table.data()[token * row..][..row].to_vec()
}

/// The id of a token whose embedding is NaN in [`spoilt`] models.
const SPOILT: u32 = 777;

/// A converted nano in which a token's embedding was overwritten, as damaged memory would do it: conversions of such weights are
/// rejected.
fn spoilt(options: &ConvertOptions) -> Converted {
    let model = converted(&nano(), options);
    let path = model.report.dir.join("model.onnx.data");
    let mut data = fs_err::read(&path).unwrap();
    let row = embedding_row(SPOILT as usize);
    let at = data
        .windows(row.len())
        .position(|window| window == row)
        .unwrap();
    data[at..at + row.len()].fill(0xff);
    fs_err::write(&path, data).unwrap();
    model
}

#[test]
fn a_text_without_a_finite_vector_spoils_no_text_of_its_batch() {
    let ort = ConvertOptions {
        target: Target::Ort,
        ..options(Precision::Fp32)
    };
    for options in [options(Precision::Fp32), options(Precision::Int8), ort] {
        let model = spoilt(&options);
        let mut network = network(&model, PREFIX_BYTES);
        let prefix = [40, 41, 42, 43, 44, 45];
        let texts = [&[SPOILT, 50][..], &[50], &[51, SPOILT], &[]];
        let texts = texts.map(|tail| [&prefix[..], tail].concat());
        let texts = texts.each_ref().map(Vec::as_slice);
        let together = network.embed(&texts).unwrap();
        let width = network.hidden_size();
        let states: Vec<&[f32]> = together.values.chunks(width).collect();
        for (number, text) in texts.iter().enumerate() {
            let finite = states[number].iter().all(|value| value.is_finite());
            assert_eq!(
                finite,
                !text.contains(&SPOILT),
                "{options:?}, text {number}"
            );
            if finite {
                let alone = network.embed(&[text]).unwrap().values;
                assert!(alone == states[number], "{options:?}, text {number}");
            }
        }
    }
}

#[test]
fn a_text_without_a_finite_vector_spoils_no_later_text_with_its_prefix() {
    let model = spoilt(&options(Precision::Fp32));
    let mut network = network(&model, PREFIX_BYTES);
    let prefix = [40, 41, 42, 43, 44, 45];
    let text = |tail: &[u32]| [&prefix[..], tail].concat();
    let mut finite = |texts: &[Vec<u32>]| {
        let texts: Vec<&[u32]> = texts.iter().map(Vec::as_slice).collect();
        let values = network.embed(&texts).unwrap().values;
        values.iter().all(|value| value.is_finite())
    };
    assert!(!finite(&[text(&[SPOILT, 50]), text(&[SPOILT, 51])]));
    for tail in 60..64 {
        assert!(finite(&[text(&[tail])]), "text {tail} is spoilt");
    }
}
