//! What can go wrong between a text and its vector; variants follow what the caller can do about it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::admission::Refusal;

/// An error of this crate. It is `Clone`, for one failed batch answers many texts.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No ONNX Runtime library was found.
    #[error(
        "no ONNX Runtime library was found (looked at: {}). Run `make onnxruntime` in the project, which puts one into \
         the cache folder, or name one with `--onnxruntime PATH` or ORT_DYLIB_PATH",
        .looked.join(", ")
    )]
    LibraryNotFound {
        /// The places looked at, in order.
        looked: Vec<String>,
    },
    /// A file is there, but it is not a library that serves.
    #[error(
        "{path}: not a usable ONNX Runtime library: {reason}. lexivec needs 1.24 or newer: run `make onnxruntime`"
    )]
    LibraryUnusable {
        /// The library.
        path: PathBuf,
        /// The loader's words.
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
    /// The graph's inputs and outputs are none that the runtime knows how to feed.
    #[error("{path}: {reason}")]
    Signature {
        /// The graph.
        path: PathBuf,
        /// What is unexpected about it, and what to do.
        reason: String,
    },
    /// ONNX Runtime refused the graph.
    #[error("{path}: ONNX Runtime could not load the model: {reason}")]
    Load {
        /// The graph.
        path: PathBuf,
        /// ONNX Runtime's words.
        reason: String,
    },
    /// Small batches could not be captured as CUDA graphs.
    #[error(
        "small batches could not be captured as CUDA graphs: {0}. `--cuda-graphs off` serves without them"
    )]
    CudaGraphs(String),
    /// An execution provider was asked for and cannot serve this model; there is no silent fall-back to another.
    #[error("the execution provider `{provider}` cannot be used: {reason}")]
    Provider {
        /// Its name on the command line.
        provider: &'static str,
        /// What is missing, and what to do.
        reason: String,
    },
    /// An execution provider rejects an option that the user gave.
    #[error("the execution provider `{provider}` rejects the option `{option}`: {reason}")]
    ProviderOption {
        /// The provider's name on the command line.
        provider: &'static str,
        /// The option as it was given.
        option: String,
        /// The provider's own words.
        reason: String,
    },
    /// ONNX Runtime placed nodes with real work on the CPU, though another provider was asked for.
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
    /// The Redis cache's settings cannot work; a server that is down is no error.
    #[error("the Redis cache cannot be used: {reason}")]
    Cache {
        /// What is wrong and what would be right; never the URL, which may hold a password.
        reason: String,
    },
    /// The request's fault: says which field.
    #[error("{reason}")]
    InvalidInput {
        /// The request field to blame.
        field: &'static str,
        /// What is wrong and what would be right.
        reason: String,
    },
    /// A text is longer than the model takes.
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
    /// A text is so much longer than the model takes that its tokens were not counted to the end.
    #[error(
        "this model's maximum context length is {limit} tokens, however the text has at least {tokens}: shorten it, or \
         allow it to be truncated"
    )]
    MuchTooLong {
        /// Fewest tokens that it may have.
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
    /// The texts would not be computed in the time that they have; nothing was computed.
    #[error(
        "the server is busy, and would not answer in time: try again in {} s",
        retry_after.as_secs_f64().ceil()
    )]
    Busy {
        /// When a request of this size would be answered in time, if no others came.
        retry_after: Duration,
    },
    /// The texts take longer to compute than a request may take, even if nothing else is computed.
    #[error(
        "the texts of this request take about {} s to compute, which is more time than a request has here: send fewer texts \
         at a time",
        needed.as_secs_f64().ceil()
    )]
    TooMuchWork {
        /// How long they take.
        needed: Duration,
    },
    /// Somebody wrote into a file of the model while it was served.
    #[error("{path}: the file was changed while the model was served: restart the server")]
    ModelChanged {
        /// The file.
        path: PathBuf,
    },
    /// Zeros were read in place of a mapped file.
    #[error(
        "a file of the model could not be read while it was in use: it was truncated, or its disk fails"
    )]
    Unreadable,
    /// A session computes another vector for its known text than the conversion did.
    #[error(
        "the model does not compute the vector that its conversion recorded (cosine {cosine:.4}): the device, its driver or the \
         model is damaged. Try another device or execution provider, or convert the checkpoint again"
    )]
    WrongAnswer {
        /// Between the two.
        cosine: f64,
    },
    /// The run was ended, because nobody waited for it any more.
    #[error("the run was ended: nobody waited for it any more")]
    Stopped,
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// The model's output is NaN or infinite for this text.
    #[error(
        "the model's output is not finite for this text (an activation overflowed): serve a bf16, fp32 or int8 \
         conversion instead"
    )]
    NonFinite,
    /// The device has not enough memory for this text, even alone.
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
    /// The thread that computes panicked; it goes on with a new session.
    #[error("the worker panicked on this batch; the log has the details")]
    Panicked,
}

impl Error {
    /// The error of a failed run, told from ONNX Runtime's words: an allocation that failed is a matter of size, and a
    /// smaller batch may succeed; anything else is not.
    pub(crate) fn of_run(message: &str) -> Self {
        // BFCArena::AllocateRawInternal, cudaMalloc, cuBLAS and cuDNN handles, std::bad_alloc.
        const SIGNS: [&str; 6] = [
            "Failed to allocate memory",
            // The arena's limit.
            "is smaller than requested bytes of",
            "out of memory",
            "ALLOC_FAILED",
            "bad allocation",
            "bad_alloc",
        ];
        if message.contains("cuDNN is unavailable") {
            return Self::Inference(format!(
                "this graph needs cuDNN 9 on CUDA, and libcudnn.so is not on LD_LIBRARY_PATH: install it, or convert the \
                 checkpoint with `--ep cuda`, which needs none. {message}"
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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Later(retry_after) => Self::Busy { retry_after },
            Refusal::Never(needed) => Self::TooMuchWork { needed },
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
