//! Text embeddings with Qwen3-Embedding on ONNX Runtime.
//!
//! ```no_run
//! let model = lexivec::Model::open("Qwen/Qwen3-Embedding-0.6B")?;
//! let vectors = model.embed(&["cardiac arrest", "心脏骤停"])?;
//! println!("similarity {:.3}", lexivec::cosine(&vectors[0], &vectors[1]));
//! # Ok::<(), lexivec::Error>(())
//! ```
//!
//! [`Model::open`] takes a model directory that `lexivec convert` wrote, a checkpoint folder, the export of another tool, or a hub id.
//! A hub id is downloaded, and a checkpoint is converted once into the cache folder. The defaults are those of the `lexivec` program;
//! [`Model::builder`] changes them. [`Request`] asks for an instruction, fewer dimensions, or truncation:
//!
//! ```
//! use lexivec::{Model, Prompt, Request};
//!
//! # // The example needs ONNX Runtime's library.
//! # if lexivec_runtime::Library::load(None, false).is_err() {
//! #     return Ok(());
//! # }
//! # let nano = concat!(env!("CARGO_MANIFEST_DIR"), "/../../models/nano");
//! # std::env::set_current_dir(std::path::Path::new(nano).join("../.."))?;
//! let model = Model::open("models/nano")?;
//! let request = Request {
//!     prompt: Prompt::Instruction("Represent the medical condition:".to_owned()),
//!     dimensions: Some(64),
//!     ..Request::text("cardiac arrest")
//! };
//! let embedding = &model.embed_requests(&[request])?[0];
//! assert_eq!(embedding.vector.len(), 64);
//! # Ok::<(), lexivec::Error>(())
//! ```
//!
//! | what | items |
//! |---|---|
//! | embed texts | [`Model`], [`Request`], [`Prompt`], [`Truncate`], [`Embedding`], [`cosine()`] |
//! | open a model | [`Model::open`], [`ModelBuilder`], [`Precision`]; [`Observer`] receives the progress |
//! | choose where it runs | [`EngineOptions`], [`Provider`], [`ProviderSettings`], [`CacheSettings`] and [`cache`] |
//! | find a model by its name | [`SourceKind`], [`open_checkpoint`], [`CheckpointOptions`] |
//! | embed asynchronously | [`Model::engine`], an [`Engine`] |
//! | instructions of domains | [`Instructions`] |
//!
//! ONNX Runtime's library is loaded when a model opens. It is looked for in ORT_DYLIB_PATH, next to the program, in the Python
//! environment that it is installed in, in the cache folder, and in the system's library folders.
//!
//! Feature `hub` downloads models, and feature `redis` shares vectors between processes. Both are on by default.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod builder;
mod conversion;
mod conversion_cache;
mod error;
mod model;
mod observer;
mod source;

pub use builder::{ModelBuilder, Resolved};
pub use conversion::default_calibration;
pub use error::{Error, Result};
#[cfg(feature = "hub")]
pub use lexivec_models::HubOptions;
pub use lexivec_models::{Instructions, Precision};
pub use lexivec_runtime::{
    CacheSettings, Embedding, Engine, EngineOptions, ModelInfo, Prompt, Provider, ProviderOption,
    ProviderSettings, Request, Truncate, cache, vector::cosine,
};
pub use model::Model;
pub use observer::{Event, Observer, Silent};
pub use source::{CheckpointOptions, SourceKind, has_export, open_checkpoint};
