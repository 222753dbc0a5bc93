//! Types of request and response bodies that need more than a derive.

pub(crate) mod embeddings_request;
pub(crate) mod embeddings_response;
pub(crate) mod input;
pub(crate) mod integer;
