//! An open Parquet or Arrow file.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Field, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader,
    ParquetRecordBatchReaderBuilder,
};
use parquet::basic::Compression;

use crate::arrow_file::{ArrowBatches, ArrowFile, MAGIC};
use crate::{Error, Result};

/// The bytes that a batch should have at most. A batch has at least one row.
const BATCH_BYTES: i64 = 16 << 20;
/// The most rows of a batch.
pub(crate) const BATCH_ROWS: usize = 1024;
/// How many columns a message lists.
const MOST_LISTED: usize = 20;

/// A Parquet or Arrow file whose metadata has been read. Its first bytes tell which it is.
#[derive(Debug)]
pub struct Table {
    path: PathBuf,
    /// The open file, if no path leads to it.
    file: Option<File>,
    format: Format,
}

#[derive(Debug)]
enum Format {
    Parquet(ArrowReaderMetadata),
    Arrow(ArrowFile),
}

impl Table {
    /// Reads the metadata of a file.
    ///
    /// # Errors
    /// It cannot be opened, or is no complete Parquet or Arrow file, or has a compression that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let (file, _) = fs_err::File::open(path)?.into_parts();
        Self::read(&file, path)
    }

    /// Reads the metadata of a file that is open, and that `name` names in messages. Its rows are read by one reader at a time, because
    /// all of them share the file's position.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn of_file(file: File, name: &Path) -> Result<Self> {
        let table = Self::read(&file, name)?;
        Ok(Self {
            file: Some(file),
            ..table
        })
    }

    fn read(file: &File, path: &Path) -> Result<Self> {
        if file.metadata()?.is_dir() {
            return Err(Error::table(path, "this is a folder, not a file"));
        }
        let mut start = [0; MAGIC.len()];
        let is_arrow = file.read_exact_at(&mut start, 0).is_ok() && start == *MAGIC;
        let table = Self {
            path: path.to_owned(),
            file: None,
            format: match is_arrow {
                true => {
                    let found = guarded(|| ArrowFile::open(file)).map_err(|reason| {
                        let reason = format!("the file is no complete Arrow file: {reason}");
                        Error::table(path, reason)
                    });
                    Format::Arrow(found?)
                }
                false => Format::Parquet(parquet(file, path)?),
            },
        };
        table.check_compression()?;
        Ok(table)
    }

    /// Checks that all columns can be decompressed.
    ///
    /// # Errors
    /// One cannot.
    fn check_compression(&self) -> Result<()> {
        let Format::Parquet(metadata) = &self.format else {
            return Ok(());
        };
        let groups = metadata.metadata().row_groups().iter();
        for column in groups.flat_map(|group| group.columns()) {
            let name = match column.compression() {
                Compression::BROTLI(_) => "Brotli",
                Compression::LZO => "LZO",
                _ => continue,
            };
            let reason = format!(
                "the column `{}` is compressed with {name}, which lexivec does not read: write the file again with zstd, snappy, gzip, \
                 lz4 or no compression",
                column.column_path().string()
            );
            return Err(Error::table(&self.path, reason));
        }
        Ok(())
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many rows there are.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match &self.format {
            Format::Parquet(metadata) => {
                let rows = metadata.metadata().file_metadata().num_rows();
                u64::try_from(rows).unwrap_or_default()
            }
            Format::Arrow(file) => file.rows(),
        }
    }

    /// A value of the file's metadata.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        match &self.format {
            Format::Parquet(metadata) => {
                let file = metadata.metadata().file_metadata();
                let mut pairs = file.key_value_metadata()?.iter();
                pairs.find(|pair| pair.key == key)?.value.as_deref()
            }
            Format::Arrow(file) => file.schema().metadata().get(key).map(String::as_str),
        }
    }

    /// The columns.
    pub(crate) fn fields(&self) -> impl Iterator<Item = &Field> {
        self.schema().fields().iter().map(|field| &**field)
    }

    fn schema(&self) -> &Schema {
        match &self.format {
            Format::Parquet(metadata) => metadata.schema(),
            Format::Arrow(file) => file.schema(),
        }
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
        let file = match &self.file {
            Some(file) => file.try_clone()?,
            None => fs_err::File::open(&self.path)?.into_parts().0,
        };
        let reader = match &self.format {
            Format::Parquet(metadata) => {
                let metadata = metadata.clone();
                let rows = batch_rows(&metadata);
                let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
                let mask = match columns {
                    Some(columns) => {
                        ProjectionMask::roots(builder.parquet_schema(), columns.iter().copied())
                    }
                    None => ProjectionMask::all(),
                };
                let builder = builder.with_projection(mask).with_batch_size(rows);
                builder.build().map(BatchReader::Parquet).map_err(said)
            }
            Format::Arrow(found) => {
                guarded(|| found.batches(file, columns)).map(BatchReader::Arrow)
            }
        };
        Ok(Batches {
            reader: reader.map_err(|reason| Error::table(&self.path, reason))?,
            path: self.path.clone(),
            rows: 0,
        })
    }
}

fn parquet(file: &File, path: &Path) -> Result<ArrowReaderMetadata> {
    let metadata = ArrowReaderMetadata::load(file, ArrowReaderOptions::new());
    metadata.map_err(|error| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let reason = match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("arrow" | "feather") => {
                "this is no Arrow file, which begins with ARROW1: Arrow streams and Feather's version 1 are not read".to_owned()
            }
            _ => format!("the file is no complete Parquet file: {error}"),
        };
        Error::table(path, reason)
    })
}

/// As many rows of a Parquet file as are expected to have [`BATCH_BYTES`].
fn batch_rows(metadata: &ArrowReaderMetadata) -> usize {
    let groups = metadata.metadata().row_groups().iter();
    let widest = groups.map(|group| group.total_byte_size() / group.num_rows().max(1));
    let widest = widest.max().unwrap_or(1).max(1);
    usize::try_from((BATCH_BYTES / widest).clamp(1, BATCH_ROWS as i64)).unwrap_or(1)
}

/// Turns a panic into an error: the decoders panic on some damaged files.
fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    let done = catch_unwind(AssertUnwindSafe(work));
    done.unwrap_or_else(|_| Err("it is damaged".to_owned()))
}

pub(crate) fn said(error: impl std::fmt::Display) -> String {
    error.to_string()
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
    reader: BatchReader,
    path: PathBuf,
    rows: usize,
}

enum BatchReader {
    Parquet(ParquetRecordBatchReader),
    Arrow(ArrowBatches),
}

impl Iterator for Batches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // Nobody reads on after an error.
        let batch = guarded(|| {
            let batch = match &mut self.reader {
                BatchReader::Parquet(reader) => reader.next().map(|batch| batch.map_err(said)),
                BatchReader::Arrow(reader) => reader.next(),
            };
            batch.transpose()
        });
        match batch {
            Ok(batch) => {
                let batch = batch?;
                self.rows += batch.num_rows();
                Some(Ok(batch))
            }
            Err(error) => Some(Err(Error::table(
                &self.path,
                format!("the rows from {} on cannot be read: {error}", self.rows),
            ))),
        }
    }
}
