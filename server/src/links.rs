//! Outputs that are symbolic links: what they point at is written, and they stay. Outputs that are inputs are refused.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::cli::Usage;

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

/// The folder of a file.
pub(crate) fn folder_of(path: &Path) -> &Path {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    folder.unwrap_or(Path::new("."))
}

/// A file's name from the root on, links to folders followed; the file need not be there.
pub(crate) fn absolute(path: &Path) -> PathBuf {
    match (fs_err::canonicalize(folder_of(path)), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path.to_path_buf(),
    }
}

/// Whether two names lead to one file, there or not.
pub(crate) fn same(one: &Path, other: &Path) -> bool {
    if let (Ok(one), Ok(other)) = (fs_err::metadata(one), fs_err::metadata(other)) {
        return (one.dev(), one.ino()) == (other.dev(), other.ino());
    }
    let end = |path: &Path| absolute(&followed(path).unwrap_or_else(|_| path.to_path_buf()));
    end(one) == end(other)
}

/// Refuses to write over a file that is read.
///
/// # Errors
/// The output is one of the inputs, by this or another name.
pub(crate) fn check_output<'a>(
    output: &Path,
    mut inputs: impl Iterator<Item = &'a Path>,
) -> Result<(), Usage> {
    // Pipes and devices may be both.
    let is_input = |input: &&Path| input.is_file() && same(output, input);
    match inputs.find(is_input) {
        Some(input) => Err(Usage(format!(
            "{}: the output would replace the input {}: name another file",
            output.display(),
            input.display()
        ))),
        None => Ok(()),
    }
}
