//! Rows and their vectors as a Parquet file.
//!
//! A writer can be resumed: [`Writer::footer`] describes the row groups that are complete, and [`Writer::resume`] continues after
//! them. Parquet's own writer cannot start in the middle of a file, so the complete row groups are written through it again, and
//! [`Skip`] drops their bytes, which the file has already.

use std::collections::HashSet;
use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use parquet::arrow::arrow_writer::{ArrowColumnWriter, ArrowRowGroupWriterFactory, compute_leaves};
use parquet::arrow::{
    ArrowSchemaConverter, add_encoded_arrow_schema_to_metadata, parquet_to_arrow_schema,
};
use parquet::basic::{Compression, ZstdLevel};
use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::ColumnPath;

use crate::row::columns;
use crate::{Error, Result, Row};

/// Bytes of the vectors of a row group. Readers hold a row group at a time, and spread row groups over threads.
const GROUP_BYTES: usize = 64 << 20;
/// The fewest and the most rows of a row group, but for the last one of a file.
const GROUP_ROWS: [usize; 2] = [1024, 128 << 10];
/// Encoded bytes with which a row group is full although it has fewer rows.
const MOST_GROUP_BYTES: usize = 2 * GROUP_BYTES;
/// Rows that are encoded together.
const BATCH_ROWS: usize = 1024;
/// Bytes of carried columns that wait to be encoded.
const BATCH_BYTES: usize = 32 << 20;

/// How vectors are written.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name of the column of vectors.
    pub vector_column: String,
    /// The numbers of each vector.
    pub width: usize,
    /// Keys and values of the file's metadata.
    pub metadata: Vec<(String, String)>,
}

/// Writes rows, each with its vector: the rows' own columns, and then the vectors as a list of fixed size of float32.
pub struct Writer<W: Write + Send> {
    file: SerializedFileWriter<Skip<W>>,
    factory: ArrowRowGroupWriterFactory,
    schema: Arc<Schema>,
    settings: Settings,
    /// The row group that is not complete.
    group: Vec<ArrowColumnWriter>,
    group_rows: usize,
    /// Rows that are not encoded yet.
    rows: Vec<Row>,
    vectors: Vec<f32>,
    bytes: usize,
}

impl<W: Write + Send> std::fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<W: Write + Send> Writer<W> {
    /// Starts a file whose columns are those of `first` and the vectors.
    ///
    /// # Errors
    /// `first` has a column of the vectors' name or of an unsupported type, or `sink` cannot be written.
    pub fn new(sink: W, first: &Row, settings: Settings) -> Result<Self> {
        let mut fields = first.fields();
        let name = &settings.vector_column;
        if fields.iter().any(|field| field.name() == name) {
            return Err(Error::Taken(name.clone()));
        }
        let mut names = HashSet::new();
        if let Some(field) = fields.iter().find(|field| !names.insert(field.name())) {
            return Err(Error::write(format!(
                "the rows have several columns named `{}`: rename one of them",
                field.name()
            )));
        }
        let width = i32::try_from(settings.width).map_err(Error::write)?;
        let vectors = DataType::FixedSizeList(item(), width);
        fields.push(Field::new(name, vectors, false));
        let schema = Arc::new(Schema::new(fields));
        Self::start(Skip::new(sink, 0), schema, settings)
    }

