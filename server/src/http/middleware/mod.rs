//! Middleware. `app` says in which order requests pass it.

pub(crate) mod auth;
pub(crate) mod error_format;
pub(crate) mod headers;
pub(crate) mod hosts;
pub(crate) mod load_report;
pub(crate) mod log;
