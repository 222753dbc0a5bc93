//! Notices that files of a checkpoint change while they are converted: the model would be made of two checkpoints, and its
//! verification reads the same files.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use lexivec_models::{Checkpoint, Error as ModelError};

use crate::error::{Error, Result};

/// What changes when somebody writes into a file or replaces it. The time of the inode is not among it, because a conversion
/// may link weights.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
        }
    }
}

/// The files that a conversion reads, as they were when it began.
#[derive(Debug)]
pub(crate) struct Inputs(Vec<(PathBuf, Stamp)>);

impl Inputs {
    /// # Errors
    /// A file is missing.
    pub(crate) fn snapshot(checkpoint: &Checkpoint) -> Result<Self> {
        let stamp = |(_, path): (PathBuf, PathBuf)| {
            let data = fs_err::metadata(&path).map_err(|e| ModelError::io(&path, e))?;
            Ok((path, Stamp::of(&data)))
        };
        let files = checkpoint.files().into_iter();
        Ok(Self(files.map(stamp).collect::<Result<_>>()?))
    }

    /// # Errors
    /// [`Error::Changed`]: a file is not what it was.
    pub(crate) fn check(&self) -> Result<()> {
        let is_changed = |(path, stamp): &&(PathBuf, Stamp)| {
            let now = fs_err::metadata(path).ok();
            now.is_none_or(|data| Stamp::of(&data) != *stamp)
        };
        match self.0.iter().find(is_changed) {
            Some((path, _)) => Err(Error::Changed { path: path.clone() }),
            None => Ok(()),
        }
    }
}
