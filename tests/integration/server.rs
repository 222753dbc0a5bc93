//! The server over real sockets, and everything that can go wrong around it.
//!
//! `local` serves a `fake` network within the test, whose every batch the test decides on; `program` starts the real
//! `lexivec serve models/nano`. `client` speaks raw HTTP/1.1, for what real clients hide.

mod admission;
mod bodies;
pub(crate) mod client;
mod connections;
mod contract;
mod disconnect;
mod fairness;
pub(crate) mod fake;
mod faults;
mod hosts;
mod keys;
pub(crate) mod local;
mod logs;
pub(crate) mod metrics;
mod models;
mod overload;
pub(crate) mod program;
mod protocol;
mod sharing;
mod shutdown;
mod startup;
mod tls;
mod traces;
mod work;
