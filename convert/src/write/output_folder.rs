//! An output folder that appears completely or not at all.
//!
//! Everything is written to a hidden sibling folder, and a rename turns that into the result. The sibling holds a file that
//! its writer keeps locked. If the lock is free, the writer was killed, and the next conversion to the same place removes
//! its files.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lexivec_models::{Error as ModelError, Manifest};

use crate::error::{Error, Result};

const LOCK: &str = ".lock";

/// A folder that is being filled.
#[derive(Debug)]
pub(crate) struct Staging {
    target: PathBuf,
    dir: PathBuf,
    lock: Option<fs_err::File>,
    force: bool,
}

impl Staging {
    /// Checks the target and creates the folder to fill.
    ///
    /// # Errors
    /// The target exists (without `force`, or is not a model directory), another process is writing it, or the
    /// parent cannot be written.
    pub(crate) fn create(target: &Path, force: bool) -> Result<Self> {
        reject_existing(target, force)?;
        let dir = beside(target, "partial");
        if let Some(parent) = dir.parent() {
            fs_err::create_dir_all(parent).map_err(|e| ModelError::io(parent, e))?;
        }
        let path = dir.join(LOCK);
        let io = |e| ModelError::io(&path, e);
        // Does not follow links, because the contents of the folder are deleted below.
        for place in [&dir, &path] {
            if fs_err::symlink_metadata(place).is_ok_and(|found| found.is_symlink()) {
                return Err(Error::NotOurs {
                    path: place.clone(),
                });
            }
        }
        fs_err::create_dir_all(&dir).map_err(io)?;
        let lock = fs_err::File::create(&path).map_err(io)?;
        let locked = lock.file().try_lock().is_ok();
        // Another writer may have finished since the first check, which moved the locked file into the target.
        reject_existing(target, force)?;
        if !locked || !is_at(&lock, &path) {
            return Err(Error::Busy {
                path: target.to_path_buf(),
            });
        }
        // This process holds the lock, so the remaining files were left by a writer that was killed.
        for entry in fs_err::read_dir(&dir).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if !path.ends_with(LOCK) {
                remove(&path).map_err(|e| ModelError::io(&path, e))?;
            }
        }
        Ok(Self {
            target: target.to_path_buf(),
            dir,
            lock: Some(lock),
            force,
        })
    }

    /// The folder to write into.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes the folder the target.
    ///
    /// # Errors
    /// The target appeared meanwhile, or cannot be replaced.
    pub(crate) fn commit(mut self) -> Result<()> {
        reject_existing(&self.target, self.force)?;
        let io = |e| ModelError::io(&self.target, e);
        let old = beside(&self.target, "replaced");
        if old.exists() {
            fs_err::remove_dir_all(&old).map_err(io)?;
        }
        let replaces = self.target.exists();
        if replaces {
            fs_err::rename(&self.target, &old).map_err(io)?;
        }
        fs_err::rename(&self.dir, &self.target).map_err(io)?;
        // Without the lock file, another writer would take the folder for an abandoned one, so it is removed last.
        fs_err::remove_file(self.target.join(LOCK)).map_err(io)?;
        self.lock = None;
        if replaces {
            fs_err::remove_dir_all(&old).map_err(io)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.lock.is_some()
            && let Err(error) = fs_err::remove_dir_all(&self.dir)
        {
            tracing::warn!(%error, "the unfinished output could not be removed");
        }
    }
}

/// `/models/qwen` -> `/models/.qwen.partial`
fn beside(target: &Path, what: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".");
    name.push(what);
    target.with_file_name(name)
}

fn reject_existing(target: &Path, force: bool) -> Result<()> {
    let empty = || {
        target
            .read_dir()
            .is_ok_and(|mut entries| entries.next().is_none())
    };
    if !target.exists() || empty() {
        Ok(())
    } else if !force {
        Err(Error::Exists {
            path: target.to_path_buf(),
        })
    } else if Manifest::is_model_dir(target) {
        Ok(())
    } else {
        Err(Error::NotOurs {
            path: target.to_path_buf(),
        })
    }
}

/// Whether an open file still has this path.
fn is_at(file: &fs_err::File, path: &Path) -> bool {
    match (file.metadata(), fs_err::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        fs_err::remove_dir_all(path)
    } else {
        fs_err::remove_file(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_appears_on_commit_and_leaves_nothing_otherwise() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("model");
        let names = || fs_err::read_dir(parent.path()).unwrap().count();

        let staging = Staging::create(&target, false).unwrap();
        fs_err::write(staging.dir().join("a"), "a").unwrap();
        assert!(!target.exists());
        drop(staging);
        assert_eq!(names(), 0);

        let staging = Staging::create(&target, false).unwrap();
        fs_err::write(staging.dir().join("a"), "a").unwrap();
        staging.commit().unwrap();
        assert_eq!(fs_err::read(target.join("a")).unwrap(), b"a");
        assert_eq!(
            (names(), fs_err::read_dir(&target).unwrap().count()),
            (1, 1)
        );
    }

    #[test]
    fn existing_folders_and_folders_being_written_are_rejected() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("model");
        fs_err::create_dir_all(&target).unwrap();
        fs_err::write(target.join("thesis.txt"), "").unwrap();
        assert!(matches!(
            Staging::create(&target, false),
            Err(Error::Exists { .. })
        ));
        assert!(matches!(
            Staging::create(&target, true),
            Err(Error::NotOurs { .. })
        ));

        let other = parent.path().join("other");
        let _first = Staging::create(&other, false).unwrap();
        assert!(matches!(
            Staging::create(&other, false),
            Err(Error::Busy { .. })
        ));
    }

    #[cfg(unix)]
    #[test]
    fn links_in_place_of_the_folder_or_the_lock_are_not_followed() {
        use std::os::unix::fs::symlink;

        let parent = tempfile::tempdir().unwrap();
        let victim = parent.path().join("victim");
        fs_err::create_dir_all(&victim).unwrap();
        fs_err::write(victim.join("thesis.txt"), "years").unwrap();
        let target = parent.path().join("model");
        let partial = beside(&target, "partial");
        let rejected = || matches!(Staging::create(&target, true), Err(Error::NotOurs { .. }));

        symlink(&victim, &partial).unwrap();
        assert!(rejected());
        fs_err::remove_file(&partial).unwrap();
        fs_err::create_dir_all(&partial).unwrap();
        symlink(victim.join("thesis.txt"), partial.join(LOCK)).unwrap();
        assert!(rejected());
        let thesis = fs_err::read_to_string(victim.join("thesis.txt")).unwrap();
        assert_eq!(thesis, "years");
    }

    #[test]
    fn files_of_a_killed_writer_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let target = parent.path().join("model");
        let left = beside(&target, "partial");
        fs_err::create_dir_all(left.join("1_Pooling")).unwrap();
        fs_err::write(left.join("model.onnx.data"), "half").unwrap();
        let staging = Staging::create(&target, false).unwrap();
        assert!(!staging.dir().join("model.onnx.data").exists());
        assert!(!staging.dir().join("1_Pooling").exists());
    }
}
