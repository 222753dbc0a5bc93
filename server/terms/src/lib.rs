//! Analysis of term embeddings: pure computation on vectors, which knows no model, file of terms or server.
//!
//! ```text
//! vectors ──▶ pca ──▶ projection ──▶ reduced vectors ──▶ hdbscan ──▶ clusters: label, size, languages, near clusters
//!                                           │               ▲    ╰──▶ agreement with known domains
//!                                           ╰──▶ neighbours ┼──▶ pairs: duplicates, translations
//!                                                           ╰──▶ layout: a map
//! vectors, queries ──▶ lookup: the nearest rows of each query
//! ```
//!
//! * [`pca`]: principal components in one pass, by number or by explained variance. [`Projection`] reduces vectors by them, and is saved
//!   beside them.
//! * [`Neighbours`]: the nearest neighbours of every row, exact or approximate ([`Search`]). [`Lookup`]: those of queries, among rows that
//!   come block by block.
//! * [`hdbscan`]: clusters and noise.
//! * [`layout`]: a map of the rows in the plane, on which neighbours are near each other.
//! * [`clusters`] describes clusters, [`pairs`] finds similar terms, and [`agreement`] compares labels with known ones.
//!
//! Rows are `ArrayView2<f32>`, a vector a row. Results do not depend on the number of threads. `space` and `tiles` are the base of all
//! comparisons: float32 products with a bounded error, and exact distances where they matter.
#![cfg_attr(test, allow(clippy::unwrap_used))]
// A view of rows is a reference, and `Copy`. The lint does not see it.
#![allow(clippy::needless_pass_by_value)]

pub mod agreement;
pub mod clusters;
mod error;
pub mod hdbscan;
pub mod layout;
mod lock;
mod lookup;
mod metric;
mod neighbours;
pub mod pairs;
mod partition;
pub mod pca;
mod projection;
mod rows;
mod space;
mod tiles;

pub use error::{Error, Result};
pub use lookup::Lookup;
pub use metric::Metric;
pub use neighbours::{Neighbours, Search};
pub use projection::{Projection, normalise};
pub use rows::MAX_WIDTH;

#[cfg(test)]
mod golden;
