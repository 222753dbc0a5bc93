//! Columns of vectors as text, for formats that have no lists.

use std::fmt::Write as _;
use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray as _, RecordBatch, StringArray};
use datafusion::arrow::datatypes::{DataType, Field, Float32Type, Schema};
use datafusion::error::Result;

/// Numbers of a vector that a terminal shows.
const SHOWN: usize = 4;

/// The batch for a terminal: a vector is its first numbers and its width.
///
/// # Errors
/// DataFusion's own.
pub(super) fn shortened(batch: &RecordBatch) -> Result<RecordBatch> {
    with_texts(batch, |numbers| {
        let shown = numbers
            .iter()
            .take(SHOWN)
            .map(|number| format!("{number:.4}"));
        let shown = shown.collect::<Vec<_>>().join(", ");
        match numbers.len() {
            width if width > SHOWN => format!("[{shown}, … {width}]"),
            _ => format!("[{shown}]"),
        }
    })
}

/// The batch for a CSV file: a vector is a JSON array, whose numbers read back as the same bits.
///
/// # Errors
/// DataFusion's own.
pub(super) fn as_json(batch: &RecordBatch) -> Result<RecordBatch> {
    with_texts(batch, |numbers| {
        let mut text = String::with_capacity(numbers.len() * 12 + 2);
        for (place, number) in numbers.iter().enumerate() {
            let before = if place == 0 { '[' } else { ',' };
            // Writing to a string cannot fail.
            let _ = write!(text, "{before}{number}");
        }
        text.push(']');
        text
    })
}

fn with_texts(batch: &RecordBatch, text: impl Fn(&[f32]) -> String) -> Result<RecordBatch> {
    let schema = batch.schema();
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for (field, array) in schema.fields().iter().zip(batch.columns()) {
        if is_vector(field.data_type()) {
            fields.push(Arc::new(Field::new(field.name(), DataType::Utf8, true)));
            arrays.push(texts(array, &text));
        } else {
            fields.push(Arc::clone(field));
            arrays.push(Arc::clone(array));
        }
    }
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?)
}

/// Whether a column holds vectors of float32.
pub(super) fn is_vector(data_type: &DataType) -> bool {
    matches!(data_type, DataType::FixedSizeList(number, _) if number.data_type() == &DataType::Float32)
}

fn texts(array: &ArrayRef, text: impl Fn(&[f32]) -> String) -> ArrayRef {
    let vectors = array.as_fixed_size_list();
    let of = |row: usize| {
        let numbers = vectors.is_valid(row).then(|| vectors.value(row))?;
        Some(text(numbers.as_primitive::<Float32Type>().values()))
    };
    Arc::new((0..vectors.len()).map(of).collect::<StringArray>())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::FixedSizeListArray;

    use super::*;

    #[test]
    fn vectors_are_shortened_for_people_and_exact_for_programs() {
        let rows = [
            Some(vec![
                Some(0.1_f32),
                Some(-1e-7),
                Some(1.0),
                Some(2.0),
                Some(3.0),
            ]),
            None,
        ];
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 5);
        let schema = Schema::new(vec![Field::new("v", vectors.data_type().clone(), true)]);
        let batch = RecordBatch::try_new(schema.into(), vec![Arc::new(vectors)]).unwrap();
        let of = |batch: RecordBatch| batch.column(0).as_string::<i32>().clone();
        let shown = of(shortened(&batch).unwrap());
        assert_eq!(shown.value(0), "[0.1000, -0.0000, 1.0000, 2.0000, … 5]");
        assert!(shown.is_null(1));
        let exact = of(as_json(&batch).unwrap());
        assert_eq!(exact.value(0), "[0.1,-0.0000001,1,2,3]");
    }
}
