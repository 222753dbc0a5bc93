//! The Redis tier's counters, and whether it is in use.

use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, Gauge, counter, gauge};

use crate::metrics::{CACHE_BREAKER_OPEN, CACHE_ERRORS, CACHE_LOOKUPS};

/// The kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FailureKind {
    Timeout,
    Connection,
    Server,
    Value,
    Overflow,
    Unavailable,
}

impl FailureKind {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Timeout, "timeout"),
        (Self::Connection, "connection"),
        (Self::Server, "server"),
        (Self::Value, "value"),
        (Self::Overflow, "overflow"),
        (Self::Unavailable, "unavailable"),
    ];
}

/// The metrics that callers and the background thread share. The handles belong to the recorder that is installed when
/// this is created.
#[derive(Debug)]
pub(super) struct RedisMetrics {
    open: AtomicBool,
    breaker: Gauge,
    errors: [Counter; FailureKind::ALL.len()],
    hits: Counter,
    misses: Counter,
}

impl RedisMetrics {
    pub(super) fn new() -> Self {
        let breaker = gauge!(CACHE_BREAKER_OPEN);
        // Caches of several models share the gauge, so each adds its own part.
        breaker.increment(1.0);
        Self {
            open: AtomicBool::new(true),
            breaker,
            errors: FailureKind::ALL.map(|(_, name)| counter!(CACHE_ERRORS, "kind" => name)),
            hits: counter!(CACHE_LOOKUPS, "tier" => "redis", "outcome" => "hit"),
            misses: counter!(CACHE_LOOKUPS, "tier" => "redis", "outcome" => "miss"),
        }
    }

    pub(super) fn set_open(&self, open: bool) {
        match (self.open.swap(open, Ordering::Relaxed), open) {
            (false, true) => self.breaker.increment(1.0),
            (true, false) => self.breaker.decrement(1.0),
            _ => {}
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    pub(super) fn error(&self, kind: FailureKind) {
        self.errors[kind as usize].increment(1);
    }

    pub(super) fn hit(&self) {
        self.hits.increment(1);
    }

    pub(super) fn miss(&self) {
        self.misses.increment(1);
    }
}

impl Drop for RedisMetrics {
    fn drop(&mut self) {
        self.set_open(false);
    }
}
