//! A circuit breaker: decides when to stop using a failing server, and for how long.

use std::time::Duration;

/// Consecutive failures that open the breaker.
const THRESHOLD: u32 = 3;

/// The state of a circuit breaker. It has no clock: its user waits as long as it says, then tries.
///
/// The first attempt after a wait is a trial. If it fails, the breaker opens again at once for twice as long, up to a
/// limit. A success resets the breaker.
#[derive(Debug)]
pub(super) struct Breaker {
    failures: u32,
    trial: bool,
    wait: Duration,
    first: Duration,
    limit: Duration,
}

impl Breaker {
    /// A closed breaker that opens for `first`, then longer, up to `limit`.
    pub(super) fn new(first: Duration, limit: Duration) -> Self {
        Self {
            failures: 0,
            trial: false,
            wait: first.min(limit),
            first: first.min(limit),
            limit,
        }
    }

    /// Counts a failure. Returns the wait if this failure opens the breaker.
    pub(super) fn failed(&mut self) -> Option<Duration> {
        self.failures += 1;
        (self.trial || self.failures >= THRESHOLD).then(|| self.open())
    }

    /// Opens the breaker unconditionally and returns the wait.
    pub(super) fn open(&mut self) -> Duration {
        let wait = self.wait;
        self.failures = 0;
        self.trial = true;
        self.wait = (wait * 2).min(self.limit);
        wait
    }

    /// Records a success, which resets the breaker.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.trial = false;
        self.wait = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);

    fn breaker() -> Breaker {
        Breaker::new(FIRST, Duration::from_millis(350))
    }

    #[test]
    fn only_consecutive_failures_open_it() {
        let mut breaker = breaker();
        for _ in 0..5 {
            assert_eq!(breaker.failed(), None);
            assert_eq!(breaker.failed(), None);
            breaker.succeeded();
        }
        assert_eq!(breaker.failed(), None);
        assert_eq!(breaker.failed(), None);
        assert_eq!(breaker.failed(), Some(FIRST));
    }

    #[test]
    fn a_failed_trial_waits_longer_up_to_the_limit_and_a_success_resets_the_wait() {
        let mut breaker = breaker();
        let waits = [(); 4].map(|()| breaker.open().as_millis());
        assert_eq!(waits, [100, 200, 350, 350]);
        assert_eq!(breaker.failed(), Some(Duration::from_millis(350)));
        breaker.succeeded();
        assert_eq!(breaker.failed(), None);
        assert_eq!(breaker.open(), FIRST);
    }
}
