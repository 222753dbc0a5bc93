//! Opens models by the names that users give, and reports progress on the terminal.

use std::sync::{Arc, Mutex, PoisonError};

use lexivec::{CheckpointOptions, EngineOptions, Error, Event, Model, Observer, Resolved};
use lexivec_models::{Checkpoint, Precision};

use super::Usage;
use super::common::{CheckpointArgs, SourceArgs};
use super::progress::{ConversionBar, DownloadBars};
use crate::interrupt::{self, Listening};
use crate::stdio::say;

pub(crate) use lexivec::{SourceKind, has_export};

/// Shows progress on the terminal, and lets a signal stop a conversion in good order.
#[derive(Debug, Default)]
struct Terminal {
    bar: ConversionBar,
    listening: Mutex<Option<Listening>>,
}

impl Terminal {
    fn listen(&self, listening: Option<Listening>) {
        *self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = listening;
    }
}

impl Observer for Terminal {
    fn event(&self, event: Event<'_>) {
        match event {
            Event::Converting { .. } => {
                say!("{event}");
                self.listen(Some(interrupt::listen()));
            }
            Event::Converted => {
                self.bar.clear();
                self.listen(None);
            }
            event => say!("{event}"),
        }
    }

    fn conversion(&self) -> &dyn lexivec_convert::Progress {
        &self.bar
    }

    fn download(&self) -> Option<Arc<dyn lexivec_models::DownloadProgress>> {
        Some(Arc::new(DownloadBars::default()))
    }
}

/// Finds out which kind of model a name leads to.
///
/// # Errors
/// With `onnx`, there is no export.
pub(crate) fn source_kind(name: &str, onnx: bool) -> anyhow::Result<SourceKind> {
    Ok(SourceKind::of(name, onnx)?)
}

/// Opens a checkpoint: a folder, or a hub id, which is downloaded.
pub(crate) fn checkpoint(name: &str, args: &CheckpointArgs) -> anyhow::Result<Checkpoint> {
    let observer = Terminal::default();
    Ok(lexivec::open_checkpoint(name, &args.options(), &observer)?)
}

/// Finds the model directory to load. A checkpoint is converted into the cache the first time.
pub(crate) fn model(
    name: &str,
    precision: Option<Precision>,
    options: &EngineOptions,
    args: &SourceArgs,
) -> anyhow::Result<Resolved> {
    let builder = Model::builder(name)
        .precision(precision)
        .prefer_export(args.onnx)
        .checkpoint(args.checkpoint.options())
        .engine(options.clone());
    builder.resolve(&Terminal::default()).map_err(with_usage)
}

/// The sentence about an export beside a checkpoint, which is not used.
pub(crate) fn note(name: &str, found: &Resolved) -> Option<String> {
    found.unused_export.map(|export| {
        format!(
            "{name} holds a checkpoint and {export}: the checkpoint's weights are used, and --onnx uses {export}."
        )
    })
}

/// Reports a precision that the model cannot have as wrong usage.
fn with_usage(error: Error) -> anyhow::Error {
    match &error {
        Error::OtherPrecision { asked, .. } | Error::ExportPrecision { asked, .. } => Usage(
            format!("--precision {asked}: {error}, or leave --precision out"),
        )
        .into(),
        _ => error.into(),
    }
}

impl CheckpointArgs {
    fn options(&self) -> CheckpointOptions {
        CheckpointOptions {
            allow_unused_tensors: self.allow_unused_tensors,
            hub: self.hub.options(),
        }
    }
}
