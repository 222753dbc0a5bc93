//! Parquet and Arrow files of texts and of their vectors.
//!
//! ```text
//! file ─▶ Table ─▶ Texts: a column of texts, row by row, each with its Row
//!              └─▶ Vectors: a column of vectors, block by block
//! Rows and their vectors ─▶ Writer ─▶ file
//! ```
//!
//! Memory holds a batch and a page of each column when a file is read, and one row group when it is written.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod arrow_file;
mod error;
mod fields;
mod row;
mod table;
mod texts;
mod vectors;
mod write;

pub use error::{Error, Result};
pub use row::Row;
pub use table::Table;
pub use texts::{Text, Texts};
pub use vectors::Vectors;
pub use write::{Settings, Writer};

/// The default name of the column of vectors.
pub const VECTOR_COLUMN: &str = "embedding";

/// The key of the digest of the vectors' model, in a file's metadata.
pub const MODEL_DIGEST: &str = "lexivec.model_digest";

/// The key of the digest of the projection that reduced the vectors.
pub const PROJECTION_DIGEST: &str = "lexivec.projection_digest";
