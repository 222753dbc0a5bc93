//! Admission control: rejects a request on arrival if it would miss its deadline.
//!
//! A caller's requests may use half of the time that they have ([`Load::usable`]), at the measured rate of the
//! sessions. A caller whose share serves its own requests soon enough may exceed that half. The requests of all callers
//! together may use three quarters of the time. Each is then answered in time even if other callers arrive later,
//! because urgent requests run first, by deadline ([`crate::scheduling::fairness`]).

use std::time::{Duration, Instant};

use crate::error::Error;
use crate::scheduling::fairness::{Caller, Fairness};

/// The fraction of a request's time that the requests of all callers may use.
const MOST: f64 = 0.75;
/// A request that needs at most this fraction of the available time may use the reserve for small requests.
const SMALL_REQUEST_FRACTION: u32 = 16;
/// The size of that reserve, as a fraction of what other requests may use.
const SMALL_REQUEST_EXTRA_FRACTION: u32 = 8;
/// A request that needs at most this fraction of the time runs before urgent ones (see [`crate::scheduling::fairness`]), whatever
/// other callers' requests need.
const TINY_REQUEST_FRACTION: f64 = 1.0 / 1024.0;
/// The fraction of the time that such tiny requests may use.
const MOST_OF_TINY: f64 = 0.9;
/// A request that needs this many times its available time can never succeed. The margin above 1 covers a rate that is
/// slightly underestimated.
const NEVER: f64 = 1.25;
/// The longest retry time that a client is told.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(30);

/// The measured load of the sessions.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Cost that all sessions compute per second; `None` until a full batch has been measured.
    pub(crate) cost_per_second: Option<f64>,
    /// How much a token's cost grows with each token of its text, because attention reads all of them.
    pub(crate) growth: f64,
    /// Cost of the running batches.
    pub running: usize,
    /// Whether the rate was measured within the last minute.
    pub(crate) is_recent: bool,
    /// Maximum cost of a batch while a client waits, because a request that arrives during a batch waits until it ends.
    pub(crate) batch_cost: Option<usize>,
}

impl Load {
    /// Cost per second, if it is known.
    #[must_use]
    pub fn speed(&self) -> Option<f64> {
        self.cost_per_second.filter(|speed| *speed > 0.0)
    }

    /// Cost of a text with this many tokens, in tokens of short texts.
    #[must_use]
    pub(crate) fn cost(&self, tokens: usize) -> usize {
        let tokens = tokens as f64;
        (tokens + self.growth * tokens * tokens) as usize
    }

    /// The fraction of a request's time that may be promised: half, because a request is answered after at most twice the
    /// work that is ahead of it.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use lexivec_runtime::Load;
    ///
    /// assert_eq!(Load::usable(Duration::from_secs(10)), Duration::from_secs(5));
    /// ```
    #[must_use]
    pub fn usable(time: Duration) -> Duration {
        time / 2
    }
}

/// Why a request is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The request would be late now. The client should retry after this time.
    Later(Duration),
    /// The request would be late even if nothing else were computed, because its texts take this long.
    Never(Duration),
}

impl From<Rejection> for Error {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Later(retry_after) => Self::Busy { retry_after },
            Rejection::Never(needed) => Self::TooMuchWork { needed },
        }
    }
}

impl Fairness {
    /// Rejects a request with this many texts and this cost if it would miss its deadline.
    ///
    /// Small requests may use a little more time than others. Requests that are rejected one after another are told to
    /// retry one after another, but no later than the waiting work takes.
    ///
    /// # Errors
    /// [`Rejection`] says whether a retry can succeed.
    pub(crate) fn admit(
        &mut self,
        caller: Caller,
        texts: usize,
        cost: usize,
        load: Load,
    ) -> Result<(), Rejection> {
        let (Some(deadline), Some(speed)) = (caller.deadline, load.speed()) else {
            return Ok(());
        };
        let now = Instant::now();
        let time = deadline.saturating_duration_since(now).as_secs_f64();
        let seconds = |cost: usize| cost as f64 / speed;
        // A single text may be the longest that the model accepts. An old rate must be measured again.
        if texts > 1 && load.is_recent && seconds(cost) > time * NEVER {
            return Err(Rejection::Never(duration(seconds(cost), Duration::MAX)));
        }
        let before = self.waiting() + load.running;
        // The rate is only an estimate, so an idle engine accepts everything.
        if before == 0 {
            return Ok(());
        }
        let mut allowed = Load::usable(deadline.saturating_duration_since(now)).as_secs_f64();
        let mut most = time * MOST;
        if seconds(cost) <= time * TINY_REQUEST_FRACTION {
            allowed = time * MOST_OF_TINY;
            most = f64::INFINITY;
        } else if seconds(cost) * f64::from(SMALL_REQUEST_FRACTION) <= allowed {
            allowed += allowed / f64::from(SMALL_REQUEST_EXTRA_FRACTION);
        }
        // A caller with nothing waiting may use the limit of all callers together. Otherwise callers that retry quickly
        // could keep it out.
        let has_nothing = self
            .flows
            .get(&caller.flow)
            .is_none_or(|flow| flow.waiting == 0);
        if has_nothing {
            allowed = allowed.max(time * MOST);
        }
        let all = seconds(before + cost);
        let shared = (self.until_served(caller, cost) + load.running as f64) / speed;
        let missing = (all.min(shared) - allowed).max(all - most);
        if missing <= 0.0 {
            return Ok(());
        }
        let missing = duration(missing, MAX_RETRY_AFTER);
        // The time after which all waiting work is done.
        let drained = duration(seconds(before), MAX_RETRY_AFTER);
        let latest = now + drained.max(missing).min(MAX_RETRY_AFTER);
        let flow = self.flows.entry(caller.flow).or_default();
        let after_others = flow.next_retry_at.unwrap_or(now);
        let at = after_others.max(now + missing).min(latest);
        let taken = duration(seconds(cost), MAX_RETRY_AFTER);
        flow.next_retry_at = Some((at + taken).min(latest));
        Err(Rejection::Later(at - now))
    }

