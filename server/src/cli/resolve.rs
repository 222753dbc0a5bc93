//! From what a user names to a folder: a model directory, a checkpoint folder, or a hub id.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::bail;
use lexivec_convert::{ConvertOptions, Error as ConvertError, convert};
use lexivec_models::{
    Adapter, Checkpoint, Manifest, Precision, catalog, download, find, is_hub_id,
};
use lexivec_runtime::Provider;

use super::common::{CheckpointArgs, HubArgs, SourceArgs};
use super::compute_args::ComputeArgs;
use super::progress::{ConversionBar, DownloadBars};
use super::{Usage, conversion_cache};
use crate::interrupt;
use crate::stdio::say;

/// How often it is looked whether another process has finished the same conversion.
const BUSY: Duration = Duration::from_secs(1);

/// The graphs of another exporter's that are looked for in a folder.
const GRAPHS: [&str; 2] = ["model.onnx", "onnx/model.onnx"];

/// What a user names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A folder that `lexivec convert` wrote.
    Model,
    /// A folder with another exporter's graph.
    Export,
    /// A checkpoint folder, or a hub id.
    Checkpoint {
        /// The graph of another exporter's that is in the folder as well, and not used.
        beside: Option<&'static str>,
    },
}

/// Finds out what a user names.
///
/// A checkpoint goes before an export in the same folder, as it does for a hub id: nothing says that the export was made from
/// these weights. With `onnx` the export is meant.
///
/// # Errors
/// With `onnx`, there is no export.
pub(crate) fn kind(source: &str, onnx: bool) -> anyhow::Result<Kind> {
    let folder = Path::new(source);
    let graph = GRAPHS.into_iter().find(|name| folder.join(name).is_file());
    if Manifest::is_model_dir(folder) {
        return Ok(Kind::Model);
    }
    match graph {
        None if onnx => bail!(
            "{source}: there is no ONNX export ({}): leave --onnx out",
            GRAPHS.join(", ")
        ),
        Some(_) if onnx || !Checkpoint::is_checkpoint(folder) => Ok(Kind::Export),
        beside => Ok(Kind::Checkpoint { beside }),
    }
}

/// Opens a checkpoint: a folder, or a hub id, which is downloaded.
pub(crate) fn checkpoint(source: &str, args: &CheckpointArgs) -> anyhow::Result<Checkpoint> {
    let folder = Path::new(source);
    let folder = match folder.exists() {
        true => folder.to_path_buf(),
        false => downloaded(source, &args.hub)?,
    };
    let mut checkpoint = match Adapter::find(&folder)? {
        Some(adapter) if Adapter::is_alone(&folder) => {
            let base = base_of(&adapter, &args.hub)?;
            Checkpoint::open_adapted(adapter, &base)?
        }
        _ => Checkpoint::open(&folder)?,
    };
    checkpoint.allow_unused_tensors = args.allow_unused_tensors;
    Ok(checkpoint)
}

/// The folder of an adapter's base: as it is named, seen from here or from the adapter's folder, or a hub id.
fn base_of(adapter: &Adapter, hub: &HubArgs) -> anyhow::Result<PathBuf> {
    let named = Path::new(&adapter.base);
    let places = [named.to_path_buf(), adapter.dir.join(named)];
    if let Some(folder) = places.into_iter().find(|place| place.is_dir()) {
        return Ok(folder);
    }
    if !is_hub_id(&adapter.base) {
        bail!(
            "{}: the adapter's base model `{}` (base_model_name_or_path) is no folder here and no hub id: correct it in \
             adapter_config.json, or put config.json and the weights of the base beside the adapter",
            adapter.dir.display(),
            adapter.base
        );
    }
    // --revision is that of the model that was named.
    let hub = HubArgs {
        revision: adapter.revision.clone(),
        ..hub.clone()
    };
    downloaded(&adapter.base, &hub)
}

/// The folder of a hub id, or of a name in the catalog.
fn downloaded(source: &str, hub: &HubArgs) -> anyhow::Result<PathBuf> {
    if !is_hub_id(source) && find(source).is_none() {
        let known: Vec<&str> = catalog().iter().map(|entry| entry.id.as_str()).collect();
        bail!(
            "{source}: there is no such folder, and it is no hub id such as {}",
            known.join(", ")
        );
    }
    // An alias (`qwen3-embedding-4b`) is spelt out, and a known model has the revision that was tried.
    let known = find(source);
    let id = known.map_or(source, |entry| entry.id.as_str());
    let mut options = hub.options();
    options.revision = options
        .revision
        .or_else(|| known.map(|entry| entry.revision.clone()));
    let bars = Arc::new(DownloadBars::default());
    Ok(download(id, &options, Some(bars))?)
}