    /// Continues a file after its complete row groups. `written` is that file, and `footer` what [`footer`](Self::footer) returned.
    ///
    /// # Errors
    /// The footer is damaged or belongs to other vectors, or the file cannot be read.
    pub fn resume(sink: W, written: &File, footer: Vec<u8>, settings: Settings) -> Result<Self> {
        let footer = ParquetMetaDataReader::new()
            .parse_and_finish(&Bytes::from(footer))
            .map_err(Error::write)?;
        let file = footer.file_metadata();
        let schema = parquet_to_arrow_schema(file.schema_descr(), file.key_value_metadata());
        // Its metadata would be that of the file, which the settings have.
        let schema = Schema::new(schema.map_err(Error::write)?.fields().clone());
        let columns = footer.row_groups().iter().flat_map(|group| group.columns());
        let end = columns.map(|column| column.byte_range()).max();
        let end = end.map_or(0, |(start, length)| start + length);
        let mut writer = Self::start(Skip::new(sink, end), Arc::new(schema), settings)?;
        for group in footer.row_groups() {
            let rows = u64::try_from(group.num_rows()).map_err(Error::write)?;
            let mut target = writer.file.next_row_group().map_err(Error::write)?;
            for column in group.columns() {
                let close = ColumnCloseResult {
                    bytes_written: column.byte_range().1,
                    rows_written: rows,
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                target.append_column(written, close).map_err(Error::write)?;
            }
            target.close().map_err(Error::write)?;
        }
        if writer.file.bytes_written() as u64 != end {
            return Err(Error::write(
                "the complete row groups do not fit their record: start again without --resume",
            ));
        }
        Ok(writer)
    }

    fn start(sink: Skip<W>, schema: Arc<Schema>, settings: Settings) -> Result<Self> {
        let parquet = ArrowSchemaConverter::new().convert(&schema);
        let parquet = parquet.map_err(Error::write)?;
        let mut properties = properties(&settings, parquet.columns().last().map(|c| c.path()));
        add_encoded_arrow_schema_to_metadata(&schema, &mut properties);
        let file = SerializedFileWriter::new(sink, parquet.root_schema_ptr(), Arc::new(properties));
        let file = file.map_err(Error::write)?;
        Ok(Self {
            factory: ArrowRowGroupWriterFactory::new(&file, Arc::clone(&schema)),
            file,
            schema,
            settings,
            group: Vec::new(),
            group_rows: 0,
            rows: Vec::new(),
            vectors: Vec::new(),
            bytes: 0,
        })
    }

    /// Checks that a row has the columns of the first.
    ///
    /// # Errors
    /// It has others.
    pub fn check(&self, row: &Row) -> Result<()> {
        row.check(&self.own_fields())
    }

    /// The columns of rows, without that of the vectors.
    fn own_fields(&self) -> Fields {
        self.schema.fields()[..self.schema.fields().len() - 1].into()
    }

    /// Adds a row and its vector.
    ///
    /// # Errors
    /// The row has other columns than the first, the vector has another width, or the row cannot be encoded.
    pub fn push(&mut self, row: Row, vector: &[f32]) -> Result<()> {
        if vector.len() != self.settings.width {
            return Err(Error::write(format!(
                "a vector has {} numbers instead of {}",
                vector.len(),
                self.settings.width
            )));
        }
        self.bytes += row.bytes_beside(self.rows.last());
        self.rows.push(row);
        self.vectors.extend_from_slice(vector);
        if self.rows.len() == BATCH_ROWS || self.bytes >= BATCH_BYTES {
            self.encode()?;
        }
        Ok(())
    }

    /// Whether the rows since the last complete row group are enough for the next one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let [fewest, most] = GROUP_ROWS;
        let enough = (GROUP_BYTES / (4 * self.settings.width.max(1))).clamp(fewest, most);
        let encoded = self.group.iter().map(ArrowColumnWriter::memory_size);
        self.group_rows + self.rows.len() >= enough || encoded.sum::<usize>() >= MOST_GROUP_BYTES
    }

