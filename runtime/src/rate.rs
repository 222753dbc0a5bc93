//! How fast a model's sessions compute, and what they are computing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::fairness::Load;

/// What a batch still counts after each later one.
const DECAY: f64 = 0.8;
/// Batches with at least a quarter of the tokens that they may have show the rate. Smaller ones are slower per token.
const LEAST_PART: usize = 4;

/// The rate of one model's sessions.
#[derive(Debug)]
pub(crate) struct Rate {
    sessions: usize,
    running: AtomicUsize,
    measured: Mutex<Measured>,
}

/// Sums over batches, of which older ones have faded.
#[derive(Debug, Default, Clone, Copy)]
struct Measured {
    tokens: f64,
    seconds: f64,
}

impl Rate {
    /// Nothing is known yet of so many sessions.
    pub(crate) fn new(sessions: usize) -> Self {
        Self {
            sessions: sessions.max(1),
            running: AtomicUsize::new(0),
            measured: Mutex::default(),
        }
    }

    /// A batch begins.
    pub(crate) fn begin(&self, tokens: usize) {
        self.running.fetch_add(tokens, Ordering::Relaxed);
    }

    /// It has ended, with a result or without one.
    pub(crate) fn end(&self, tokens: usize) {
        self.running.fetch_sub(tokens, Ordering::Relaxed);
    }

    /// It was computed in this time, and might have had `most` tokens.
    pub(crate) fn computed(&self, tokens: usize, most: usize, took: Duration) {
        if tokens * LEAST_PART < most {
            return;
        }
        let mut measured = self.lock();
        *measured = Measured {
            tokens: measured.tokens * DECAY + tokens as f64,
            seconds: measured.seconds * DECAY + took.as_secs_f64(),
        };
    }

    /// What is known now.
    pub(crate) fn load(&self) -> Load {
        let Measured { tokens, seconds } = *self.lock();
        Load {
            tokens_per_second: (seconds > 0.0).then(|| tokens / seconds * self.sessions as f64),
            running: self.running.load(Ordering::Relaxed),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Measured> {
        // Nothing under the lock leaves the sums half-changed.
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_batches_show_the_rate_and_old_ones_fade() {
        let rate = Rate::new(2);
        assert_eq!(rate.load(), Load::default());
        let second = Duration::from_secs(1);
        rate.computed(10, 1000, second);
        assert_eq!(rate.load().tokens_per_second, None);
        rate.computed(1000, 1000, second);
        assert_eq!(rate.load().tokens_per_second, Some(2000.0));
        (0..50).for_each(|_| rate.computed(500, 1000, second));
        let found = rate.load().tokens_per_second.unwrap();
        assert!((found - 1000.0).abs() < 1.0, "{found}");
        rate.begin(300);
        rate.begin(200);
        rate.end(300);
        assert_eq!(rate.load().running, 200);
    }
}
