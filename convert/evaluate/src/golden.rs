//! The golden values of the measures, for tests.

use std::path::Path;

/// Inputs and values that NumPy, SciPy, scikit-learn and trec_eval computed.
pub(crate) fn measures() -> serde_json::Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/measures.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}
