//! The rate limit of an API key, as a token bucket. It holds the tokens of one minute and refills continuously.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The token bucket of one key.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    per_minute: f64,
    level: Mutex<Level>,
}

/// The fill level of a bucket.
#[derive(Debug)]
struct Level {
    /// The tokens available. Negative after a request of more than a minute's tokens, which a full bucket admits.
    tokens: f64,
    since: Instant,
}

/// The tokens that a client may still request, for the headers `x-ratelimit-*-tokens`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct RateLimitStatus {
    /// The limit in tokens.
    pub(crate) limit: u64,
    /// The tokens available now.
    pub(crate) remaining: u64,
    /// The time until `remaining` is `limit` again.
    pub(crate) reset: Duration,
}

impl TokenBucket {
    /// Creates a full bucket.
    pub(crate) fn new(per_minute: u32) -> Self {
        let per_minute = f64::from(per_minute);
        Self {
            per_minute,
            level: Mutex::new(Level {
                tokens: per_minute,
                since: Instant::now(),
            }),
        }
    }

    /// Takes tokens.
    ///
    /// # Errors
    /// The bucket has too few. The error says when it will have enough.
    pub(crate) fn take(
        &self,
        tokens: usize,
    ) -> Result<RateLimitStatus, (RateLimitStatus, Duration)> {
        self.take_at(tokens, Instant::now())
    }

    /// Returns the tokens of a request that was rejected.
    pub(crate) fn refund(&self, tokens: usize) {
        // No code under the lock leaves the bucket half-changed.
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        level.tokens = (level.tokens + tokens as f64).min(self.per_minute);
    }

    fn take_at(
        &self,
        tokens: usize,
        now: Instant,
    ) -> Result<RateLimitStatus, (RateLimitStatus, Duration)> {
        let wanted = tokens as f64;
        let rate = self.per_minute / 60.0;
        // No code under the lock leaves the bucket half-changed.
        let mut level = self.level.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(level.since).as_secs_f64();
        level.tokens = (level.tokens + passed * rate).min(self.per_minute);
        level.since = now;
        let needed = wanted.min(self.per_minute);
        if level.tokens < needed {
            let wait = Duration::from_secs_f64((needed - level.tokens) / rate);
            return Err((self.status(level.tokens), wait));
        }
        level.tokens -= wanted;
        Ok(self.status(level.tokens))
    }

    fn status(&self, left: f64) -> RateLimitStatus {
        RateLimitStatus {
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
    fn the_bucket_holds_a_minutes_tokens_and_refills() {
        let bucket = TokenBucket::new(600);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let left = bucket.take_at(500, at(0)).unwrap();
        assert_eq!((left.limit, left.remaining), (600, 100));
        let (left, wait) = bucket.take_at(200, at(0)).unwrap_err();
        assert_eq!(left.remaining, 100);
        assert!((9.9..10.1).contains(&wait.as_secs_f64()), "{wait:?}");
        assert_eq!(bucket.take_at(200, at(10)).unwrap().remaining, 0);
    }

    #[test]
    fn a_request_of_more_than_a_minutes_tokens_passes_a_full_bucket_and_is_charged() {
        let bucket = TokenBucket::new(600);
        let start = Instant::now();
        assert_eq!(bucket.take_at(1200, start).unwrap().remaining, 0);
        let (_, wait) = bucket.take_at(10, start).unwrap_err();
        assert!((60.0..62.0).contains(&wait.as_secs_f64()), "{wait:?}");
        bucket.refund(1200);
        assert_eq!(bucket.take_at(600, start).unwrap().remaining, 0);
    }
}
