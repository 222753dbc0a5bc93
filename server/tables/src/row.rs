//! A row on its way from one table to another.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{Array as _, ArrayRef, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Fields};
use arrow_select::interleave::interleave;

use crate::{Error, Result};

/// A row with its columns.
#[derive(Debug, Clone)]
pub struct Row(Source);

#[derive(Debug, Clone)]
enum Source {
    /// A row of a batch that was read.
    Batch(Arc<RecordBatch>, usize),
    /// Texts under the names of their columns.
    Texts(Arc<[String]>, Box<[String]>),
}

impl Row {
    /// A row of texts. There are as many columns as fields.
    #[must_use]
    pub fn of_texts(columns: &Arc<[String]>, fields: Vec<String>) -> Self {
        Self(Source::Texts(Arc::clone(columns), fields.into()))
    }

    pub(crate) fn of_batch(batch: &Arc<RecordBatch>, index: usize) -> Self {
        Self(Source::Batch(Arc::clone(batch), index))
    }

    /// About how many bytes it holds beside `previous`. A row holds the batch that it was read in, and so does the previous one if it
    /// was read in the same batch.
    #[must_use]
    pub fn bytes_beside(&self, previous: Option<&Self>) -> usize {
        match (&self.0, previous.map(|row| &row.0)) {
            (Source::Batch(batch, _), Some(Source::Batch(other, _)))
                if Arc::ptr_eq(batch, other) =>
            {
                0
            }
            (Source::Batch(batch, _), _) => batch.get_array_memory_size(),
            (Source::Texts(_, fields), _) => fields.iter().map(String::len).sum(),
        }
    }

    /// Writes its columns, for a digest of all rows. `previous` is the row before it. The first row of a batch writes the whole batch, and
    /// the other ones nothing.
    ///
    /// # Errors
    /// The batch has a column that cannot be written, or `sink` returns an error.
    pub fn write_beside(&self, previous: Option<&Self>, mut sink: impl Write) -> Result<()> {
        match (&self.0, previous.map(|row| &row.0)) {
            (Source::Batch(batch, _), Some(Source::Batch(other, _)))
                if Arc::ptr_eq(batch, other) => {}
            (Source::Batch(batch, _), _) => {
                let mut writer =
                    StreamWriter::try_new(sink, batch.schema_ref()).map_err(Error::write)?;
                writer.write(batch).map_err(Error::write)?;
            }
            (Source::Texts(columns, fields), _) => {
                for text in columns.iter().chain(fields) {
                    sink.write_all(&(text.len() as u64).to_le_bytes())?;
                    sink.write_all(text.as_bytes())?;
                }
            }
        }
        Ok(())
    }

    /// Its columns. Each may have nulls, because another file may have them.
    pub(crate) fn fields(&self) -> Vec<Field> {
        match &self.0 {
            Source::Batch(batch, _) => {
                let fields = batch.schema_ref().fields().iter();
                let nullable = |field: &Arc<Field>| field.as_ref().clone().with_nullable(true);
                fields.map(nullable).collect()
            }
            Source::Texts(columns, _) => {
                let field = |name: &String| Field::new(name, DataType::Utf8, true);
                columns.iter().map(field).collect()
            }
        }
    }

    /// Whether it has columns of these names and types.
    fn fits(&self, fields: &[Arc<Field>]) -> bool {
        match &self.0 {
            Source::Batch(batch, _) => {
                let own = batch.schema_ref().fields();
                let equal = |(a, b): (&Arc<Field>, &Arc<Field>)| {
                    a.name() == b.name() && a.data_type() == b.data_type()
                };
                own.len() == fields.len() && own.iter().zip(fields).all(equal)
            }
            Source::Texts(columns, _) => {
                let equal = |(name, field): (&String, &Arc<Field>)| {
                    name == field.name() && *field.data_type() == DataType::Utf8
                };
                columns.len() == fields.len() && columns.iter().zip(fields).all(equal)
            }
        }
    }

