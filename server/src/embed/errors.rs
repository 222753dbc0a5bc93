//! The file of rows that `--on-error skip` leaves out.
//!
//! Like the output it is renamed into place when the job is done. Until then the rows are in `ERRORS.partial`, which is created for the
//! first of them, so a job that leaves no row out touches no file.

use std::fs::Metadata;
use std::io::{BufWriter, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use serde::Serialize;

use super::file_format::is_special;
use super::output::{READ_AND_WRITE, beside, replace};
use super::own_file;
use crate::paths::{absolute, is_same_file, parent_folder, resolve_links};
use crate::stdio::say;

/// A row that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Reject {
    /// The number of the row, the first being 0.
    pub(super) index: u64,
    /// File and line.
    pub(super) place: String,
    /// The reason.
    pub(super) error: String,
    /// The row; bytes that are not UTF-8 are replaced.
    pub(super) text: String,
}

/// The destination of rows that are left out: a file with a JSON object per line, or lines on standard error.
#[derive(Debug)]
pub struct Rejects(Option<RejectFile>);

#[derive(Debug)]
struct RejectFile {
    /// The path as the user wrote it.
    name: PathBuf,
    /// The file that the name leads to.
    target: PathBuf,
    /// `None` for a pipe or a device, which cannot be replaced.
    partial: Option<PathBuf>,
    /// Metadata of the file that is replaced.
    replaced: Option<Metadata>,
    /// Open after the first row.
    file: Option<BufWriter<fs_err::File>>,
}

impl Rejects {
    /// Lines on standard error.
    #[must_use]
    pub fn to_stderr() -> Self {
        Self(None)
    }

    /// A file, which is opened for the first row. `others` are the names and roles of the files that the job reads and writes.
    ///
    /// # Errors
    /// The path cannot be a file, or it is one of the others.
    pub(super) fn file(name: &Path, others: &[(PathBuf, &str)]) -> anyhow::Result<Self> {
        let shown = name.display();
        // A stream such as /dev/stderr is written to and never replaced, even if it leads to a file.
        if is_special(name) || name.starts_with("/dev") {
            return Ok(Self(Some(RejectFile {
                name: name.to_path_buf(),
                target: name.to_path_buf(),
                partial: None,
                replaced: None,
                file: None,
            })));
        }
        let target = resolve_links(name)?;
        ensure!(!target.is_dir(), "{shown}: this is a folder, not a file");
        let folder = parent_folder(&target);
        ensure!(
            folder.is_dir(),
            "{shown}: cannot be written, because there is no folder {}",
            folder.display()
        );
        let partial = beside(&target, ".partial");
        for ours in [&target, &partial] {
            for (other, role) in others {
                if is_same_file(ours, other) {
                    bail!(
                        "{}: the rows that are left out cannot be written there, because it is {role}: name another file with \
                         --errors",
                        ours.display()
                    );
                }
            }
        }
        let exists = target.exists();
        let replaced = exists.then(|| fs_err::metadata(&target)).transpose()?;
        Ok(Self(Some(RejectFile {
            name: name.to_path_buf(),
            target,
            partial: Some(partial),
            replaced,
            file: None,
        })))
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|list| list.name.as_path())
    }

    /// The file's absolute path; `None` without a file.
    pub(super) fn identity(&self) -> Option<String> {
        let list = self.0.as_ref()?;
        Some(absolute(&list.target).display().to_string())
    }

    /// Continues a file into which an unfinished job wrote `kept` bytes.
    ///
    /// # Errors
    /// The file is shorter.
    pub(super) fn resume(&mut self, kept: u64) -> anyhow::Result<()> {
        let Some(list) = &mut self.0 else {
            return Ok(());
        };
        let Some(partial) = list.partial.as_ref().filter(|_| kept > 0) else {
            return Ok(());
        };
        let found = fs_err::metadata(partial).map_or(0, |found| found.len());
        ensure!(
            found >= kept,
            "{}: the unfinished job wrote {kept} bytes of left-out rows to this file, and it has {found}: put the file back, or remove \
             the job's files to start again",
            partial.display()
        );
        list.open(kept)
    }

    pub(super) fn add(&mut self, reject: &Reject) -> anyhow::Result<()> {
        let Some(list) = &mut self.0 else {
            say!("left out: {}: {}", reject.place, reject.error);
            return Ok(());
        };
        if list.file.is_none() {
            list.open(0)?;
        }
        if let Some(file) = &mut list.file {
            serde_json::to_writer(&mut *file, reject)?;
            file.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Flushes the file to disk, and returns the number of bytes that a resumed job needs.
    pub(super) fn flush(&mut self) -> anyhow::Result<u64> {
        let Some(list) = &mut self.0 else {
            return Ok(0);
        };
        let Some(file) = &mut list.file else {
            return Ok(0);
        };
        file.flush()?;
        if list.partial.is_none() {
            return Ok(0);
        }
        file.get_ref().sync_data()?;
        Ok(file.get_mut().stream_position()?)
    }

    /// Renames the file into place if it has rows.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        self.flush()?;
        if let Some(list) = self.0
            && let (Some(file), Some(partial)) = (&list.file, &list.partial)
        {
            replace(
                file.get_ref(),
                partial,
                &list.target,
                list.replaced.as_ref(),
            )?;
        }
        Ok(())
    }

    /// Ends the job early. With `kept` the partial file stays, and its path is returned.
    pub(super) fn abandon(mut self, kept: bool) -> Option<PathBuf> {
        // The error that ended the job is reported instead of this one.
        let _ = self.flush();
        let list = self.0?;
        list.file.as_ref()?;
        let partial = list.partial?;
        if kept {
            return Some(partial);
        }
        let _ = fs_err::remove_file(&partial);
        None
    }
}

impl RejectFile {
    /// Opens the file, whose first `kept` bytes stay.
    fn open(&mut self, kept: u64) -> anyhow::Result<()> {
        let told = || format!("{}: cannot be written", self.name.display());
        let Some(partial) = &self.partial else {
            let mut options = fs_err::OpenOptions::new();
            let file = options.append(true).open(&self.target).with_context(told)?;
            self.file = Some(BufWriter::new(file));
            return Ok(());
        };
        // Only users who may read the replaced file may read the partial file.
        let mode = self
            .replaced
            .as_ref()
            .map_or(READ_AND_WRITE, |old| old.mode() & 0o777);
        let mut file = own_file::open(partial, mode, &self.name)?;
        file.set_len(kept)?;
        file.seek(SeekFrom::End(0))?;
        self.file = Some(BufWriter::new(file));
        Ok(())
    }
}
