//! Measures how fast a model's sessions compute, and tracks what they are computing.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::scheduling::admission::Load;

/// The weight that a batch keeps in the rate after each later batch.
const DECAY: f64 = 0.8;
/// The same for the growth of cost with length. It hardly changes, and long or short texts may be missing for a while.
const SLOW_DECAY: f64 = 0.99;
/// Batches with at least a quarter of their maximum tokens count for the rate, because smaller ones are slower per
/// token.
const LEAST_PART: usize = 4;
/// Batches with this many tokens always count.
const LARGE_BATCH: usize = 2048;
/// On a CPU, a token of a text this long is assumed to cost twice as much as one of a short text, until batches show
/// it, because ONNX Runtime's attention is slow there.
const KNEE_ON_CPU: f64 = 1300.0;
/// The same on a GPU.
const KNEE_ON_GPU: f64 = 16_384.0;
/// The weight of that assumption, as a fraction of all batches: enough if all texts have one length, and little otherwise.
const ASSUMPTION: f64 = 1e-4;
/// An upper bound of the growth.
const MOST_GROWTH: f64 = 1.0 / 64.0;
/// A rate that was measured longer ago is old.
const RECENT: Duration = Duration::from_secs(60);

/// Maximum duration of a batch while a client waits. Larger batches are hardly faster per token on a CPU, and a GPU
/// computes its largest batch in less time.
const LONGEST_BATCH: Duration = Duration::from_millis(400);
/// Lower bound of the maximum cost of a batch, because smaller batches read the weights for too few tokens.
const SMALLEST_BATCH: usize = 256;

/// The measured rate of one model's sessions.
#[derive(Debug)]
pub(crate) struct Rate {
    sessions: usize,
    knee: f64,
    running: AtomicUsize,
    measured: Mutex<Measured>,
}

/// Sums over batches, in which older ones decay.
#[derive(Debug, Default, Clone, Copy)]
struct Measured {
    cost: f64,
    seconds: f64,
    last: Option<Instant>,
    growth: Growth,
}

impl Measured {
    /// Cost per second of one session.
    fn cost_per_second(&self) -> Option<f64> {
        (self.seconds > 0.0).then(|| self.cost / self.seconds)
    }

    /// Cost that a session computes in the maximum duration of a batch.
    fn batch_cost(&self) -> Option<usize> {
        let cost = self.cost_per_second()? * LONGEST_BATCH.as_secs_f64();
        Some((cost as usize).max(SMALLEST_BATCH))
    }
}

/// A least-squares fit of `seconds = a * tokens + b * squares` over batches, in which each batch counts by its relative
/// error; `squares` is the sum over a batch's texts of the squares of their lengths.
#[derive(Debug, Default, Clone, Copy)]
struct Growth {
    tokens_tokens: f64,
    tokens_squares: f64,
    squares_squares: f64,
    tokens: f64,
    squares: f64,
}

impl Growth {
    fn add(&mut self, tokens: f64, squares: f64, seconds: f64) {
        let (tokens, squares) = (tokens / seconds, squares / seconds);
        let fade = |sum: &mut f64, new: f64| *sum = *sum * SLOW_DECAY + new;
        fade(&mut self.tokens_tokens, tokens * tokens);
        fade(&mut self.tokens_squares, tokens * squares);
        fade(&mut self.squares_squares, squares * squares);
        fade(&mut self.tokens, tokens);
        fade(&mut self.squares, squares);
    }

    /// `b / a`: how much a token's cost grows with each token of its text.
    fn value(&self, knee: f64) -> f64 {
        // Batches whose texts all have one length say nothing about the growth, so the assumption `b * knee = a` is one
        // more equation.
        let assumption = ASSUMPTION * self.tokens_tokens;
        let aa = self.tokens_tokens + assumption;
        let ab = self.tokens_squares - assumption * knee;
        let bb = self.squares_squares + assumption * knee * knee;
        let a = bb * self.tokens - ab * self.squares;
        let b = aa * self.squares - ab * self.tokens;
        match (a > 0.0, b > 0.0) {
            (true, true) => (b / a).min(MOST_GROWTH),
            (false, true) => MOST_GROWTH,
            _ => 0.0,
        }
    }
}

impl Rate {
    /// Creates the rate of this many sessions, without measurements.
    pub(crate) fn new(sessions: usize, on_gpu: bool) -> Self {
        Self {
            knee: if on_gpu { KNEE_ON_GPU } else { KNEE_ON_CPU },
            sessions: sessions.max(1),
            running: AtomicUsize::new(0),
            measured: Mutex::default(),
        }
    }

