//! The flags of the HTTP server.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lexivec_models::text;

use super::Usage;
use super::address::{DEFAULT_PORT, PORT_VARIABLE, host, port};
use crate::http::{AllowedHosts, ApiKeys, HttpSettings, Tls, tls};

/// Bytes that a file of API keys may have: a hundred thousand keys.
const LARGEST_KEY_FILE: u64 = 16 << 20;

/// The flags of the HTTP server.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub(crate) struct HttpArgs {
    /// Address to listen on, or a name of this machine such as localhost. The default accepts connections from this machine
    /// only; 0.0.0.0 accepts them from everywhere
    #[arg(long, env = "LEXIVEC_HOST", default_value = "127.0.0.1", value_parser = host)]
    pub(crate) host: IpAddr,

    /// Port to listen on; 0 takes a free one. `LEXIVEC_PORT=tcp://…`, which Kubernetes sets for a Service named lexivec, is
    /// ignored with a warning
    #[arg(long, env = PORT_VARIABLE, default_value_t = DEFAULT_PORT, value_parser = port)]
    pub(crate) port: u16,

    /// API key that requests must send as `Authorization: Bearer KEY`; may be repeated. The environment variable or
    /// --api-key-file keeps keys out of the process list. Default: requests need no key
    #[arg(
        long,
        env = "LEXIVEC_API_KEY",
        value_name = "KEY",
        value_delimiter = ',',
        hide_env_values = true
    )]
    api_key: Vec<String>,

    /// File with an API key per line. A line is KEY or NAME:KEY, and after a space any of `tokens-per-minute=N`, `share=N` (the
    /// key's weight when keys compete for the sessions) and `cache=own`. Logs and metrics show the name. Lines that begin with
    /// # are comments
    #[arg(long, env = "LEXIVEC_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<PathBuf>,

    /// Origin whose web pages may use the API, such as `https://app.example.com`, or `*` for all; may be repeated. Default:
    /// none
    #[arg(
        long,
        env = "LEXIVEC_CORS_ALLOW_ORIGIN",
        value_name = "ORIGIN",
        value_delimiter = ','
    )]
    cors_allow_origin: Vec<String>,

    /// Host name that requests may be sent to, such as `embed.example.com`; may be repeated. IP addresses and localhost are
    /// always allowed. A request with another name in its `Host` header gets 403. Behind a proxy on this machine, give the
    /// names that the proxy passes on. Default: every name; a server without API keys on a loopback address allows no further
    /// name, so that no web page can reach it through a name of its own (DNS rebinding)
    #[arg(
        long,
        env = "LEXIVEC_ALLOWED_HOSTS",
        value_name = "NAME",
        value_delimiter = ','
    )]
    allowed_host: Vec<String>,

    /// Certificate chain (PEM), to serve https. The file and --tls-key are read again when they change, and on SIGHUP; if they
    /// do not match, the old ones stay in use. Default: http, for a proxy in front or for this machine only
    #[arg(
        long,
        env = "LEXIVEC_TLS_CERT",
        value_name = "FILE",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(
        long,
        env = "LEXIVEC_TLS_KEY",
        value_name = "FILE",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,

    /// Largest request body in bytes. The default of 32 MiB holds 2048 texts of 8 pages each
    #[arg(long, env = "LEXIVEC_BODY_LIMIT", value_name = "BYTES", default_value_t = 32 << 20)]
    body_limit: usize,

    /// Bytes that all requests may hold together: bodies, parsed requests, and responses that clients have not read yet. A
    /// request that does not fit gets 429. Default: an eighth of the memory that the process may use, at most 512 MiB, and at
    /// least four times --body-limit
    #[arg(long, env = "LEXIVEC_REQUEST_MEMORY", value_name = "BYTES")]
    request_memory: Option<usize>,

    /// Seconds that a request's head or a TLS handshake may take to arrive. Raise it only for clients behind very slow links
    #[arg(
        long,
        env = "LEXIVEC_HEADER_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 10
    )]
    header_timeout: u64,

    /// Seconds that a request's body may take to arrive. The default suits 32 MiB at 5 Mbit/s
    #[arg(
        long,
        env = "LEXIVEC_BODY_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 60
    )]
    body_timeout: u64,

    /// Connections that may be open at a time. Further ones wait to be accepted
    #[arg(
        long,
        env = "LEXIVEC_MAX_CONNECTIONS",
        value_name = "N",
        default_value_t = 16_384
    )]
    max_connections: usize,

    /// Connections that one address may have open at a time. Further ones are closed. Behind a proxy all clients share one
    /// address: set it to --max-connections there. Default: three quarters of --max-connections
    #[arg(long, env = "LEXIVEC_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    max_connections_per_address: Option<usize>,

    /// Seconds that a client may read nothing of its response before the connection is closed. Raise it for clients that pause
    /// while reading
    #[arg(
        long,
        env = "LEXIVEC_WRITE_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 60
    )]
    write_timeout: u64,

    /// Threads that read and write connections. Default: one per core, at most 4
    #[arg(long, env = "LEXIVEC_HTTP_WORKERS", value_name = "N")]
    http_workers: Option<usize>,

    /// Threads that tokenise. Default: one per core
    #[arg(long, env = "LEXIVEC_TOKENIZER_THREADS", value_name = "N")]
    tokenizer_threads: Option<usize>,

    /// Seconds after SIGTERM in which the server still accepts requests and /readyz answers 503. Give your load balancer the
    /// time that it needs to notice
    #[arg(
        long,
        env = "LEXIVEC_SHUTDOWN_DELAY",
        value_name = "SECONDS",
        default_value_t = 0
    )]
    shutdown_delay: u64,

    /// Seconds that accepted requests may take to finish after --shutdown-delay
    #[arg(
        long,
        env = "LEXIVEC_SHUTDOWN_TIMEOUT",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    shutdown_timeout: u64,
}

