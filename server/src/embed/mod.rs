//! Embeds files: reads texts, and writes vectors.

mod errors;
mod file_format;
mod job;
mod output;
mod read;
mod record;
mod table;
mod write;

pub use errors::Rejects;
pub use file_format::InputFormat;
pub use job::{Done, Job, MOST_TEXTS, OnError, Settings};
pub use read::{Reader, RowError, Text};
pub use table::{Row, Table};
pub use write::{OutputFormat, Writer};
