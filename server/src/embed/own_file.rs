//! Files beside an output that belong to its job, such as `OUTPUT.partial`.

use std::fs::TryLockError;
use std::io::Write as _;
use std::path::Path;

use anyhow::{bail, ensure};
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::output::{READ_AND_WRITE, beside};

/// Whether a file must survive a power failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    Yes,
    No,
}

/// Opens a file, which is created if it does not exist, for reading and writing. `mode` is that of a new file before the umask, and
/// `output` the name of the output for messages.
///
/// Nobody but the job writes a file of this name. A symbolic link is an error, because the file that it leads to is somebody else's.
///
/// # Errors
/// It cannot be opened, is no regular file, or another process writes it.
pub(super) fn open(path: &Path, mode: u32, output: &Path) -> anyhow::Result<fs_err::File> {
    let mut options = fs_err::OpenOptions::new();
    let options = options.read(true).write(true).create(true).truncate(false);
    // A pipe without a reader does not block.
    let options = options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    let file = match options.mode(mode).open(path) {
        Ok(file) => file,
        Err(error) if path.is_symlink() => bail!(
            "{}: this is a symbolic link, and the unfinished output is not written through one: remove it ({error})",
            path.display()
        ),
        Err(error) => {
            let shown = output.display();
            return Err(anyhow::Error::new(error).context(format!("{shown}: cannot be written")));
        }
    };
    ensure!(
        file.metadata()?.is_file(),
        "{}: this is no regular file, and the unfinished output needs one: remove it",
        path.display()
    );
    check_lock(&file, output)?;
    Ok(file)
}

/// Replaces a file as a whole: a crash leaves the old one or the new one. The new one is first written beside it, with the ending `.new`.
///
/// # Errors
/// A file cannot be written, or those of [`open`].
pub(super) fn replace(path: &Path, contents: &[u8], durable: Durable) -> anyhow::Result<()> {
    let new = beside(path, ".new");
    let mut file = open(&new, READ_AND_WRITE, path)?;
    file.set_len(0)?;
    file.write_all(contents)?;
    if durable == Durable::Yes {
        file.sync_data()?;
    }
    fs_err::rename(&new, path)?;
    if let (Durable::Yes, Some(folder)) = (durable, path.parent()) {
        // The names in a folder are its contents.
        fs_err::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// Locks the folder of an output in parts. The lock ends when the file is dropped.
///
/// # Errors
/// It cannot be opened, or another process writes it.
pub(super) fn lock_folder(folder: &Path) -> anyhow::Result<fs_err::File> {
    let file = fs_err::File::open(folder)?;
    check_lock(&file, folder)?;
    Ok(file)
}

fn check_lock(file: &fs_err::File, output: &Path) -> anyhow::Result<()> {
    ensure!(
        !is_locked_elsewhere(file),
        "{}: another process is writing it",
        output.display()
    );
    Ok(())
}

/// Locks a file or a folder, unless another process has locked it.
pub(crate) fn is_locked_elsewhere(file: &fs_err::File) -> bool {
    // Other errors are ignored: some file systems have no locks, and a single process needs none.
    matches!(file.file().try_lock(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::open;

    #[test]
    fn a_link_is_not_followed_and_a_pipe_does_not_block() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.partial");
        let said = || format!("{:#}", open(&path, 0o666, "a".as_ref()).unwrap_err());
        let foreign = dir.path().join("foreign");
        fs_err::write(&foreign, "mine").unwrap();
        for target in [&foreign, &dir.path().join("missing")] {
            symlink(target, &path).unwrap();
            assert!(said().contains("a symbolic link"), "{}", said());
            fs_err::remove_file(&path).unwrap();
        }
        assert_eq!(fs_err::read(&foreign).unwrap(), b"mine");
        assert!(!dir.path().join("missing").exists());
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        assert!(said().contains("no regular file"), "{}", said());
        fs_err::remove_file(&path).unwrap();
        assert!(open(&path, 0o666, "a".as_ref()).is_ok());
    }
}
