//! What a conversion costs in quality, and what it gains: two sides embed the same texts, and are held against each
//! other.
//!
//! ```text
//! data (sample, pairs, retrieval) ──▶ embedder: local models, servers ──▶ vectors
//!                                                                            │
//!    report ◀── gates ◀── comparison: quality, layers, speed, bootstrap ◀────┘
//! ```
//!
//! The measures are functions of numbers, in a module each: [`statistics`], [`vectors`], [`neighbours`], [`ranking`],
//! [`bootstrap`]. They know nothing of models, and none of them gives NaN. A side is an [`Embedder`]; servers are
//! embedders of the caller's, for this crate knows no HTTP.

pub mod bootstrap;
mod comparison;
mod embedder;
mod error;
#[cfg(test)]
mod fake;
mod gates;
mod groups;
mod histogram;
mod layers;
mod local;
pub mod neighbours;
mod pairs;
mod quality;
pub mod ranking;
mod report;
mod retrieval;
mod sample;
mod speed;
pub mod statistics;
pub mod vectors;

#[cfg(test)]
mod tests;

pub use bootstrap::{Bootstrap, CONFIDENCE, Interval};
pub use comparison::{CHUNK, Comparison, Data, Measured, Settings};
pub use embedder::{Embedded, Embedder, Facts, Footprint, Side, SideKind};
pub use error::{Error, Result};
pub use gates::{Gates, Verdict};
pub use groups::Axis;
pub use histogram::Histogram;
pub use layers::{LayerError, layer_errors};
pub use local::{open_checkpoint, open_model};
pub use pairs::{PairMeasures, ScoredPair};
pub use quality::{Cosines, GroupMeasures, Measures, NEIGHBOURS, Quality};
pub use report::{
    Baseline, Candidate, Change, DataFacts, PairFacts, REPORT_FORMAT, Report, RetrievalFacts,
    TextName, WorstText,
};
pub use retrieval::{Query, Retrieval, RetrievalMeasures};
pub use sample::{Kind, Sample, built_in, draw, drop_duplicates};
pub use speed::{Ratio, SideSpeed, Speed};
pub use vectors::Vectors;