    /// Checks that it has columns of these names and types.
    ///
    /// # Errors
    /// It has others.
    pub(crate) fn check(&self, fields: &Fields) -> Result<()> {
        if !self.fits(fields) {
            let listed = |fields: &[Field]| {
                let fields = fields.iter();
                let named = fields.map(|field| format!("{} ({})", field.name(), field.data_type()));
                named.collect::<Vec<_>>().join(", ")
            };
            let first: Vec<Field> = fields.iter().map(|field| field.as_ref().clone()).collect();
            return Err(Error::write(format!(
                "all rows of an output have the same columns, and the input files have different ones: {}; and {}. Write an output for each",
                listed(&first),
                listed(&self.fields())
            )));
        }
        Ok(())
    }
}

/// The columns of rows that all have these fields.
///
/// # Errors
/// A row has other columns.
pub(crate) fn columns(rows: &[Row], fields: &Fields) -> Result<Vec<ArrayRef>> {
    for row in rows {
        row.check(fields)?;
    }
    (0..fields.len()).map(|index| column(rows, index)).collect()
}

/// A column of rows, which are all texts or all of batches.
fn column(rows: &[Row], index: usize) -> Result<ArrayRef> {
    let mut arrays: Vec<&ArrayRef> = Vec::new();
    let mut places = Vec::new();
    let mut texts = Vec::new();
    for row in rows {
        match &row.0 {
            Source::Batch(batch, place) => {
                let array = batch.column(index);
                // Rows of one batch follow each other.
                if !arrays.last().is_some_and(|last| Arc::ptr_eq(last, array)) {
                    arrays.push(array);
                }
                places.push((arrays.len() - 1, *place));
            }
            Source::Texts(_, fields) => texts.push(fields[index].as_str()),
        }
    }
    if texts.len() == rows.len() {
        return Ok(Arc::new(StringArray::from(texts)));
    }
    // Files of texts and tables that have the same columns.
    if !texts.is_empty() {
        let all = rows.iter().map(|row| match &row.0 {
            Source::Batch(batch, place) => {
                let array = batch.column(index);
                let texts = array.as_any().downcast_ref::<StringArray>()?;
                (!texts.is_null(*place)).then(|| texts.value(*place))
            }
            Source::Texts(_, fields) => Some(&*fields[index]),
        });
        return Ok(Arc::new(all.collect::<StringArray>()));
    }
    let arrays: Vec<_> = arrays.into_iter().map(|array| &**array).collect();
    interleave(&arrays, &places).map_err(Error::write)
}

#[cfg(test)]
mod tests {
    use arrow_array::Int32Array;

    use super::*;

    #[test]
    fn what_is_written_of_a_row_depends_on_all_of_its_columns() {
        let batch = |name: &str, numbers: Vec<i32>| {
            let texts: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
            let numbers: ArrayRef = Arc::new(Int32Array::from(numbers));
            let columns = [("text", texts), (name, numbers)];
            Arc::new(RecordBatch::try_from_iter(columns).unwrap())
        };
        let written = |row: &Row, previous: Option<&Row>| {
            let mut bytes = Vec::new();
            row.write_beside(previous, &mut bytes).unwrap();
            bytes
        };
        let rows = batch("id", vec![1, 2]);
        let (first, second) = (Row::of_batch(&rows, 0), Row::of_batch(&rows, 1));
        assert!(written(&second, Some(&first)).is_empty());
        for (other, is_equal) in [
            (batch("id", vec![1, 2]), true),
            (batch("id", vec![1, 3]), false),
            (batch("number", vec![1, 2]), false),
        ] {
            let other = Row::of_batch(&other, 0);
            assert_eq!(
                written(&other, Some(&second)) == written(&first, None),
                is_equal
            );
        }
        let columns: Arc<[String]> = ["a".to_owned(), "b".to_owned()].into();
        let texts = |one: &str, two: &str| {
            written(&Row::of_texts(&columns, vec![one.into(), two.into()]), None)
        };
        assert_ne!(texts("ab", "c"), texts("a", "bc"));
    }
}
