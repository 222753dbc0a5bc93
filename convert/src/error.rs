//! Why a conversion fails.
//!
//! Each variant names the file, tensor or text at fault. The `lexivec` program adds which flag helps.

use std::path::PathBuf;

use lexivec_models::{Precision, Target};

/// A failed conversion. Nothing is left at the output path.
///
/// ```
/// use lexivec_convert::{ConvertOptions, Error, Silent, convert};
/// use lexivec_models::{Checkpoint, Precision, Target};
/// use lexivec_runtime::Provider;
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
/// let checkpoint = Checkpoint::open("models/nano".as_ref())?;
/// let folder = tempfile::tempdir()?;
/// let output = folder.path().join("nano");
/// let options = ConvertOptions {
///     target: Target::Standard,
///     ..ConvertOptions::for_provider(Provider::Cpu, Some(Precision::Int4Weight))
/// };
/// let error = convert(&checkpoint, &output, &options, &Silent).unwrap_err();
/// assert!(matches!(error, Error::Combination { target: Target::Standard, .. }));
/// assert!(!output.exists());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint's configuration, tokenizer or sentence-transformers files cannot be used, or a file cannot be read or
    /// written.
    #[error(transparent)]
    Model(#[from] lexivec_models::Error),
    /// Rescaling for float16 changed a text's vector.
    #[error(
        "rescaling the weights for float16 changed a text's vector (cosine {cosine:.7}), because the weights span too wide a \
         range for float16"
    )]
    Rescaling {
        /// The cosine between the vectors before and after.
        cosine: f64,
    },
    /// The precision, target, layout and form of attention cannot be combined.
    #[error("{precision} with target {target} cannot be written: {reason}")]
    Combination {
        /// The number formats.
        precision: Precision,
        /// The operators.
        target: Target,
        /// Why, and which combination works.
        reason: &'static str,
    },
    /// The target's operators are not those of the execution provider that will serve the model.
    #[error(
        "the execution provider `{provider}` cannot serve {precision} with target {target}: leave the target out, and the \
         provider's own is chosen"
    )]
    TargetOfAnotherProvider {
        /// The provider's name.
        provider: &'static str,
        /// The number formats.
        precision: Precision,
        /// The operators.
        target: Target,
    },
    /// A width of the model is not a multiple of the block size.
    #[error("{field} of config.json is {width}, which is not a multiple of the block size {size}")]
    BlockSize {
        /// The field that states the width.
        field: &'static str,
        /// The width in values.
        width: usize,
        /// Values per block.
        size: usize,
    },
    /// The written model does not load or run.
    #[error(transparent)]
    Runtime(#[from] lexivec_runtime::Error),
    /// A safetensors file is damaged: truncated, or its header contradicts its size.
    #[error(
        "{path}: not a readable safetensors file ({source}); probably the download is incomplete: download it again"
    )]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// The error of the format's reader.
        source: safetensors::SafeTensorError,
    },
    /// A file was modified or replaced while it was read.
    #[error("{path}: the file changed during the conversion, so nothing was kept: convert again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Zeros were read in place of a part of a mapped file.
    #[error(
        "a weight file of {dir} could not be read to its end (it was truncated, or its disk fails), so nothing was kept: convert \
         again"
    )]
    Unreadable {
        /// The checkpoint's folder.
        dir: PathBuf,
    },
    /// A tensor of the architecture is missing from the weight files.
    #[error(
        "tensor `{name}` is missing from the weight files of {dir}: config.json and the weights do not belong together, \
         or a shard is missing"
    )]
    MissingTensor {
        /// The tensor's name without prefix.
        name: String,
        /// The checkpoint's folder.
        dir: PathBuf,
    },
    /// The weight files hold tensors that the architecture does not use.
    #[error(
        "{dir}: the weight files hold {count} tensors that config.json does not use ({names}), so they probably do not belong \
         together; look at `num_hidden_layers` and the switches of biases"
    )]
    UnusedTensors {
        /// Some of their names, without prefix.
        names: String,
        /// Their number.
        count: usize,
        /// The checkpoint's folder.
        dir: PathBuf,
    },
    /// An adapter does not fit its base, or holds more than LoRA matrices.
    #[error(
        "{path}: {reason}. Or merge the adapter with peft (merge_and_unload), and convert the result"
    )]
    Adapter {
        /// The adapter's weight file.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Two tensors have the same name.
    #[error(
        "tensor `{name}` occurs twice, in {first} and in {second}: with and without the prefix `model.`, or in two shards; \
         remove one of them, or download the checkpoint again"
    )]
    TensorTwice {
        /// The tensor's name without prefix.
        name: String,
        /// The file of the first tensor.
        first: PathBuf,
        /// The file of the second tensor.
        second: PathBuf,
    },
    /// A tensor's shape contradicts config.json.
    #[error(
        "tensor `{name}` in {path} has shape {found:?}, but config.json implies {expected:?}: they do not belong together"
    )]
    Shape {
        /// The tensor's name.
        name: String,
        /// The weight file.
        path: PathBuf,
        /// The stored shape.
        found: Vec<usize>,
        /// The shape that config.json implies.
        expected: Vec<usize>,
    },
    /// A tensor's stored type is none of F32, F16 and BF16.
    #[error(
        "tensor `{name}` in {path} is stored as {found}; lexivec converts F32, F16 and BF16 checkpoints: use the \
         unquantised release"
    )]
    DType {
        /// The tensor's name.
        name: String,
        /// The weight file.
        path: PathBuf,
        /// The stored type.
        found: String,
    },
    /// A weight is NaN or infinite.
    #[error(
        "tensor `{name}` in {path} holds a value that is NaN or infinite: the checkpoint is damaged, fetch it again"
    )]
    NonFinite {
        /// The tensor's name.
        name: String,
        /// The weight file.
        path: PathBuf,
    },
    /// A weight is too large for float16.
    #[error("tensor `{name}` holds {value:e}, which exceeds the largest float16 value 65504")]
    Fp16Range {
        /// The tensor's name.
        name: String,
        /// The value of largest magnitude.
        value: f32,
    },
    /// The output directory exists already.
    #[error("{path} exists already")]
    Exists {
        /// The output directory.
        path: PathBuf,
    },
    /// The output path exists and is not a model directory, so it must not be replaced.
    #[error(
        "{path} exists and is not a model directory that lexivec wrote (it has no lexivec.json): remove it yourself"
    )]
    NotOurs {
        /// The output path.
        path: PathBuf,
    },
    /// Verification found the written model too far from the fp32 graph of the same checkpoint.
    #[error(
        "verification failed: on the probe text {text:?} the {precision} model's cosine to fp32 is {cosine:.6}, below \
         {floor}; nothing was written"
    )]
    Verification {
        /// The precision converted to.
        precision: Precision,
        /// The beginning of the probe text.
        text: String,
        /// Its cosine to the fp32 vector.
        cosine: f64,
        /// The least cosine that the precision must reach.
        floor: f64,
    },
    /// Verification found a vector with a NaN or infinite component.
    #[error(
        "verification failed: the {precision} model's vector of the probe text {text:?} is not finite (an activation \
         overflowed); nothing was written"
    )]
    NonFiniteOutput {
        /// The precision converted to.
        precision: Precision,
        /// The beginning of the probe text.
        text: String,
    },
    /// Another conversion is writing to the same output path.
    #[error("another conversion is writing {path}")]
    Busy {
        /// The output directory.
        path: PathBuf,
    },
    /// The conversion was stopped from outside (Ctrl-C).
    #[error("stopped; nothing was written")]
    Interrupted,
}

/// The result of a step of a conversion.
pub type Result<T, E = Error> = std::result::Result<T, E>;
