//! Tokens that a key may ask for per minute, as a token bucket: a whole minute's tokens at once, then as many as flow in.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The bucket of one key.
#[derive(Debug)]
pub(crate) struct Allowance {
    per_minute: f64,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    /// Negative after a request of more than a minute's tokens, which a full bucket lets through.
    left: f64,
    since: Instant,
}

/// What a client may still ask for, as `x-ratelimit-*-tokens` tell it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Left {
    /// Tokens at most.
    pub(crate) limit: u64,
    /// Tokens now.
    pub(crate) remaining: u64,
    /// Until it is `limit` again.
    pub(crate) reset: Duration,
}

impl Allowance {
    /// A full bucket.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute);
        Self {
            per_minute,
            bucket: Mutex::new(Bucket {
                left: per_minute,
                since: Instant::now(),
            }),
        }
    }

    /// Takes tokens out.
    ///
    /// # Errors
    /// They are not there; says when they will be.
    pub(crate) fn take(&self, tokens: usize) -> Result<Left, (Left, Duration)> {
        self.take_at(tokens, Instant::now())
    }

    /// Puts tokens back whose request was refused.
    pub(crate) fn give_back(&self, tokens: usize) {
        // Nothing under the lock leaves the bucket half-changed.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.left = (bucket.left + tokens as f64).min(self.per_minute);
    }

    fn take_at(&self, tokens: usize, now: Instant) -> Result<Left, (Left, Duration)> {
        let wanted = tokens as f64;
        let rate = self.per_minute / 60.0;
        // Nothing under the lock leaves the bucket half-changed.
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(bucket.since).as_secs_f64();
        bucket.left = (bucket.left + passed * rate).min(self.per_minute);
        bucket.since = now;
        let needed = wanted.min(self.per_minute);
        if bucket.left < needed {
            let wait = Duration::from_secs_f64((needed - bucket.left) / rate);
            return Err((self.state(bucket.left), wait));
        }
        bucket.left -= wanted;
        Ok(self.state(bucket.left))
    }

    fn state(&self, left: f64) -> Left {
        Left {
            limit: self.per_minute as u64,
            remaining: left.max(0.0) as u64,
            reset: Duration::from_secs_f64((self.per_minute - left) / self.per_minute * 60.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_tokens_at_once_then_as_many_as_flow_in() {
        let allowance = Allowance::new(600);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let left = allowance.take_at(500, at(0)).unwrap();
        assert_eq!((left.limit, left.remaining), (600, 100));
        let (left, wait) = allowance.take_at(200, at(0)).unwrap_err();
        assert_eq!(left.remaining, 100);
        assert!((9.9..10.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(allowance.take_at(200, at(10)).unwrap().remaining, 0);
    }

    #[test]
    fn a_request_of_more_than_a_minutes_tokens_passes_a_full_bucket_and_is_paid_for() {
        let allowance = Allowance::new(600);
        let start = Instant::now();
        assert_eq!(allowance.take_at(1200, start).unwrap().remaining, 0);
        let (_, wait) = allowance.take_at(10, start).unwrap_err();
        assert!((60.0..62.0).contains(&wait.as_secs_f64()), "{wait:?}");
        allowance.give_back(1200);
        assert_eq!(allowance.take_at(600, start).unwrap().remaining, 0);
    }
}
