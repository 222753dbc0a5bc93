//! The speed of two systems, measured in turns, so that a slow phase of the machine affects both.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::bootstrap::{Bootstrap, Interval};
use crate::error::Result;
use crate::statistics::quantile;
use crate::system::System;

/// The least number of rounds, however long they take.
const LEAST_ROUNDS: usize = 3;
/// The least duration of a round, so that clock and scheduler do not matter. Small models repeat the texts to reach it.
const ROUND: Duration = Duration::from_millis(250);
/// The most repetitions of the texts in a round.
const MOST_PASSES: usize = 32;
/// The number of texts that are timed alone in each round.
const SINGLES: usize = 8;

/// The speeds of two systems on the same texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Number of rounds. In each round both systems embedded the same texts, and they took turns to start.
    pub rounds: usize,
    /// Number of texts that are embedded together in a round.
    pub texts: usize,
    /// The baseline.
    pub baseline: SystemSpeed,
    /// The candidate.
    pub candidate: SystemSpeed,
    /// The candidate's texts per second divided by the baseline's. Above 1 the candidate is faster.
    pub throughput_ratio: Ratio,
    /// The baseline's time for a single text divided by the candidate's. Above 1 the candidate is faster.
    pub latency_ratio: Ratio,
}

/// The speed of a system.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SystemSpeed {
    /// Tokens per second of texts together, in its own tokens; `None` if a server does not report tokens.
    pub tokens_per_second: Option<f64>,
    /// Texts per second of texts together.
    pub texts_per_second: f64,
    /// The median time of a single text in milliseconds.
    pub latency_p50_ms: f64,
    /// The 95th percentile of the time of a single text in milliseconds.
    pub latency_p95_ms: f64,
}

/// A ratio between two systems, over rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// The median.
    pub median: f64,
    /// Its interval.
    pub interval: Option<Interval>,
}

impl Ratio {
    fn of(ratios: &[f64], bootstrap: Bootstrap) -> Self {
        let median = |drawn: &[usize]| {
            let values: Vec<f64> = drawn.iter().map(|i| ratios[*i]).collect();
            quantile(&values, 0.5)
        };
        Self {
            median: quantile(ratios, 0.5).unwrap_or(1.0),
            interval: bootstrap.interval(ratios.len(), median),
        }
    }
}

/// The times of a system so far.
#[derive(Debug, Default)]
struct Times {
    /// Seconds that each round took for its texts together.
    together: Vec<f64>,
    /// Seconds that each single text took.
    alone: Vec<f64>,
    /// The number of tokens of all rounds.
    tokens: Option<usize>,
}

impl Times {
    fn speed(&self, texts: usize) -> SystemSpeed {
        let total: f64 = self.together.iter().sum();
        let milliseconds = |q| quantile(&self.alone, q).unwrap_or(0.0) * 1e3;
        SystemSpeed {
            tokens_per_second: self.tokens.map(|tokens| tokens as f64 / total),
            texts_per_second: (texts * self.together.len()) as f64 / total,
            latency_p50_ms: milliseconds(0.5),
            latency_p95_ms: milliseconds(0.95),
        }
    }
}

