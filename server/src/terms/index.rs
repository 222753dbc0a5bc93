//! The index of a file of terms: a folder with their vectors, so that they are embedded once.
//!
//! | file | content |
//! |---|---|
//! | `index.json` | what the vectors are computed from: the digest of the terms, the model and the dimensions |
//! | `vectors.npy` | a vector for each term |
//!
//! `index.json` is written first, and `vectors.npy` appears when it is complete. A process that writes them holds a lock on the folder.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow, bail, ensure};
use lexivec_models::text;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Terms;
use crate::embed::is_locked_elsewhere;
use crate::stdio::say;

const FORMAT: &str = "lexivec-index";
const VERSION: u32 = 1;

/// The folder of an index.
#[derive(Debug)]
pub(crate) struct Index {
    folder: PathBuf,
    /// What the vectors are computed from, if the folder has an index.
    found: Option<About>,
    terms: usize,
    terms_digest: String,
    terms_path: PathBuf,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    format: String,
    version: u32,
    model: String,
    model_digest: String,
    dimensions: usize,
    terms: usize,
    terms_digest: String,
}

impl Index {
    /// Looks at a folder, which need not exist.
    ///
    /// # Errors
    /// It has files and no index, or the index is damaged or that of other terms.
    pub(crate) fn open(folder: &Path, terms: &Terms) -> anyhow::Result<Self> {
        let index = Self {
            folder: folder.to_owned(),
            found: found(folder)?,
            terms: terms.rows().len(),
            terms_digest: digest(terms),
            terms_path: terms.path().to_owned(),
        };
        index.check_terms()?;
        Ok(index)
    }

    fn check_terms(&self) -> anyhow::Result<()> {
        if let Some(found) = &self.found {
            ensure!(
                (found.terms, &found.terms_digest) == (self.terms, &self.terms_digest),
                "{}: the index was built from other terms ({}) than {} has ({}): remove the folder to embed these terms, or name another \
                 one with --index",
                self.folder.display(),
                found.terms,
                self.terms_path.display(),
                self.terms
            );
        }
        Ok(())
    }

    /// The dimensions of the vectors that there are.
    pub(crate) fn dimensions(&self) -> Option<usize> {
        self.found.as_ref().map(|found| found.dimensions)
    }

