//! The errors of this crate. Variants follow what a caller can do about them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Why a build without feature `cuda` cannot compute on a GPU.
pub(crate) const WITHOUT_CUDA: &str = "this program is built without feature `cuda`";

/// An error of this crate. It is `Clone` because one failed batch is the result of many texts.
///
/// ```
/// use lexivec_runtime::{Engine, EngineOptions, Error};
///
/// let error = Engine::open("no/such/model".as_ref(), &EngineOptions::default()).unwrap_err();
/// assert!(matches!(error, Error::Model(_)));
/// ```
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No ONNX Runtime library was found.
    #[error("no ONNX Runtime library was found (looked at: {})", .looked.join(", "))]
    LibraryNotFound {
        /// The places looked at, in order.
        looked: Vec<String>,
    },
    /// The file exists but is not a usable library.
    #[error(
        "{path}: not a usable ONNX Runtime library: {reason}. lexivec needs 1.24 or newer: run `make onnxruntime`"
    )]
    LibraryUnusable {
        /// The library.
        path: PathBuf,
        /// The loader's message.
        reason: String,
    },
    /// The model directory or one of its files cannot be used.
    #[error(transparent)]
    Model(#[from] Arc<lexivec_models::Error>),
    /// tokenizer.json cannot be used.
    #[error("{path}: not a usable tokenizer: {reason}")]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What the tokenizer library said.
        reason: String,
    },
    /// The runtime cannot feed the graph's inputs, or does not know its outputs.
    #[error("{path}: {reason}")]
    Signature {
        /// The graph.
        path: PathBuf,
        /// What is unexpected about it, and what to do.
        reason: String,
    },
    /// ONNX Runtime rejected the graph.
    #[error("{path}: ONNX Runtime could not load the model: {reason}")]
    Load {
        /// The graph.
        path: PathBuf,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// Small batches could not be captured as CUDA graphs.
    #[error("small batches could not be captured as CUDA graphs: {0}")]
    CudaGraphs(String),
    /// The requested execution provider cannot serve this model. There is no silent fallback to another.
    #[error("the execution provider `{provider}` cannot be used: {reason}")]
    Provider {
        /// The provider's name.
        provider: &'static str,
        /// What is missing, and what to do.
        reason: String,
    },
    /// The requested execution provider has no kernels for a model of this form.
    #[error("the execution provider `{provider}` cannot be used: {reason}")]
    UnsupportedModel {
        /// The provider's name.
        provider: &'static str,
        /// The model's form, what is missing, and what to convert to instead.
        reason: String,
    },
    /// The requested execution provider is not part of this build.
    #[error("the execution provider `{provider}` cannot be used: {WITHOUT_CUDA}")]
    ProviderNotBuilt {
        /// The provider's name.
        provider: &'static str,
    },
    /// An execution provider rejects an option that the user gave.
    #[error("the execution provider `{provider}` rejects the option `{option}`: {reason}")]
    ProviderOption {
        /// The provider's name.
        provider: &'static str,
        /// The option as it was given.
        option: String,
        /// The provider's message.
        reason: String,
    },
    /// ONNX Runtime placed nodes with real work on the CPU although another provider was requested.
    #[error("{path}: {reason}")]
    Placement {
        /// The graph.
        path: PathBuf,
        /// Which nodes, and what to do.
        reason: String,
    },
    /// A GPU has too little memory for the model.
    #[error("the model `{model}` does not fit on GPU {device}: {reason}")]
    DeviceMemory {
        /// The model's name.
        model: String,
        /// The GPU's number.
        device: i32,
        /// Bytes needed and free, and what to do.
        reason: String,
    },
    /// The Redis cache's settings are invalid. A server that is down is not an error.
    #[error("the Redis cache cannot be used: {reason}")]
    Cache {
        /// What is wrong and how to fix it; never the URL, which may contain a password.
        reason: String,
    },
    /// The request is invalid.
    #[error("{reason}")]
    InvalidInput {
        /// The request's field that is wrong.
        field: &'static str,
        /// What is wrong and how to fix it.
        reason: String,
    },
    /// The text is longer than the model accepts.
    #[error(
        "this model's maximum context length is {limit} tokens, however the text has {tokens}: shorten it, or allow it \
         to be truncated"
    )]
    TooLong {
        /// Tokens of the whole prompt, the instruction and the end-of-sequence token included.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// The text is so long that its tokens were not counted to the end.
    #[error(
        "this model's maximum context length is {limit} tokens, however the text has at least {tokens}: shorten it, or \
         allow it to be truncated"
    )]
    MuchTooLong {
        /// A lower bound of its tokens.
        tokens: usize,
        /// The limit.
        limit: usize,
    },
    /// The queue is full; nothing was computed.
    #[error("too many texts are waiting ({waiting}, at most {limit}): try again later")]
    Overloaded {
        /// Texts waiting.
        waiting: usize,
        /// The queue's capacity.
        limit: usize,
    },
    /// The texts would miss their deadline; nothing was computed.
    #[error(
        "the server is busy, and would not answer in time: try again in {} s",
        retry_after.as_secs_f64().ceil()
    )]
    Busy {
        /// After this time, a request of this size would be answered in time if no others came.
        retry_after: Duration,
    },
    /// The texts take longer than a request may take, even if nothing else is computed.
    #[error(
        "the texts of this request take about {} s to compute, which is more time than a request has here: send fewer texts \
         at a time",
        needed.as_secs_f64().ceil()
    )]
    TooMuchWork {
        /// How long they take.
        needed: Duration,
    },
    /// A file of the model was modified while the model was served.
    #[error("{path}: the file was changed while the model was served: restart the server")]
    ModelChanged {
        /// The file.
        path: PathBuf,
    },
    /// A mapped file was truncated or could not be read, so zeros were read in its place.
    #[error(
        "a file of the model could not be read while it was in use: it was truncated, or its disk fails"
    )]
    Unreadable,
    /// A session's vector for the known text differs from the recorded one.
    #[error(
        "the model does not compute the vector that its conversion recorded (cosine {cosine:.4}): the device, its driver or the \
         model is damaged. Try another device or execution provider, or convert the checkpoint again"
    )]
    WrongAnswer {
        /// The cosine between the two vectors.
        cosine: f64,
    },
    /// The run was stopped because no caller waits for it any more.
    #[error("the run was stopped, because no caller waited for it any more")]
    Stopped,
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The model's output is NaN or infinite for this text.
    #[error(
        "the model's output for this text is not finite, because a value overflowed. If the model computes in float16, serve a \
         bf16, fp32 or int8 conversion instead; if not, its weights are damaged, or too large for their type"
    )]
    NonFinite,
    /// The device has too little memory for this text, even alone.
    #[error(
        "the device ran out of memory on this text: send a shorter one, or serve the model with a smaller precision"
    )]
    OutOfMemory {
        /// ONNX Runtime's words.
        reason: String,
    },
    /// ONNX Runtime failed while computing.
    #[error("inference failed: {0}")]
    Inference(String),
    /// The computing thread panicked; it continues with a new session.
    #[error("the worker panicked on this batch; the log has the details")]
    Panicked,
}

