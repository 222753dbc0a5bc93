//! The handlers, one module per group of routes.

pub(crate) mod embeddings;
pub(crate) mod health;
pub(crate) mod models;
pub(crate) mod openapi;
pub(crate) mod start_page;
pub(crate) mod tei;
