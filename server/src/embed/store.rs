//! Inputs in object stores: `s3://bucket/key`, `gs://bucket/key` and `az://container/key`.
//!
//! `list` finds the objects that a URL names, as [`inputs`](super::inputs) does for folders and patterns. `object` copies an object into an
//! unnamed temporary file, from which the readers of files read it. A job holds two such copies at most: the object that is read, and the next
//! one. `errors` says what went wrong, and never what the credentials are.

mod client;
mod errors;
mod list;
mod object;
mod runtime;

pub(super) use list::Stores;
pub(super) use object::Object;
