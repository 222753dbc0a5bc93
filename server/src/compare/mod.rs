//! What `lexivec compare` reads and writes around the measures of lexivec-convert.
//!
//! * [`pairs`], [`beir`] read data; texts come through [`crate::embed::Reader`].
//! * `sides` finds out what each side is; [`remote`] makes a side of a server with the OpenAI API.
//! * `footprint` measures in a process of its own what loading a model costs.
//! * `tables` says a report in tables, which [`terminal`] and [`markdown`] print; [`html`] makes a page of it.

pub mod beir;
pub(crate) mod footprint;
pub mod html;
pub mod markdown;
mod numbers;
pub mod pairs;
pub mod remote;
mod sides;
pub(crate) mod tables;
pub mod terminal;

pub(crate) use sides::Sides;
