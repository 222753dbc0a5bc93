//! The settings of a hub.

use std::path::PathBuf;

/// The hub and its cache. [`download`](super::download) takes these settings from the environment.
#[derive(Debug, Clone)]
pub(crate) struct HubConfig {
    /// The hub's address.
    pub(crate) endpoint: String,
    /// The folder of its cache.
    pub(crate) cache: PathBuf,
    /// The access token. If none is given, `HF_TOKEN` or the token file of a login is used.
    pub(crate) token: Option<String>,
    /// How often a request is tried again; `None` for the number of a [`Transfer`](super::transfer::Transfer).
    pub(crate) retries: Option<usize>,
}
