//! Text in, vectors out: tokenises texts, batches them, and runs an embedding model on ONNX Runtime.
//!
//! ```text
//! text ── tokenization ──▶ token ids ── response cache ── queue ──▶ worker thread: batch ▶ plan ▶ network ──▶ vector
//! ```
//!
//! [`Engine`] ties the stages together:
//!
//! ```no_run
//! use lexivec_runtime::vector::cosine;
//! use lexivec_runtime::{Engine, EngineOptions, Request};
//!
//! let engine = Engine::open("nano-fp32".as_ref(), &EngineOptions::default())?;
//! let embeddings = engine.embed(&[Request::text("cardiac arrest"), Request::text("心脏骤停")])?;
//! println!("similarity {:.3}", cosine(&embeddings[0].vector, &embeddings[1].vector));
//! # Ok::<(), lexivec_runtime::Error>(())
//! ```
//!
//! Each folder is one room, whose `mod.rs` says what is inside:
//!
//! * `engine`: [`Engine`], its options, the limits that follow from memory, and how it opens a model.
//! * `tokenization`: the [`Tokenizer`] turns a prompt and a text into token ids, with the end-of-sequence token that
//!   `tokenizer.json` adds.
//! * `scheduling`: the queue, the worker threads, and the response cache.
//! * [`cache`]: the tiers of the response cache, in process and in Redis.
//! * `network`: the trait [`Network`] and its implementations; [`plan`] merges the common prefixes of a batch.
//! * `onnxruntime`: the [`Library`], execution providers and sessions.
//! * `memory`: how much memory models and texts take, and how much there is.
//! * `integrity`: detects changed files, truncated maps, and sessions that compute wrongly.
//!
//! [`batch`] chooses the texts of a batch. A room uses only those below it: `engine`, `scheduling`, `integrity`, `network`,
//! `onnxruntime`. The crate knows nothing of HTTP.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod batch;
pub mod cache;
mod engine;
mod error;
mod integrity;
mod memory;
pub mod metrics;
mod model;
mod network;
mod onnxruntime;
mod request;
mod scheduling;
mod tokenization;
pub mod vector;

pub use engine::fit::{Fit, MAX_GPU_TOKENS, fit};
pub use engine::length_limit::limit_length;
pub use engine::open_network::{open_for_inspection, open_network};
pub use engine::{EmbeddingStream, EncodedRequest, Engine, EngineOptions, OpenNetwork};
pub use error::{Error, Result};
pub use integrity::mapped_files;
pub use memory::gpu_memory::{DeviceMemory, GpuMemory, gpus};
pub use memory::host_memory::host_memory;
pub use memory::memory_model::{BatchSize, MemoryModel};
pub use memory::text_memory::TextMemory;
pub use model::ModelInfo;
pub use network::layer::LayerNetwork;
pub use network::packed::PackedNetwork;
pub use network::padded::PaddedNetwork;
pub use network::plan;
pub use network::{InspectNetwork, Layer, Network, PooledStates};
pub use onnxruntime::execution_provider::{Provider, ProviderOption, ProviderSettings};
pub use onnxruntime::graph_support::{unservable, unsupported};
pub use onnxruntime::library::{Library, LibraryOrigin, system_library};
pub use onnxruntime::operators::signature as operators;
pub use onnxruntime::probe::probe;
pub use onnxruntime::session_settings::{ModelTraits, SessionSettings};
pub use onnxruntime::stopper::Stopper;
pub use request::{Embedding, Input, Origin, Prompt, Request, Truncate};
pub use scheduling::admission::Load;
pub use scheduling::fairness::Caller;
pub use scheduling::health::Health;
pub use scheduling::queue::Queue;
pub use scheduling::response_cache::CacheSettings;
pub use tokenization::{Encoding, Token, Tokenizer};
