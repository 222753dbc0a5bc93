//! An output in parts: a folder of files, each complete or absent, and `_manifest.json`, which lists the complete ones.
//!
//! A part is written as any output (`part-00003.parquet.partial` and its record), renamed when it is full, and then listed. So a job that is
//! killed at any time continues after the last listed part, or within the next one. A file that is complete and not listed is written
//! again.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use lexivec_models::{FileRecord, text};
use serde::{Deserialize, Serialize};

use super::job::Description;
use super::output::beside;
use super::own_file::{self, Durable};
use super::record::Record;
use super::write::OutputFormat;

const FORMAT: &str = "lexivec-parts";
const VERSION: u32 = 1;
/// Programs that read a folder of tables leave out names that begin with an underscore.
const MANIFEST: &str = "_manifest.json";
/// The manifest before it is renamed. A job that is killed early may leave it alone in the folder.
const NEW_MANIFEST: &str = "_manifest.json.new";

/// The folder of an output in parts.
#[derive(Debug)]
pub(super) struct Parts {
    folder: PathBuf,
    format: OutputFormat,
    /// Rows at which a part is full.
    most_rows: usize,
    manifest: Manifest,
    /// The lock on the folder: another process would remove the unfinished part.
    _lock: fs_err::File,
}

/// What `_manifest.json` holds.
#[derive(Debug, Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    /// Whether all rows of the input are in the parts.
    complete: bool,
    /// What the vectors are, once the model is loaded.
    #[serde(flatten)]
    description: Option<Description>,
    /// The files that the rows come from.
    inputs: Vec<String>,
    /// Vectors in all parts.
    rows: usize,
    parts: Vec<Part>,
    /// What `--resume` needs: how far the input is read with the last part, and the settings of the job. No other program should read it.
    resume: Record,
}

/// A complete part.
#[derive(Debug, Serialize, Deserialize)]
struct Part {
    file: String,
    /// The first row of the input that was read for it, and the one after its last. Rows are counted from 0, over all inputs.
    input_rows: [u64; 2],
    rows: usize,
    bytes: u64,
    sha256: String,
}

impl Manifest {
    /// Whether the parts are numbered, follow each other, and have as many rows as the manifest says.
    fn is_consistent(&self, format: OutputFormat) -> bool {
        let (mut rows, mut read) = (0_usize, 0);
        for (number, part) in self.parts.iter().enumerate() {
            let [first, end] = part.input_rows;
            let (sum, span) = (rows.checked_add(part.rows), end.checked_sub(first));
            let (Some(sum), Some(span)) = (sum, span) else {
                return false;
            };
            let is_next = part.file == file_name(number, format) && first == read;
            if !is_next || part.rows as u64 > span {
                return false;
            }
            (rows, read) = (sum, end);
        }
        rows == self.rows && read <= self.resume.read
    }
}

fn file_name(number: usize, format: OutputFormat) -> String {
    format!("part-{number:05}.{}", format.as_str())
}

