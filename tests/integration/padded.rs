//! Graphs of other exporters, and our own padded layout fed as other tools feed it.

use std::collections::BTreeMap;

use lexivec_runtime::Request;
use serde::Deserialize;

use crate::support::{Case, engine, json, max_difference, project};

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
