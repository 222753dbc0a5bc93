//! The hub's description of a file, which comes before its download.
//!
//! ETag and commit become parts of paths in the cache. A hostile mirror, or an attacker on the network between, could name any
//! file on this machine with them, so both are checked first.

use reqwest::header::{CONTENT_LENGTH, ETAG, HeaderMap};

/// Length of a commit id, and of the SHA-1 by which git identifies a small file.
const SHA1: usize = 40;
/// Length of the SHA-256 of a large file.
const SHA256: usize = 64;

/// A file as the hub describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stated {
    /// The name of the file's contents in the cache: 40 or 64 hexadecimal digits.
    pub(super) etag: String,
    /// The current commit of the revision: 40 hexadecimal digits.
    pub(super) commit: String,
    /// The size in bytes, if the hub states it.
    pub(super) size: Option<u64>,
}

impl Stated {
    /// Reads the headers of an answer to `HEAD`. Large files are on another server, and `X-Linked-…` headers describe them.
    /// With `redirected`, the answer's own length is not the file's.
    ///
    /// # Errors
    /// The name of a header that is missing or malformed.
    pub(super) fn read(headers: &HeaderMap, redirected: bool) -> Result<Self, String> {
        let text = |name: &str| {
            headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()))
        };
        let number = |name: &str| text(name)?.parse().ok();
        let (name, etag) = match text("x-linked-etag") {
            Some(etag) => ("X-Linked-ETag", etag),
            None => ("ETag", text(ETAG.as_str()).ok_or("no ETag")?),
        };
        let plain = etag.strip_prefix("W/").unwrap_or(&etag);
        let plain = plain
            .strip_prefix('"')
            .and_then(|rest| rest.strip_suffix('"'))
            .unwrap_or(plain);
        if !(is_hex(plain, SHA1) || is_hex(plain, SHA256)) {
            return Err(format!(
                "the {name} {etag:?}, which is not 40 or 64 hexadecimal digits"
            ));
        }
        let commit = text("x-repo-commit").ok_or("no X-Repo-Commit")?;
        if !is_commit(&commit) {
            return Err(format!(
                "the X-Repo-Commit {commit:?}, which is not 40 hexadecimal digits"
            ));
        }
        let own = || number(CONTENT_LENGTH.as_str()).filter(|_| !redirected);
        Ok(Self {
            etag: plain.to_ascii_lowercase(),
            commit: commit.to_ascii_lowercase(),
            size: number("x-linked-size").or_else(own),
        })
    }

    /// The SHA-256 of the file's contents, which is the ETag of large files.
    pub(super) fn sha256(&self) -> Option<&str> {
        Some(self.etag.as_str()).filter(|etag| etag.len() == SHA256)
    }
}

/// Whether `text` is a commit id, so that it cannot lead out of a folder.
pub(super) fn is_commit(text: &str) -> bool {
    is_hex(text, SHA1)
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
    const LARGE: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn read(headers: &[(&'static str, &str)], redirected: bool) -> Result<Stated, String> {
        let header = |(name, value): &(&'static str, &str)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_str(value).unwrap(),
            )
        };
        Stated::read(&headers.iter().map(header).collect(), redirected)
    }

    #[test]
    fn small_and_large_files_are_understood() {
        let quoted = format!("W/\"{}\"", COMMIT.to_uppercase());
        let small = [
            ("etag", quoted.as_str()),
            ("x-repo-commit", COMMIT),
            ("content-length", "7"),
        ];
        let small = read(&small, false).unwrap();
        assert_eq!(
            (small.etag.as_str(), small.size, small.sha256()),
            (COMMIT, Some(7), None)
        );
        let large = [
            ("etag", "\"of the answer\""),
            ("x-linked-etag", LARGE),
            ("x-linked-size", "9000"),
            ("x-repo-commit", COMMIT),
            ("content-length", "7"),
        ];
        let large = read(&large, true).unwrap();
        assert_eq!((large.sha256(), large.size), (Some(LARGE), Some(9000)));
        let unsized_ = [
            ("etag", LARGE),
            ("x-repo-commit", COMMIT),
            ("content-length", "7"),
        ];
        assert_eq!(read(&unsized_, true).unwrap().size, None);
    }

    #[test]
    fn names_that_are_not_digests_are_rejected() {
        let long = format!("{COMMIT}0");
        for bad in [
            "",
            "x",
            "../../x",
            "/etc/x",
            "..",
            &COMMIT[1..],
            &long,
            "\"\"",
            "g123456789abcdef0123456789abcdef01234567",
        ] {
            for name in ["etag", "x-linked-etag"] {
                let error = read(&[(name, bad), ("x-repo-commit", COMMIT)], false).unwrap_err();
                assert!(error.to_lowercase().contains(name), "{bad}: {error}");
            }
            let error = read(&[("etag", LARGE), ("x-repo-commit", bad)], false).unwrap_err();
            assert!(error.contains("X-Repo-Commit"), "{bad}: {error}");
        }
        assert!(read(&[("etag", LARGE)], false).is_err());
        assert!(read(&[("x-repo-commit", COMMIT)], false).is_err());
        // 64 digits are a file's name, and no commit's.
        assert!(read(&[("etag", LARGE), ("x-repo-commit", LARGE)], false).is_err());
    }
}
