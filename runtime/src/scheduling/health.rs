//! The health of the threads that own sessions.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Times are stored as milliseconds since this moment, in an atomic.
static EPOCH: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A worker's heartbeat: what it is doing, and whether it serves.
#[derive(Debug, Default)]
pub(crate) struct Heartbeat {
    /// When the current batch began, in milliseconds since [`EPOCH`], plus one; 0 between batches.
    busy_since: AtomicU64,
    /// The session failed and has not been recreated yet.
    lost: AtomicBool,
    /// The thread has ended.
    stopped: AtomicBool,
}

impl Heartbeat {
    pub(crate) fn batch_began(&self) {
        let now = u64::try_from(EPOCH.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.busy_since.store(now + 1, Ordering::Relaxed);
    }

    pub(crate) fn batch_ended(&self) {
        self.busy_since.store(0, Ordering::Relaxed);
    }

    pub(crate) fn session_lost(&self) {
        self.lost.store(true, Ordering::Relaxed);
    }

    pub(crate) fn session_recreated(&self) {
        self.lost.store(false, Ordering::Relaxed);
    }

    pub(crate) fn stopped(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    fn busy(&self) -> Duration {
        match self.busy_since.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => EPOCH
                .elapsed()
                .saturating_sub(Duration::from_millis(since - 1)),
        }
    }

    fn serves(&self) -> bool {
        !self.lost.load(Ordering::Relaxed) && !self.stopped.load(Ordering::Relaxed)
    }
}

/// The health of a model's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Number of sessions that the engine was opened with.
    pub sessions: usize,
    /// Number of sessions that serve. The others failed and could not be recreated yet.
    pub ready: usize,
    /// How long the slowest batch has been running.
    pub longest_batch: Duration,
}

impl Health {
    pub(crate) fn of<'a>(heartbeats: impl Iterator<Item = &'a Heartbeat>) -> Self {
        let mut health = Self {
            sessions: 0,
            ready: 0,
            longest_batch: Duration::ZERO,
        };
        for heartbeat in heartbeats {
            health.sessions += 1;
            health.ready += usize::from(heartbeat.serves());
            health.longest_batch = health.longest_batch.max(heartbeat.busy());
        }
        health
    }
}
