#![doc = include_str!("../README.md")]
//!
//! # Requests
//!
//! [`Request`] asks for an instruction, fewer dimensions, or truncation:
//!
//! ```
//! use lexivec::{Model, Prompt, Request};
//!
//! # // The example needs ONNX Runtime's library, and a checkpoint of the repository.
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
pub use observer::{Event, Observer, SilentObserver};
pub use source::{CheckpointOptions, SourceKind, has_export, open_checkpoint};
