//! Limits on what clients may ask for: API keys, rate limits, admission, and the memory of requests.

pub(crate) mod admission;
pub(crate) mod caller;
pub(crate) mod keys;
pub(crate) mod memory_budget;
pub(crate) mod rate_limit;
