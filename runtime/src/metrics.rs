//! The names of the metrics, and what each one means.
//!
//! Label values come from closed sets. Handles are taken when a component is made, so a recorder is installed before.

use metrics::{Unit, describe_counter, describe_gauge};

/// Counter of keys looked up; labels `tier` (memory, redis) and `outcome` (hit, miss).
pub const CACHE_LOOKUPS: &str = "lexivec_cache_lookups_total";
/// Counter of texts that joined an identical one in flight.
pub const CACHE_JOINED: &str = "lexivec_cache_joined_total";
/// Gauge of the memory tier's size in bytes.
pub const CACHE_BYTES: &str = "lexivec_cache_bytes";
/// Gauge of the memory tier's entries.
pub const CACHE_ENTRIES: &str = "lexivec_cache_entries";
/// Counter of the Redis tier's failures; label `kind` (timeout, connection, server, value, overflow, unavailable).
pub const CACHE_ERRORS: &str = "lexivec_cache_errors_total";
/// Gauge of Redis caches (one per model) that are not in use.
pub const CACHE_BREAKER_OPEN: &str = "lexivec_cache_breaker_open";

/// Describes every metric to the installed recorder.
pub fn describe() {
    describe_counter!(
        CACHE_LOOKUPS,
        "Keys that a cache tier was asked for and answered, by tier and outcome."
    );
    describe_counter!(
        CACHE_JOINED,
        "Texts that joined an identical text already in flight instead of being computed."
    );
    describe_gauge!(
        CACHE_BYTES,
        Unit::Bytes,
        "Bytes that the cache in process holds."
    );
    describe_gauge!(CACHE_ENTRIES, "Vectors that the cache in process holds.");
    describe_counter!(
        CACHE_ERRORS,
        "Failures of the Redis cache, by kind: timeout (no answer in time), connection (refused or lost), server (an \
         error, or an answer that is none of Redis's), value (a stored value that is corrupt or foreign), overflow \
         (not tried: too much waits), unavailable (not tried: the breaker is open)."
    );
    describe_gauge!(
        CACHE_BREAKER_OPEN,
        "Redis caches, one per model, that are not in use because Redis failed or is not connected yet; 0 when all is \
         well."
    );
}
