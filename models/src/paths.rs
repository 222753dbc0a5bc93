//! Folders of lexivec's own files.
//!
//! Converted models and libraries are below one cache folder, which environment variables choose as for other Linux programs.
//! Checkpoints from the hub stay in the hub's own cache ([`crate::hub_cache`]). Models that were installed with the program are
//! beside it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::files::is_plain_name;

/// Returns lexivec's cache folder: `LEXIVEC_CACHE`, else `XDG_CACHE_HOME/lexivec`, else `~/.cache/lexivec`.
///
/// The folder may not exist yet.
///
/// # Errors
///
/// [`Error::NoCacheDir`] if none of `LEXIVEC_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
///
/// # Example
/// ```
/// use lexivec_models::{Error, cache_dir};
///
/// match cache_dir() {
///     Ok(dir) => assert!(dir.file_name().is_some()),
///     Err(error) => assert!(matches!(error, Error::NoCacheDir)),
/// }
/// ```
pub fn cache_dir() -> Result<PathBuf> {
    cache_dir_from(|name| std::env::var_os(name))
}

/// Finds a model that was installed together with the program: `PREFIX/share/lexivec/models/NAME` for the program at
/// `PREFIX/bin/lexivec`. Wheels and archives bring `nano`.
///
/// ```
/// assert_eq!(lexivec_models::installed_model("no-such-model"), None);
/// ```
pub fn installed_model(name: &str) -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    installed_beside(&program, name)
}

fn installed_beside(program: &Path, name: &str) -> Option<PathBuf> {
    let models = program.parent()?.parent()?.join("share/lexivec/models");
    Some(models.join(name)).filter(|folder| is_plain_name(name) && folder.is_dir())
}

fn cache_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    // An empty variable counts as unset, as in the XDG base directory specification.
    let folder = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("LEXIVEC_CACHE")
        // The specification says to ignore relative paths.
        .or_else(|| {
            folder("XDG_CACHE_HOME")
                .filter(|path| path.is_absolute())
                .map(|path| path.join("lexivec"))
        })
        .or_else(|| folder("HOME").map(|path| path.join(".cache/lexivec")))
        .ok_or(Error::NoCacheDir)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Result<PathBuf> {
        cache_dir_from(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_most_specific_variable_wins() {
        let home = ("HOME", "/home/u");
        let xdg = ("XDG_CACHE_HOME", "/x");
        assert_eq!(
            with(&[home]).unwrap(),
            PathBuf::from("/home/u/.cache/lexivec")
        );
        assert_eq!(with(&[home, xdg]).unwrap(), PathBuf::from("/x/lexivec"));
        assert_eq!(
            with(&[home, xdg, ("LEXIVEC_CACHE", "/l")]).unwrap(),
            PathBuf::from("/l")
        );
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "")]).unwrap(),
            PathBuf::from("/home/u/.cache/lexivec")
        );
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "here")]).unwrap(),
            PathBuf::from("/home/u/.cache/lexivec")
        );
    }

    #[test]
    fn only_a_folder_below_the_shared_one_is_an_installed_model() {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join("bin/lexivec");
        let models = prefix.path().join("share/lexivec/models");
        assert_eq!(installed_beside(&program, "nano"), None);
        fs_err::create_dir_all(models.join("nano")).unwrap();
        assert_eq!(
            installed_beside(&program, "nano"),
            Some(models.join("nano"))
        );
        for other in ["", ".", "../models", "nano/", "owner/nano"] {
            assert_eq!(installed_beside(&program, other), None, "{other}");
        }
    }

    #[test]
    fn without_a_home_the_message_names_the_variable() {
        assert!(
            with(&[])
                .unwrap_err()
                .to_string()
                .contains("set LEXIVEC_CACHE")
        );
    }
}
