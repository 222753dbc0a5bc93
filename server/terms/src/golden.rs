//! The golden values of scikit-learn, for tests.

use std::path::Path;

use ndarray::Array2;
use serde_json::Value;

/// Inputs and values that scikit-learn computed.
pub(crate) fn terms() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/terms.json");
    serde_json::from_slice(&fs_err::read(path).unwrap()).unwrap()
}

/// A list of numbers.
pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_f64().unwrap()).collect()
}

/// A list of lists of numbers.
pub(crate) fn matrix(value: &Value) -> Array2<f64> {
    let rows: Vec<Vec<f64>> = value.as_array().unwrap().iter().map(numbers).collect();
    let width = rows[0].len();
    Array2::from_shape_vec((rows.len(), width), rows.concat()).unwrap()
}

/// A list of lists of numbers that are float32.
pub(crate) fn rows(value: &Value) -> Array2<f32> {
    matrix(value).mapv(|number| number as f32)
}
