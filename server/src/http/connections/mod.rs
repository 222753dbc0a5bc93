//! Connections, from the listening socket to the bytes of a request: limits per address, deadlines, and TLS.

pub(crate) mod accept;
pub(crate) mod addresses;
pub(crate) mod deadline;
pub(crate) mod listen;
pub(crate) mod tls;