impl HttpArgs {
    /// Checks the flags. `keyed` says whether requests need an API key.
    ///
    /// # Errors
    /// [`Usage`].
    pub(crate) fn settings(&self, keyed: bool) -> Result<HttpSettings, Usage> {
        for (flag, value) in [
            ("--body-limit", self.body_limit),
            ("--max-connections", self.max_connections),
            (
                "--max-connections-per-address",
                self.max_connections_per_address.unwrap_or(1),
            ),
            ("--http-workers", self.http_workers.unwrap_or(1)),
            ("--tokenizer-threads", self.tokenizer_threads.unwrap_or(1)),
        ] {
            if value == 0 {
                return Err(Usage(format!("{flag} must be at least 1")));
            }
        }
        for (flag, seconds) in [
            ("--header-timeout", self.header_timeout),
            ("--body-timeout", self.body_timeout),
            ("--write-timeout", self.write_timeout),
        ] {
            if seconds == 0 {
                return Err(Usage(format!("{flag} must be at least 1 second")));
            }
        }
        let defaults = HttpSettings::default();
        let least = self.body_limit.saturating_mul(4);
        let request_memory = self
            .request_memory
            .unwrap_or(defaults.request_memory.max(least));
        if request_memory < least {
            return Err(Usage(format!(
                "--request-memory is {request_memory}, and --body-limit {} needs at least {least}: raise --request-memory or lower \
                 --body-limit",
                self.body_limit
            )));
        }
        Ok(HttpSettings {
            workers: self.http_workers.unwrap_or(defaults.workers),
            tokenizers: self.tokenizer_threads.unwrap_or(defaults.tokenizers),
            body_limit: self.body_limit,
            request_memory,
            header_timeout: Duration::from_secs(self.header_timeout),
            body_timeout: Duration::from_secs(self.body_timeout),
            keep_alive: defaults.keep_alive,
            max_connections: self.max_connections,
            max_connections_per_address: self
                .max_connections_per_address
                .unwrap_or(self.max_connections.saturating_mul(3).div_ceil(4)),
            write_timeout: Duration::from_secs(self.write_timeout),
            cors_origins: self.cors_allow_origin.clone(),
            allowed_hosts: self.allowed_hosts(keyed)?,
            shutdown_delay: Duration::from_secs(self.shutdown_delay),
            shutdown_timeout: Duration::from_secs(self.shutdown_timeout),
        })
    }

    /// The host names that requests may be sent to.
    fn allowed_hosts(&self, keyed: bool) -> Result<AllowedHosts, Usage> {
        let open_to_browsers = !keyed && self.host.to_canonical().is_loopback();
        if self.allowed_host.is_empty() && !open_to_browsers {
            return Ok(AllowedHosts::default());
        }
        let names = self.allowed_host.iter().map(String::as_str);
        AllowedHosts::only(names).map_err(|reason| Usage(format!("--allowed-host: {reason}")))
    }

    /// All keys, from flags and file.
    ///
    /// # Errors
    /// The file cannot be read or has no key, or a key is malformed.
    pub(crate) fn keys(&self) -> anyhow::Result<ApiKeys> {
        let mut keys = ApiKeys::new(self.api_key.iter().map(String::as_str))
            .map_err(|reason| Usage(format!("--api-key: {reason}")))?;
        if let Some(path) = &self.api_key_file {
            let text = text::read_up_to(path, LARGEST_KEY_FILE)?;
            let added = keys
                .add_lines(&text)
                .map_err(|reason| Usage(format!("{}: {reason}", path.display())))?;
            // A file that a deployment forgot to fill must not open the server to everyone.
            anyhow::ensure!(
                added > 0,
                "{}: there is no key in this file",
                path.display()
            );
        }
        Ok(keys)
    }

    /// Certificate and key; `None` to serve http.
    ///
    /// # Errors
    /// See [`tls`].
    pub(crate) fn tls(&self) -> anyhow::Result<Option<Tls>> {
        match (&self.tls_cert, &self.tls_key) {
            (Some(cert), Some(key)) => tls(cert, key).map(Some),
            _ => Ok(None),
        }
    }

    /// `http` or `https`.
    pub(crate) fn scheme(&self) -> &'static str {
        if self.tls_cert.is_some() {
            "https"
        } else {
            "http"
        }
    }
}
