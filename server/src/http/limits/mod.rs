//! Limits on what clients may ask for: API keys, rate limits, texts in flight, and the memory of requests.

pub(crate) mod caller;
pub(crate) mod in_flight_limit;
pub(crate) mod keys;
pub(crate) mod memory_budget;
pub(crate) mod rate_limit;
