//! The end of a part of an output in parts, and the end of all outputs.

use std::path::PathBuf;

use super::super::parts::Parts;
use super::super::write::Writer;
use super::Job;

impl Job {
    /// All vectors that are written.
    pub(super) fn all_rows(&self) -> usize {
        self.rows_in_parts().saturating_add(self.writer.rows())
    }

    /// Vectors that stay if the job ends early, and where they are.
    pub(super) fn kept(&self) -> Option<(usize, PathBuf)> {
        let in_parts = self.rows_in_parts();
        let rows = in_parts.saturating_add(self.writer.kept_rows());
        let parts = self.parts.as_ref();
        let folder = parts.filter(|parts| in_parts > 0 && !parts.is_complete());
        let folder = folder.map(Parts::folder);
        let place = folder.or_else(|| self.writer.kept())?;
        Some((rows, place.to_path_buf()))
    }

    /// Vectors in complete parts.
    fn rows_in_parts(&self) -> usize {
        self.parts.as_ref().map_or(0, Parts::rows)
    }

    /// Completes the current part if it is full, and starts the next one.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn end_full_part(&mut self) -> anyhow::Result<()> {
        let rows = self.writer.rows();
        let Some(parts) = self.parts.as_mut().filter(|parts| parts.is_full(rows)) else {
            return Ok(());
        };
        let (mut next, _) = Writer::create(Some(&parts.after_next()), self.format, false)?;
        next.describe(&self.vector_column, self.description.clone());
        std::mem::replace(&mut self.writer, next).finish()?;
        parts.add(rows, &self.record)
    }

    /// Completes the output, and the file of rows that were left out.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let rows = self.writer.rows();
        match self.parts {
            None => self.writer.finish()?,
            Some(mut parts) => {
                // Without rows, the last part has just been started, and its file goes with the writer.
                if rows > 0 {
                    self.writer.finish()?;
                    parts.add(rows, &self.record)?;
                }
                parts.finish(&self.record)?;
            }
        }
        self.rejects.finish()
    }

    /// Ends a job that has no vector.
    ///
    /// # Errors
    /// The file of rows that were left out cannot be written.
    pub(super) fn finish_empty(self) -> anyhow::Result<()> {
        drop(self.writer);
        if let Some(parts) = self.parts {
            parts.discard();
        }
        self.rejects.finish()
    }
}
