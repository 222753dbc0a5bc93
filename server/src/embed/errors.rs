//! The file of rows that were left out, with `--on-error skip`.

use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::stdio::say;

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reject {
    /// The number of the row, the first being 0.
    pub(super) index: u64,
    /// File and line.
    pub(super) place: String,
    /// Why.
    pub(super) error: String,
    /// The row, as far as it is text.
    pub(super) text: String,
}

/// Where rows go that were left out: a JSON object per line, or lines on standard error.
#[derive(Debug)]
pub struct Rejects(Option<(BufWriter<fs_err::File>, PathBuf)>);

impl Rejects {
    /// Lines on standard error.
    #[must_use]
    pub fn told() -> Self {
        Self(None)
    }

    /// A file, whose first `kept` bytes stay.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path, kept: u64) -> anyhow::Result<Self> {
        let mut options = fs_err::OpenOptions::new();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        file.set_len(kept)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(Some((BufWriter::new(file), path.to_path_buf()))))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|(_, path)| path.as_path())
    }

    pub(super) fn add(&mut self, reject: &Reject) -> anyhow::Result<()> {
        match &mut self.0 {
            Some((file, _)) => {
                serde_json::to_writer(&mut *file, reject)?;
                file.write_all(b"\n")?;
            }
            None => {
                say!("left out: {}: {}", reject.place, reject.error);
            }
        }
        Ok(())
    }

    /// Writes what is buffered; the bytes of the file.
    pub(super) fn flush(&mut self) -> anyhow::Result<u64> {
        let Some((file, _)) = &mut self.0 else {
            return Ok(0);
        };
        file.flush()?;
        Ok(file.get_mut().stream_position()?)
    }

    /// Removes a file that nothing was written to.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        if self.flush()? == 0
            && let Some(path) = self.path()
        {
            fs_err::remove_file(path)?;
        }
        Ok(())
    }
}
