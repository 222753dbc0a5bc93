//! Texts of a column, row by row.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use arrow_select::take::take;

use crate::table::Batches;
use crate::{Error, Result, Row, Table};

/// A row's text.
#[derive(Debug)]
pub struct Text {
    /// The number of the row, the first being 0.
    pub row: u64,
    /// The text; `None` for a null.
    pub text: Option<String>,
    /// The whole row, if it is carried.
    pub carried: Option<Row>,
}

/// The texts of a column.
pub struct Texts {
    batches: Batches,
    /// The column's index in a batch.
    column: usize,
    carry: bool,
    current: Option<(Arc<RecordBatch>, ArrayRef)>,
    next: usize,
    row: u64,
}

impl std::fmt::Debug for Texts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Texts")
            .field("row", &self.row)
            .finish_non_exhaustive()
    }
}

impl Texts {
    /// Reads a column of texts. With `carry`, all columns are read and each text comes with its row.
    ///
    /// # Errors
    /// There is no such column of texts, or the file cannot be read.
    pub fn new(table: &Table, column: &str, carry: bool) -> Result<Self> {
        let index = table.text_column(column)?;
        let (columns, column) = match carry {
            true => (None, index),
            false => (Some([index]), 0),
        };
        Ok(Self {
            batches: table.batches(columns.as_ref().map(<[usize; 1]>::as_slice))?,
            column,
            carry,
            current: None,
            next: 0,
            row: 0,
        })
    }
}

impl Iterator for Texts {
    type Item = Result<Text>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((batch, texts)) = &self.current
                && self.next < batch.num_rows()
            {
                let text = Text {
                    row: self.row,
                    text: text(texts, self.next).map(str::to_owned),
                    carried: self.carry.then(|| Row::of_batch(batch, self.next)),
                };
                self.next += 1;
                self.row += 1;
                return Some(Ok(text));
            }
            let batch = match self.batches.next()? {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            };
            match plain(batch.column(self.column)) {
                Ok(texts) => self.current = Some((Arc::new(batch), texts)),
                Err(error) => return Some(Err(error)),
            }
            self.next = 0;
        }
    }
}

/// The values of a dictionary in the order of its keys; another array as it is.
pub(crate) fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    match array.as_any_dictionary_opt() {
        Some(dictionary) => {
            take(dictionary.values(), dictionary.keys(), None).map_err(Error::write)
        }
        None => Ok(array.clone()),
    }
}

/// A text of an array without a dictionary.
pub(crate) fn text(array: &ArrayRef, row: usize) -> Option<&str> {
    if array.is_null(row) {
        return None;
    }
    match array.data_type() {
        DataType::Utf8 => Some(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(array.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(array.as_string_view().value(row)),
        _ => None,
    }
}
