//! What can go wrong between a checkpoint and a model directory.
//!
//! Each variant names the file or tensor at fault and what to do about it; the cause is kept as `source`.

use std::path::PathBuf;

use lexivec_models::{Precision, Target};

/// A failed conversion. Nothing is left at the output path when one is returned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The checkpoint's configuration, tokenizer or sentence-transformers files cannot be used, or a file could not
    /// be read or written.
    #[error(transparent)]
    Model(#[from] lexivec_models::Error),
    /// Rescaling for float16 is not exact.
    #[error(
        "rescaling the weights for fp16 changed a text's vector (cosine {cosine:.7}): they lie too far apart for float16; convert with `--precision bf16` or `--precision fp32`"
    )]
    Rescaling {
        /// Between the vector before and after.
        cosine: f64,
    },
    /// A precision, target, layout and form of attention that do not go together.
    #[error("{precision} with target {target} cannot be written: {reason}")]
    Combination {
        /// The number formats.
        precision: Precision,
        /// The operators.
        target: Target,
        /// Why, and what to do instead.
        reason: &'static str,
    },
    /// A width is no multiple of the blocks'.
    #[error(
        "{field} of config.json is {width}, no multiple of the block size {size}: choose another `--block-size`, or `--precision int8`"
    )]
    BlockSize {
        /// What the width is.
        field: &'static str,
        /// In values.
        width: usize,
        /// Values of a block.
        size: usize,
    },
    /// The written model did not load or run.
    #[error(transparent)]
    Runtime(#[from] lexivec_runtime::Error),
    /// A safetensors file is damaged: cut short, or its header contradicts its size.
    #[error(
        "{path}: not a readable safetensors file ({source}); it is probably an incomplete download: fetch it again"
    )]
    Safetensors {
        /// The file.
        path: PathBuf,
        /// What the format's reader found.
        source: safetensors::SafeTensorError,
    },
    /// A file was written into or replaced while it was read.
    #[error(
        "{path}: the file was changed while it was converted, so nothing was kept: convert again"
    )]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Zeros were read in place of a mapped file.
    #[error(
        "a weight file of {dir} could not be read to its end (it was truncated, or its disk fails), so nothing was kept: convert \
         again"
    )]
    Unreadable {
        /// The checkpoint's folder.
        dir: PathBuf,
    },
    /// A tensor that the architecture needs is in none of the weight files.
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
    /// The weight files hold tensors that the architecture does not have.
    #[error(
        "{dir}: the weight files hold {count} tensors that config.json has no use for ({names}): config.json and the weights do \
         not belong together; correct `num_hidden_layers` or the switches of biases, or accept it with `--allow-unused-tensors`"
    )]
    UnusedTensors {
        /// Some of their names, without prefix.
        names: String,
        /// How many there are.
        count: usize,
        /// The checkpoint's folder.
        dir: PathBuf,
    },
    /// An adapter that does not fit its base, or holds more than the matrices of LoRA.
    #[error(
        "{path}: {reason}. Or merge the adapter with peft (merge_and_unload), and convert the result"
    )]
    Adapter {
        /// The adapter's weight file.
        path: PathBuf,
        /// What does not fit, and what to do.
        reason: String,
    },
    /// Two tensors go by one name.
    #[error(
        "tensor `{name}` is there twice, in {first} and in {second}: with and without the prefix `model.`, or in two shards; \
         remove one of them, or download the checkpoint again"
    )]
    TensorTwice {
        /// The tensor's name without prefix.
        name: String,
        /// The file of the one.
        first: PathBuf,
        /// The file of the other.
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
        /// The shape stored.
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
    /// A weight is finite in the checkpoint and infinite in float16.
    #[error(
        "tensor `{name}` holds {value:e}, beyond float16's largest value 65504: convert with `--precision bf16` or fp32"
    )]
    Fp16Range {
        /// The tensor's name.
        name: String,
        /// The value of largest magnitude.
        value: f32,
    },
    /// The output directory is there already.
    #[error("{path} exists already: choose another `--output`, or replace it with `--force`")]
    Exists {
        /// The output directory.
        path: PathBuf,
    },
    /// The output path is something that `--force` must not delete.
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
         {floor}; nothing was written. Use a wider precision, or `--no-verify` to keep it regardless"
    )]
    Verification {
        /// The precision converted to.
        precision: Precision,
        /// The probe text, shortened.
        text: String,
        /// Its cosine to the fp32 vector.
        cosine: f64,
        /// The least cosine that the precision must keep.
        floor: f64,
    },
    /// Verification met a vector with a NaN or infinite component.
    #[error(
        "verification failed: the {precision} model's vector of the probe text {text:?} is not finite (an activation \
         overflowed); nothing was written. Use `--precision bf16` or fp32, with int8-weight and int4-weight `--compute fp32`; \
         without `--no-calibration` values that are too large are rescaled"
    )]
    NonFiniteOutput {
        /// The precision converted to.
        precision: Precision,
        /// The probe text, shortened.
        text: String,
    },
    /// Another conversion writes to the same output path at this moment.
    #[error(
        "another conversion is writing {path} at this moment: wait for it, or choose another `--output`"
    )]
    Busy {
        /// The output directory.
        path: PathBuf,
    },
    /// The conversion was stopped from outside (Ctrl-C).
    #[error("stopped; nothing was written")]
    Interrupted,
}

/// A conversion's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
