//! Evaluation of embedding models: quality, size, memory and speed of a candidate relative to a baseline. Both systems embed
//! the same texts, and the candidate's vectors are compared with the baseline's.
//!
//! ```text
//! data (sample_texts, scored_pairs, beir) ──▶ system: local_system, remote_system ──▶ vectors
//!                                                                                        │
//!    report ◀── gates ◀── comparison: quality, layer_errors, retrieval, speed ◀──────────┘
//! ```
//!
//! This embeds the built-in texts with a checkpoint and with its conversion. [`Comparison`] shows how they are compared.
//!
//! ```no_run
//! use lexivec_evaluate::{built_in, open_checkpoint, open_model};
//! use lexivec_models::Checkpoint;
//! use lexivec_runtime::EngineOptions;
//!
//! let texts = built_in();
//! let texts: Vec<&str> = texts.iter().map(|sample| sample.text.as_str()).collect();
//! let (checkpoint, options) = (Checkpoint::open("models/nano".as_ref())?, EngineOptions::default());
//! let baseline = open_checkpoint(&checkpoint, "nano".to_owned(), &options)?.embed(&texts)?;
//! let candidate = open_model("nano-int8".as_ref(), "int8".to_owned(), &options)?.embed(&texts)?;
//! assert_eq!(baseline.vectors.len(), candidate.vectors.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * A [`System`] is a model directory, a checkpoint ([`open_model`], [`open_checkpoint`]), a server with the OpenAI API
//!   ([`Endpoint`]), or anything else that implements [`Embedder`].
//! * The data are texts ([`built_in`], or a caller's own), [`ScoredPair`]s, and a [`Retrieval`] set, which [`beir`] reads.
//! * [`Comparison`] measures systems and compares a candidate with the baseline. [`Gates`] judge the result.
//! * [`ComparisonReport`] becomes JSON with serde, and text with its `to_*` methods.
//! * The measures are functions of numbers, in a module each: `statistics`, `vectors`, `neighbours`, `ranking`, `bootstrap`.
//!   They know nothing of models, and never return NaN.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod beir;
mod bootstrap;
mod comparison;
mod error;
#[cfg(test)]
mod fake_system;
mod gates;
#[cfg(test)]
mod golden;
mod histogram;
mod layer_errors;
mod local_system;
mod neighbours;
mod quality;
mod ranking;
mod remote_system;
mod report;
mod retrieval;
mod sample_texts;
mod scored_pairs;
mod speed;
mod statistics;
mod system;
mod text_groups;
mod vectors;
mod verdict;

#[cfg(test)]
mod tests;

pub use bootstrap::{Bootstrap, CONFIDENCE, Interval};
pub use comparison::{CHUNK, Comparison, ComparisonData, ComparisonSettings, MeasuredSystem};
pub use error::{Error, Result};
pub use gates::Gates;
pub use histogram::Histogram;
pub use layer_errors::LayerError;
pub use local_system::{open_checkpoint, open_model};
pub use quality::{Cosines, GroupMeasures, Measures, NEIGHBOURS, Quality};
pub use remote_system::Endpoint;
pub use report::{
    Baseline, Candidate, Change, ComparisonReport, DataFacts, PairFacts, REPORT_FORMAT,
    RetrievalFacts, SelfContained, TextName, WorstText,
};
pub use retrieval::{Query, Retrieval, RetrievalMeasures};
pub use sample_texts::{Sample, TextKind, built_in, drop_duplicates};
pub use scored_pairs::{PairMeasures, ScoredPair};
pub use speed::{Ratio, Speed, SystemSpeed};
pub use system::{Embedded, Embedder, Footprint, System, SystemFacts, SystemKind};
pub use text_groups::Axis;
pub use vectors::Vectors;
pub use verdict::{Gate, Verdict};
