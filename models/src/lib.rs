//! Descriptions of models: checkpoints, converted models, and the instructions of domains.
//!
//! This crate reads a Hugging Face checkpoint (`config.json`, tokenizer, sentence-transformers files), downloads one from the
//! hub, reads and writes the manifest of a converted model, and holds the catalog of known models and the instructions of each
//! domain. It rejects a model that lexivec cannot serve correctly before any weight is read, and the error names the reason.
//! Nothing in this crate runs a model or talks to clients.
//!
//! ```
//! use lexivec_models::{Checkpoint, Family, Instructions};
//!
//! # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))?;
//! let checkpoint = Checkpoint::open("models/nano".as_ref())?;
//! assert_eq!(checkpoint.decoder.family, Family::Qwen3);
//! assert_eq!(checkpoint.decoder.hidden_size, 256);
//!
//! let instructions = Instructions::builtin();
//! assert_eq!(instructions.get("medical")?, "Represent the medical concept:");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | items |
//! |---|---|
//! | a checkpoint | [`Checkpoint`]: its [`Decoder`], [`SentenceConfig`] and LoRA [`Adapter`] |
//! | a converted model | [`Manifest`], with [`Quantization`], [`Verification`] and [`KnownAnswer`] |
//! | the choices of a conversion | [`Precision`], [`Blocks`], [`Target`], [`AttentionForm`], [`Layout`] |
//! | known models | [`catalog()`] and [`find`]; [`download`] fetches one from the hub |
//! | prompts | [`Instructions`] of each domain, and [`with_instruction`] |
//! | files | [`FileRecord`] and [`FileIdentity`] detect changes, [`text`] reads text files, [`cache_dir`] names the cache folder |

#![cfg_attr(test, allow(clippy::unwrap_used))]
// Some checks of files only serve downloads.
#![cfg_attr(not(feature = "hub"), allow(dead_code))]

mod adapter;
mod catalog;
mod checkpoint;
mod decoder;
mod digest;
mod error;
mod files;
#[cfg(feature = "hub")]
mod hub;
mod identity;
mod instructions;
mod manifest;
mod names;
mod paths;
mod precision;
mod prompt;
pub mod secrets;
mod sentence;
mod source;
pub mod text;

pub use adapter::Adapter;
pub use catalog::{CatalogEntry, catalog, find};
pub use checkpoint::Checkpoint;
pub use decoder::{Decoder, Family};
pub use digest::FileRecord;
pub use error::{Error, Result, message_with_causes};
#[cfg(feature = "hub")]
pub use hub::{DownloadProgress, HubOptions, download, endpoint, hub_cache, is_hub_id, reachable};
pub use identity::FileIdentity;
pub use instructions::{Instruction, Instructions};
pub use manifest::{
    Dimensions, FORMAT_VERSION, KnownAnswer, LinearGroupPlan, MANIFEST_FILE, Manifest,
    Quantization, Source, Verification, WeightStorage,
};
pub use paths::{cache_dir, installed_model};
pub use precision::{
    AttentionForm, Blocks, Compute, GraphForm, Layout, LinearPrecision, Precision, Target,
};
pub use prompt::with_instruction;
pub use sentence::SentenceConfig;
pub use source::SourceId;
