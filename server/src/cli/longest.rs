//! How long one text of a model's maximum length may take: the default of `--request-timeout` follows it.

use std::time::{Duration, Instant};

use lexivec_runtime::{Engine, Request};

/// The least default: most of it is for texts that wait.
pub(super) const LEAST: Duration = Duration::from_secs(60);
/// Words of the measured text, each one token. It must not reach the second of TensorRT's ranges of lengths, whose
/// engine would be compiled for it.
const WORDS: usize = 48;
/// The length at which attention, whose work for each token grows with the length, takes as long as all products. It is
/// 7,700 for the 0.6B model and more for larger ones, so that this is on the safe side.
const EVEN: f64 = 4096.0;

/// A bound on what the longest text takes, from the time of a short one; at least a minute. The engine must be warm.
pub(super) fn longest(engine: &Engine) -> Duration {
    let model = engine.model();
    let words = WORDS.min(model.max_length / 2);
    let text = "a ".repeat(words);
    let begun = Instant::now();
    // A model whose prompt leaves no room for the text has short texts only.
    if words == 0 || engine.embed(&[Request::text(&text)]).is_err() {
        return LEAST;
    }
    bound(begun.elapsed(), words, model.max_length)
}

fn bound(took: Duration, tokens: usize, longest: usize) -> Duration {
    let times = longest as f64 / tokens as f64 * (1.0 + longest as f64 / EVEN);
    let seconds = (took.as_secs_f64() * times).ceil();
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(LEAST)
        .max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_models_have_a_minute_and_slow_ones_what_their_longest_text_takes() {
        let milliseconds = Duration::from_millis;
        // A GPU: 48 tokens in 5 ms.
        assert_eq!(bound(milliseconds(5), 48, 32_768), LEAST);
        // 100 tokens per second: 8,192 take 82 s, and three times that with attention.
        assert_eq!(
            bound(milliseconds(480), 48, 8_192),
            Duration::from_secs(246)
        );
        assert_eq!(bound(milliseconds(480), 48, 512), LEAST);
    }
}
