//! Detects files of a checkpoint that change while they are converted. Otherwise the model could mix two checkpoints, and
//! verification, which reads the same files, would not notice.

use std::path::PathBuf;

use lexivec_models::{Checkpoint, Error as ModelError, FileIdentity};

use crate::error::{Error, Result};

/// The identities of a conversion's input files at its start.
#[derive(Debug)]
pub(crate) struct InputFiles(Vec<(PathBuf, FileIdentity)>);

impl InputFiles {
    /// Records the identity of every file that the conversion reads.
    ///
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

    /// Checks that no file has changed since the snapshot.
    ///
    /// # Errors
    /// [`Error::Changed`] names the first file that has.
    pub(crate) fn check(&self) -> Result<()> {
        // The conversion itself may add hard links to weight files, which does not change their contents.
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