/// Embeds texts with both systems in turns for about `budget`.
///
/// Every text gets a new number in front each time, so that no server responds from its cache. The number is the same for
/// both systems.
///
/// # Errors
/// A system fails.
pub(super) fn measure(
    baseline: &mut System,
    candidate: &mut System,
    texts: &[&str],
    budget: Duration,
    bootstrap: Bootstrap,
) -> Result<Speed> {
    let mut number = 0;
    let mut numbered = |texts: &[&str]| -> Vec<String> {
        number += 1;
        texts
            .iter()
            .map(|text| format!("{number} {text}"))
            .collect()
    };
    let mut short = texts.to_vec();
    short.sort_by_key(|text| text.len());
    short.truncate(SINGLES);

    let started = Instant::now();
    let warm_up = numbered(texts);
    let first = timed(baseline, &warm_up)?.0;
    timed(candidate, &warm_up)?;
    let passes = (ROUND.as_secs_f64() / first.max(1e-9)).ceil() as usize;
    let passes = passes.clamp(1, MOST_PASSES);

    let systems = [baseline, candidate];
    let mut times = [Times::default(), Times::default()];
    times.iter_mut().for_each(|t| t.tokens = Some(0));
    let mut rounds = 0;
    while rounds < LEAST_ROUNDS || started.elapsed() < budget {
        let turns = if rounds % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut seconds = [0.0; 2];
        for _ in 0..passes {
            let batch = numbered(texts);
            for turn in turns {
                let (took, tokens) = timed(systems[turn], &batch)?;
                seconds[turn] += took;
                let known = times[turn].tokens.zip(tokens);
                times[turn].tokens = known.map(|(before, more)| before + more);
            }
        }
        for turn in turns {
            times[turn].together.push(seconds[turn]);
        }
        for text in &short {
            let single = numbered(&[text]);
            for turn in turns {
                let (took, _) = timed(systems[turn], &single)?;
                times[turn].alone.push(took);
            }
        }
        rounds += 1;
    }
    let ratios = |of: fn(&Times) -> &Vec<f64>, per: usize| -> Vec<f64> {
        let chunks = of(&times[0]).chunks(per).zip(of(&times[1]).chunks(per));
        chunks
            .map(|(b, c)| b.iter().sum::<f64>() / c.iter().sum::<f64>())
            .collect()
    };
    let texts = texts.len() * passes;
    Ok(Speed {
        rounds,
        texts,
        baseline: times[0].speed(texts),
        candidate: times[1].speed(texts),
        throughput_ratio: Ratio::of(&ratios(|t| &t.together, 1), bootstrap),
        latency_ratio: Ratio::of(&ratios(|t| &t.alone, short.len()), bootstrap),
    })
}

/// Embeds texts; returns the seconds that it took, and the number of tokens.
fn timed(system: &mut System, texts: &[String]) -> Result<(f64, Option<usize>)> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let started = Instant::now();
    let found = system.embed(&texts)?;
    Ok((started.elapsed().as_secs_f64(), found.tokens))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::fake_system::{FakeSystem, system};

    #[test]
    fn both_systems_get_the_same_texts_in_turns_and_none_twice() {
        let calls = Arc::new(Mutex::new(Vec::<(&str, Vec<String>)>::new()));
        let recording = |name: &'static str| {
            let calls = Arc::clone(&calls);
            FakeSystem::new(2, move |texts| {
                let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
                calls.lock().unwrap().push((name, texts));
                // Long enough that a round is not repeated thirty times.
                std::thread::sleep(Duration::from_millis(60));
                vec![1.0, 0.0]
            })
        };
        let mut baseline = system("baseline", recording("baseline"));
        let mut candidate = system("candidate", recording("candidate"));
        let bootstrap = Bootstrap {
            resamples: 10,
            seed: 1,
        };
        let texts = ["one", "two"];
        let found = measure(
            &mut baseline,
            &mut candidate,
            &texts,
            Duration::ZERO,
            bootstrap,
        )
        .unwrap();
        assert_eq!(found.rounds, LEAST_ROUNDS);
        assert!(found.baseline.latency_p50_ms >= 60.0);
        assert!(found.throughput_ratio.median > 0.0);

        let calls = calls.lock().unwrap();
        let of = |name| {
            calls
                .iter()
                .filter(move |(system, _)| *system == name)
                .map(|(_, texts)| texts.clone())
        };
        assert!(of("baseline").eq(of("candidate")));
        let mut each: Vec<String> = of("baseline").flatten().collect();
        let all = each.len();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), all, "a text was sent twice");
        // After the warm-up, the system that was second in one round is first in the next.
        let order: Vec<&str> = calls.iter().map(|(system, _)| *system).collect();
        assert!(order.windows(2).any(|w| w == ["candidate", "candidate"]));
        assert!(order.windows(2).any(|w| w == ["baseline", "baseline"]));
    }
}