    /// Completes the row group of all rows so far, and passes it to the sink.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn complete(&mut self) -> Result<()> {
        self.encode()?;
        if self.group_rows > 0 {
            let mut group = self.file.next_row_group().map_err(Error::write)?;
            for column in std::mem::take(&mut self.group) {
                let column = column.close().map_err(Error::write)?;
                column
                    .append_to_row_group(&mut group)
                    .map_err(Error::write)?;
            }
            group.close().map_err(Error::write)?;
            self.group_rows = 0;
        }
        self.file.flush().map_err(Error::write)
    }

    /// The footer of a file that ended after the complete row groups.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn footer(&self) -> Result<Vec<u8>> {
        let groups = self.file.flushed_row_groups().to_vec();
        let properties = self.file.properties();
        let file = FileMetaData::new(
            properties.writer_version().as_num(),
            groups.iter().map(|group| group.num_rows()).sum(),
            None,
            properties.key_value_metadata().cloned(),
            Arc::new(self.file.schema_descr().clone()),
            None,
        );
        let metadata = ParquetMetaData::new(file, groups);
        let mut footer = Vec::new();
        ParquetMetaDataWriter::new(&mut footer, &metadata)
            .finish()
            .map_err(Error::write)?;
        Ok(footer)
    }

    /// The sink, to which the complete row groups have been written.
    #[must_use]
    pub fn sink(&self) -> &W {
        &self.file.inner().sink
    }

    /// As [`sink`](Self::sink). Bytes that are written to it would damage the file.
    pub fn sink_mut(&mut self) -> &mut W {
        &mut self.file.inner_mut().sink
    }

    /// Completes the last row group and the file.
    ///
    /// # Errors
    /// The sink cannot be written.
    pub fn finish(mut self) -> Result<W> {
        self.complete()?;
        // It writes the footer, too.
        Ok(self.file.into_inner().map_err(Error::write)?.sink)
    }

    /// Encodes the rows that wait.
    fn encode(&mut self) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        if self.group.is_empty() {
            let index = self.file.flushed_row_groups().len();
            let columns = self.factory.create_column_writers(index);
            self.group = columns.map_err(Error::write)?;
        }
        let mut arrays = columns(&self.rows, &self.own_fields())?;
        arrays.push(self.vector_array()?);
        let mut writers = self.group.iter_mut();
        for (field, array) in self.schema.fields().iter().zip(&arrays) {
            for leaf in compute_leaves(field, array).map_err(Error::write)? {
                let writer = writers
                    .next()
                    .ok_or_else(|| Error::write("a column is missing"))?;
                writer.write(&leaf).map_err(Error::write)?;
            }
        }
        self.group_rows += self.rows.len();
        self.rows.clear();
        self.bytes = 0;
        Ok(())
    }

    fn vector_array(&mut self) -> Result<ArrayRef> {
        let width = i32::try_from(self.settings.width).map_err(Error::write)?;
        let numbers = Arc::new(Float32Array::from(std::mem::take(&mut self.vectors)));
        let array = FixedSizeListArray::try_new(item(), width, numbers, None);
        Ok(Arc::new(array.map_err(Error::write)?))
    }
}

/// A number of a vector, under the name that Parquet's format prescribes.
fn item() -> Arc<Field> {
    Arc::new(Field::new("element", DataType::Float32, false))
}

fn properties(settings: &Settings, vectors: Option<&ColumnPath>) -> WriterProperties {
    let metadata = settings.metadata.iter();
    let metadata = metadata.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
    let mut properties = WriterProperties::builder()
        .set_created_by(concat!("lexivec ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_offset_index_disabled(true)
        .set_key_value_metadata(Some(metadata.collect()));
    if let Some(vectors) = vectors {
        // Numbers of unit vectors hardly repeat: neither a dictionary nor compression makes them smaller.
        properties = properties
            .set_column_dictionary_enabled(vectors.clone(), false)
            .set_column_compression(vectors.clone(), Compression::UNCOMPRESSED)
            .set_column_statistics_enabled(vectors.clone(), EnabledStatistics::None);
    }
    properties.build()
}

/// Drops the first bytes, and passes the others on.
struct Skip<W> {
    sink: W,
    left: u64,
}

impl<W> Skip<W> {
    fn new(sink: W, bytes: u64) -> Self {
        Self { sink, left: bytes }
    }
}

impl<W: Write> Write for Skip<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return self.sink.write(bytes);
        }
        let dropped = bytes
            .len()
            .min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= dropped as u64;
        Ok(dropped)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

#[cfg(test)]
mod tests;