impl Parts {
    /// Creates the folder, or with `resume` finds the parts of an earlier job in it.
    ///
    /// # Errors
    /// Another process writes it, it has other files, or those of an earlier job and `resume` is not set; or a listed part is missing or damaged.
    pub(super) fn open(
        folder: &Path,
        format: OutputFormat,
        most_rows: usize,
        inputs: &[PathBuf],
        resume: bool,
    ) -> anyhow::Result<Self> {
        let shown = folder.display();
        let path = folder.join(MANIFEST);
        ensure!(
            !folder.exists() || folder.is_dir(),
            "{shown}: this is a file, and --part-rows writes a folder: choose another --output"
        );
        fs_err::create_dir_all(folder)?;
        let lock = own_file::lock_folder(folder)?;
        let mut earlier = None;
        if path.exists() {
            let found: Option<Manifest> = serde_json::from_str(&text::read(&path)?).ok();
            let found = found.filter(|found| found.format == FORMAT && found.version == VERSION);
            let Some(found) = found else {
                bail!(
                    "{}: this is no manifest of parts that this version of lexivec wrote: choose another --output",
                    path.display()
                );
            };
            ensure!(
                resume || !found.complete,
                "{shown}: the folder has all parts of a job: choose another --output, or remove the folder"
            );
            ensure!(
                resume || found.parts.is_empty(),
                "{shown} belongs to an unfinished job: add --resume to continue it, or remove the folder to start again"
            );
            ensure!(
                found.is_consistent(format),
                "{}: the parts that the manifest lists do not follow each other: remove the folder to start again",
                path.display()
            );
            earlier = Some(found).filter(|found| !found.parts.is_empty());
        } else if has_files(folder)? {
            bail!("{shown}: the folder has files, and no {MANIFEST}: choose another --output");
        }
        let manifest = earlier.unwrap_or_else(|| Manifest {
            format: FORMAT.to_owned(),
            version: VERSION,
            complete: false,
            description: None,
            inputs: inputs
                .iter()
                .map(|path| path.display().to_string())
                .collect(),
            rows: 0,
            parts: Vec::new(),
            resume: Record::default(),
        });
        let parts = Self {
            folder: folder.to_owned(),
            format,
            most_rows,
            manifest,
            _lock: lock,
        };
        for part in &parts.manifest.parts {
            let file = folder.join(&part.file);
            let (found, sha256) = if file.exists() {
                digest(&file)?
            } else {
                (0, String::new())
            };
            ensure!(
                found == part.bytes,
                "{}: the manifest lists this part with {} bytes, and it has {found}: put the file back, or remove the folder to start again",
                file.display(),
                part.bytes
            );
            ensure!(
                sha256 == part.sha256,
                "{}: the manifest lists this part with another SHA-256 than it has: put the file back, or remove the folder to start again",
                file.display()
            );
        }
        // From here on, the folder is known to be a job's.
        parts.save()?;
        // A part that was complete before it was listed is written again.
        let next = parts.next();
        if next.exists() {
            for leftover in [beside(&next, ".partial.json"), beside(&next, ".partial")] {
                if leftover.exists() {
                    fs_err::remove_file(&leftover)?;
                }
            }
        }
        Ok(parts)
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Vectors in the complete parts.
    pub(super) fn rows(&self) -> usize {
        self.manifest.rows
    }

    /// Whether an earlier run, or this one, has written all parts.
    pub(super) fn is_complete(&self) -> bool {
        self.manifest.complete
    }

    /// Describes the vectors in the manifest.
    pub(super) fn describe(&mut self, description: Description) {
        self.manifest.description = Some(description);
    }

    /// The progress with the last part; `None` before the first.
    pub(super) fn progress(&self) -> Option<Record> {
        let progress = || self.manifest.resume.clone();
        (!self.manifest.parts.is_empty()).then(progress)
    }

    /// The file of the next part.
    pub(super) fn next(&self) -> PathBuf {
        self.file(self.manifest.parts.len())
    }

    /// The file of the part after the next one.
    pub(super) fn after_next(&self) -> PathBuf {
        self.file(self.manifest.parts.len() + 1)
    }

    fn file(&self, number: usize) -> PathBuf {
        self.folder.join(file_name(number, self.format))
    }

    /// Whether a part of this many rows is full.
    pub(super) fn is_full(&self, rows: usize) -> bool {
        rows >= self.most_rows
    }

    /// Lists the next part, whose file is complete.
    ///
    /// # Errors
    /// It cannot be read, or the manifest cannot be written.
    pub(super) fn add(&mut self, rows: usize, progress: &Record) -> anyhow::Result<()> {
        let path = self.next();
        let (bytes, sha256) = digest(&path)?;
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        self.manifest.parts.push(Part {
            file: file.into_owned(),
            input_rows: [self.manifest.resume.read, progress.read],
            rows,
            bytes,
            sha256,
        });
        self.manifest.rows += rows;
        self.manifest.resume.advance_to(progress);
        self.save()
    }

    /// Records that the job is done.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub(super) fn finish(mut self, progress: &Record) -> anyhow::Result<()> {
        self.manifest.complete = true;
        self.manifest.resume.advance_to(progress);
        self.save()
    }

    /// Removes the folder of a job that wrote no vector.
    pub(super) fn discard(self) {
        // Nobody needs what remains, and the reason why there is no vector is reported.
        let _ = fs_err::remove_file(self.folder.join(MANIFEST));
        let _ = fs_err::remove_dir(&self.folder);
    }

    /// Replaces the manifest as a whole. The names of the part and the manifest survive a power failure.
    fn save(&self) -> anyhow::Result<()> {
        let path = self.folder.join(MANIFEST);
        let written = || -> anyhow::Result<()> {
            let text = serde_json::to_vec_pretty(&self.manifest)?;
            own_file::replace(&path, &text, Durable::Yes)
        };
        written().with_context(|| format!("{}: the manifest cannot be written", path.display()))
    }

