//! Paths of outputs: symbolic links are followed, and an output that is also an input is rejected.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::usage::Usage;

/// The longest chain of links that is followed, as on Linux.
const MAX_LINKS: usize = 40;

/// Follows symbolic links to a file or folder, which need not exist.
///
/// # Errors
/// A link cannot be read, or the links form a circle.
pub(crate) fn resolve_links(path: &Path) -> anyhow::Result<PathBuf> {
    let mut found = path.to_path_buf();
    for _ in 0..MAX_LINKS {
        if !found.is_symlink() {
            return Ok(found);
        }
        let next = fs_err::read_link(&found)?;
        found = found.parent().unwrap_or(Path::new("")).join(next);
    }
    bail!("{}: the symbolic links lead nowhere", path.display())
}

/// The folder of a file.
pub(crate) fn parent_folder(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// The absolute path of a file, with links to folders resolved. The file need not exist.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    match (fs_err::canonicalize(parent_folder(path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Whether two paths lead to the same file, which need not exist.
pub(crate) fn is_same_file(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (fs_err::metadata(one), fs_err::metadata(other)) {
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    let end = |path: &Path| absolute(&resolve_links(path).unwrap_or_else(|_| path.to_path_buf()));
    end(one) == end(other)
}

/// Rejects an output that is also an input.
///
/// # Errors
/// The output is one of the inputs, under this or another name.
pub(crate) fn check_output<'a>(
    output: &Path,
    mut inputs: impl Iterator<Item = &'a Path>,
) -> Result<(), Usage> {
    // A pipe or a device may be both.
    let is_input = |input: &&Path| input.is_file() && is_same_file(output, input);
    match inputs.find(is_input) {
        Some(input) => Err(Usage(format!(
            "{}: the output would replace the input {}: name another file",
            output.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}
