//! Inputs that change while a job runs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::ensure;

/// Size and time of each input when the job began. The manifest has digests, and reading each file again for each shard would take too long.
#[derive(Debug)]
pub(super) struct Stamps(HashMap<PathBuf, (u64, SystemTime)>);

impl Stamps {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> anyhow::Result<Self> {
        let stamps = files
            .into_iter()
            .map(|file| Ok((file.clone(), stamp(file)?)));
        Ok(Self(stamps.collect::<anyhow::Result<_>>()?))
    }

    /// # Errors
    /// A file is not the one with which the job began.
    pub(super) fn check<'a>(
        &self,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> anyhow::Result<()> {
        for file in files {
            ensure!(
                stamp(file).ok().as_ref() == self.0.get(file),
                "{}: the file has changed since the job began, so this shard is not kept: restore it, or begin another job",
                file.display()
            );
        }
        Ok(())
    }
}

fn stamp(file: &Path) -> anyhow::Result<(u64, SystemTime)> {
    let metadata = fs_err::metadata(file)?;
    Ok((metadata.len(), metadata.modified()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changed_or_is_gone_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| dir.path().join(name));
        for file in &files {
            fs_err::write(file, "x").unwrap();
        }
        let stamps = Stamps::of(&files).unwrap();
        assert!(stamps.check(&files).is_ok());
        fs_err::write(&files[0], "longer").unwrap();
        assert!(stamps.check(&files).is_err());
        assert!(stamps.check(&files[1..]).is_ok());
        fs_err::remove_file(&files[1]).unwrap();
        let said = stamps.check(&files[1..]).unwrap_err().to_string();
        assert!(said.contains("b: the file has changed"), "{said}");
    }
}
