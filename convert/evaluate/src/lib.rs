//! Evaluation of embedding models: quality, size, memory and speed of a candidate relative to a baseline. Both systems embed
//! the same texts, and the candidate's vectors are compared with the baseline's.
//!
//! ```text
//! data (sample_texts, scored_pairs, beir) ──▶ system: local_system, remote_system ──▶ vectors
//!                                                                                        │
//!    report ◀── gates ◀── comparison: quality, layer_errors, retrieval, speed ◀──────────┘
//! ```
//!
//! * A [`System`] is a model directory, a checkpoint ([`open_model`], [`open_checkpoint`]), a server with the OpenAI API
//!   ([`Endpoint`]), or anything else that implements [`Embedder`].
//! * [`Comparison`] measures systems and compares a candidate with the baseline.
//! * The measures are functions of numbers, in a module each: [`statistics`], [`vectors`], [`neighbours`], [`ranking`],
//!   [`bootstrap`]. They know nothing of models, and never return NaN.
//! * [`ComparisonReport`] becomes JSON with serde, and text with its `to_*` methods.
//!
//! # Example
//!
//! ```
//! use std::time::Duration;
//!
//! use lexivec_convert::Silent;
//! use lexivec_evaluate::{
//!     Bootstrap, Comparison, ComparisonData, ComparisonSettings, Embedded, Embedder, Result, System, SystemFacts, SystemKind,
//!     built_in,
//! };
//!
//! /// Embeds a text as its length and its number of words.
//! struct Counts;
//!
//! impl Embedder for Counts {
//!     fn embed(&mut self, texts: &[&str]) -> Result<Embedded> {
//!         let mut embedded = Embedded::new(2);
//!         for text in texts {
//!             let words = text.split_whitespace().count();
//!             embedded.vectors.push(&[text.len() as f32, words as f32]);
//!         }
//!         Ok(embedded)
//!     }
//! }
//!
//! let data = ComparisonData { texts: built_in()[..50].to_vec(), pairs: Vec::new(), retrieval: None };
//! let settings = ComparisonSettings {
//!     dimensions: vec![1],
//!     neighbour_texts: 50,
//!     bootstrap: Bootstrap { resamples: 100, seed: 1 },
//!     speed: Duration::ZERO,
//! };
//! let comparison = Comparison { data: &data, settings: &settings, progress: &Silent };
//! let system = |name: &str| System {
//!     facts: SystemFacts::new(name, SystemKind::Model, 2),
//!     embedder: Box::new(Counts),
//! };
//! let mut baseline = comparison.measure(system("baseline"))?;
//! let mut candidate = comparison.measure(system("candidate"))?;
//! let found = comparison.compare(&mut baseline, &mut candidate)?;
//! assert_eq!(found.quality[0].all.cosine.map(|cosine| cosine.min), Some(1.0));
//! # Ok::<(), lexivec_evaluate::Error>(())
//! ```
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod beir;
pub mod bootstrap;
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
pub mod neighbours;
mod quality;
pub mod ranking;
mod remote_system;
mod report;
mod retrieval;
mod sample_texts;
mod scored_pairs;
mod speed;
pub mod statistics;
mod system;
mod text_groups;
pub mod vectors;
mod verdict;

#[cfg(test)]
mod tests;

pub use bootstrap::{Bootstrap, CONFIDENCE, Interval};
pub use comparison::{CHUNK, Comparison, ComparisonData, ComparisonSettings, MeasuredSystem};
pub use error::{Error, Result};
pub use gates::Gates;
pub use histogram::Histogram;
pub use layer_errors::{LayerError, layer_errors};
pub use local_system::{open_checkpoint, open_model};
pub use quality::{Cosines, GroupMeasures, Measures, NEIGHBOURS, Quality};
pub use remote_system::Endpoint;
pub use report::{
    Baseline, Candidate, Change, ComparisonReport, DataFacts, PairFacts, REPORT_FORMAT,
    RetrievalFacts, TextName, WorstText,
};
pub use retrieval::{Query, Retrieval, RetrievalMeasures};
pub use sample_texts::{Sample, TextKind, built_in, draw, drop_duplicates};
pub use scored_pairs::{PairMeasures, ScoredPair};
pub use speed::{Ratio, Speed, SystemSpeed};
pub use system::{Embedded, Embedder, Footprint, System, SystemFacts, SystemKind};
pub use text_groups::Axis;
pub use vectors::Vectors;
pub use verdict::Verdict;
