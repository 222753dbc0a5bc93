//! Inputs that change while a job runs.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use lexivec_models::FileIdentity;

/// The identity of each input when the job began. The manifest has digests, and reading each file again for each shard would take too long.
#[derive(Debug)]
pub(super) struct Inputs(HashMap<PathBuf, FileIdentity>);

impl Inputs {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> anyhow::Result<Self> {
        let identity = |file: &'a PathBuf| {
            let identity = FileIdentity::read(file);
            let identity = identity.with_context(|| file.display().to_string())?;
            Ok((file.clone(), identity))
        };
        let identities = files.into_iter().map(identity);
        Ok(Self(identities.collect::<anyhow::Result<_>>()?))
    }

    /// # Errors
    /// A file is not the one with which the job began.
    pub(super) fn check<'a>(
        &self,
        files: impl IntoIterator<Item = &'a PathBuf>,
    ) -> anyhow::Result<()> {
        for file in files {
            let now = FileIdentity::read(file).ok();
            let pair = now.zip(self.0.get(file).copied());
            ensure!(
                pair.is_some_and(|(now, before)| now.has_same_contents(before)),
                "{}: the file has changed since the job began, so this shard is not kept: restore it, or begin another job",
                file.display()
            );
        }
        Ok(())
    }
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
        let inputs = Inputs::of(&files).unwrap();
        assert!(inputs.check(&files).is_ok());
        fs_err::write(&files[0], "longer").unwrap();
        assert!(inputs.check(&files).is_err());
        assert!(inputs.check(&files[1..]).is_ok());
        fs_err::remove_file(&files[1]).unwrap();
        let said = inputs.check(&files[1..]).unwrap_err().to_string();
        assert!(said.contains("b: the file has changed"), "{said}");
    }
}
