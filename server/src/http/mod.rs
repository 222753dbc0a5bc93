//! The HTTP server.
//!
//! * `routes` has the table of routes and their handlers: add a route there.
//! * `errors` has the table of error codes, and turns errors into responses: add a code there.
//! * `middleware` runs for every request: keys, hosts, headers, error bodies, the log line.
//! * `body` reads and parses request bodies, and names the field in every error; `types` has the bodies' larger types.
//! * `limits` has API keys, rate limits, the limit of texts in flight, and the memory budget.
//! * `pipeline` takes a parsed request from texts to vectors, with long work off the connections' threads (`blocking`).
//! * `metrics` has the server's metrics; `counts` has the numbers of a request that they and the log line show.
//! * `connections` is below HTTP: sockets, TLS, deadlines, connections per address.
//! * [`create_app`] puts these together, and [`run()`] serves the application until shutdown.

mod app;
mod blocking;
mod body;
mod connections;
mod counts;
pub mod errors;
mod limits;
mod metrics;
mod middleware;
mod pipeline;
mod routes;
mod run;
mod settings;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod types;

pub use app::{configure, create_app};
pub use connections::listen::listen;
pub use connections::tls::{Tls, tls};
pub use errors::{ApiError, AtCapacity};
pub use limits::keys::ApiKeys;
pub use limits::memory_budget::Budget;
pub use metrics::Exporter;
pub use routes::openapi::document;
pub use run::run;
pub use settings::{AllowedHosts, HttpSettings};
pub use state::{AppState, ServedModel};
