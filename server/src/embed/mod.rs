//! Files of texts in, files of vectors out.

mod errors;
mod job;
mod kind;
mod output;
mod read;
mod record;
mod table;
mod write;

pub use errors::Rejects;
pub use job::{Done, Job, MOST_TEXTS, OnError, Settings};
pub use kind::Kind;
pub use read::{Reader, RowError, Text};
pub use table::{Row, Table};
pub use write::{Format, Writer};
