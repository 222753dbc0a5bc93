//! Sizes and digests of the files that a conversion reads and writes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use lexivec_models::{Checkpoint, Error as ModelError, FileRecord};
use rayon::prelude::*;

use crate::error::Result;

/// Records by the files' names relative to their folder.
pub(crate) type FileRecords = BTreeMap<String, FileRecord>;

/// Records the checkpoint's files that a conversion reads, with SHA-256 digests.
pub(crate) fn of_checkpoint(checkpoint: &Checkpoint) -> Result<FileRecords> {
    records(&checkpoint.files(), FileRecord::sha256)
}

/// Records the files that a conversion wrote or linked, with BLAKE3 digests.
pub(crate) fn of_written(dir: &Path) -> Result<FileRecords> {
    let names = files_below(dir)?.into_iter();
    let files: Vec<_> = names.map(|name| (name.clone(), dir.join(name))).collect();
    records(&files, FileRecord::blake3)
}

/// A text that changes with the name or digest of any file.
pub(crate) fn digest_of(records: &FileRecords) -> String {
    let lines = records
        .iter()
        .map(|(name, record)| format!("{name} {}\n", record.digest));
    lines.collect()
}

/// Records files, given by name and path.
fn records(
    files: &[(PathBuf, PathBuf)],
    of: fn(&Path) -> lexivec_models::Result<FileRecord>,
) -> Result<FileRecords> {
    let record =
        |(name, path): &(PathBuf, PathBuf)| Ok((name.to_string_lossy().into_owned(), of(path)?));
    files.par_iter().map(record).collect()
}

/// The files below a folder, relative to it, without hidden ones.
fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = dir.join(&folder);
        let io = |e| ModelError::io(&path, e);
        for entry in fs_err::read_dir(&path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = folder.join(entry.file_name());
            if entry.path().is_dir() {
                folders.push(name);
            } else if !entry.file_name().to_string_lossy().starts_with('.') {
                found.push(name);
            }
        }
    }
    Ok(found)
}
