//! How fast two sides are, measured in turns: whatever slows the machine down for a while slows both.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::bootstrap::{Bootstrap, Interval};
use super::embedder::Side;
use super::error::Result;
use super::statistics::quantile;

/// Rounds that are run however long they take.
const LEAST_ROUNDS: usize = 3;
/// A round should last this long, so that the clock and the scheduler do not matter: small models do it several times.
const ROUND: Duration = Duration::from_millis(250);
/// Times that a round's texts are embedded at most.
const MOST_PASSES: usize = 32;
/// Single texts timed in each round.
const SINGLES: usize = 8;

/// What both sides took for the same texts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speed {
    /// Rounds, in each of which both sides embedded the same texts, the first one by turns.
    pub rounds: usize,
    /// Texts of a round, embedded together.
    pub texts: usize,
    /// The baseline.
    pub baseline: SideSpeed,
    /// The candidate.
    pub candidate: SideSpeed,
    /// Texts per second, the candidate's over the baseline's: above 1, the candidate is faster.
    pub throughput_ratio: Ratio,
    /// Time for a single text, the baseline's over the candidate's: above 1, the candidate is faster.
    pub latency_ratio: Ratio,
}

/// What one side took.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SideSpeed {
    /// Its own tokens per second, texts together; `None` where a server does not tell tokens.
    pub tokens_per_second: Option<f64>,
    /// Texts per second, texts together.
    pub texts_per_second: f64,
    /// Milliseconds for a text alone: the median.
    pub latency_p50_ms: f64,
    /// The 95th percentile.
    pub latency_p95_ms: f64,
}

/// A ratio of two sides, over rounds.
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

/// What one side took so far.
#[derive(Debug, Default)]
struct Times {
    /// Seconds of each round's texts together.
    together: Vec<f64>,
    /// Seconds of each single text.
    alone: Vec<f64>,
    /// Tokens of all rounds.
    tokens: Option<usize>,
}

impl Times {
    fn speed(&self, texts: usize) -> SideSpeed {
        let total: f64 = self.together.iter().sum();
        let milliseconds = |q| quantile(&self.alone, q).unwrap_or(0.0) * 1e3;
        SideSpeed {
            tokens_per_second: self.tokens.map(|tokens| tokens as f64 / total),
            texts_per_second: (texts * self.together.len()) as f64 / total,
            latency_p50_ms: milliseconds(0.5),
            latency_p95_ms: milliseconds(0.95),
        }
    }
}

/// Embeds texts with both sides by turns for about `budget`.
///
/// Every text gets a number of its own in front each time, so that no server answers from its cache, and the number
/// is the same for both sides.
///
/// # Errors
/// A side fails.
pub(super) fn measure(
    baseline: &mut Side,
    candidate: &mut Side,
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

    let sides = [baseline, candidate];
    let mut times = [Times::default(), Times::default()];
    times.iter_mut().for_each(|t| t.tokens = Some(0));
    let mut rounds = 0;
    while rounds < LEAST_ROUNDS || started.elapsed() < budget {
        let turns = if rounds % 2 == 0 { [0, 1] } else { [1, 0] };
        let mut seconds = [0.0; 2];
        for _ in 0..passes {
            let batch = numbered(texts);
            for turn in turns {
                let (took, tokens) = timed(sides[turn], &batch)?;
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
                let (took, _) = timed(sides[turn], &single)?;
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

/// Seconds that a side took, and the tokens it counted.
fn timed(side: &mut Side, texts: &[String]) -> Result<(f64, Option<usize>)> {
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let started = Instant::now();
    let found = side.embed(&texts)?;
    Ok((started.elapsed().as_secs_f64(), found.tokens))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::compare::fake::{Fake, side};

    #[test]
    fn both_sides_get_the_same_texts_by_turns_and_none_twice() {
        let calls = Arc::new(Mutex::new(Vec::<(&str, Vec<String>)>::new()));
        let recording = |name: &'static str| {
            let calls = Arc::clone(&calls);
            Fake::new(2, move |texts| {
                let texts: Vec<String> = texts.iter().map(|t| (*t).to_owned()).collect();
                calls.lock().unwrap().push((name, texts));
                // Long enough that a round is not repeated thirty times.
                std::thread::sleep(Duration::from_millis(60));
                vec![1.0, 0.0]
            })
        };
        let mut baseline = side("baseline", recording("baseline"));
        let mut candidate = side("candidate", recording("candidate"));
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
                .filter(move |(side, _)| *side == name)
                .map(|(_, texts)| texts.clone())
        };
        assert!(of("baseline").eq(of("candidate")));
        let mut each: Vec<String> = of("baseline").flatten().collect();
        let all = each.len();
        each.sort();
        each.dedup();
        assert_eq!(each.len(), all, "a text was sent twice");
        // After the warm-up, whoever was second in one round is first in the next.
        let order: Vec<&str> = calls.iter().map(|(side, _)| *side).collect();
        assert!(order.windows(2).any(|w| w == ["candidate", "candidate"]));
        assert!(order.windows(2).any(|w| w == ["baseline", "baseline"]));
    }
}
