//! The error of opening and running a model.

use std::path::PathBuf;

use lexivec_models::Precision;
use lexivec_runtime::PaddedNetwork;

/// A result with this crate's error.
pub type Result<T> = std::result::Result<T, Error>;

/// A model cannot be found, converted, opened or run.
///
/// ```
/// use lexivec::{CheckpointOptions, Error, SilentObserver, open_checkpoint};
///
/// let error = open_checkpoint("no-such-model", &CheckpointOptions::default(), &SilentObserver).unwrap_err();
/// match error {
///     Error::UnknownModel { known, .. } => assert_eq!(known[0], "Qwen/Qwen3-Embedding-0.6B"),
///     error => panic!("{error}"),
/// }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name is neither a folder nor a hub id.
    #[error("{name}: there is no such folder, and it is not a hub id such as {}", known.join(", "))]
    UnknownModel {
        /// The name.
        name: String,
        /// Hub ids that this version was tested with.
        known: Vec<String>,
    },
    /// A name is not a folder, and this build cannot download.
    #[error(
        "{name}: there is no such folder, and this program is built without downloads (feature `hub`)"
    )]
    WithoutHub {
        /// The name.
        name: String,
    },
    /// The export of another tool was asked for, and the folder has none.
    #[error("{name}: there is no ONNX export ({})", PaddedNetwork::GRAPHS.join(", "))]
    NoExport {
        /// The folder.
        name: String,
    },
    /// A precision was asked for, and the model is converted already.
    #[error(
        "{name} is a model in {written}, which cannot be converted to {asked}: open the checkpoint that it was made from"
    )]
    OtherPrecision {
        /// The model directory.
        name: String,
        /// The precision that was asked for.
        asked: Precision,
        /// The precision of the model.
        written: Precision,
    },
    /// A precision was asked for, and the model is the export of another tool.
    #[error(
        "{name} is the ONNX export of another tool, which cannot be converted to {asked}: open a checkpoint"
    )]
    ExportPrecision {
        /// The folder.
        name: String,
        /// The precision that was asked for.
        asked: Precision,
    },
    /// The base of a LoRA adapter cannot be found.
    #[error(
        "{}: the adapter's base model `{base}` (base_model_name_or_path) is neither a folder here nor a hub id: correct it in \
         adapter_config.json, or put config.json and the weights of the base beside the adapter",
        adapter.display()
    )]
    AdapterBase {
        /// The folder of the adapter.
        adapter: PathBuf,
        /// The base that the adapter names.
        base: String,
    },
    /// A LoRA adapter names no base.
    #[error(
        "{}: adapter_config.json names no base model (base_model_name_or_path): name it there, or put config.json and the \
         weights of the base beside the adapter",
        adapter.display()
    )]
    AdapterWithoutBase {
        /// The folder of the adapter.
        adapter: PathBuf,
    },
    /// A checkpoint was written into during its conversion.
    #[error("{name} changed while it was converted: open it again")]
    Changed {
        /// The checkpoint.
        name: String,
    },
    /// The cache folder for conversions cannot be determined.
    #[error("conversions are kept in the cache folder: {0}")]
    NoCache(#[source] lexivec_models::Error),
    /// A thread that computes the digest of a weight file panicked.
    #[error("the digest of a file was not computed")]
    Digest,
    /// Files of a checkpoint or of a model directory, or a download.
    #[error(transparent)]
    Model(#[from] lexivec_models::Error),
    /// A conversion.
    #[error(transparent)]
    Conversion(#[from] lexivec_convert::Error),
    /// Opening or running a model.
    #[error(transparent)]
    Runtime(#[from] lexivec_runtime::Error),
    /// The file system.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
