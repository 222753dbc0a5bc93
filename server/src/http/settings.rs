//! The settings of the HTTP server: every limit that a user can set.

use std::time::Duration;

use lexivec_runtime::host_memory;

mod allowed_hosts;

pub use allowed_hosts::AllowedHosts;

/// The settings of the HTTP server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The threads that read and write connections.
    pub workers: usize,
    /// The threads that tokenise.
    pub tokenizers: usize,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// The memory of all requests together in bytes: bodies, parsed values, and responses.
    pub request_memory: usize,
    /// The time limit for a request's head to arrive.
    pub header_timeout: Duration,
    /// The time limit for a request's body to arrive.
    pub body_timeout: Duration,
    /// The time that a connection may be idle between requests.
    pub keep_alive: Duration,
    /// The most open connections. Further ones wait to be accepted.
    pub max_connections: usize,
    /// The most open connections from one address. Further ones are closed.
    pub max_connections_per_address: usize,
    /// The time that a client may read nothing of its response.
    pub write_timeout: Duration,
    /// The origins of web pages that may use the API; `*` for all, none by default.
    pub cors_origins: Vec<String>,
    /// The hosts that requests may name; every host by default.
    pub allowed_hosts: AllowedHosts,
    /// The time between the signal and the end of accepting connections. `/readyz` answers 503 meanwhile, so that load balancers
    /// notice.
    pub shutdown_delay: Duration,
    /// The time that accepted requests have to finish after that.
    pub shutdown_timeout: Duration,
}

impl Default for HttpSettings {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            workers: cores.min(4),
            tokenizers: cores,
            body_limit: 32 << 20,
            request_memory: default_request_memory(),
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            max_connections: 16_384,
            max_connections_per_address: 12_288,
            write_timeout: Duration::from_secs(60),
            cors_origins: Vec::new(),
            allowed_hosts: AllowedHosts::default(),
            shutdown_delay: Duration::ZERO,
            shutdown_timeout: Duration::from_secs(30),
        }
    }
}

/// An eighth of the memory that the process may use, between 64 and 512 MiB. 512 MiB hold four of the largest responses,
/// to 2,048 texts with 2,560 numbers each.
fn default_request_memory() -> usize {
    (host_memory() / 8).clamp(64 << 20, 512 << 20)
}
