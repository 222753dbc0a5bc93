//! The hub's cache on this machine, in the layout that `huggingface_hub` and other programs share.
//!
//! `blobs/` holds contents, named by their ETag; `snapshots/COMMIT/` holds a link to a blob for each file; `refs/` holds the last
//! known commit of each branch. The caller has checked every name that becomes part of a path here.

use std::io;
use std::path::{Path, PathBuf};

use hf_hub::{CacheRepo, Repo, RepoType};

use super::stated::{Stated, is_commit};

/// The cache of one model.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    hub: hf_hub::Cache,
    id: String,
    model: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// Returns the cache of the model `id`, which must have the form of a hub id.
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let folder = Repo::model(id.to_owned()).folder_name();
        Self {
            hub: hf_hub::Cache::new(cache.to_path_buf()),
            id: id.to_owned(),
            model: cache.join(&folder),
            locks: cache.join(".locks").join(folder),
        }
    }

    fn at(&self, revision: &str) -> CacheRepo {
        let revision = revision.to_owned();
        let repo = Repo::with_revision(self.id.clone(), RepoType::Model, revision);
        self.hub.repo(repo)
    }

    /// The path of the link for the file `name` of a commit.
    pub(super) fn pointer(&self, commit: &str, name: &str) -> PathBuf {
        self.at(commit).pointer_path(commit).join(name)
    }

    /// Finds the file `name` of a commit, or of the last known commit of a branch or tag.
    pub(super) fn find(&self, revision: &str, name: &str) -> Option<PathBuf> {
        if is_commit(revision) {
            Some(self.pointer(revision, name)).filter(|pointer| pointer.exists())
        } else {
            self.at(revision).get(name)
        }
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
            self.at(revision).create_ref(&stated.commit)?;
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
