//! Analysis of term embeddings: pure computation on vectors, which knows no model, file of terms or server.
//!
//! ```text
//! vectors ──▶ pca ──▶ projection ──▶ reduced vectors
//! ```
//!
//! * [`pca`]: principal components in one pass, by number or by explained variance.
//! * [`Projection`]: reduces vectors, and is saved beside them.
//!
//! Rows are `ArrayView2<f32>`, a vector a row. Results do not depend on the number of threads.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod agreement;
mod error;
pub mod hdbscan;
mod lock;
mod metric;
mod neighbours;
pub mod pca;
mod projection;
mod rows;
mod space;
mod tiles;

pub use error::{Error, Result};
pub use metric::Metric;
pub use neighbours::Neighbours;
pub use projection::Projection;
pub use rows::MAX_WIDTH;

#[cfg(test)]
mod golden;
