//! An open Parquet file.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};

use crate::{Error, Result};

/// The bytes that a batch should have at most. A batch has at least one row.
const BATCH_BYTES: i64 = 16 << 20;
/// The most rows of a batch.
const BATCH_ROWS: i64 = 1024;
/// How many columns a message lists.
const MOST_LISTED: usize = 20;

/// A Parquet file, of which the metadata is read.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
}

impl Table {
    /// Reads the metadata of a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no complete Parquet file.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, _) = fs_err::File::open(path)?.into_parts();
        if file.metadata()?.is_dir() {
            return Err(Error::table(path, "this is a folder, not a file"));
        }
        let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::new());
        let metadata = metadata.map_err(|error| {
            Error::table(
                path,
                format!("the file is no complete Parquet file: {error}"),
            )
        })?;
        Ok(Self {
            path: path.to_owned(),
            metadata,
        })
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        let rows = self.metadata.metadata().file_metadata().num_rows();
        u64::try_from(rows).unwrap_or_default()
    }

    /// A value of the file's metadata.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let file = self.metadata.metadata().file_metadata();
        let mut pairs = file.key_value_metadata()?.iter();
        pairs.find(|pair| pair.key == key)?.value.as_deref()
    }

    /// The columns.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.metadata.schema().fields().iter().map(|field| &**field)
    }

    /// Whether there is a column of this name.
    #[must_use]
    pub fn has_column(&self, name: &str) -> bool {
        self.fields().any(|field| field.name() == name)
    }

    /// The index of a column of texts.
    ///
    /// # Errors
    /// There is none of that name, or it holds something else than texts.
    pub fn text_column(&self, name: &str) -> Result<usize> {
        let (index, field) = self.column(name)?;
        if is_text(field.data_type()) {
            return Ok(index);
        }
        let reason = format!(
            "the column `{name}` has the type {}, and texts are needed",
            field.data_type()
        );
        Err(Error::column(&self.path, reason))
    }

    /// The index of a column.
    ///
    /// # Errors
    /// There is none of that name, or there are several.
    pub(crate) fn column(&self, name: &str) -> Result<(usize, &Field)> {
        let columns = self.fields().enumerate();
        let mut found = columns.filter(|(_, field)| field.name() == name);
        match (found.next(), found.next()) {
            (Some(column), None) => Ok(column),
            (Some(_), Some(_)) => Err(Error::column(
                &self.path,
                format!("several columns are named `{name}`"),
            )),
            (None, _) => {
                let names: Vec<&str> = self.fields().map(|field| field.name().as_str()).collect();
                let listed = names[..names.len().min(MOST_LISTED)].join(", ");
                let further = match names.len() {
                    0 => "none".to_owned(),
                    1..=MOST_LISTED => listed,
                    count => format!("{listed}, and {} more", count - MOST_LISTED),
                };
                let reason = format!("there is no column `{name}`; it has {further}");
                Err(Error::column(&self.path, reason))
            }
        }
    }

    /// Reads columns, or all of them.
    pub(crate) fn batches(&self, columns: Option<&[usize]>) -> Result<Batches> {
        let (file, _) = fs_err::File::open(&self.path)?.into_parts();
        let metadata = self.metadata.clone();
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
        let mask = match columns {
            Some(columns) => {
                ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied())
            }
            None => ProjectionMask::all(),
        };
        let reader = builder
            .with_projection(mask)
            .with_batch_size(self.batch_rows())
            .build();
        Ok(Batches {
            reader: reader.map_err(|error| Error::table(&self.path, error.to_string()))?,
            path: self.path.clone(),
            rows: 0,
        })
    }

    /// As many rows as are expected to have [`BATCH_BYTES`].
    fn batch_rows(&self) -> usize {
        let groups = self.metadata.metadata().row_groups().iter();
        let widest = groups.map(|group| group.total_byte_size() / group.num_rows().max(1));
        let widest = widest.max().unwrap_or(1).max(1);
        usize::try_from((BATCH_BYTES / widest).clamp(1, BATCH_ROWS)).unwrap_or(1)
    }
}

/// Whether a type holds texts.
fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The batches of a file.
pub(crate) struct Batches {
    reader: ParquetRecordBatchReader,
    path: PathBuf,
    rows: usize,
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // The decoders panic on some damaged pages. Nobody reads on after an error.
        let Ok(batch) = catch_unwind(AssertUnwindSafe(|| self.reader.next())) else {
            return Some(Err(Error::table(
                &self.path,
                format!("the rows from {} on are damaged", self.rows),
            )));
        };
        Some(match batch? {
            Ok(batch) => {
                self.rows += batch.num_rows();
                Ok(batch)
            }
            Err(error) => Err(Error::table(
                &self.path,
                format!("the rows from {} on cannot be read: {error}", self.rows),
            )),
        })
    }
}