    /// Counts a batch that begins.
    pub(crate) fn begin(&self, cost: usize) {
        self.running.fetch_add(cost, Ordering::Relaxed);
    }

    /// Counts the end of a batch, with or without a result.
    pub(crate) fn end(&self, cost: usize) {
        self.running.fetch_sub(cost, Ordering::Relaxed);
    }

    /// Records a batch of texts of these lengths that took this time and could have had `most` tokens.
    pub(crate) fn computed(&self, lengths: &[usize], most: usize, took: Duration) {
        let tokens: usize = lengths.iter().sum();
        let seconds = took.as_secs_f64();
        let mut measured = self.lock();
        let limited = measured.batch_cost().unwrap_or(usize::MAX);
        let full = LARGE_BATCH.min(most / LEAST_PART).min(limited / 2);
        if tokens < full || seconds == 0.0 {
            return;
        }
        let squares = lengths.iter().map(|length| (*length as f64).powi(2)).sum();
        let tokens = tokens as f64;
        measured.growth.add(tokens, squares, seconds);
        let cost = tokens + measured.growth.value(self.knee) * squares;
        measured.cost = measured.cost * DECAY + cost;
        measured.seconds = measured.seconds * DECAY + seconds;
        measured.last = Some(Instant::now());
    }

    /// The current load.
    pub(crate) fn load(&self) -> Load {
        let measured = *self.lock();
        let of_session = measured.cost_per_second();
        Load {
            cost_per_second: of_session.map(|speed| speed * self.sessions as f64),
            growth: measured.growth.value(self.knee),
            running: self.running.load(Ordering::Relaxed),
            batch_cost: measured.batch_cost(),
            is_recent: measured.last.is_some_and(|at| at.elapsed() < RECENT),
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
        let rate = Rate::new(2, false);
        assert_eq!(rate.load(), Load::default());
        let second = Duration::from_secs(1);
        rate.computed(&[1; 10], 1000, second);
        assert_eq!(rate.load().cost_per_second, None);
        rate.computed(&[1; 1000], 1000, second);
        let speed = || rate.load().cost_per_second.unwrap();
        assert!((speed() - 2000.0).abs() < 5.0);
        assert_eq!(rate.load().batch_cost, Some(400));
        (0..50).for_each(|_| rate.computed(&[1; 500], 1000, second));
        assert!((speed() - 1000.0).abs() < 5.0, "{}", speed());
        assert!(rate.load().is_recent);
        assert_eq!(rate.load().batch_cost, Some(SMALLEST_BATCH));
        rate.begin(300);
        rate.begin(200);
        rate.end(300);
        assert_eq!(rate.load().running, 200);
    }

    /// A model of 10,000 tokens per second whose texts of 1,000 tokens cost twice as much per token.
    fn compute(rate: &Rate, length: usize) {
        let lengths = vec![length; 8000 / length];
        let tokens = 8000.0 * (1.0 + length as f64 / 1000.0);
        rate.computed(&lengths, 8000, Duration::from_secs_f64(tokens / 10_000.0));
    }

    #[test]
    fn the_cost_of_long_texts_is_learned_and_kept() {
        let rate = Rate::new(1, false);
        let takes = |length| {
            let load = rate.load();
            load.cost(length) as f64 / load.speed().unwrap() / (length as f64 / 10_000.0)
        };
        // Batches of one length measure the cost of texts of that length.
        (0..10).for_each(|_| compute(&rate, 100));
        assert!((takes(100) - 1.1).abs() < 0.05, "{}", takes(100));
        (0..2).for_each(|_| compute(&rate, 4000));
        assert!((takes(4000) - 5.0).abs() < 0.5, "{}", takes(4000));
        (0..100).for_each(|_| compute(&rate, 100));
        assert!((takes(100) - 1.1).abs() < 0.1, "{}", takes(100));
        assert!((takes(4000) - 5.0).abs() < 0.75, "{}", takes(4000));
    }

    #[test]
    fn attention_that_costs_nothing_is_no_growth() {
        let rate = Rate::new(1, false);
        for length in [10, 4000, 10, 1000] {
            let lengths = vec![length; 8000 / length];
            rate.computed(&lengths, 8000, Duration::from_secs(1));
        }
        assert!(rate.load().cost(4000) < 4800, "{:?}", rate.load());
    }
}