    /// Checks that the vectors are a model's, and creates the folder if there is none. Waits while another process writes the index, and
    /// reads what it wrote. The returned file holds the lock on the folder until it is dropped.
    ///
    /// # Errors
    /// They are another model's, have another width, or are those of other terms; or the folder cannot be written.
    pub(crate) fn claim(
        &mut self,
        model: &str,
        model_digest: &str,
        dimensions: usize,
    ) -> anyhow::Result<fs_err::File> {
        fs_err::create_dir_all(&self.folder)?;
        let lock = lock(&self.folder)?;
        self.found = found(&self.folder)?;
        self.check_terms()?;
        let shown = self.folder.display();
        if let Some(found) = &self.found {
            ensure!(
                found.model_digest == model_digest,
                "{shown}: the vectors of the index were computed by the model {} ({}), and this one is {model} ({model_digest}): name \
                 that model, or another folder with --index",
                found.model,
                found.model_digest
            );
            ensure!(
                found.dimensions == dimensions,
                "{shown}: the vectors of the index have {} dimensions, and not {dimensions}: leave --dimensions out, or name another \
                 folder with --index",
                found.dimensions
            );
            return Ok(lock);
        }
        let about = About {
            format: FORMAT.to_owned(),
            version: VERSION,
            model: model.to_owned(),
            model_digest: model_digest.to_owned(),
            dimensions,
            terms: self.terms,
            terms_digest: self.terms_digest.clone(),
        };
        // A temporary file is private by default. This one becomes a part of the index, so the umask decides.
        let mode = Permissions::from_mode(0o666);
        let mut file = tempfile::Builder::new()
            .permissions(mode)
            .tempfile_in(&self.folder)
            .with_context(|| format!("{shown}: the index cannot be written"))?;
        serde_json::to_writer_pretty(&mut file, &about)?;
        file.persist(self.folder.join("index.json"))
            .map_err(|error| anyhow!(error.error).context(format!("{shown}: index.json")))?;
        self.found = Some(about);
        Ok(lock)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of vectors.
    pub(crate) fn vectors(&self) -> PathBuf {
        self.folder.join("vectors.npy")
    }

    /// Whether all terms are embedded.
    pub(crate) fn is_complete(&self) -> bool {
        self.found.is_some() && self.vectors().exists()
    }
}

/// The message that the vectors of an index cannot be used.
pub(crate) fn damaged(folder: &Path) -> String {
    format!(
        "{}: the index is damaged: remove the folder to embed the terms again",
        folder.display()
    )
}

/// Locks a folder, which another process may hold for as long as it embeds the terms.
fn lock(folder: &Path) -> anyhow::Result<fs_err::File> {
    let file = fs_err::File::open(folder)?;
    if is_locked_elsewhere(&file) {
        say!(
            "note: {}: waiting until another process has written the index",
            folder.display()
        );
        file.file()
            .lock()
            .with_context(|| format!("{}: the index cannot be locked", folder.display()))?;
    }
    Ok(file)
}

/// The description of the index in a folder.
fn found(folder: &Path) -> anyhow::Result<Option<About>> {
    let shown = folder.display();
    if !folder.exists() {
        return Ok(None);
    }
    ensure!(
        folder.is_dir(),
        "{shown}: this is not a folder; --index needs one"
    );
    let file = folder.join("index.json");
    if !file.exists() {
        return match fs_err::read_dir(folder)?.next() {
            None => Ok(None),
            Some(_) => bail!(
                "{shown}: the folder has files, and no index of lexivec: name a new folder with --index"
            ),
        };
    }
    let about: Option<About> = serde_json::from_str(&text::read(&file)?).ok();
    match about.filter(|about| about.format == FORMAT) {
        Some(about) if about.version == VERSION => Ok(Some(about)),
        Some(about) => bail!(
            "{}: the index has the format's version {}, and this version of lexivec reads {VERSION}: remove the folder to embed \
             the terms again",
            file.display(),
            about.version
        ),
        None => bail!(
            "{}: this is no index of lexivec: name another folder with --index",
            file.display()
        ),
    }
}

/// The digest of all terms, in their order.
fn digest(terms: &Terms) -> String {
    let mut digest = Sha256::new();
    for row in 0..terms.rows().len() {
        let term = terms.term(row);
        digest.update((term.len() as u64).to_le_bytes());
        digest.update(term);
    }
    hex::encode(digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::super::Columns;
    use super::*;

    const NAMES: Columns<'_> = Columns {
        term: "term",
        language: "language",
        domain: "domain",
    };

    fn said<T>(result: anyhow::Result<T>) -> String {
        format!("{:#}", result.err().unwrap())
    }

    #[test]
    fn an_index_is_of_its_terms_and_model_and_replaces_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let read = |name: &str, text: &str| {
            let path = dir.path().join(name);
            fs_err::write(&path, text).unwrap();
            Terms::read(&path, &NAMES).unwrap()
        };
        let (terms, other) = (read("a.txt", "ab\nc\n"), read("b.txt", "a\nbc\n"));
        let folder = dir.path().join("index");
        let mut new = Index::open(&folder, &terms).unwrap();
        assert!(!new.is_complete() && !folder.exists());
        new.claim("nano", "blake3:1", 8).unwrap();
        let mut index = Index::open(&folder, &terms).unwrap();
        assert_eq!((index.dimensions(), index.is_complete()), (Some(8), false));
        fs_err::write(index.vectors(), "").unwrap();
        assert!(index.is_complete());
        index.claim("nano", "blake3:1", 8).unwrap();
        let model = said(index.claim("nano", "blake3:2", 8));
        assert!(model.contains("the model nano (blake3:1)"), "{model}");
        let width = said(index.claim("nano", "blake3:1", 16));
        assert!(width.contains("have 8 dimensions, and not 16"), "{width}");
        assert!(said(Index::open(&folder, &other)).contains("other terms (2) than"));

        let file = folder.join("index.json");
        let text = fs_err::read_to_string(&file).unwrap();
        for (text, reason) in [
            (text.replace(": 1,", ": 2,"), "the format's version 2"),
            (text.replace(FORMAT, "other"), "no index of lexivec"),
            ("{".to_owned(), "no index of lexivec"),
        ] {
            fs_err::write(&file, text).unwrap();
            let said = said(Index::open(&folder, &terms));
            assert!(said.contains(reason), "{said}");
        }
        fs_err::remove_file(&file).unwrap();
        let foreign = said(Index::open(&folder, &terms));
        assert!(foreign.contains("has files, and no index"), "{foreign}");
        assert!(said(Index::open(&dir.path().join("a.txt"), &terms)).contains("not a folder"));
    }

    #[test]
    fn a_process_that_waited_for_another_checks_what_that_one_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        let read = |text: &str| {
            fs_err::write(&path, text).unwrap();
            Terms::read(&path, &NAMES).unwrap()
        };
        let (terms, others) = (read("ab\n"), read("cd\n"));
        let folder = dir.path().join("index");
        let open = |terms: &Terms| Index::open(&folder, terms).unwrap();
        let (mut first, mut second, mut third, mut same) =
            (open(&terms), open(&terms), open(&others), open(&terms));
        let lock = first.claim("nano", "blake3:1", 8).unwrap();
        let waiting = std::thread::spawn(move || said(second.claim("other", "blake3:2", 8)));
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert!(!waiting.is_finished());
        drop(lock);
        let model = waiting.join().unwrap();
        assert!(model.contains("the model nano (blake3:1)"), "{model}");
        assert!(said(third.claim("nano", "blake3:1", 8)).contains("other terms (1) than"));
        fs_err::write(first.vectors(), "").unwrap();
        same.claim("nano", "blake3:1", 8).unwrap();
        assert!(same.is_complete());
    }
}
