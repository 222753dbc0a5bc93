//! Where lexivec keeps files of its own.
//!
//! Converted models and downloaded libraries go below one folder, chosen by environment variables in the order
//! that Linux programs use. Checkpoints from the hub stay in the hub's own cache (see [`crate::hub_cache`]).

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Result};

/// The folder for our own cached files: `LEXIVEC_CACHE`, else `XDG_CACHE_HOME/lexivec`, else `~/.cache/lexivec`.
///
/// The folder need not exist.
///
/// # Errors
///
/// [`Error::NoCacheDir`] where none of `LEXIVEC_CACHE`, `XDG_CACHE_HOME` and `HOME` is set.
pub fn cache_dir() -> Result<PathBuf> {
    cache_dir_from(|name| std::env::var_os(name))
}

fn cache_dir_from(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf> {
    // A variable set to nothing counts as not set, as the XDG base directory specification has it.
    let folder = |name| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("LEXIVEC_CACHE")
        // The same specification has relative paths ignored.
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
    fn without_a_home_the_message_names_the_variable() {
        assert!(
            with(&[])
                .unwrap_err()
                .to_string()
                .contains("set LEXIVEC_CACHE")
        );
    }
}
