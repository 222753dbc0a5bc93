//! Integrity: detects that a model's files or its computation are no longer what they were.
//!
//! * [`model_files`] detects changes to the files of a served model.
//! * [`mapped_files`] survives files that are truncated while they are mapped.
//! * [`known_answer`] tests that a session still computes a recorded vector.

pub(crate) mod known_answer;
pub mod mapped_files;
pub(crate) mod model_files;
