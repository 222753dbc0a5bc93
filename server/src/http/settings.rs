//! How the HTTP side behaves: every limit that a user can set.

use std::time::Duration;

use lexivec_runtime::host_memory;

use super::middleware::hosts::AllowedHosts;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Threads that read and write connections.
    pub workers: usize,
    /// Threads that tokenise.
    pub tokenizers: usize,
    /// The largest request body, in bytes.
    pub body_limit: usize,
    /// Bytes that all requests may hold together: bodies, what was parsed of them, and answers.
    pub request_memory: usize,
    /// How long a request's head may take to arrive.
    pub header_timeout: Duration,
    /// How long its body may take.
    pub body_timeout: Duration,
    /// How long a connection may be idle between requests.
    pub keep_alive: Duration,
    /// Connections open at a time; more wait to be accepted.
    pub max_connections: usize,
    /// Connections from one address at a time; further ones are closed.
    pub max_connections_per_address: usize,
    /// How long a client may take none of its answer.
    pub write_timeout: Duration,
    /// Origins of web pages that may use the API; `*` for all, none by default.
    pub cors_origins: Vec<String>,
    /// The names that requests may be sent to; every name by default.
    pub allowed_hosts: AllowedHosts,
    /// Between the signal and the end of accepting connections, `/readyz` answers 503: time for load balancers to see.
    pub shutdown_delay: Duration,
    /// How long accepted requests may take to finish after that.
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

/// An eighth of the memory that the process may use; at most 512 MiB, which holds four answers of the largest size, to
/// 2,048 texts at 2,560 numbers each.
fn default_request_memory() -> usize {
    (host_memory() / 8).clamp(64 << 20, 512 << 20)
}
