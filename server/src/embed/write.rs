//! Vectors as JSON lines, as a NumPy array (.npy, format version 1.0), or as a column of a Parquet file.

use std::io::{BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::bail;
use serde::Serialize;

use super::file_format::{ending, is_special, is_stdout};
use super::output::Partial;
use super::parquet::{self, ParquetOutput};
use super::read::Text;
use super::record::Record;
use crate::stdio::Closed;

/// The format of a file of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputFormat {
    /// One JSON object per line: index, text, embedding.
    JsonLines,
    /// A float32 matrix, one row per text.
    Npy,
    /// The columns of the input, and a column of vectors.
    Parquet,
}

impl OutputFormat {
    /// The format by the file's ending, in upper or lower case. Standard output, pipes and devices get JSON lines.
    ///
    /// # Errors
    /// The ending is unknown.
    pub fn of(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Ok(Self::JsonLines);
        };
        match ending(path).as_str() {
            "jsonl" | "ndjson" => Ok(Self::JsonLines),
            "npy" => Ok(Self::Npy),
            "parquet" if parquet::IS_BUILT => Ok(Self::Parquet),
            "parquet" => Err(format!("{}: {}", path.display(), parquet::MISSING)),
            _ if is_stdout(path) || is_special(path) => Ok(Self::JsonLines),
            _ => Err(format!(
                "{}: lexivec writes .jsonl (.ndjson), .npy and .parquet files",
                path.display()
            )),
        }
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Npy => "npy",
            Self::Parquet => "parquet",
        }
    }
}

/// Bytes of an .npy header, with padding. The number of rows is written into it at the end.
const HEADER: usize = 128;

#[derive(Debug)]
enum Sink {
    Stdout(BufWriter<std::io::Stdout>),
    /// A pipe or a device, which cannot be replaced.
    Special(BufWriter<fs_err::File>),
    File(Box<Partial>),
    Parquet(Box<ParquetOutput>),
}

/// Writes vectors of equal width.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    format: OutputFormat,
    rows: usize,
    /// Vectors that stay if the job ends early.
    kept_rows: usize,
    width: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    index: u64,
    text: &'a str,
    embedding: &'a [f32],
}

impl Writer {
    /// Opens the output; `None` is standard output. With `resume` it continues an unfinished file, and returns its record.
    ///
    /// # Errors
    /// The output cannot be written, or is unfinished and `resume` is not set.
    pub(super) fn create(
        path: Option<&Path>,
        format: OutputFormat,
        resume: bool,
    ) -> anyhow::Result<(Self, Option<Record>)> {
        let mut found = None;
        let sink = match path.filter(|path| !is_stdout(path)) {
            None => Sink::Stdout(BufWriter::new(std::io::stdout())),
            Some(path) if is_special(path) => {
                if format != OutputFormat::JsonLines {
                    bail!(
                        "{}: .{} needs a file, which is renamed into place when it is complete",
                        path.display(),
                        format.as_str()
                    );
                }
                Sink::Special(BufWriter::new(
                    fs_err::OpenOptions::new().write(true).open(path)?,
                ))
            }
            Some(path) => {
                let (partial, record) = Partial::open(path, resume)?;
                found = record;
                match format {
                    OutputFormat::Parquet => {
                        let output = ParquetOutput::new(partial, found.as_ref())?;
                        Sink::Parquet(Box::new(output))
                    }
                    _ => Sink::File(Box::new(partial)),
                }
            }
        };
        let mut writer = Self {
            sink,
            format,
            rows: found.as_ref().map_or(0, |record| record.rows),
            kept_rows: found.as_ref().map_or(0, |record| record.rows),
            width: found.as_ref().map_or(0, |record| record.width),
        };
        if format == OutputFormat::Npy && found.is_none() {
            writer.put(&[0; HEADER])?;
        }
        Ok((writer, found))
    }

    /// Whether the output is a file, from whose name others can be derived.
    pub(super) fn is_file(&self) -> bool {
        matches!(self.sink, Sink::File(_) | Sink::Parquet(_))
    }

    /// The files that it writes, each with its role.
    pub(super) fn files(&self) -> Vec<(PathBuf, &'static str)> {
        let roles = [
            "the output",
            "the unfinished output",
            "the record of the unfinished output",
        ];
        match &self.sink {
            Sink::Stdout(_) => vec![("/dev/stdout".into(), roles[0])],
            Sink::Special(_) => Vec::new(),
            Sink::File(file) => file
                .files()
                .map(Path::to_path_buf)
                .into_iter()
                .zip(roles)
                .collect(),
            Sink::Parquet(output) => output.files().into_iter().zip(roles).collect(),
        }
    }

    /// The number of vectors written.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The number of vectors that stay if the job ends early.
    pub(super) fn kept_rows(&self) -> usize {
        self.kept_rows
    }

    /// Describes the vectors, for a format that has room for it: the name of their column, and keys and values.
    pub(super) fn describe(&mut self, column: &str, metadata: Vec<(String, String)>) {
        if let Sink::Parquet(output) = &mut self.sink {
            output.describe(column, metadata);
        }
    }

    fn put(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        let written = match &mut self.sink {
            Sink::Stdout(out) => out.write_all(bytes),
            Sink::Special(out) => out.write_all(bytes),
            Sink::File(out) => out.write_all(bytes),
            // It takes rows, not bytes.
            Sink::Parquet(_) => Ok(()),
        };
        self.checked(written)
    }

