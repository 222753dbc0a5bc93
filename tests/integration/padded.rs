//! Graphs of other exporters, and our own padded layout fed as other tools feed it.

use std::collections::BTreeMap;

use lexivec_convert::ConvertOptions;
use lexivec_models::{Layout, Precision, Target};
use lexivec_runtime::{Library, Request};
use ort::session::Session;
use ort::value::Tensor;
use serde::Deserialize;

use crate::support::{Case, converted, engine, json, max_difference, options, project};

#[derive(Deserialize)]
struct Tiny {
    families: BTreeMap<String, Vec<Case>>,
}

#[test]
fn exports_of_other_tools_give_the_golden_vectors() {
    let golden: Tiny = json("tests/fixtures/tiny/golden.json");
    let cases = &golden.families["qwen3"];
    for export in ["states", "positions", "sentence"] {
        let engine = engine(&project(&format!("tests/fixtures/padded/{export}")));
        let requests: Vec<Request<'_>> = cases
            .iter()
            .map(|c| Request::text(c.text.as_str()))
            .collect();
        for (case, found) in cases.iter().zip(engine.embed(&requests).unwrap()) {
            let difference = max_difference(&case.embedding, &found.vector);
            assert!(
                difference <= 2e-5,
                "{export}, {:?}: differs by {difference}",
                case.text
            );
        }
    }
}

/// Ids and mask of a batch padded on one side, as `input_ids` and `attention_mask`, and its length.
fn padded(cases: &[Case], left: bool) -> (Vec<i64>, Vec<i64>, usize) {
    let length = cases.iter().map(|c| c.token_ids.len()).max().unwrap();
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for case in cases {
        let text: Vec<i64> = case.token_ids.iter().map(|id| i64::from(*id)).collect();
        // Padding that is a real token: what it holds must not matter.
        let (pad, ones) = (vec![3; length - text.len()], vec![1; text.len()]);
        let zeros = vec![0; pad.len()];
        ids.extend(if left {
            [pad, text].concat()
        } else {
            [text, pad].concat()
        });
        mask.extend(if left {
            [zeros, ones].concat()
        } else {
            [ones, zeros].concat()
        });
    }
    (ids, mask, length)
}

#[test]
fn our_padded_graphs_take_padding_on_either_side() {
    let golden: Tiny = json("tests/fixtures/tiny/golden.json");
    let cases = &golden.families["qwen3"];
    for target in [Target::Ort, Target::Standard] {
        let options = ConvertOptions {
            target,
            layout: Layout::Padded,
            ..options(Precision::Fp32)
        };
        let model = converted(&project("tests/fixtures/tiny/qwen3"), &options);
        let library = Library::load(None, false).unwrap();
        let mut session = Session::builder(library.environment())
            .unwrap()
            .commit_from_file(model.report.dir.join("model.onnx"))
            .unwrap();
        for left in [false, true] {
            let (ids, mask, length) = padded(cases, left);
            let shape = [cases.len(), length];
            let outputs = session
                .run(ort::inputs! {
                    "input_ids" => Tensor::from_array((shape, ids)).unwrap(),
                    "attention_mask" => Tensor::from_array((shape, mask)).unwrap(),
                })
                .unwrap();
            let (_, pooled) = outputs["sentence_embedding"]
                .try_extract_tensor::<f32>()
                .unwrap();
            let (_, states) = outputs["last_hidden_state"]
                .try_extract_tensor::<f32>()
                .unwrap();
            let width = cases[0].embedding.len();
            for (i, (case, found)) in cases.iter().zip(pooled.chunks(width)).enumerate() {
                let difference = max_difference(&case.embedding, found);
                assert!(
                    difference <= 2e-5,
                    "{target}, left {left}, {:?}: {difference}",
                    case.text
                );
                // The state of the last token stands where the caller put that token.
                let last = if left {
                    length - 1
                } else {
                    case.token_ids.len() - 1
                };
                let start = (i * length + last) * width;
                let state =
                    lexivec_runtime::vector::truncate(&states[start..start + width], width, true);
                assert!(
                    max_difference(&case.embedding, &state) <= 2e-5,
                    "{target}, left {left}"
                );
            }
        }
    }
}
