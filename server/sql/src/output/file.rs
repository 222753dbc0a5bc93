//! Files of results: Parquet, CSV and JSON lines. A file is written under a temporary name in its folder, and renamed when it is complete.

use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use datafusion::arrow::array::RecordBatch;
use datafusion::arrow::csv;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::arrow::json::LineDelimitedWriter;
use datafusion::parquet::arrow::ArrowWriter;
use datafusion::parquet::basic::Compression;
use datafusion::parquet::file::properties::WriterProperties;
use tempfile::{Builder, NamedTempFile};

use super::columns;

/// Bytes of a row group, which is the memory that writing takes.
const ROW_GROUP_BYTES: usize = 64 << 20;

/// The format of a file of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FileFormat {
    Parquet,
    Csv,
    JsonLines,
}

impl FileFormat {
    /// The format that the ending of a file's name says.
    ///
    /// # Errors
    /// There is none for it.
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        match ending.map(str::to_ascii_lowercase).as_deref() {
            Some("parquet") => Ok(Self::Parquet),
            Some("csv") => Ok(Self::Csv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            _ => anyhow::bail!(
                "--output {}: the format is not known: name the file .parquet, .csv or .jsonl",
                path.display()
            ),
        }
    }
}

/// A file that is not complete yet. It is removed if it is dropped.
pub(super) struct Partial {
    writer: Writer,
}

type File = BufWriter<NamedTempFile>;

enum Writer {
    // Boxed, because they differ in size.
    Parquet(Box<ArrowWriter<File>>, SchemaRef),
    Csv(Box<csv::Writer<File>>),
    JsonLines(Box<LineDelimitedWriter<File>>),
}

impl Partial {
    /// # Errors
    /// The file cannot be created.
    pub(super) fn create(
        path: &Path,
        format: FileFormat,
        schema: &SchemaRef,
    ) -> anyhow::Result<Self> {
        ensure!(
            !path.is_dir(),
            "{}: this is a folder: name a file",
            path.display()
        );
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = Builder::new()
            .prefix(&format!(".{name}."))
            .suffix(".partial")
            // Before the umask, as any new file.
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder.unwrap_or(Path::new(".")))
            .with_context(|| format!("{} cannot be written", path.display()))?;
        let file = BufWriter::new(file);
        let writer = match format {
            FileFormat::Parquet => {
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(Default::default()))
                    .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
                    .build();
                let writer = ArrowWriter::try_new(file, Arc::clone(schema), Some(properties))?;
                Writer::Parquet(Box::new(writer), Arc::clone(schema))
            }
            FileFormat::Csv => Writer::Csv(Box::new(csv::Writer::new(file))),
            FileFormat::JsonLines => Writer::JsonLines(Box::new(LineDelimitedWriter::new(file))),
        };
        Ok(Self { writer })
    }

    pub(super) fn write(&mut self, batch: &RecordBatch) -> anyhow::Result<()> {
        match &mut self.writer {
            Writer::Parquet(writer, schema) => {
                // Batches from a cluster have lost the metadata that says which model made the vectors.
                let batch = RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec())?;
                writer.write(&batch)?;
            }
            Writer::Csv(writer) => writer.write(&columns::as_json(batch)?)?,
            Writer::JsonLines(writer) => writer.write(batch)?,
        }
        Ok(())
    }

    /// Syncs the file to the disk, and renames it to `path`.
    pub(super) fn finish(self, path: &Path) -> anyhow::Result<()> {
        let file = match self.writer {
            Writer::Parquet(writer, _) => writer.into_inner()?,
            Writer::Csv(writer) => writer.into_inner(),
            Writer::JsonLines(mut writer) => {
                writer.finish()?;
                writer.into_inner()
            }
        };
        let mut file = file.into_inner().map_err(|error| error.into_error())?;
        file.flush()?;
        file.as_file().sync_data()?;
        file.persist(path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::array::{Int64Array, StringArray};
    use datafusion::arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn a_file_is_complete_or_absent() {
        let dir = tempfile::tempdir().unwrap();
        let schema = SchemaRef::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("text", DataType::Utf8, true),
        ]));
        let batch = RecordBatch::try_new(
            Arc::clone(&schema),
            vec![
                Arc::new(Int64Array::from(vec![1, 2])),
                Arc::new(StringArray::from(vec![Some("a,b"), None])),
            ],
        )
        .unwrap();
        for name in ["a.csv", "a.jsonl", "a.parquet"] {
            let path = dir.path().join(name);
            let format = FileFormat::of(&path).unwrap();
            let mut partial = Partial::create(&path, format, &schema).unwrap();
            partial.write(&batch).unwrap();
            assert!(!path.exists());
            drop(partial);
            assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
            let mut partial = Partial::create(&path, format, &schema).unwrap();
            partial.write(&batch).unwrap();
            partial.finish(&path).unwrap();
            assert!(path.is_file());
            if name == "a.csv" {
                assert_eq!(
                    fs_err::read_to_string(&path).unwrap(),
                    "id,text\n1,\"a,b\"\n2,\n"
                );
            }
            fs_err::remove_file(&path).unwrap();
        }
        assert!(
            FileFormat::of("a.txt".as_ref())
                .unwrap_err()
                .to_string()
                .contains(".parquet, .csv or .jsonl")
        );
    }
}
