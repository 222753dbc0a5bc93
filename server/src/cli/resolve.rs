//! From what a user names to a folder: a model directory, a checkpoint folder, or a hub id.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use lexivec_convert::{ConvertOptions, Error as ConvertError, convert};
use lexivec_models::{
    Checkpoint, FORMAT_VERSION, Manifest, Precision, cache_dir, catalog, download, find, is_hub_id,
};
use lexivec_runtime::Provider;
use sha2::{Digest as _, Sha256};

use super::bars::{ConversionBar, DownloadBars};
use super::common::HubArgs;
use super::compute_args::ComputeArgs;
use crate::interrupt;
use crate::stdio::say;

/// How often it is looked whether another process has finished the same conversion.
const BUSY: Duration = Duration::from_secs(1);

/// Opens a checkpoint: a folder, or a hub id, which is downloaded.
pub(crate) fn checkpoint(source: &str, hub: &HubArgs) -> anyhow::Result<Checkpoint> {
    let folder = Path::new(source);
    if folder.exists() {
        return Ok(Checkpoint::open(folder)?);
    }
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
    let snapshot = download(id, &options, Some(Arc::new(DownloadBars::default())))?;
    Ok(Checkpoint::open(&snapshot)?)
}

/// The model directory to load for `source`; a checkpoint is converted into the cache the first time.
pub(crate) fn model(
    source: &str,
    precision: Option<Precision>,
    compute: &ComputeArgs,
    hub: &HubArgs,
) -> anyhow::Result<PathBuf> {
    let folder = Path::new(source);
    if Manifest::is_model_dir(folder) || has_graph(folder) {
        return Ok(folder.to_path_buf());
    }
    if folder.is_dir() && !Checkpoint::is_checkpoint(folder) {
        bail!(
            "{source}: the folder holds neither a model (lexivec.json, model.onnx) nor a checkpoint (config.json, *.safetensors)"
        );
    }
    let provider = compute.ep.first().copied().unwrap_or(Provider::Cpu);
    let options = ConvertOptions {
        calibration: Some(super::convert::calibration()),
        device: compute.devices[0],
        onnxruntime: compute.library(),
        verify: !compute.no_verify,
        ..ConvertOptions::for_provider(provider, precision)
    };
    // Before minutes of downloads and conversion, which would be in vain.
    compute.providers()?.check(options.form())?;
    compute.start()?;
    let checkpoint = checkpoint(source, hub)?;
    let dir = cached(&checkpoint, &options)?;
    if Manifest::is_model_dir(&dir) {
        return Ok(dir);
    }
    say!(
        "converting {} to {} (once; kept in {})",
        checkpoint.source.name,
        options.precision,
        dir.display()
    );
    let _listening = interrupt::listen();
    let bar = ConversionBar::default();
    let mut report = convert(&checkpoint, &dir, &options, &bar);
    if matches!(report, Err(ConvertError::Busy { .. })) {
        say!("another process is converting it: waiting for that");
        while matches!(report, Err(ConvertError::Busy { .. })) && !interrupt::requested() {
            std::thread::sleep(BUSY);
            report = convert(&checkpoint, &dir, &options, &bar);
        }
    }
    bar.clear();
    match report {
        Ok(_) => Ok(dir),
        // Somebody else finished the same conversion while this one began.
        Err(ConvertError::Exists { .. }) if Manifest::is_model_dir(&dir) => Ok(dir),
        Err(error) => Err(error.into()),
    }
}

/// Whether a folder holds another exporter's graph.
pub(crate) fn has_graph(folder: &Path) -> bool {
    ["model.onnx", "onnx/model.onnx"]
        .iter()
        .any(|name| folder.join(name).is_file())
}

/// The place of a conversion in the cache. Its name changes with whatever would change the result: the files
/// (by path, size and time), precision, target, and this program's version.
fn cached(checkpoint: &Checkpoint, options: &ConvertOptions) -> anyhow::Result<PathBuf> {
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
    let small = checkpoint
        .copied_files()
        .into_iter()
        .map(|name| checkpoint.dir.join(name));
    for path in small.chain(checkpoint.weights.iter().cloned()) {
        let real = fs_err::canonicalize(&path)?;
        let metadata = fs_err::metadata(&real)?;
        let modified = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        add(&real.to_string_lossy());
        add(&format!("{} {}", metadata.len(), modified.as_nanos()));
    }
    let id: String = digest
        .finalize()
        .iter()
        .take(12)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let name = checkpoint.source.name.replace('/', "--");
    let root = cache_dir().context("conversions are kept in the cache folder")?;
    let precision = options.precision;
    Ok(root.join("models").join(format!("{name}-{precision}-{id}")))
}
