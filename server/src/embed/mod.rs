//! Embeds files: reads texts, and writes vectors.

mod chunk;
mod errors;
mod file_format;
mod inputs;
mod job;
mod json_field;
mod location;
mod output;
mod own_file;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(not(feature = "parquet"))]
#[path = "no_parquet.rs"]
mod parquet;
mod parts;
mod read;
mod record;
mod settings;
#[cfg(feature = "object-store")]
mod store;
#[cfg(not(feature = "object-store"))]
#[path = "no_store.rs"]
mod store;
mod table;
mod texts;
mod write;

pub(crate) use chunk::MOST_TEXTS;
pub use errors::Rejects;
pub use file_format::InputFormat;
pub(crate) use file_format::{READ_ENDINGS, is_seekable, is_table};
pub(crate) use inputs::expand;
pub use job::{Job, MOST_QUEUED};
pub use json_field::json_fields;
pub(crate) use json_field::{json_object, kind};
pub(crate) use location::{is_url, only_texts};
pub(crate) use output::Partial;
pub(crate) use own_file::is_locked_elsewhere;
#[cfg(not(feature = "parquet"))]
pub(crate) use parquet::MISSING as NO_PARQUET;
#[cfg(feature = "parquet")]
pub(crate) use parquet::with_flag;
pub use read::{Reader, RowError, Text};
pub(crate) use read::{filled, json_reason};
pub use settings::{Done, OnError, Settings};
pub use table::{Row, Table};
pub(crate) use table::{listed, missing};
pub(crate) use texts::embed_texts;
pub use write::{OutputFormat, Writer};
