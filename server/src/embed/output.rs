//! The file of vectors. It is renamed into place when it is complete.
//!
//! Until then the vectors are in `OUTPUT.partial`. After the first chunk, `OUTPUT.partial.json` records the progress of the job. Both files
//! stay if the job ends early, so that `--resume` can continue it. If OUTPUT is a symbolic link, the file that it points at is replaced.
//! The new file gets the mode of the file that it replaces; without one, the umask decides.

use std::fs::{Metadata, Permissions};
use std::io::{BufWriter, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure};

use super::own_file;
use super::record::Record;
use crate::interrupt;
use crate::paths::resolve_links;

/// The mode of a new file, before the umask.
pub(super) const READ_AND_WRITE: u32 = 0o666;

/// An output that is not complete yet.
#[derive(Debug)]
pub(crate) struct Partial {
    file: BufWriter<fs_err::File>,
    target: PathBuf,
    /// Metadata of the file that is replaced.
    replaced: Option<Metadata>,
    partial: PathBuf,
    record: PathBuf,
    /// Whether the files stay if the job ends early.
    kept: bool,
}

impl Partial {
    /// Starts an output, or resumes an unfinished one.
    ///
    /// # Errors
    /// It cannot be written, another process writes it, or it is unfinished and `resume` is not set.
    pub(super) fn open(output: &Path, resume: bool) -> anyhow::Result<(Self, Option<Record>)> {
        let target = resolve_links(output)?;
        let replaced = target
            .exists()
            .then(|| fs_err::metadata(&target))
            .transpose()?;
        if target.is_dir() {
            bail!("{}: this is a folder, not a file", output.display());
        }
        let partial = beside(&target, ".partial");
        let record = beside(&target, ".partial.json");
        // Only users who may read the replaced file may read the partial file.
        let mode = replaced
            .as_ref()
            .map_or(READ_AND_WRITE, |old| old.mode() & 0o777);
        let mut file = own_file::open(&partial, mode, output)?;
        let found = Record::load(&record)?;
        match &found {
            Some(_) if !resume => bail!(
                "{} belongs to an unfinished job: add --resume to continue it, or remove it and {} to start again",
                partial.display(),
                record.display()
            ),
            Some(found) => {
                ensure!(
                    file.metadata()?.len() >= found.bytes,
                    "{}: the unfinished output is shorter than its record says: remove it and {} to start again",
                    partial.display(),
                    record.display()
                );
                file.set_len(found.bytes)?;
                file.seek(SeekFrom::End(0))?;
            }
            None => {
                file.set_len(0)?;
                interrupt::remove_on_exit(Some(&partial));
            }
        }
        let output = Self {
            file: BufWriter::new(file),
            target,
            replaced,
            partial,
            record,
            kept: found.is_some(),
        };
        Ok((output, found))
    }

    /// Starts an output that is not resumed.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub(crate) fn create(output: &Path) -> anyhow::Result<Self> {
        let (partial, _) = Self::open(output, false)?;
        Ok(partial)
    }

    /// Flushes the output to disk, and saves the record.
    pub(super) fn keep(&mut self, mut record: Record) -> anyhow::Result<()> {
        self.file.flush()?;
        self.file.get_ref().sync_data()?;
        record.bytes = self.file.get_mut().stream_position()?;
        record.save(&self.record)?;
        self.kept = true;
        interrupt::remove_on_exit(None);
        Ok(())
    }

    /// The files that the job writes.
    pub(super) fn files(&self) -> [&Path; 3] {
        [&self.target, &self.partial, &self.record]
    }

    /// The partial file, if it stays when the job ends early.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.kept.then_some(self.partial.as_path())
    }

    /// Overwrites the first bytes with `beginning`, and renames the file to its target.
    pub(crate) fn finish(mut self, beginning: &[u8]) -> anyhow::Result<()> {
        self.file.flush()?;
        let file = self.file.get_mut();
        if !beginning.is_empty() {
            file.seek(SeekFrom::Start(0))?;
            file.write_all(beginning)?;
        }
        replace(file, &self.partial, &self.target, self.replaced.as_ref())?;
        interrupt::remove_on_exit(None);
        if self.record.exists() {
            fs_err::remove_file(&self.record)?;
        }
        self.kept = true;
        Ok(())
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.file.flush()
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if !self.kept {
            // The job's own error is reported already.
            let _ = fs_err::remove_file(&self.partial);
            interrupt::remove_on_exit(None);
        }
    }
}

