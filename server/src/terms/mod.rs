//! The work of `lexivec terms`: terms and their vectors in, clusters out.
//!
//! ```text
//! table ─▶ terms, languages, domains ────────────────────────────╮
//! npy ──▶ vectors ─▶ analysis: PCA, HDBSCAN (lexivec-terms) ─▶ output: terms.csv, clusters.csv, projection.safetensors
//! ```
//!
//! Vectors stream from their file, twice: once for the principal components, once for the projection. Memory holds the table and the
//! reduced vectors.

mod analysis;
mod npy;
mod output;
mod table;

pub(crate) use analysis::{Analysis, Reduction, analyse};
pub(crate) use npy::Npy;
pub(crate) use output::{Folder, Summary};
pub(crate) use table::{Columns, Terms};