    pub(super) fn most_rows(&self) -> usize {
        self.most_rows
    }
}

/// Whether a folder has files that a job's first moments do not leave.
fn has_files(folder: &Path) -> anyhow::Result<bool> {
    for entry in fs_err::read_dir(folder)? {
        if entry?.file_name() != NEW_MANIFEST {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The length and the SHA-256 of a file.
fn digest(path: &Path) -> anyhow::Result<(u64, String)> {
    let FileRecord { size, digest } = FileRecord::sha256(path)?;
    let hexadecimal = digest.strip_prefix("sha256:").unwrap_or(&digest);
    Ok((size, hexadecimal.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(folder: &Path, resume: bool) -> anyhow::Result<Parts> {
        Parts::open(folder, OutputFormat::Npy, 10, &["a.txt".into()], resume)
    }

    fn said(folder: &Path, resume: bool) -> String {
        open(folder, resume).unwrap_err().to_string()
    }

    #[test]
    fn a_manifest_lists_complete_parts_and_no_folder_of_others_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("a.npy");
        fs_err::create_dir(&folder).unwrap();
        fs_err::write(folder.join(NEW_MANIFEST), "{").unwrap();
        let parts = open(&folder, false).unwrap();
        assert!(said(&folder, true).contains("another process is writing it"));
        assert!(parts.progress().is_none());
        fs_err::write(parts.next(), "abc").unwrap();
        let progress = Record {
            read: 12,
            ..Record::default()
        };
        // A job that has no part yet may start again.
        drop(parts);
        let mut parts = open(&folder, false).unwrap();
        parts.add(11, &progress).unwrap();
        drop(parts);
        assert!(said(&folder, false).contains("add --resume"));
        let parts = open(&folder, true).unwrap();
        assert_eq!((parts.rows(), parts.progress().unwrap().read), (11, 12));
        assert_eq!(parts.next(), folder.join("part-00001.npy"));
        let text = fs_err::read_to_string(folder.join(MANIFEST)).unwrap();
        let manifest: Manifest = serde_json::from_str(&text).unwrap();
        let part = &manifest.parts[0];
        assert_eq!((part.input_rows, part.rows, part.bytes), ([0, 12], 11, 3));
        assert!(part.sha256.starts_with("ba7816bf"), "{}", part.sha256);

        // A part that was not listed is written again.
        fs_err::write(parts.next(), "not listed").unwrap();
        fs_err::write(beside(&parts.next(), ".partial.json"), "{}").unwrap();
        drop(parts);
        let parts = open(&folder, true).unwrap();
        assert!(!beside(&parts.next(), ".partial.json").exists());
        drop(parts);
        fs_err::write(folder.join("part-00000.npy"), "ab").unwrap();
        assert!(said(&folder, true).contains("with 3 bytes, and it has 2"));
        fs_err::write(folder.join("part-00000.npy"), "abd").unwrap();
        assert!(said(&folder, true).contains("another SHA-256"));
        fs_err::write(folder.join("part-00000.npy"), "abc").unwrap();
        for (sound, damaged) in [
            ("\"rows\": 11", format!("\"rows\": {}", usize::MAX)),
            ("part-00000", "../part-00000".to_owned()),
            ("part-00000", "part-00001".to_owned()),
            ("\"read\": 12", "\"read\": 11".to_owned()),
        ] {
            assert!(text.contains(sound), "{text}");
            fs_err::write(folder.join(MANIFEST), text.replace(sound, &damaged)).unwrap();
            let said = said(&folder, true);
            assert!(said.contains("do not follow each other"), "{said}");
        }
        fs_err::write(folder.join(MANIFEST), &text).unwrap();
        let parts = open(&folder, true).unwrap();
        parts.finish(&progress).unwrap();
        assert!(said(&folder, false).contains("has all parts of a job"));
        assert!(open(&folder, true).unwrap().is_complete());
        fs_err::write(folder.join(MANIFEST), "{}").unwrap();
        assert!(said(&folder, true).contains("no manifest of parts"));
        fs_err::remove_file(folder.join(MANIFEST)).unwrap();
        assert!(said(&folder, true).contains("has files, and no _manifest.json"));
        fs_err::write(dir.path().join("file"), "").unwrap();
        assert!(said(&dir.path().join("file"), false).contains("this is a file"));
    }
}
