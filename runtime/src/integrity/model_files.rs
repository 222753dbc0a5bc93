//! Detects changes to a model's files while it is served. Sessions map the files, so a write changes the vectors.
//!
//! Files are compared by inode, size and times. If only a time has changed (`touch`, a new link, or a write that
//! restores the old time), the contents are read again and compared with their digest.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use lexivec_models::{Error as ModelError, FileIdentity, FileRecord, MANIFEST_FILE, Manifest};

use crate::error::{Error, Result};

/// Time between checks, whether or not requests come.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum depth of nested folders, because links may form a cycle.
const DEEPEST: usize = 8;

/// The files of one model, and the changes that were detected.
#[derive(Debug, Default)]
pub(crate) struct ModelFiles {
    files: Vec<Watched>,
    /// The first file that was found modified in place.
    written: OnceLock<Change>,
    /// The first file that was found replaced by another.
    replaced: OnceLock<Change>,
}

/// A file, as it was when the model was opened.
#[derive(Debug)]
struct Watched {
    path: PathBuf,
    /// `blake3:` and its digest.
    digest: String,
    /// Locked while the contents are compared, so that no thread uses the file meanwhile.
    identity: Mutex<FileIdentity>,
}

/// How a file differs from the one that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) path: PathBuf,
    /// The file that was opened has other contents now. Otherwise another file has taken its place, and the vectors are
    /// still those of the opened model.
    pub(crate) in_place: bool,
}

impl Watched {
    /// Detects a change without reading the file; `None` if nothing or only its times have changed.
    fn obvious_change(&self) -> Option<Change> {
        // Another thread is comparing the contents.
        let opened = *self.identity.try_lock().ok()?;
        let now = FileIdentity::read(&self.path).ok();
        let in_place = now.is_some_and(|now| now.is_same_file(opened));
        let is_certain = now.is_none_or(|now| !in_place || now.size != opened.size);
        is_certain.then(|| self.change(in_place))
    }

    /// Detects a change. Compares the contents if the times have changed.
    fn detect_change(&self) -> Option<Change> {
        if let Some(change) = self.obvious_change() {
            return Some(change);
        }
        let mut opened = self.lock();
        let now = FileIdentity::read(&self.path).ok();
        if now == Some(*opened) {
            return None;
        }
        let found = FileRecord::blake3(&self.path).ok();
        match (now, found) {
            (Some(now), Some(found)) if found.digest == self.digest => {
                *opened = now;
                None
            }
            // It may have been replaced while another thread compared it.
            (now, _) => Some(self.change(now.is_some_and(|now| now.is_same_file(*opened)))),
        }
    }

