//! Vectors as JSON lines or as a NumPy array (.npy, format version 1.0).
//!
//! A file appears by rename, complete or not at all.

use std::io::{BufWriter, Seek as _, SeekFrom, Write};
use std::path::Path;

use serde::Serialize;
use tempfile::NamedTempFile;

use crate::interrupt;

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object per line: index, text, embedding.
    JsonLines,
    /// A float32 matrix, one row per text.
    Npy,
}

impl Format {
    /// By the output file's ending; standard output gets JSON lines.
    ///
    /// # Errors
    /// The ending is unknown.
    pub fn of(path: Option<&Path>) -> Result<Self, String> {
        let Some(path) = path else {
            return Ok(Self::JsonLines);
        };
        match path.extension().and_then(|e| e.to_str()) {
            Some("jsonl") => Ok(Self::JsonLines),
            Some("npy") => Ok(Self::Npy),
            _ => Err(format!(
                "{}: lexivec writes .jsonl and .npy files",
                path.display()
            )),
        }
    }
}

/// Bytes of an .npy header, padded: the number of rows is written into it when it is known.
const HEADER: usize = 128;

#[derive(Debug)]
enum Sink {
    Stdout(BufWriter<std::io::Stdout>),
    File(BufWriter<NamedTempFile>, std::path::PathBuf),
}

/// Writes vectors of equal width.
#[derive(Debug)]
pub struct Writer {
    sink: Sink,
    format: Format,
    rows: usize,
    width: usize,
}

#[derive(Serialize)]
struct Line<'a> {
    index: usize,
    text: &'a str,
    embedding: &'a [f32],
}

impl Writer {
    /// Opens the output; `None` is standard output.
    ///
    /// # Errors
    /// The file's folder cannot be written.
    pub fn create(path: Option<&Path>, format: Format) -> anyhow::Result<Self> {
        let sink = match path {
            None => Sink::Stdout(BufWriter::new(std::io::stdout())),
            Some(path) => {
                let folder = path
                    .parent()
                    .filter(|p| !p.as_os_str().is_empty())
                    .unwrap_or(Path::new("."));
                let file = NamedTempFile::new_in(folder)
                    .map_err(|e| anyhow::anyhow!("{}: cannot be written: {e}", path.display()))?;
                interrupt::remove_on_exit(Some(file.path()));
                Sink::File(BufWriter::new(file), path.to_path_buf())
            }
        };
        let mut writer = Self {
            sink,
            format,
            rows: 0,
            width: 0,
        };
        if format == Format::Npy {
            writer.out().write_all(&[0; HEADER])?;
        }
        Ok(writer)
    }

    fn out(&mut self) -> &mut dyn Write {
        match &mut self.sink {
            Sink::Stdout(out) => out,
            Sink::File(out, _) => out,
        }
    }

    /// Adds a text's vector.
    ///
    /// # Errors
    /// The output cannot be written.
    pub fn write(&mut self, text: &str, vector: &[f32]) -> anyhow::Result<()> {
        match self.format {
            Format::JsonLines => {
                let line = Line {
                    index: self.rows,
                    text,
                    embedding: vector,
                };
                serde_json::to_writer(self.out(), &line).map_err(std::io::Error::from)?;
                self.out().write_all(b"\n")?;
            }
            Format::Npy => {
                for value in vector {
                    self.out().write_all(&value.to_le_bytes())?;
                }
            }
        }
        self.rows += 1;
        self.width = vector.len();
        Ok(())
    }

    /// Completes the output.
    ///
    /// # Errors
    /// The output cannot be written or renamed.
    pub fn finish(mut self) -> anyhow::Result<()> {
        self.out().flush()?;
        if let Sink::File(out, path) = self.sink {
            let mut file = out.into_inner()?;
            if self.format == Format::Npy {
                file.seek(SeekFrom::Start(0))?;
                file.write_all(&header(self.rows, self.width))?;
            }
            // A temporary file is private; the result is an ordinary file.
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
            file.as_file().set_permissions(permissions)?;
            file.persist(&path)?;
            interrupt::remove_on_exit(None);
        }
        Ok(())
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

    #[test]
    fn an_npy_header_is_whole_and_says_its_length() {
        let bytes = header(123_456_789, 2560);
        assert_eq!(bytes.len(), HEADER);
        assert_eq!(usize::from(bytes[8]), HEADER - 10);
        assert_eq!(bytes.last(), Some(&b'\n'));
    }

    #[test]
    fn files_appear_when_they_are_finished() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vectors.npy");
        let mut writer = Writer::create(Some(&path), Format::of(Some(&path)).unwrap()).unwrap();
        writer.write("a", &[1.0, 2.0]).unwrap();
        writer.write("b", &[3.0, 4.0]).unwrap();
        assert!(!path.exists());
        writer.finish().unwrap();
        let bytes = fs_err::read(&path).unwrap();
        assert_eq!(bytes.len(), HEADER + 16);
        assert!(String::from_utf8_lossy(&bytes[..HEADER]).contains("(2, 2)"));
        assert_eq!(&bytes[HEADER..HEADER + 4], &1f32.to_le_bytes());
    }

    #[test]
    fn an_unfinished_file_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("vectors.jsonl");
        let mut writer = Writer::create(Some(&path), Format::JsonLines).unwrap();
        writer.write("a", &[1.0]).unwrap();
        drop(writer);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }
}
