//! Types of request and response bodies that several modules use, or that need more than a derive.
//!
//! Smaller ones stand beside their handler in `routes`.

pub(crate) mod embeddings_request;
pub(crate) mod embeddings_response;
pub(crate) mod input;
pub(crate) mod integer;
