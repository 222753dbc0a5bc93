//! Detects changes to the files of a model while it is served. Sessions map them, so a write changes the vectors.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use lexivec_models::{Error as ModelError, MANIFEST_FILE, Manifest};

use crate::error::{Error, Result};

/// Folders within folders are looked into so far: links may form a circle.
const DEEPEST: usize = 8;

/// The files of one model, and what has become of them.
#[derive(Debug, Default)]
pub(crate) struct ModelFiles {
    /// Each file, as it was when it was opened.
    files: Vec<(PathBuf, Identity)>,
    /// The first file that was found written into.
    written: OnceLock<Change>,
    /// The first file whose place was found taken by another.
    replaced: OnceLock<Change>,
}

/// How a file differs from the one that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// The file that was opened has other contents now. Otherwise another file has taken its place, and the vectors are still
    /// those of the model that was opened.
    pub(crate) in_place: bool,
}

/// What changes when somebody writes into a file or replaces it. The time of the inode itself is not among it: a
/// conversion links weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

impl Identity {
    fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
        }
    }

    fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

impl ModelFiles {
    /// Remembers how the files of a model directory are now. To be called before they are read.
    ///
    /// # Errors
    /// A file is missing.
    pub(crate) fn snapshot(dir: &Path) -> Result<Self> {
        let paths = if Manifest::is_model_dir(dir) {
            let manifest = Manifest::read(dir)?;
            let names = manifest.files.keys().map(String::as_str);
            names.chain([MANIFEST_FILE]).map(|n| dir.join(n)).collect()
        } else {
            files_below(dir)?
        };
        let identify = |path: PathBuf| {
            let data = fs_err::metadata(&path).map_err(|e| ModelError::io(&path, e))?;
            Ok((path, Identity::of(&data)))
        };
        Ok(Self {
            files: paths.into_iter().map(identify).collect::<Result<_>>()?,
            written: OnceLock::new(),
            replaced: OnceLock::new(),
        })
    }

    /// Finds a file that has changed, one that was written into before one that was replaced. A change that was found is
    /// not forgotten.
    pub(crate) fn detect_change(&self) -> Option<&Change> {
        if self.written.get().is_none() {
            for change in self.files.iter().filter_map(change) {
                let found = match change.in_place {
                    true => &self.written,
                    false => &self.replaced,
                };
                let (path, in_place) = (change.path.clone(), change.in_place);
                // Set already: it was found, and logged, before.
                if found.set(change).is_ok() {
                    tracing::error!(
                        path = %path.display(),
                        in_place,
                        "a file of the model has changed while the model is served: restart the server"
                    );
                }
            }
        }
        self.written.get().or_else(|| self.replaced.get())
    }

    /// Refuses vectors of a model whose files have other contents than it was opened with.
    ///
    /// # Errors
    /// [`Error::ModelChanged`].
    pub(crate) fn check(&self) -> Result<()> {
        match self.detect_change() {
            Some(change) if change.in_place => Err(Error::ModelChanged {
                path: change.path.clone(),
            }),
            _ => Ok(()),
        }
    }
}

fn change((path, opened): &(PathBuf, Identity)) -> Option<Change> {
    let now = fs_err::metadata(path).ok().map(|data| Identity::of(&data));
    if now == Some(*opened) {
        return None;
    }
    Some(Change {
        path: path.clone(),
        in_place: now.is_some_and(|now| now.is_same_file(*opened)),
    })
}

/// All files of a folder and of the folders in it, sorted; hidden ones are left out.
///
/// # Errors
/// A folder cannot be read.
pub(crate) fn files_below(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    collect(dir, DEEPEST, &mut files)?;
    files.sort();
    Ok(files)
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |e| Error::from(ModelError::io(folder, e));
    for entry in fs_err::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_name().unwrap_or_default();
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if path.is_file() {
            files.push(path);
        } else if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, files)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder of another exporter's with a file in a folder.
    fn model() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let weights = dir.path().join("onnx").join("model.onnx_data");
        fs_err::create_dir(dir.path().join("onnx")).unwrap();
        fs_err::write(&weights, "weights").unwrap();
        fs_err::write(dir.path().join("config.json"), "{}").unwrap();
        (dir, weights)
    }

    #[test]
    fn untouched_files_and_links_to_them_are_no_change() {
        let (dir, weights) = model();
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        assert_eq!(files.files.len(), 2);
        fs_err::hard_link(&weights, dir.path().join("link")).unwrap();
        assert_eq!(files.detect_change(), None);
    }

    #[test]
    fn what_is_written_into_a_file_is_noticed_and_refused() {
        let (dir, weights) = model();
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        assert!(files.check().is_ok());
        fs_err::write(&weights, "heights").unwrap();
        let error = files.check().unwrap_err();
        assert!(matches!(error, Error::ModelChanged { path } if path == weights));
        // It stays so, even if the old contents come back.
        fs_err::write(&weights, "weights").unwrap();
        assert!(files.check().is_err());
    }

    #[test]
    fn a_file_that_takes_the_place_of_another_is_noticed_and_the_old_one_serves_on() {
        let (dir, weights) = model();
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        let other = dir.path().join("other");
        fs_err::write(&other, "heights").unwrap();
        fs_err::rename(&other, &weights).unwrap();
        assert!(files.check().is_ok());
        assert!(!files.detect_change().unwrap().in_place);
        fs_err::remove_file(&weights).unwrap();
        assert!(files.check().is_ok());
    }

    #[test]
    fn a_file_that_was_replaced_does_not_hide_one_that_is_written_into() {
        let (dir, weights) = model();
        let config = dir.path().join("config.json");
        let other = dir.path().join("other");
        let replace = || {
            fs_err::write(&other, "{ }").unwrap();
            fs_err::rename(&other, &config).unwrap();
        };
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        replace();
        assert!(files.check().is_ok());
        fs_err::write(&weights, "heights").unwrap();
        assert!(files.check().is_err());
        // Both at once, the harmless one first.
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        replace();
        fs_err::write(&weights, "weights again").unwrap();
        assert!(files.check().is_err());
    }

    #[test]
    fn circles_of_links_end() {
        let (dir, _) = model();
        symlink(dir.path(), dir.path().join("onnx").join("up")).unwrap();
        assert!(!files_below(dir.path()).unwrap().is_empty());
    }
}
