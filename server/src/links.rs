//! Outputs that are symbolic links: what they point at is written, and they stay.

use std::path::{Path, PathBuf};

use anyhow::bail;

/// Links that are followed from one to the next, as many as Linux follows.
const MOST: usize = 40;

/// The file or folder that a path means in the end, there or not.
///
/// # Errors
/// A link cannot be read, or links lead in a circle.
pub(crate) fn followed(path: &Path) -> anyhow::Result<PathBuf> {
    let mut found = path.to_path_buf();
    for _ in 0..MOST {
        if !found.is_symlink() {
            return Ok(found);
        }
        let next = fs_err::read_link(&found)?;
        found = found.parent().unwrap_or(Path::new("")).join(next);
    }
    bail!("{}: the symbolic links lead nowhere", path.display())
}
