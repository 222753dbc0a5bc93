//! Notices that files of a checkpoint change while they are converted: the model would be made of two checkpoints, and its
//! verification reads the same files.

use std::path::PathBuf;

use lexivec_models::{Checkpoint, Error as ModelError, FileIdentity};

use crate::error::{Error, Result};

/// The files that a conversion reads, as they were when it began.
#[derive(Debug)]
pub(crate) struct Inputs(Vec<(PathBuf, FileIdentity)>);

impl Inputs {
    /// # Errors
    /// A file is missing.
    pub(crate) fn snapshot(checkpoint: &Checkpoint) -> Result<Self> {
        let identify = |(_, path): (PathBuf, PathBuf)| {
            let identity = FileIdentity::read(&path).map_err(|e| ModelError::io(&path, e))?;
            Ok((path, identity))
        };
        let files = checkpoint.files().into_iter();
        Ok(Self(files.map(identify).collect::<Result<_>>()?))
    }

    /// # Errors
    /// [`Error::Changed`]: a file is not what it was.
    pub(crate) fn check(&self) -> Result<()> {
        // A conversion links weights, which is no change.
        let is_changed = |(path, before): &&(PathBuf, FileIdentity)| {
            let now = FileIdentity::read(path).ok();
            now.is_none_or(|now| !now.has_same_contents(*before))
        };
        match self.0.iter().find(is_changed) {
            Some((path, _)) => Err(Error::Changed { path: path.clone() }),
            None => Ok(()),
        }
    }
}
