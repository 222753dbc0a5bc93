//! Finding a model by the name that a user gives: a model directory, an export, a checkpoint folder, or a hub id.

use std::path::{Path, PathBuf};

use lexivec_models::{Adapter, Checkpoint, Manifest, installed_model};
#[cfg(feature = "hub")]
use lexivec_models::{HubOptions, catalog, download, find, is_hub_id};
use lexivec_runtime::PaddedNetwork;

use crate::error::{Error, Result};
use crate::observer::Observer;

/// The kind of model that a name leads to.
///
/// ```
/// use lexivec::{Error, SourceKind};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let nano = SourceKind::of("models/nano", false)?;
/// assert_eq!(nano, SourceKind::Checkpoint { unused_export: None });
/// // A hub id is a checkpoint as well.
/// assert_eq!(SourceKind::of("Qwen/Qwen3-Embedding-0.6B", false)?, nano);
/// assert!(matches!(SourceKind::of("models/nano", true), Err(Error::NoExport { .. })));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A folder that `lexivec convert` wrote.
    Model,
    /// A folder with the ONNX export of another tool.
    Export,
    /// A checkpoint folder, or a hub id.
    Checkpoint {
        /// The ONNX export that the folder holds as well, and that is not used.
        unused_export: Option<&'static str>,
    },
}

impl SourceKind {
    /// Looks at the folder that a name may lead to.
    ///
    /// A checkpoint wins over an export in the same folder, because nothing says that the export was made from these weights.
    /// `prefer_export` chooses the export.
    ///
    /// # Errors
    /// [`Error::NoExport`]: `prefer_export` is set, and there is no export.
    pub fn of(name: &str, prefer_export: bool) -> Result<Self> {
        let folder = Path::new(name);
        let export = PaddedNetwork::GRAPHS
            .into_iter()
            .find(|file| folder.join(file).is_file());
        if Manifest::is_model_dir(folder) {
            return Ok(Self::Model);
        }
        match export {
            None if prefer_export => Err(Error::NoExport {
                name: name.to_owned(),
            }),
            Some(_) if prefer_export || !Checkpoint::is_checkpoint(folder) => Ok(Self::Export),
            unused_export => Ok(Self::Checkpoint { unused_export }),
        }
    }
}

/// Whether a folder holds the ONNX export of another tool.
///
/// ```
/// let dir = tempfile::tempdir()?;
/// assert!(!lexivec::has_export(dir.path()));
/// std::fs::write(dir.path().join("model.onnx"), "")?;
/// assert!(lexivec::has_export(dir.path()));
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn has_export(folder: &Path) -> bool {
    PaddedNetwork::GRAPHS
        .iter()
        .any(|file| folder.join(file).is_file())
}

/// How a checkpoint is found and read.
///
/// ```
/// use lexivec::{CheckpointOptions, HubOptions};
///
/// let options = CheckpointOptions {
///     hub: HubOptions { revision: Some("main".to_owned()), offline: true },
///     ..CheckpointOptions::default()
/// };
/// assert!(!options.allow_unused_tensors);
/// ```
#[derive(Debug, Clone, Default)]
pub struct CheckpointOptions {
    /// Whether the weight files may hold tensors that config.json does not describe.
    pub allow_unused_tensors: bool,
    /// How it is downloaded.
    #[cfg(feature = "hub")]
    pub hub: HubOptions,
}

/// Opens a checkpoint: a folder, a model that was installed with the program, or a hub id, which is downloaded.
///
/// # Errors
/// There is no such checkpoint, it cannot be downloaded, or its files cannot be used.
///
/// # Example
/// ```
/// use lexivec::{CheckpointOptions, SilentObserver, open_checkpoint};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let checkpoint = open_checkpoint("models/nano", &CheckpointOptions::default(), &SilentObserver)?;
/// assert_eq!(checkpoint.decoder.layers, 6);
/// # Ok::<(), lexivec::Error>(())
/// ```
pub fn open_checkpoint(
    name: &str,
    options: &CheckpointOptions,
    observer: &dyn Observer,
) -> Result<Checkpoint> {
    let folder = Path::new(name);
    let folder = match (folder.exists(), installed_model(name)) {
        (true, _) => folder.to_path_buf(),
        (false, Some(installed)) => installed,
        (false, None) => downloaded(name, options, observer)?,
    };
    let mut checkpoint = match Adapter::find(&folder)? {
        Some(adapter) if Adapter::is_alone(&folder) => {
            let base = base_of(&adapter, options, observer)?;
            Checkpoint::open_adapted(adapter, &base)?
        }
        _ => Checkpoint::open(&folder)?,
    };
    checkpoint.allow_unused_tensors = options.allow_unused_tensors;
    Ok(checkpoint)
}

/// The folder of an adapter's base. The adapter names a path, relative to the working directory or to its own folder, or a hub id.
fn base_of(
    adapter: &Adapter,
    options: &CheckpointOptions,
    observer: &dyn Observer,
) -> Result<PathBuf> {
    if adapter.base.is_empty() {
        return Err(Error::AdapterWithoutBase {
            adapter: adapter.dir.clone(),
        });
    }
    let named = Path::new(&adapter.base);
    let places = [named.to_path_buf(), adapter.dir.join(named)];
    if let Some(folder) = places.into_iter().find(|place| place.is_dir()) {
        return Ok(folder);
    }
    #[cfg_attr(not(feature = "hub"), allow(unused_mut))]
    let mut options = options.clone();
    #[cfg(feature = "hub")]
    {
        // The revision that the caller names is that of the adapter.
        options.hub.revision.clone_from(&adapter.revision);
    }
    let missing = |error| match error {
        Error::UnknownModel { .. } => Error::AdapterBase {
            adapter: adapter.dir.clone(),
            base: adapter.base.clone(),
        },
        other => other,
    };
    downloaded(&adapter.base, &options, observer).map_err(missing)
}

/// The folder of a hub id, or of a name in the catalog.
#[cfg(feature = "hub")]
fn downloaded(name: &str, options: &CheckpointOptions, observer: &dyn Observer) -> Result<PathBuf> {
    let known = find(name);
    if !is_hub_id(name) && known.is_none() {
        return Err(Error::UnknownModel {
            name: name.to_owned(),
            known: catalog().iter().map(|entry| entry.id.clone()).collect(),
        });
    }
    // The catalog expands an alias (`qwen3-embedding-4b`), and has the revision that was tested.
    let id = known.map_or(name, |entry| entry.id.as_str());
    let mut hub = options.hub.clone();
    hub.revision = hub
        .revision
        .or_else(|| known.map(|entry| entry.revision.clone()));
    Ok(download(id, &hub, observer.download())?)
}

/// Without feature `hub` nothing is downloaded.
#[cfg(not(feature = "hub"))]
fn downloaded(name: &str, _: &CheckpointOptions, _: &dyn Observer) -> Result<PathBuf> {
    Err(Error::WithoutHub {
        name: name.to_owned(),
    })
}
