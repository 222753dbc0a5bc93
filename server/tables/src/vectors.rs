//! Vectors of a column, block by block.

use std::path::Path;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{Float16Type, Float32Type, Float64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::{DataType, Field};

use crate::{Error, MODEL_DIGEST, PROJECTION_DIGEST, Result, Table};

/// A column of vectors of equal width.
#[derive(Debug)]
pub struct Vectors {
    table: Table,
    column: usize,
    width: usize,
}

impl Vectors {
    /// Opens a file that has vectors in the column `column`: lists of floating-point numbers.
    ///
    /// # Errors
    /// The file cannot be read, or has no such column.
    pub fn open(path: &Path, column: &str) -> Result<Self> {
        let table = Table::open(path)?;
        let (index, field) = table.column(column)?;
        let kind = field.data_type();
        let is_vector = match kind {
            DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
                is_number(item)
            }
            _ => false,
        };
        if !is_vector {
            let reason = format!(
                "the column `{column}` has the type {kind}, and lists of float32 are needed"
            );
            return Err(Error::column(path, reason));
        }
        let width = match kind {
            DataType::FixedSizeList(_, width) => usize::try_from(*width).unwrap_or_default(),
            _ => match table.batches(Some(&[index]))?.next().transpose()? {
                Some(batch) => rows(batch.column(0))
                    .next()
                    .map_or(0, |row| row.as_ref().map_or(0, |array| array.len())),
                None => 0,
            },
        };
        Ok(Self {
            table,
            column: index,
            width,
        })
    }

    /// How many vectors there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.table.rows()
    }

    /// The numbers of each vector.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The digest of the vectors' model, if the file names it.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.table.metadata(MODEL_DIGEST)
    }

    /// Whether the file says that a projection reduced the vectors.
    #[must_use]
    pub fn is_projected(&self) -> bool {
        self.table.metadata(PROJECTION_DIGEST).is_some()
    }

    /// Passes all numbers to `take`, block by block, with the number of each block's first row.
    ///
    /// # Errors
    /// The file cannot be read, a vector is missing or has another width, or `take` returns an error.
    pub fn for_each_block<E: From<Error>>(
        &self,
        mut take: impl FnMut(usize, &[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut first = 0;
        let mut numbers = Vec::new();
        for batch in self.table.batches(Some(&[self.column]))? {
            let batch = batch?;
            numbers.clear();
            for (index, row) in rows(batch.column(0)).enumerate() {
                let found = row.as_ref().map(|row| row.len());
                let complete = row.filter(|row| row.len() == self.width && row.null_count() == 0);
                let Some(row) = complete else {
                    let reason = match found {
                        None => "there is no vector in this row".to_owned(),
                        Some(found) if found == self.width => {
                            "a number of the vector is null".to_owned()
                        }
                        Some(found) => format!(
                            "the vector has {found} numbers, and those before have {}",
                            self.width
                        ),
                    };
                    let place = format!("row {}: {reason}", first + index);
                    return Err(Error::table(self.table.path(), place).into());
                };
                extend(&mut numbers, &row);
            }
            take(first, &numbers)?;
            first += batch.num_rows();
        }
        Ok(())
    }
}

fn is_number(item: &Field) -> bool {
    matches!(
        item.data_type(),
        DataType::Float16 | DataType::Float32 | DataType::Float64
    )
}

/// The list of each row; `None` for a null.
fn rows(array: &ArrayRef) -> Box<dyn Iterator<Item = Option<ArrayRef>> + '_> {
    match array.data_type() {
        DataType::FixedSizeList(..) => Box::new(array.as_fixed_size_list().iter()),
        DataType::List(_) => Box::new(array.as_list::<i32>().iter()),
        _ => Box::new(array.as_list::<i64>().iter()),
    }
}

fn extend(numbers: &mut Vec<f32>, row: &ArrayRef) {
    match row.data_type() {
        DataType::Float16 => {
            let row = row.as_primitive::<Float16Type>().values().iter();
            numbers.extend(row.map(|number| number.to_f32()));
        }
        DataType::Float32 => numbers.extend_from_slice(row.as_primitive::<Float32Type>().values()),
        _ => {
            let row = row.as_primitive::<Float64Type>().values().iter();
            numbers.extend(row.map(|number| *number as f32));
        }
    }
}
