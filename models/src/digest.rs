//! Digests of files, which identify a checkpoint's contents and detect changes of a model's files.
//!
//! A checkpoint's files have SHA-256, as on the hub. A model's files have BLAKE3, as computed by `b3sum`: they are hashed at every
//! conversion and check, and SHA-256 would take longer than writing them.

use std::io::Read as _;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// The size and the digest of a file.
///
/// ```
/// use lexivec_models::FileRecord;
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("a.txt");
/// std::fs::write(&path, "abc")?;
/// let record = FileRecord::sha256(&path)?;
/// assert_eq!(record.size, 3);
/// assert!(record.digest.starts_with("sha256:ba7816bf8f01cfea"));
/// assert!(FileRecord::blake3(&path)?.digest.starts_with("blake3:6437b3ac38465133"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Size in bytes.
    pub size: u64,
    /// `sha256:` or `blake3:` and the digest of the contents, 64 lower-case hexadecimal digits.
    pub digest: String,
}

impl FileRecord {
    /// Computes the SHA-256 of the file at `path`, on one core.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn sha256(path: &Path) -> Result<Self> {
        let mut hasher = Sha256::new();
        let mut buffer = vec![0; 1 << 20];
        let mut size = 0;
        let mut file = fs_err::File::open(path).map_err(|source| Error::io(path, source))?;
        loop {
            let read = file.read(&mut buffer);
            match read.map_err(|source| Error::io(path, source))? {
                0 => break,
                read => {
                    hasher.update(&buffer[..read]);
                    size += read as u64;
                }
            }
        }
        Ok(Self {
            size,
            digest: format!("sha256:{}", hex::encode(hasher.finalize())),
        })
    }

    /// Computes the BLAKE3 of the file at `path`, on all cores. A large file is mapped into memory.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be read.
    pub fn blake3(path: &Path) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_mmap_rayon(path)
            .map_err(|source| Error::io(path, source))?;
        Ok(Self {
            size: hasher.count(),
            digest: format!("blake3:{}", hasher.finalize()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_are_the_published_ones() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("abc");
        fs_err::write(&path, "abc").unwrap();
        let sha256 = FileRecord::sha256(&path).unwrap();
        assert_eq!(sha256.size, 3);
        assert_eq!(
            sha256.digest,
            "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        let blake3 = FileRecord::blake3(&path).unwrap();
        assert_eq!(blake3.size, 3);
        assert_eq!(
            blake3.digest,
            "blake3:6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85"
        );
        let missing = FileRecord::blake3(&dir.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none"), "{missing}");
    }

    #[test]
    fn a_large_file_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("large");
        let mut bytes = vec![7; 3 << 20];
        let of = |bytes: &[u8]| {
            fs_err::write(&path, bytes).unwrap();
            let both = [FileRecord::sha256, FileRecord::blake3];
            both.map(|of| of(&path).unwrap())
        };
        let before = of(&bytes);
        assert!(before.iter().all(|record| record.size == 3 << 20));
        *bytes.last_mut().unwrap() = 8;
        let after = of(&bytes);
        assert_ne!(before[0].digest, after[0].digest);
        assert_ne!(before[1].digest, after[1].digest);
    }
}