    /// Turns a broken pipe into [`Closed`]: a reader may close the pipe (`lexivec embed … | head`), which is not a failure.
    fn checked(&self, written: std::io::Result<()>) -> anyhow::Result<()> {
        match written {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Closed.into()),
            other => Ok(other?),
        }
    }

    /// Adds the vector of a text. `index` is the number of its row.
    ///
    /// # Errors
    /// The output cannot be written; [`Closed`] if its reader has closed the pipe.
    pub(super) fn write(&mut self, index: u64, row: &Text, vector: &[f32]) -> anyhow::Result<()> {
        let bytes = match self.format {
            OutputFormat::JsonLines => {
                let line = Line {
                    index,
                    text: &row.text,
                    embedding: vector,
                };
                let mut bytes = serde_json::to_vec(&line)?;
                bytes.push(b'\n');
                bytes
            }
            OutputFormat::Npy => vector.iter().flat_map(|v| v.to_le_bytes()).collect(),
            OutputFormat::Parquet => Vec::new(),
        };
        match &mut self.sink {
            Sink::Parquet(output) => output.push(row, vector)?,
            _ => self.put(&bytes)?,
        }
        self.rows += 1;
        self.width = vector.len();
        Ok(())
    }

    /// Flushes the output. A file can be resumed from here; a .parquet file only after a row group, which ends here if it is full or
    /// `last`.
    ///
    /// # Errors
    /// The output cannot be written.
    pub(super) fn keep(&mut self, record: Record, last: bool) -> anyhow::Result<()> {
        let record = Record {
            rows: self.rows,
            width: self.width,
            ..record
        };
        let flushed = match &mut self.sink {
            Sink::Stdout(out) => out.flush(),
            Sink::Special(out) => out.flush(),
            Sink::File(partial) => {
                partial.keep(record)?;
                self.kept_rows = self.rows;
                return Ok(());
            }
            Sink::Parquet(output) => {
                if output.keep(record, last)? {
                    self.kept_rows = self.rows;
                }
                return Ok(());
            }
        };
        self.checked(flushed)
    }

    /// The unfinished file, if it can be resumed.
    pub(super) fn kept(&self) -> Option<&Path> {
        match &self.sink {
            Sink::File(partial) => partial.kept(),
            Sink::Parquet(output) => output.kept(),
            Sink::Stdout(_) | Sink::Special(_) => None,
        }
    }

    /// Completes the output.
    ///
    /// # Errors
    /// The output cannot be written or renamed.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        let flushed = match &mut self.sink {
            Sink::Stdout(out) => out.flush(),
            Sink::Special(out) => out.flush(),
            Sink::File(_) | Sink::Parquet(_) => Ok(()),
        };
        self.checked(flushed)?;
        match self.sink {
            Sink::Parquet(output) => output.finish(self.width),
            Sink::File(partial) => match self.format {
                OutputFormat::Npy => partial.finish(&header(self.rows, self.width)),
                OutputFormat::JsonLines | OutputFormat::Parquet => partial.finish(&[]),
            },
            Sink::Stdout(_) | Sink::Special(_) => Ok(()),
        }
    }
}

/// Magic, version 1.0, length, and a Python literal padded with spaces up to [`HEADER`] bytes (numpy.lib.format).
fn header(rows: usize, width: usize) -> Vec<u8> {
    let literal =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00\x76\x00".to_vec();
    bytes.extend(format!("{literal:<117}\n").into_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str) -> Text {
        Text {
            text: text.to_owned(),
            place: String::new(),
            carried: None,
        }
    }

    #[test]
    fn an_npy_header_is_complete_and_states_its_length() {
        let bytes = header(123_456_789, 2560);
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(usize::from(bytes[8]), HEADER - 10);
        assert_eq!(bytes.last(), Some(&b'\n'));
    }

    #[test]
    fn files_appear_when_they_are_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vectors.NPY");
        let format = OutputFormat::of(Some(&path)).unwrap();
        let (mut writer, _) = Writer::create(Some(&path), format, false).unwrap();
        writer.write(0, &row("a"), &[1.0, 2.0]).unwrap();
        writer.write(1, &row("b"), &[3.0, 4.0]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!(bytes.len(), HEADER + 16);
        assert!(String::from_utf8_lossy(&bytes[..HEADER]).contains("(2, 2)"));
        assert_eq!(&bytes[HEADER..HEADER + 4], &1f32.to_le_bytes());
    }

    #[test]
    fn devices_are_written_to_and_never_replaced() {
        let null = Path::new("/dev/null");
        assert_eq!(OutputFormat::of(Some(null)), Ok(OutputFormat::JsonLines));
        let (mut writer, _) = Writer::create(Some(null), OutputFormat::JsonLines, false).unwrap();
        writer.write(0, &row("a"), &[1.0]).unwrap();
        writer.finish().unwrap();
        assert!(is_special(null));
        assert!(Writer::create(Some(null), OutputFormat::Npy, false).is_err());
        assert_eq!(
            OutputFormat::of(Some(Path::new("-"))),
            Ok(OutputFormat::JsonLines)
        );
        assert!(OutputFormat::of(Some(Path::new("a.txt"))).is_err());
    }
}
