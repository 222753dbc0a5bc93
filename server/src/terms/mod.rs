//! The work of `lexivec terms` and `lexivec nearest`: terms and their vectors in, clusters, a map and nearest terms out.
//!
//! ```text
//! table ─▶ terms, languages, domains ────────────────────────────╮
//! npy, parquet ──▶ vectors ─▶ analysis: PCA, HDBSCAN, map (lexivec-terms) ─▶ output: terms.csv, clusters.csv, projection.safetensors
//!                                                               ─▶ report: report.html
//!                                                               ─▶ summary
//! npy, parquet ──▶ vectors ─▶ pairs: duplicates, translations ─▶ output: pairs.csv
//! index, npy, parquet ─▶ vectors ─▶ nearest: a lookup of queries (lexivec-terms)
//! ```
//!
//! Vectors stream from their file, twice: once for the principal components, once for the projection. Memory holds the table and the
//! reduced vectors.

mod analysis;
mod index;
mod nearest;
mod npy;
mod output;
mod pairs;
mod report;
mod rows;
mod summary;
mod table;
mod vectors;

pub(crate) use analysis::{Analysis, MapKind, Settings, analyse};
pub(crate) use index::{Index, damaged};
pub(crate) use nearest::{Search, check_language};
pub(crate) use output::{Folder, Plan, check_columns};
pub(crate) use pairs::Pairs;
pub(crate) use report::{Origin, Report};
pub(crate) use summary::Summary;
pub(crate) use table::{Columns, Terms};
pub(crate) use vectors::Vectors;
