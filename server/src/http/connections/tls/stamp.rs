//! Detects changes of a file without reading it.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Metadata that changes when a file is written, replaced, or becomes readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of contents, then of the last change of owner, mode or name.
    times: [i64; 4],
}

impl Stamp {
    /// Takes the stamp of the file that `path` leads to; `None` if there is none, or its metadata cannot be read.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let file = fs_err::metadata(path).ok()?;
        Some(Self {
            device: file.dev(),
            inode: file.ino(),
            size: file.size(),
            times: [
                file.mtime(),
                file.mtime_nsec(),
                file.ctime(),
                file.ctime_nsec(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn writing_replacing_and_unlocking_a_file_change_its_stamp() {
        let dir = tempfile::tempdir().unwrap();
        let [path, link, other] = ["key", "link", "other"].map(|name| dir.path().join(name));
        assert_eq!(Stamp::of(&link), None);
        fs_err::write(&path, "one").unwrap();
        fs_err::os::unix::fs::symlink(&path, &link).unwrap();
        let mut seen = vec![Stamp::of(&link)];
        assert_eq!(seen[0], Stamp::of(&path));
        let mut changed = |what: &str| {
            let now = Stamp::of(&link);
            assert!(now.is_some() && !seen.contains(&now), "{what}");
            seen.push(now);
            // The clock of file times has a resolution of a few milliseconds.
            std::thread::sleep(std::time::Duration::from_millis(20));
        };
        fs_err::write(&path, "three").unwrap();
        changed("written");
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        changed("opened up");
        fs_err::write(&other, "three").unwrap();
        fs_err::rename(&other, &path).unwrap();
        changed("replaced");
        fs_err::write(&other, "three").unwrap();
        fs_err::remove_file(&link).unwrap();
        fs_err::os::unix::fs::symlink(&other, &link).unwrap();
        changed("linked to another");
    }
}
