//! Rows as texts, for tables of texts.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use crate::texts::{plain, text};
use crate::{Result, Table};

impl Table {
    /// The columns that hold texts, numbers or truth values, and the columns that hold something else.
    #[must_use]
    pub fn columns_of_texts(&self) -> (Vec<String>, Vec<String>) {
        let (texts, others): (Vec<_>, Vec<_>) =
            self.fields().partition(|field| is_field(field.data_type()));
        let names = |fields: Vec<&arrow_schema::Field>| {
            let names = fields.into_iter().map(|field| field.name().clone());
            names.collect()
        };
        (names(texts), names(others))
    }

    /// Passes each row's fields of [`columns_of_texts`](Self::columns_of_texts) to `take`; `None` stands for a null.
    ///
    /// # Errors
    /// The file cannot be read, or `take` returns an error.
    pub fn for_each_row<E: From<crate::Error>>(
        &self,
        mut take: impl FnMut(u64, Vec<Option<String>>) -> Result<(), E>,
    ) -> Result<(), E> {
        let columns = self.fields().enumerate();
        let columns = columns.filter(|(_, field)| is_field(field.data_type()));
        let columns: Vec<usize> = columns.map(|(index, _)| index).collect();
        let mut number = 0;
        for batch in self.batches(Some(&columns))? {
            let batch = batch?;
            let arrays = batch.columns().iter().map(plain);
            let arrays = arrays.collect::<Result<Vec<_>>>()?;
            for row in 0..batch.num_rows() {
                take(
                    number,
                    arrays.iter().map(|array| field(array, row)).collect(),
                )?;
                number += 1;
            }
        }
        Ok(())
    }
}

fn is_field(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => is_field(values),
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Boolean => true,
        DataType::Float32 | DataType::Float64 => true,
        kind => kind.is_integer(),
    }
}

/// A value as a text; `None` for a null.
fn field(array: &ArrayRef, row: usize) -> Option<String> {
    if array.is_null(row) {
        return None;
    }
    macro_rules! number {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row).to_string()
        };
    }
    Some(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        _ => text(array, row)?.to_owned(),
    })
}
