//! The hub's cache on this machine, in the layout that `huggingface_hub` and other programs share.
//!
//! `blobs/` holds contents, named by their ETag; `snapshots/COMMIT/` holds a link to a blob for each file; `refs/` holds the last
//! known commit of each branch. The caller has checked every name that becomes part of a path here.

use std::io;
use std::path::{Path, PathBuf};

use super::stated::{Stated, is_commit};

/// The cache of one model.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    model: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// Returns the cache of the model `id`, which must have the form of a hub id.
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let folder = format!("models--{}", id.replace('/', "--"));
        Self {
            model: cache.join(&folder),
            locks: cache.join(".locks").join(folder),
        }
    }

    /// The path of the link for the file `name` of a commit.
    pub(super) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        self.model.join("snapshots").join(commit).join(name)
    }

    /// Finds the file `name` of a commit, or of the last known commit of a branch or tag.
    pub(super) fn find(&self, revision: &str, name: &str) -> Option<PathBuf> {
        let commit = if is_commit(revision) {
            revision.to_owned()
        } else {
            let text = fs_err::read_to_string(self.model.join("refs").join(revision)).ok()?;
            text.trim().to_owned()
        };
        Some(self.pointer(&commit, name)).filter(|pointer| pointer.exists())
    }

    /// The path of a file's contents.
    pub(super) fn blob(&self, stated: &Stated) -> PathBuf {
        self.model.join("blobs").join(&stated.etag)
    }

    /// Waits until no other program downloads the same file, and makes others wait until the result is dropped.
    pub(super) fn lock(&self, stated: &Stated) -> io::Result<fs_err::File> {
        fs_err::create_dir_all(&self.locks)?;
        let lock = fs_err::File::create(self.locks.join(format!("{}.lock", stated.etag)))?;
        if lock.file().try_lock().is_err() {
            tracing::info!(lock = %lock.path().display(), "waiting for another program that downloads the same file");
            lock.file().lock()?;
        }
        Ok(lock)
    }

    /// Returns a file beside the blobs to download to. It is removed when dropped, unless it was [kept](Partial::keep).
    pub(super) fn partial(&self, stated: &Stated) -> io::Result<Partial> {
        let blob = self.blob(stated);
        fs_err::create_dir_all(self.model.join("blobs"))?;
        let mut path = blob.clone().into_os_string();
        path.push(".incomplete");
        Ok(Partial {
            path: path.into(),
            blob,
            kept: false,
        })
    }

    /// Links the contents as the file `name` of their commit, and records that `revision` is that commit.
    pub(super) fn link(
        &self,
        revision: Option<&str>,
        name: &str,
        stated: &Stated,
    ) -> io::Result<PathBuf> {
        if let Some(revision) = revision.filter(|revision| *revision != stated.commit) {
            write(&self.model.join("refs").join(revision), &stated.commit)?;
        }
        let pointer = self.pointer(&stated.commit, name);
        let folders = name.split('/').count() + 1;
        let target = format!("{}blobs/{}", "../".repeat(folders), stated.etag);
        if let Some(folder) = pointer.parent() {
            fs_err::create_dir_all(folder)?;
        }
        match fs_err::remove_file(&pointer) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs_err::os::unix::fs::symlink(target, &pointer) {
            // Another program created it meanwhile.
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(pointer),
        }
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs_err::create_dir_all(folder)?;
    }
    fs_err::write(path, text)
}

/// An incomplete download.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) path: PathBuf,
    blob: PathBuf,
    kept: bool,
}

impl Partial {
    /// Turns it into the blob.
    pub(super) fn keep(mut self) -> io::Result<()> {
        fs_err::rename(&self.path, &self.blob)?;
        self.kept = true;
        Ok(())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // It may never have been created.
            let _ = fs_err::remove_file(&self.path);
        }
    }
}