/// Renames a complete file to its target, and gives it owner and mode of the file that it replaces.
pub(super) fn replace(
    file: &fs_err::File,
    partial: &Path,
    target: &Path,
    replaced: Option<&Metadata>,
) -> anyhow::Result<()> {
    if let Some(old) = replaced {
        // Only a privileged process can change the owner, and only a privileged process needs to.
        let _ = chown(partial, Some(old.uid()), Some(old.gid()));
        file.set_permissions(Permissions::from_mode(old.mode() & 0o7777))?;
    }
    file.sync_data()?;
    fs_err::rename(partial, target)?;
    Ok(())
}

/// `path` with `ending` appended to its name.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) -> u32 {
        let (mut partial, _) = Partial::open(path, false).unwrap();
        partial.write_all(b"?ectors").unwrap();
        partial.finish(b"v").unwrap();
        assert_eq!(fs_err::read(path).unwrap(), b"vectors");
        fs_err::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn a_replaced_file_keeps_its_mode_and_a_link_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("real.npy");
        fs_err::write(&file, "old").unwrap();
        fs_err::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        let (partial, _) = Partial::open(&file, false).unwrap();
        let mode = fs_err::metadata(&partial.partial).unwrap().mode();
        assert_eq!(mode & 0o007, 0);
        drop(partial);
        assert_eq!(fs_err::read(&file).unwrap(), b"old");
        assert_eq!(write(&file), 0o640);
        let link = dir.path().join("link.npy");
        symlink("real.npy", &link).unwrap();
        fs_err::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        assert_eq!(write(&link), 0o600);
        assert!(link.is_symlink());
        // The link points into another folder, at a file that does not exist.
        fs_err::create_dir(dir.path().join("sub")).unwrap();
        let dangling = dir.path().join("dangling.npy");
        symlink("sub/new.npy", &dangling).unwrap();
        write(&dangling);
        assert!(dangling.is_symlink() && dir.path().join("sub/new.npy").is_file());
        let circle = dir.path().join("circle");
        symlink("circle", &circle).unwrap();
        let error = Partial::open(&circle, false).unwrap_err();
        assert!(error.to_string().contains("lead nowhere"), "{error}");
    }

    #[test]
    fn a_resumed_output_continues_after_the_last_checkpoint() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let (mut partial, found) = Partial::open(&path, true).unwrap();
        assert_eq!(found, None);
        let busy = Partial::open(&path, true).unwrap_err();
        assert!(busy.to_string().contains("another process"), "{busy}");
        partial.write_all(b"one").unwrap();
        partial.keep(Record::default()).unwrap();
        partial.write_all(b"lost").unwrap();
        drop(partial);
        let rejected = Partial::open(&path, false).unwrap_err().to_string();
        assert!(rejected.contains("--resume"), "{rejected}");
        let (mut partial, found) = Partial::open(&path, true).unwrap();
        assert_eq!(found.unwrap().bytes, 3);
        partial.write_all(b"two").unwrap();
        partial.finish(b"").unwrap();
        assert_eq!(fs_err::read(&path).unwrap(), b"onetwo");
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_job_without_a_record_leaves_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.npy");
        let (mut partial, _) = Partial::open(&path, false).unwrap();
        partial.write_all(b"one").unwrap();
        drop(partial);
        assert_eq!(fs_err::read_dir(dir.path()).unwrap().count(), 0);
    }
}