    fn change(&self, in_place: bool) -> Change {
        Change {
            path: self.path.clone(),
            in_place,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, FileIdentity> {
        // Nothing under the lock leaves it half-changed.
        self.identity.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ModelFiles {
    /// Records the current state of a model directory's files. Call it before the files are read.
    ///
    /// # Errors
    /// A file is missing.
    pub(crate) fn snapshot(dir: &Path) -> Result<Self> {
        let mut files = Vec::new();
        if Manifest::is_model_dir(dir) {
            let manifest_file = dir.join(MANIFEST_FILE);
            files.push((identity(&manifest_file)?, manifest_file, None));
            for (name, record) in Manifest::read(dir)?.files {
                let path = dir.join(name);
                files.push((identity(&path)?, path, Some(record.digest)));
            }
        } else {
            for path in files_below(dir)? {
                files.push((identity(&path)?, path, None));
            }
        }
        let watched = files.into_iter().map(|(identity, path, digest)| {
            Ok(Watched {
                digest: match digest {
                    Some(digest) => digest,
                    None => FileRecord::blake3(&path)?.digest,
                },
                path,
                identity: Mutex::new(identity),
            })
        });
        Ok(Self {
            files: watched.collect::<Result<_>>()?,
            written: OnceLock::new(),
            replaced: OnceLock::new(),
        })
    }

    /// The files and their digests.
    pub(crate) fn digests(&self) -> impl Iterator<Item = (&Path, &str)> {
        self.files
            .iter()
            .map(|file| (file.path.as_path(), file.digest.as_str()))
    }

    /// A change that was found before, or can be found without reading a file. A change stays recorded.
    pub(crate) fn obvious_change(&self) -> Option<&Change> {
        self.note(Watched::obvious_change)
    }

    /// Rejects vectors of a model whose files have other contents than when it was opened. It may take as long as
    /// reading the model.
    ///
    /// # Errors
    /// [`Error::ModelChanged`].
    pub(crate) fn check(&self) -> Result<()> {
        match self.note(Watched::detect_change) {
            Some(change) if change.in_place => Err(Error::ModelChanged {
                path: change.path.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Checks the files regularly, on a thread that ends when the model is no longer served.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(crate) fn watch(self: &Arc<Self>) -> Result<()> {
        let watched = Arc::downgrade(self);
        let watch = move || {
            while let Some(files) = watched.upgrade() {
                // The check records and logs what it finds.
                let _ = files.check();
                drop(files);
                std::thread::sleep(INTERVAL);
            }
        };
        std::thread::Builder::new()
            .name("lexivec-files".to_owned())
            .spawn(watch)
            .map_err(|e| Error::Inference(format!("no thread to watch files: {e}")))?;
        Ok(())
    }

    /// Finds a changed file. One that was modified in place takes precedence over one that was replaced.
    fn note(&self, detect: impl Fn(&Watched) -> Option<Change>) -> Option<&Change> {
        if self.written.get().is_none() {
            for change in self.files.iter().filter_map(detect) {
                let found = match change.in_place {
                    true => &self.written,
                    false => &self.replaced,
                };
                let (path, in_place) = (change.path.clone(), change.in_place);
                // If a change is set already, it was found and logged before.
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
}

fn identity(path: &Path) -> Result<FileIdentity> {
    Ok(FileIdentity::read(path).map_err(|e| ModelError::io(path, e))?)
}

/// All files of a folder and its subfolders, sorted, without hidden ones.
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
    use std::time::SystemTime;

    use super::*;

    /// Another exporter's model folder, with a file in a subfolder.
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
        assert_eq!(files.obvious_change(), None);
        assert!(files.check().is_ok());
    }

    fn set_modified(path: &Path, to: SystemTime) {
        let file = fs_err::OpenOptions::new();
        let file = { file }.append(true).open(path).unwrap();
        file.file().set_modified(to).unwrap();
    }

    #[test]
    fn a_new_time_is_no_change_and_an_old_time_hides_none() {
        let (dir, weights) = model();
        let modified = fs_err::metadata(&weights).unwrap().modified().unwrap();
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        set_modified(&weights, modified + Duration::from_secs(100));
        assert!(files.check().is_ok());
        // The new time is the known one from now on.
        assert!(files.check().is_ok());
        fs_err::write(&weights, "heights").unwrap();
        set_modified(&weights, modified);
        assert_eq!(files.obvious_change(), None);
        assert!(files.check().is_err());
        assert!(files.obvious_change().is_some());
    }

    #[test]
    fn a_file_modified_in_place_is_detected_and_rejected() {
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
    fn a_replaced_file_is_detected_and_the_old_one_still_serves() {
        let (dir, weights) = model();
        let files = ModelFiles::snapshot(dir.path()).unwrap();
        let other = dir.path().join("other");
        fs_err::write(&other, "heights").unwrap();
        fs_err::rename(&other, &weights).unwrap();
        assert!(files.check().is_ok());
        assert!(!files.obvious_change().unwrap().in_place);
        fs_err::remove_file(&weights).unwrap();
        assert!(files.check().is_ok());
    }

    #[test]
    fn a_replaced_file_does_not_hide_a_modified_one() {
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
