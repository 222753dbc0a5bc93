//! The place of a conversion in the cache.
//!
//! The name of its folder depends on everything that determines the result: the contents of the checkpoint's files, precision, target,
//! and this program's version. Weights of gigabytes are not read at every start. Their digests are kept in the cache, each under the
//! identity of its file: path, device, inode, length, both times, and the contents of its head and tail. Times alone are not enough,
//! because the layers of a container image, and files written by `cp -p` or rsync, have the times of their originals.

use std::fs::Metadata;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use lexivec_convert::ConvertOptions;
use lexivec_models::{Checkpoint, FORMAT_VERSION, FileRecord, Manifest, WeightStorage, cache_dir};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};
use crate::observer::{Event, Observer};

/// Bytes at each end of a file that belong to its identity. The head holds the names and shapes of a safetensors file.
const ENDS: usize = 1 << 20;

/// Reading a file of this size takes seconds, so it is reported.
const LARGE: u64 = 1 << 30;

/// The folder of a conversion, which need not exist.
///
/// # Errors
/// A file of the checkpoint cannot be read, or there is no cache folder.
pub(crate) fn place(
    checkpoint: &Checkpoint,
    options: &ConvertOptions,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    let root = cache_dir().map_err(Error::NoCache)?;
    let mut digest = Sha256::new();
    let mut add = |text: &str| {
        digest.update(text.as_bytes());
        digest.update([0]);
    };
    add(env!("CARGO_PKG_VERSION"));
    add(&FORMAT_VERSION.to_string());
    add(options.target.as_str());
    add(options.attention.as_str());
    add(options.blocks.compute.as_str());
    add(&checkpoint.allow_unused_tensors.to_string());
    let (files, kept) = (checkpoint.files(), root.join("digests"));
    let digests = std::thread::scope(|scope| {
        let started: Vec<_> = files
            .iter()
            .map(|(_, path)| scope.spawn(|| known_digest(path, &kept, observer)))
            .collect();
        let ended = started
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err(Error::Digest)));
        ended.collect::<Result<Vec<String>>>()
    })?;
    for ((name, _), digest) in files.iter().zip(&digests) {
        add(&name.to_string_lossy());
        add(digest);
    }
    let id = hex::encode(&digest.finalize()[..12]);
    let name = checkpoint.source.name.replace('/', "--");
    let precision = options.precision;
    Ok(root.join("models").join(format!("{name}-{precision}-{id}")))
}

/// Whether a conversion still has its original weights. Weights that it shares with a checkpoint by a hard link change if somebody writes
/// into the checkpoint's file.
///
/// # Errors
/// The manifest cannot be read, or there is no cache folder.
pub(crate) fn is_intact(dir: &Path, observer: &dyn Observer) -> Result<bool> {
    is_intact_by(dir, &cache_dir()?.join("digests"), observer)
}

