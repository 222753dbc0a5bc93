//! `_manifest.json` in the folder of a job: what is computed, from which inputs, and which parts are complete.

use std::fs::TryLockError;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use lexivec_models::FileRecord;
use serde::{Deserialize, Serialize};

use crate::embed::Description;

const FORMAT: &str = "lexivec-sql-parts";
const VERSION: u32 = 1;
/// Programs that read a folder of tables leave out names that begin with an underscore.
const FILE: &str = "_manifest.json";

/// What decides the contents of the parts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Settings {
    pub(super) query: String,
    pub(super) model: Description,
    /// The table whose files are the shards.
    pub(super) divided: String,
    pub(super) files_per_shard: usize,
    pub(super) tables: Vec<InputTable>,
}

/// The files of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InputTable {
    name: String,
    files: Vec<InputFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct InputFile {
    path: PathBuf,
    #[serde(flatten)]
    record: FileRecord,
}

/// A complete part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    pub(super) file: String,
    pub(super) rows: usize,
    #[serde(flatten)]
    pub(super) record: FileRecord,
}

/// The state of a job.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    format: String,
    version: u32,
    /// Whether all shards have a part.
    complete: bool,
    #[serde(flatten)]
    settings: Settings,
    /// The part of each shard; null for one that is not computed yet.
    parts: Vec<Option<Part>>,
}

