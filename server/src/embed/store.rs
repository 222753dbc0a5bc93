//! Inputs in object stores: `s3://bucket/key`, `gs://bucket/key` and `az://container/key`.
//!
//! `list` finds the objects that a URL names, as [`inputs`](super::inputs) does for folders and patterns, and `listing` checks what the store
//! lists for it. `object` copies an object into an
//! unnamed temporary file, from which the readers of files read it. A job holds two such copies at most: the object that is read, and the next
//! one.
//!
//! `client` makes the clients from the `settings` that the environment has. Their requests go through `http`, which trusts no answer: it
//! follows no redirect, bounds what is read, and lets `page` take keys out of listings that the library cannot represent. `errors` says what
//! went wrong, and never what the credentials are.

mod client;
mod errors;
#[cfg(test)]
mod fake;
mod http;
mod list;
mod listing;
mod object;
mod page;
mod runtime;
mod settings;

pub(super) use list::Stores;
pub(super) use object::Object;
