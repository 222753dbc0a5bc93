//! The default of `--request-timeout`: the time that one text of the model's maximum length takes.

use std::time::{Duration, Instant};

use lexivec_runtime::{Engine, Provider, Request};

/// The shortest default. Most of it is time that texts wait.
pub(super) const MINIMUM: Duration = Duration::from_secs(60);
/// Words of the measured text on a GPU, each one token. The text must stay within the first of TensorRT's length ranges; a longer one
/// would compile another engine.
const MEASURED_WORDS: usize = 48;
/// Words of the measured text on a CPU: fewer, because the start of the server waits for this measurement.
const MEASURED_WORDS_ON_CPU: usize = 16;
/// The text length at which attention takes as long as all linear layers. It is 7,700 for the 0.6B model and more for larger models;
/// this lower value makes the bound a safe one.
const EQUAL_COST_LENGTH: f64 = 4096.0;

/// Estimates an upper bound for the longest text from the time of a short one; at least a minute. The engine must be warm.
pub(super) fn time_of_longest_text(engine: &Engine, provider: Provider) -> Duration {
    let model = engine.model();
    let measured = match provider {
        Provider::Cpu => MEASURED_WORDS_ON_CPU,
        _ => MEASURED_WORDS,
    };
    let words = measured.min(model.max_length / 2);
    let text = "a ".repeat(words);
    let begun = Instant::now();
    // A model of a very small maximum length has short texts only.
    if words == 0 || engine.embed(&[Request::text(&text)]).is_err() {
        return MINIMUM;
    }
    bound(begun.elapsed(), words, model.max_length)
}

fn bound(took: Duration, tokens: usize, longest: usize) -> Duration {
    let times = longest as f64 / tokens as f64 * (1.0 + longest as f64 / EQUAL_COST_LENGTH);
    let seconds = (took.as_secs_f64() * times).ceil();
    Duration::try_from_secs_f64(seconds)
        .unwrap_or(MINIMUM)
        .max(MINIMUM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_models_have_a_minute_and_slow_ones_what_their_longest_text_takes() {
        let milliseconds = Duration::from_millis;
        // A GPU: 48 tokens in 5 ms.
        assert_eq!(bound(milliseconds(5), 48, 32_768), MINIMUM);
        // 100 tokens per second: 8,192 take 82 s, and three times that with attention.
        assert_eq!(
            bound(milliseconds(480), 48, 8_192),
            Duration::from_secs(246)
        );
        assert_eq!(bound(milliseconds(480), 48, 512), MINIMUM);
    }
}
