//! Projections onto principal components, from files that `lexivec terms` wrote.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use lexivec_runtime::Engine;
use lexivec_terms::Projection;
use sha2::{Digest as _, Sha256};

/// A projection and its file.
#[derive(Debug)]
pub struct ProjectionFile {
    path: PathBuf,
    /// The SHA-256 of the file.
    digest: String,
    projection: Projection,
}

impl ProjectionFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, or is no projection.
    pub fn load(path: &Path) -> anyhow::Result<Self> {
        let (projection, bytes) = Projection::load_with_bytes(path)?;
        let digest = Sha256::digest(bytes);
        Ok(Self {
            path: path.to_owned(),
            digest: hex::encode(digest),
            projection,
        })
    }

    /// The projection.
    #[must_use]
    pub fn projection(&self) -> &Projection {
        &self.projection
    }

    /// The SHA-256 of the file.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Checks that the model's vectors may be projected.
    ///
    /// # Errors
    /// The projection was computed from another model's vectors, or from longer ones.
    pub fn check_engine(&self, engine: &Engine) -> anyhow::Result<()> {
        let model = engine.model();
        self.projection.check_model(&model.digest)?;
        let width = self.projection.input_width();
        ensure!(
            width <= model.hidden_size,
            "the projection takes vectors of {width} dimensions, and those of {} have {}",
            model.name,
            model.hidden_size
        );
        Ok(())
    }

    /// As [`check_engine`](Self::check_engine), with a message that names the file.
    ///
    /// # Errors
    /// As there.
    pub fn check(&self, engine: &Engine) -> anyhow::Result<()> {
        let place = || self.path.display().to_string();
        self.check_engine(engine).with_context(place)
    }
}

/// Projections by name.
#[derive(Debug, Default)]
pub struct Projections(BTreeMap<String, Arc<ProjectionFile>>);

impl Projections {
    /// Reads the files of all names.
    ///
    /// # Errors
    /// A name is given twice, or a file cannot be read.
    pub fn load(files: &[(String, PathBuf)]) -> anyhow::Result<Self> {
        let mut projections = BTreeMap::new();
        for (name, path) in files {
            let file = Arc::new(ProjectionFile::load(path)?);
            if projections.insert(name.clone(), file).is_some() {
                bail!("two projections are named `{name}`: name one of them differently");
            }
        }
        Ok(Self(projections))
    }

    /// Checks that each projection fits one of the models.
    ///
    /// # Errors
    /// One fits none; the message says why it does not fit the first.
    pub fn check(&self, engines: &[&Engine]) -> anyhow::Result<()> {
        for (name, file) in &self.0 {
            let mut reasons = engines.iter().map(|engine| file.check(engine));
            let Some(Err(first)) = reasons.next() else {
                continue;
            };
            if !reasons.any(|result| result.is_ok()) {
                return Err(first.context(format!("the projection `{name}` fits no served model")));
            }
        }
        Ok(())
    }

    /// The projection of a name.
    ///
    /// # Errors
    /// There is none, and the message lists those there are.
    pub fn get(&self, name: &str) -> Result<&Arc<ProjectionFile>, String> {
        self.0.get(name).ok_or_else(|| match self.0.len() {
            0 => format!("there is no projection `{name}`: this server has none (--projection)"),
            _ => {
                let names: Vec<&str> = self.0.keys().map(String::as_str).collect();
                format!(
                    "there is no projection `{name}`; this server has {}",
                    names.join(", ")
                )
            }
        })
    }
}

/// Reads `NAME=FILE`.
///
/// # Errors
/// The text has another form.
pub(crate) fn name_and_file(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !name.is_empty() && !file.is_empty() => {
            Ok((name.to_owned(), file.into()))
        }
        _ => Err(format!("`{text}` is not of the form NAME=FILE")),
    }
}
