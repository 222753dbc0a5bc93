//! Text in, vectors out.
//!
//! ```text
//! text ── tokenization ──▶ token ids ── results ── queue ──▶ worker thread: batch ▶ plan ▶ network ──▶ vector
//! ```
//!
//! * [`Engine`] ties the stages together; everything else serves it.
//! * [`tokenization`] turns a prompt into token ids, with the end-of-sequence token that `tokenizer.json` appends.
//! * `results` knows what need not be computed: [`cache`]d states, and identical texts under way ([`Flight`]).
//! * [`batch`] chooses which waiting texts run together, [`plan`] merges their common prefixes: both are pure.
//! * [`Network`] is the seam to ONNX Runtime: [`packed`](PackedNetwork) graphs, which this project writes, and
//!   [`padded`](PaddedNetwork) ones, which other exporters write.
//! * [`cache`] keeps states by their tokens, in process and in Redis.
//! * [`Library`] finds and loads ONNX Runtime itself.
//!
//! The crate knows nothing of HTTP.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod admission;
pub mod batch;
mod bucketed;
pub mod cache;
mod cuda_graph;
mod cudart;
mod defaults;
mod engine;
mod engine_cache;
mod error;
mod execution_provider;
mod fairness;
mod flight;
mod gpu_memory;
mod graph_inputs;
mod health;
mod host_memory;
mod known_answer;
mod layer;
mod length_limit;
mod library;
pub mod memory;
pub mod metrics;
mod model;
mod model_files;
mod network;
mod packed;
mod padded;
mod placement;
pub mod plan;
mod plan_inputs;
mod plugin;
mod prefix;
mod prefix_rows;
mod probe;
mod provider_config;
mod queue;
mod rate;
mod refusal;
mod request;
mod results;
mod session;
mod shapes;
mod stopper;
mod sync;
mod tensorrt;
pub mod tokenization;
pub mod truncation;
pub mod vector;
mod worker;

pub use admission::{Load, Refusal};
pub use engine::{Engine, EngineOptions, OpenNetwork};
pub use error::{Error, Result};
pub use execution_provider::{Provider, ProviderOption, ProviderSettings};
pub use fairness::Caller;
pub use flight::{Answer, Flight, Origin, Reply};
pub use gpu_memory::{DeviceMemory, Fit, GpuMemory, MAX_GPU_TOKENS, fit, gpus};
pub use health::Health;
pub use host_memory::host_memory;
pub use layer::LayerNetwork;
pub use length_limit::limit_length;
pub use library::{Library, ONNXRUNTIME_GPU_VERSION, ONNXRUNTIME_VERSION, system_library};
pub use model::ModelInfo;
pub use network::{Layer, Network, States, open_network};
pub use packed::PackedNetwork;
pub use padded::PaddedNetwork;
pub use plugin::{OPENVINO_VERSION, TENSORRT_RTX_VERSION};
pub use probe::probe;
pub use queue::{Entry, Queue};
pub use refusal::{refusal, unservable};
pub use request::{Embedding, Input, Prefix, Request, Truncate};
pub use results::CacheSettings;
pub use session::{ModelTraits, SessionSettings};
pub use shapes::Profile;
pub use stopper::Stopper;
pub use tokenization::{Encoding, Token, Tokenizer};
