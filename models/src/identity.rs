//! Detects changes of a file without reading its contents.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The metadata that change if a file is written to or replaced, or gets another mode or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device of its file system.
    pub device: u64,
    /// Its inode number in that file system.
    pub inode: u64,
    /// Its size in bytes.
    pub size: u64,
    /// The time of the last change of its contents, in seconds and nanoseconds. Programs can set it.
    pub modified: (i64, i64),
    /// The time of the last change of its contents, mode, owner or names. Programs cannot set it.
    pub changed: (i64, i64),
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
