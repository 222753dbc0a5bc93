//! Files of texts in, files of vectors out.

mod read;
mod write;

pub use read::{Reader, Text};
pub use write::{Format, Writer};