/// A model directory to load.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) dir: PathBuf,
    /// What a user should know about the choice; a full sentence.
    pub(crate) note: Option<String>,
}

/// The model directory to load for `source`; a checkpoint is converted into the cache the first time.
pub(crate) fn model(
    source: &str,
    precision: Option<Precision>,
    compute: &ComputeArgs,
    args: &SourceArgs,
) -> anyhow::Result<Found> {
    let provider = compute.ep.first().copied().unwrap_or(Provider::Cpu);
    let options = ConvertOptions {
        calibration: Some(super::convert::calibration()),
        device: compute.devices[0],
        onnxruntime: compute.library(),
        verify: !compute.no_verify,
        ..ConvertOptions::for_provider(provider, precision)
    };
    let folder = Path::new(source);
    let note = match kind(source, args.onnx)? {
        Kind::Model => {
            let written = Manifest::read(folder)?.precision;
            // On CUDA, int8 means int8-weight.
            if let Some(asked) = precision
                && written != asked
                && written != options.precision
            {
                return Err(Usage(format!(
                    "--precision {asked}: {source} is a model in {written}, which cannot be converted again: name the checkpoint it \
                     was made from, or leave --precision out"
                ))
                .into());
            }
            return Ok(Found {
                dir: folder.to_path_buf(),
                note: None,
            });
        }
        Kind::Export => {
            if let Some(asked) = precision {
                return Err(Usage(format!(
                    "--precision {asked}: {source} is served as the ONNX export of another tool, which has its own precision: \
                     leave --precision out, or name a checkpoint"
                ))
                .into());
            }
            return Ok(Found {
                dir: folder.to_path_buf(),
                note: None,
            });
        }
        Kind::Checkpoint { beside } => beside.map(|graph| {
            format!(
                "{source} holds a checkpoint and {graph}: the checkpoint's weights are used, and --onnx uses {graph}."
            )
        }),
    };
    if folder.is_dir() && !Checkpoint::is_checkpoint(folder) {
        // Says what is missing, and what to do about weights in another format.
        Checkpoint::open(folder)?;
    }
    // Before minutes of downloads and conversion, which would be in vain.
    compute.providers()?.check(options.form())?;
    compute.start()?;
    let checkpoint = checkpoint(source, &args.checkpoint)?;
    let dir = conversion_cache::place(&checkpoint, &options)?;
    let there = Manifest::is_model_dir(&dir);
    if !there || !conversion_cache::is_intact(&dir)? {
        let options = ConvertOptions {
            force: there,
            ..options
        };
        convert_into(&dir, &checkpoint, &options)?;
        if conversion_cache::place(&checkpoint, &options)? != dir {
            fs_err::remove_dir_all(&dir)?;
            bail!("{source} was changed while it was converted: start again");
        }
    }
    Ok(Found { dir, note })
}

/// Converts a checkpoint into the cache, or waits for another process that does.
fn convert_into(
    dir: &Path,
    checkpoint: &Checkpoint,
    options: &ConvertOptions,
) -> anyhow::Result<()> {
    for note in &checkpoint.notes {
        say!("note: {note}");
    }
    say!(
        "converting {} to {} (once; kept in {})",
        checkpoint.source.name,
        options.precision,
        dir.display()
    );
    let _listening = interrupt::listen();
    let bar = ConversionBar::default();
    let mut report = convert(checkpoint, dir, options, &bar);
    if matches!(report, Err(ConvertError::Busy { .. })) {
        say!("another process is converting it: waiting for that");
        while matches!(report, Err(ConvertError::Busy { .. })) && !interrupt::requested() {
            std::thread::sleep(BUSY);
            report = convert(checkpoint, dir, options, &bar);
        }
    }
    bar.clear();
    match report {
        Ok(_) => Ok(()),
        // Somebody else finished the same conversion while this one began.
        Err(ConvertError::Exists { .. }) if Manifest::is_model_dir(dir) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether a folder holds another exporter's graph.
pub(crate) fn has_graph(folder: &Path) -> bool {
    GRAPHS.iter().any(|name| folder.join(name).is_file())
}