    /// Cost computed for all callers until this caller has received `cost` more than it has waiting.
    fn until_served(&self, caller: Caller, cost: usize) -> f64 {
        let own = self.flows.get(&caller.flow);
        let own = own.map_or(0, |flow| flow.waiting) + cost;
        let others = self.flows.iter();
        let others = others.filter(|(number, f)| **number != caller.flow && f.waiting > 0);
        let others: u64 = others.map(|(_, flow)| flow.weight).sum();
        let weight = u64::from(caller.weight.max(1));
        own as f64 * (others + weight) as f64 / weight as f64
    }
}

/// Converts seconds to a duration of at most `most`.
fn duration(seconds: f64, most: Duration) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(most, |time| time.min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(flow: u64, seconds: u64) -> Caller {
        Caller {
            flow,
            weight: 1,
            deadline: Some(Instant::now() + Duration::from_secs(seconds)),
        }
    }

    const LOAD: Load = Load {
        cost_per_second: Some(100.0),
        growth: 0.0,
        running: 0,
        is_recent: true,
        batch_cost: None,
    };

    fn later(rejection: Result<(), Rejection>) -> f64 {
        match rejection {
            Err(Rejection::Later(time)) => time.as_secs_f64(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_long_text_costs_more_than_its_tokens() {
        let load = Load {
            growth: 0.001,
            ..LOAD
        };
        assert_eq!(load.cost(10), 10);
        assert_eq!(load.cost(1000), 2000);
        assert_eq!(load.cost(4000), 20_000);
    }

    #[test]
    fn a_request_that_would_be_late_is_told_when_to_retry() {
        let mut fairness = Fairness::default();
        let asks = |seconds| caller(1, seconds);
        // Nothing waits: what is too much by the estimate alone may try.
        assert_eq!(fairness.admit(asks(10), 8, 1200, LOAD), Ok(()));
        fairness.enter(caller(1, 10), 1000);
        // Ten seconds wait, twelve are allowed.
        assert_eq!(fairness.admit(asks(24), 8, 190, LOAD), Ok(()));
        let wait = later(fairness.admit(asks(24), 8, 500, LOAD));
        assert!((2.9..3.2).contains(&wait), "{wait}");
        // The next one is told to come after that one, and nobody later than when all that waits now is computed.
        let wait = later(fairness.admit(asks(24), 8, 500, LOAD));
        assert!((7.9..8.2).contains(&wait), "{wait}");
        let far = (0..20).map(|_| later(fairness.admit(asks(24), 8, 500, LOAD)));
        assert!(far.fold(0.0, f64::max) <= 10.0);
        // Small requests have room of their own.
        later(fairness.admit(asks(18), 1, 100, LOAD));
        assert_eq!(fairness.admit(asks(18), 1, 10, LOAD), Ok(()));
        // Tiny ones are rejected last.
        later(fairness.admit(asks(12), 1, 10, LOAD));
        assert_eq!(fairness.admit(asks(12), 1, 1, LOAD), Ok(()));
        later(fairness.admit(asks(11), 1, 1, LOAD));
        assert_eq!(fairness.admit(caller(2, 5), 1, 0, LOAD), Ok(()));
        // Without a rate, or a deadline, nothing is rejected.
        assert_eq!(fairness.admit(asks(1), 8, 500, Load::default()), Ok(()));
        let patient = Caller {
            deadline: None,
            ..asks(1)
        };
        assert_eq!(fairness.admit(patient, 8, 1_000_000, LOAD), Ok(()));
    }

    #[test]
    fn a_caller_is_not_limited_by_what_another_has_waiting() {
        let mut fairness = Fairness::default();
        fairness.enter(caller(1, 24), 1000);
        assert_eq!(fairness.admit(caller(2, 15), 8, 40, LOAD), Ok(()));
        // A small share of the sessions is slow: 101 times as much is computed while it gets its own.
        let heavy = Caller {
            weight: 100,
            ..caller(3, 10)
        };
        fairness.enter(heavy, 10);
        later(fairness.admit(caller(2, 13), 8, 40, LOAD));
        let large = Caller {
            weight: 10_000,
            ..caller(2, 15)
        };
        assert_eq!(fairness.admit(large, 8, 40, LOAD), Ok(()));
    }

    #[test]
    fn however_many_callers_come_accepted_requests_are_in_time() {
        let mut fairness = Fairness::default();
        fairness.enter(caller(0, 20), 1000);
        let accepted = (1..200).filter(|flow| {
            let is_accepted = fairness.admit(caller(*flow, 20), 1, 45, LOAD).is_ok();
            if is_accepted {
                fairness.enter(caller(*flow, 20), 45);
            }
            is_accepted
        });
        // Fifteen seconds of twenty may be spoken for.
        assert_eq!(accepted.count(), 11);
        assert!(fairness.waiting() <= 1500);
    }

    #[test]
    fn a_request_that_can_never_be_in_time_is_told_so_unless_it_is_one_text_or_the_rate_is_old() {
        let mut fairness = Fairness::default();
        let asks = caller(1, 10);
        let never = fairness.admit(asks, 8, 2000, LOAD);
        assert_eq!(never, Err(Rejection::Never(Duration::from_secs(20))));
        assert_eq!(fairness.admit(asks, 1, 2000, LOAD), Ok(()));
        let old = Load {
            is_recent: false,
            ..LOAD
        };
        assert_eq!(fairness.admit(asks, 8, 2000, old), Ok(()));
    }
}
