//! Reads small text files, and checks file names that come from other files.
//!
//! Checkpoints are untrusted. A file name in one may only lead to a file below the checkpoint's folder, and a settings file is not
//! read if it is far too large.

use std::path::{Component, Path};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::text;

/// Settings files have kilobytes; the index of a very large sharded checkpoint has a few megabytes.
const MAX_TEXT_BYTES: u64 = 64 << 20;

/// Reads a whole UTF-8 file of at most 64 MiB.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let size = fs_err::metadata(path)
        .map_err(|source| Error::io(path, source))?
        .len();
    if size > MAX_TEXT_BYTES {
        return Err(Error::invalid(
            path,
            "size",
            format!("is {size} bytes; at most {MAX_TEXT_BYTES} are read here"),
        ));
    }
    // The size of a device is 0.
    text::read_up_to(path, MAX_TEXT_BYTES).map_err(|source| Error::io(path, source))
}

/// Reads a JSON file into `T`.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    parse_json(&read_text(path)?, path)
}

/// Parses JSON that was read from `path`.
pub(crate) fn parse_json<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T> {
    serde_json::from_str(text).map_err(|source| Error::Json {
        path: path.to_path_buf(),
        source,
    })
}

/// Reads a JSON file into `T`; none if there is no such file.
pub(crate) fn read_json_if_there<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    if path.exists() {
        read_json(path).map(Some)
    } else {
        Ok(None)
    }
}

/// Whether a name leads to a file below the folder that it is resolved against, on every operating system.
pub(crate) fn is_plain_relative(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', ':', '\0'])
        && Path::new(name)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

/// Whether a name is that of a file in the same folder.
pub(crate) fn is_plain_name(name: &str) -> bool {
    is_plain_relative(name) && !name.contains('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_stay_below_the_folder() {
        for good in ["a", "a.json", "1_Pooling/config.json"] {
            assert!(is_plain_relative(good), "{good}");
        }
        for bad in [
            "",
            "/etc/passwd",
            "../a",
            "a/../../b",
            "./a",
            "a\\b",
            "C:x",
            "a\0b",
        ] {
            assert!(!is_plain_relative(bad), "{bad:?}");
        }
        assert!(is_plain_name("model-00001-of-00002.safetensors"));
        assert!(!is_plain_name("a/b"));
    }

    #[test]
    fn a_settings_file_that_is_too_large_is_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        fs_err::File::create(&path)
            .unwrap()
            .set_len(MAX_TEXT_BYTES + 1)
            .unwrap();
        assert!(matches!(read_text(&path), Err(Error::Invalid { .. })));
    }
}