impl Error {
    /// Classifies the error of a failed run by ONNX Runtime's message: after a failed allocation a smaller batch may
    /// succeed, after any other error it cannot.
    pub(crate) fn of_run(message: &str) -> Self {
        // BFCArena::AllocateRawInternal, cudaMalloc, cuBLAS and cuDNN handles, std::bad_alloc.
        const SIGNS: [&str; 6] = [
            "Failed to allocate memory",
            // The message of the arena's limit.
            "is smaller than requested bytes of",
            "out of memory",
            "ALLOC_FAILED",
            "bad allocation",
            "bad_alloc",
        ];
        if message.contains("cuDNN is unavailable") {
            return Self::Inference(format!(
                "this graph needs cuDNN 9 on CUDA, and libcudnn.so is not on LD_LIBRARY_PATH: install it, or convert the \
                 checkpoint for the execution provider cuda, which needs none. {message}"
            ));
        }
        if message.contains("terminate flag") {
            return Self::Stopped;
        }
        let reason = message.to_owned();
        if SIGNS.iter().any(|sign| message.contains(sign)) {
            Self::OutOfMemory { reason }
        } else {
            Self::Inference(reason)
        }
    }
}

impl From<lexivec_models::Error> for Error {
    fn from(error: lexivec_models::Error) -> Self {
        Self::Model(Arc::new(error))
    }
}

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