fn is_intact_by(dir: &Path, kept: &Path, observer: &dyn Observer) -> Result<bool> {
    let manifest = Manifest::read(dir)?;
    if manifest.weights != WeightStorage::Linked {
        return Ok(true);
    }
    let shared = manifest.source.files.iter().filter(|(name, _)| {
        name.ends_with(".safetensors") && manifest.files.contains_key(name.as_str())
    });
    for (name, record) in shared {
        if known_digest(&dir.join(name), kept, observer)? != record.digest {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The SHA-256 of a file: the digest that is kept under the file's identity, or a new one, which is then kept.
fn known_digest(path: &Path, kept: &Path, observer: &dyn Observer) -> Result<String> {
    let real = fs_err::canonicalize(path)?;
    let place = kept.join(identity(&real)?);
    let is_digest = |text: &str| {
        let digits = text.strip_prefix("sha256:");
        digits.is_some_and(|d| d.len() == 64 && d.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if let Ok(text) = fs_err::read_to_string(&place)
        && is_digest(text.trim())
    {
        return Ok(text.trim().to_owned());
    }
    if fs_err::metadata(&real)?.len() >= LARGE {
        observer.event(Event::Reading(path));
    }
    let digest = FileRecord::sha256(&real)?.digest;
    // A cache that cannot be written costs time at the next start, and is reported when the model is written to it.
    let _ = keep(&place, &digest);
    Ok(digest)
}

/// Writes a small file, which is complete when it appears.
fn keep(place: &Path, text: &str) -> std::io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    fs_err::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.persist(place).map_err(|error| error.error)?;
    Ok(())
}

/// The identity of a file, which takes only its head and tail to read.
fn identity(path: &Path) -> Result<String> {
    let mut file = fs_err::File::open(path)?;
    let data = file.metadata()?;
    let mut digest = Sha256::new();
    digest.update(path.as_os_str().as_encoded_bytes());
    digest.update([0]);
    for number in numbers(&data) {
        digest.update(number.to_le_bytes());
    }
    let mut end = Vec::with_capacity(ENDS);
    (&mut file).take(ENDS as u64).read_to_end(&mut end)?;
    digest.update(&end);
    end.clear();
    file.seek(SeekFrom::Start(data.len().saturating_sub(ENDS as u64)))?;
    file.take(ENDS as u64).read_to_end(&mut end)?;
    digest.update(&end);
    Ok(hex::encode(digest.finalize()))
}

/// Numbers that change when a file is replaced or written. The inode's change time is among them, because no program can set it.
fn numbers(data: &Metadata) -> [i64; 7] {
    [
        data.dev() as i64,
        data.ino() as i64,
        data.len() as i64,
        data.mtime(),
        data.mtime_nsec(),
        data.ctime(),
        data.ctime_nsec(),
    ]
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use lexivec_convert::Silent;
    use lexivec_models::Precision;
    use lexivec_runtime::Provider;

    use super::*;
    use crate::observer::SilentObserver;

    /// Writes contents of one length under one time.
    fn write(path: &Path, byte: u8, time: SystemTime) {
        let mut bytes = vec![7; 4 * ENDS];
        // Neither in the head nor in the tail.
        bytes[2 * ENDS] = byte;
        fs_err::write(path, bytes).unwrap();
        let file = fs_err::OpenOptions::new().write(true).open(path).unwrap();
        file.file().set_modified(time).unwrap();
    }

    #[test]
    fn contents_of_the_same_length_and_time_have_other_digests() {
        let dir = tempfile::tempdir().unwrap();
        let (path, kept) = (dir.path().join("weights"), dir.path().join("digests"));
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
        write(&path, 1, time);
        let first = known_digest(&path, &kept, &SilentObserver).unwrap();
        assert_eq!(known_digest(&path, &kept, &SilentObserver).unwrap(), first);
        // The clock of inodes moves in steps of some milliseconds.
        std::thread::sleep(Duration::from_millis(20));
        write(&path, 2, time);
        let second = known_digest(&path, &kept, &SilentObserver).unwrap();
        assert_ne!(first, second);
        assert_eq!(second, FileRecord::sha256(&path).unwrap().digest);
    }

    #[test]
    fn a_digest_is_kept_and_a_damaged_one_is_made_again() {
        let dir = tempfile::tempdir().unwrap();
        let (path, kept) = (dir.path().join("weights"), dir.path().join("digests"));
        write(&path, 1, SystemTime::UNIX_EPOCH);
        let digest = known_digest(&path, &kept, &SilentObserver).unwrap();
        let record = kept.join(identity(&path).unwrap());
        assert_eq!(fs_err::read_to_string(&record).unwrap(), digest);
        fs_err::write(&record, "sha256:0").unwrap();
        assert_eq!(known_digest(&path, &kept, &SilentObserver).unwrap(), digest);
        // A stored digest is not computed again.
        let other = format!("sha256:{}", "0".repeat(64));
        fs_err::write(&record, &other).unwrap();
        assert_eq!(known_digest(&path, &kept, &SilentObserver).unwrap(), other);
    }

    #[test]
    fn weights_that_are_shared_and_written_into_are_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/tiny/qwen3");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs_err::copy(root.join(name), dir.path().join(name)).unwrap();
        }
        let model = dir.path().join("model");
        let options = ConvertOptions {
            verify: false,
            ..ConvertOptions::for_provider(Provider::Cuda, Some(Precision::Bf16))
        };
        let checkpoint = Checkpoint::open(dir.path()).unwrap();
        let report = lexivec_convert::convert(&checkpoint, &model, &options, &Silent).unwrap();
        let kept = dir.path().join("digests");
        assert!(is_intact_by(&model, &kept, &SilentObserver).unwrap());
        let weights = dir.path().join("model.safetensors");
        let mut bytes = fs_err::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs_err::write(&weights, bytes).unwrap();
        let linked = report.weights == WeightStorage::Linked;
        assert_eq!(
            is_intact_by(&model, &kept, &SilentObserver).unwrap(),
            !linked
        );
    }
}
