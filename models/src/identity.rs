//! Detects changes of a file without reading its contents.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The metadata that change if a file is written to or replaced, or gets another mode or name.
///
/// ```
/// use lexivec_models::FileIdentity;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("weights");
/// std::fs::write(&path, "1")?;
/// let before = FileIdentity::read(&path)?;
/// assert!(FileIdentity::read(&path)?.has_same_contents(before));
///
/// std::fs::write(&path, "12")?;
/// let after = FileIdentity::read(&path)?;
/// assert!(after.is_same_file(before) && !after.has_same_contents(before));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device of its file system.
    device: u64,
    /// Its inode number in that file system.
    inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The time of the last change of its contents, in seconds and nanoseconds. Programs can set it.
    modified: (i64, i64),
    /// The time of the last change of its contents, mode, owner or names. Programs cannot set it.
    changed: (i64, i64),
}

impl FileIdentity {
    /// Returns the identity of the file that `data` was read from.
    #[must_use]
    pub fn of(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            modified: (data.mtime(), data.mtime_nsec()),
            changed: (data.ctime(), data.ctime_nsec()),
        }
    }

    /// Reads the identity of the file at `path`.
    ///
    /// # Errors
    /// There is no such file, or its metadata cannot be read.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(&fs_err::metadata(path)?))
    }

    /// Whether both are the same file, with the same or other contents.
    #[must_use]
    pub fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether both are the same file with the same contents, judged by size and time. A new hard link is not a change.
    #[must_use]
    pub fn has_same_contents(self, other: Self) -> bool {
        let changed = other.changed;
        Self { changed, ..self } == other
    }
}