impl InputTable {
    /// # Errors
    /// A file cannot be read.
    pub(super) fn read(name: String, files: &[PathBuf]) -> anyhow::Result<Self> {
        let files = files.iter().map(|path| {
            let record = FileRecord::sha256(path)?;
            Ok(InputFile {
                path: path.clone(),
                record,
            })
        });
        Ok(Self {
            name,
            files: files.collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Settings {
    /// Checks that the parts of an earlier run are those that this one would compute.
    ///
    /// # Errors
    /// They are not; the message names what changed.
    fn check(&self, now: &Self) -> anyhow::Result<()> {
        let changed = if self.query != now.query {
            "the query".to_owned()
        } else if self.model.model_digest != now.model.model_digest {
            format!(
                "the model (it was {} {})",
                self.model.model, self.model.model_digest
            )
        } else if self.model.version != now.model.version {
            format!("lexivec's version (it was {})", self.model.version)
        } else if self.model != now.model {
            "--truncate or the model's name".to_owned()
        } else if (&self.divided, self.files_per_shard) != (&now.divided, now.files_per_shard) {
            "--shard or --shard-files".to_owned()
        } else if let Some(file) = self.changed_file(now) {
            format!("the input {file}")
        } else {
            return Ok(());
        };
        bail!(
            "--resume: {changed} is not the same as when the job began: run the earlier command, or choose another --output-dir"
        )
    }

    fn changed_file(&self, now: &Self) -> Option<String> {
        let all = |settings: &Self| {
            let tables = settings.tables.iter();
            let files = tables.flat_map(|table| {
                table
                    .files
                    .iter()
                    .map(|file| (table.name.clone(), file.clone()))
            });
            files.collect::<Vec<_>>()
        };
        let (before, now) = (all(self), all(now));
        let mut pairs = before.iter().zip(&now);
        let changed = pairs.find(|(before, now)| before != now);
        let count = || {
            format!(
                "tables: they had {} files, and have {}",
                before.len(),
                now.len()
            )
        };
        let differ = changed.map(|(_, (_, file))| file.path.display().to_string());
        differ.or_else(|| (before.len() != now.len()).then(count))
    }
}

/// The name of the part of a shard.
pub(super) fn part_name(number: usize) -> String {
    format!("part-{number:05}.parquet")
}

/// Creates the folder of a job, and locks it for as long as the file is open.
///
/// # Errors
/// It cannot be created, or another process has locked it.
pub(super) fn lock(folder: &Path) -> anyhow::Result<(PathBuf, fs_err::File)> {
    ensure!(
        !folder.exists() || folder.is_dir(),
        "--output-dir {}: this is a file: name a folder",
        folder.display()
    );
    fs_err::create_dir_all(folder)?;
    let folder = fs_err::canonicalize(folder)?;
    let file = fs_err::File::open(&folder)?;
    // Other errors are ignored: some file systems have no locks, and a single process needs none.
    let is_busy = matches!(file.file().try_lock(), Err(TryLockError::WouldBlock));
    ensure!(
        !is_busy,
        "{}: another process is writing it",
        folder.display()
    );
    Ok((folder, file))
}

impl Manifest {
    /// Starts a job in an empty folder, or continues an earlier one.
    ///
    /// # Errors
    /// The folder has other files, or an earlier job and `resume` is not set; or the job, or a part of it, is not what it was.
    pub(super) fn open(
        folder: &Path,
        settings: Settings,
        shards: usize,
        resume: bool,
    ) -> anyhow::Result<Self> {
        let shown = folder.display();
        let path = folder.join(FILE);
        remove_leftovers(folder)?;
        if !path.exists() {
            ensure!(
                fs_err::read_dir(folder)?.next().is_none(),
                "{shown}: the folder has files, and no {FILE}: choose another --output-dir"
            );
            let manifest = Self {
                format: FORMAT.to_owned(),
                version: VERSION,
                complete: false,
                settings,
                parts: vec![None; shards],
            };
            manifest.save(folder)?;
            return Ok(manifest);
        }
        ensure!(
            resume,
            "{shown} has the parts of a job: add --resume to continue it, or choose another --output-dir"
        );
        let found: Option<Self> = serde_json::from_slice(&fs_err::read(&path)?).ok();
        let found = found.filter(|found| found.format == FORMAT && found.version == VERSION);
        let Some(found) = found else {
            bail!(
                "{}: this is no manifest that this version of lexivec wrote: choose another --output-dir",
                path.display()
            );
        };
        found.settings.check(&settings)?;
        ensure!(
            found.parts.len() == shards,
            "{}: the manifest has {} shards, and the table {shards}",
            path.display(),
            found.parts.len()
        );
        for (number, part) in found
            .parts
            .iter()
            .enumerate()
            .filter_map(|(number, part)| Some((number, part.as_ref()?)))
        {
            let file = folder.join(part_name(number));
            let same = part.file == part_name(number)
                && file.is_file()
                && FileRecord::sha256(&file)? == part.record;
            ensure!(
                same,
                "{}: this part is not the one that the manifest lists: put the file back, or choose another --output-dir",
                file.display()
            );
        }
        Ok(found)
    }

    pub(super) fn query(&self) -> &str {
        &self.settings.query
    }

    pub(super) fn shards(&self) -> usize {
        self.parts.len()
    }

    /// Rows of all complete parts.
    pub(super) fn rows(&self) -> usize {
        self.parts.iter().flatten().map(|part| part.rows).sum()
    }

    /// The shards that have no part yet.
    pub(super) fn missing(&self) -> impl Iterator<Item = usize> {
        self.parts
            .iter()
            .enumerate()
            .filter(|(_, part)| part.is_none())
            .map(|(number, _)| number)
    }

    /// Lists a part, whose file is complete.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub(super) fn add(&mut self, folder: &Path, number: usize, part: Part) -> anyhow::Result<()> {
        self.parts[number] = Some(part);
        self.save(folder)
    }

    /// Records that all shards have a part.
    ///
    /// # Errors
    /// The manifest cannot be written.
    pub(super) fn finish(&mut self, folder: &Path) -> anyhow::Result<()> {
        self.complete = true;
        self.save(folder)
    }

    /// Replaces the manifest as a whole. The names of the parts and the manifest survive a power failure.
    fn save(&self, folder: &Path) -> anyhow::Result<()> {
        let path = folder.join(FILE);
        let written = || -> anyhow::Result<()> {
            let new = folder.join("_manifest.json.new");
            let mut file = fs_err::File::create(&new)?;
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            file.sync_data()?;
            fs_err::rename(&new, &path)?;
            fs_err::File::open(folder)?.sync_all()?;
            Ok(())
        };
        written().with_context(|| format!("{}: the manifest cannot be written", path.display()))
    }
}

/// Removes the unfinished files of a process that was killed. The folder is locked, so no other process writes them.
fn remove_leftovers(folder: &Path) -> anyhow::Result<()> {
    for entry in fs_err::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_part = name.starts_with(".part-") && name.ends_with(".partial");
        if is_part || name == "_manifest.json.new" {
            fs_err::remove_file(&path)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
