//! The work of `lexivec terms`: terms and their vectors in, clusters and a map out.
//!
//! ```text
//! table ─▶ terms, languages, domains ────────────────────────────╮
//! npy, parquet ──▶ vectors ─▶ analysis: PCA, HDBSCAN, map (lexivec-terms) ─▶ output: terms.csv, clusters.csv, projection.safetensors
//!                                                               ─▶ report: report.html
//!                                                               ─▶ summary
//! ```
//!
//! Vectors stream from their file, twice: once for the principal components, once for the projection. Memory holds the table and the
//! reduced vectors.

mod analysis;
mod npy;
mod output;
mod report;
mod rows;
mod summary;
mod table;
mod vectors;

pub(crate) use analysis::{Analysis, MapKind, Settings, analyse};
pub(crate) use output::Folder;
pub(crate) use report::{Origin, Report};
pub(crate) use summary::Summary;
pub(crate) use table::{Columns, Terms};
pub(crate) use vectors::Vectors;
