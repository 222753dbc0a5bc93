//! Tells whether a file has changed without reading it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// What changes when a file is written into, replaced, or gets another mode or name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileIdentity {
    /// The device of its file system.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// In bytes.
    pub size: u64,
    /// When its contents changed last: seconds and nanoseconds. Anybody may set it.
    pub modified: (i64, i64),
    /// When its contents, mode, owner or names changed last. Nobody can set it.
    pub changed: (i64, i64),
}

impl FileIdentity {
    /// Of the file that this was read from.
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

    /// Of the file that `path` leads to.
    ///
    /// # Errors
    /// There is none, or it cannot be looked at.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self::of(&fs_err::metadata(path)?))
    }

    /// Whether both are one file, whatever it held then.
    #[must_use]
    pub fn is_same_file(self, other: Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether both are one file with the same contents, as far as size and time tell. A new link to it is no change.
    #[must_use]
    pub fn has_same_contents(self, other: Self) -> bool {
        let changed = other.changed;
        Self { changed, ..self } == other
    }
}
