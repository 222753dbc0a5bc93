//! Places a large file in another folder without copying its contents, if the file system allows it.
//!
//! A clone (reflink) shares the blocks of its original until one of the two is modified, so modifying the original leaves the
//! model unchanged. btrfs, XFS and others support clones. Elsewhere a hard link shares the file itself, and a copy is the last
//! resort.
#![allow(unsafe_code)] // A call into the C library.

use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use lexivec_models::{Error as ModelError, WeightStorage};

use crate::error::Result;

/// Places the contents of `from`, which must not be a symbolic link, at `to`, which must not exist. Returns how.
///
/// # Errors
/// A file cannot be read or written.
pub(crate) fn share(from: &Path, to: &Path) -> Result<WeightStorage> {
    if cloned(from, to)? {
        return Ok(WeightStorage::Cloned);
    }
    match fs_err::hard_link(from, to) {
        Ok(()) => return Ok(WeightStorage::Linked),
        // A copy would overwrite the existing file.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(ModelError::io(to, error).into());
        }
        Err(_) => {}
    }
    fs_err::copy(from, to).map_err(|e| ModelError::io(to, e))?;
    Ok(WeightStorage::Copied)
}

/// Tries to clone the file; returns whether the file system could.
fn cloned(from: &Path, to: &Path) -> Result<bool> {
    let source = fs_err::File::open(from).map_err(|e| ModelError::io(from, e))?;
    let target = match fs_err::File::create_new(to) {
        Ok(target) => target,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(ModelError::io(to, error).into());
        }
        // The hard link or copy that follows reports the reason.
        Err(_) => return Ok(false),
    };
    // SAFETY: both descriptors are open for as long as the call takes, and FICLONE reads no memory.
    let done = unsafe {
        libc::ioctl(
            target.file().as_raw_fd(),
            libc::FICLONE,
            source.file().as_raw_fd(),
        )
    };
    if done == 0 {
        return Ok(true);
    }
    drop(target);
    fs_err::remove_file(to).map_err(|e| ModelError::io(to, e))?;
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_shared_file_has_the_contents_and_only_a_link_has_the_same_inode() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs_err::write(&from, "weights").unwrap();
        let how = share(&from, &to).unwrap();
        assert_eq!(fs_err::read_to_string(&to).unwrap(), "weights");
        let inode = |path: &Path| fs_err::metadata(path).unwrap().ino();
        assert_eq!(how == WeightStorage::Linked, inode(&from) == inode(&to));
        assert_ne!(how, WeightStorage::Copied);
        assert!(share(&dir.path().join("none"), &dir.path().join("new")).is_err());
        assert!(!dir.path().join("new").exists());
        // An existing file is not overwritten.
        fs_err::remove_file(&from).unwrap();
        fs_err::write(&from, "others").unwrap();
        let error = share(&from, &to).unwrap_err().to_string();
        assert!(error.contains(&to.display().to_string()), "{error}");
        assert_eq!(fs_err::read_to_string(&to).unwrap(), "weights");
    }
}
