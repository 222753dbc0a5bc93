//! The texts of a calibration, as token sequences.

use std::collections::HashSet;

use lexivec_models::Checkpoint;
use lexivec_runtime::{Request, Tokenizer, Truncate};

use crate::error::Result;

/// Terms, sentences and code in many languages, a text per line.
const BUILT_IN: &str = include_str!("../../data/calibration.txt");
/// The most tokens of a text: what comes later differs little from what came before.
const TOKENS_PER_TEXT: usize = 256;
/// The most tokens in all: more change hardly anything, and take longer.
const TOKENS: usize = 4096;

/// One text in so many is kept back from solving: what products do to it is what they do to texts that nobody has seen.
const KEPT_BACK: usize = 4;

/// Parts what belongs to each text into that of the texts that products are solved for, and of those that are kept back; a
/// few texts are all of both.
pub(super) fn part<T: Clone>(texts: impl ExactSizeIterator<Item = T>) -> (Vec<T>, Vec<T>) {
    if texts.len() < 2 * KEPT_BACK {
        let all: Vec<T> = texts.collect();
        return (all.clone(), all);
    }
    let (mut solved, mut kept) = (Vec::new(), Vec::new());
    for (i, text) in texts.enumerate() {
        match i % KEPT_BACK {
            0 => kept.push(text),
            _ => solved.push(text),
        }
    }
    (solved, kept)
}

/// The sequences of these texts, or of the built-in set; different ones only, taken evenly where there are more than
/// calibration has use for.
pub(super) fn sequences(checkpoint: &Checkpoint, texts: &[String]) -> Result<Vec<Vec<u32>>> {
    let d = &checkpoint.decoder;
    let length = checkpoint.max_length().min(TOKENS_PER_TEXT);
    let tokenizer = Tokenizer::open(&checkpoint.tokenizer, d.vocab_size, length)?;
    let built_in: Vec<String>;
    let texts = if texts.is_empty() {
        built_in = BUILT_IN.lines().map(str::to_owned).collect();
        &built_in
    } else {
        texts
    };
    // Enough candidates for the budget, from all over the texts.
    let step = (texts.len() / TOKENS).max(1);
    let mut known = HashSet::new();
    let mut sequences = Vec::new();
    for text in texts.iter().step_by(step).filter(|t| !t.trim().is_empty()) {
        let request = Request {
            truncate: Truncate::End,
            ..Request::text(text.as_str())
        };
        let ids = tokenizer.encode(&request)?.ids;
        if known.insert(ids.clone()) {
            sequences.push(ids);
        }
    }
    let total: usize = sequences.iter().map(Vec::len).sum();
    if total <= TOKENS {
        return Ok(sequences);
    }
    // Bresenham's line: a sequence is taken whenever the share of tokens that are wanted passes its end.
    let (mut seen, mut taken) = (0usize, 0usize);
    sequences.retain(|s| {
        seen += s.len();
        let keep = taken + s.len() <= (seen * TOKENS).div_ceil(total).max(TOKENS_PER_TEXT);
        taken += if keep { s.len() } else { 0 };
        keep
    });
    Ok(sequences)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_is_kept_back_and_nothing_lost() {
        let sequences: Vec<Vec<u32>> = (0..75).map(|i| vec![i]).collect();
        let (solved, kept) = part(sequences.iter().cloned());
        assert_eq!((solved.len(), kept.len()), (56, 19));
        let mut all = [solved, kept].concat();
        all.sort();
        assert_eq!(all, sequences);
    }

    #[test]
    fn a_few_are_all_solved_for() {
        let sequences = vec![vec![1], vec![2]];
        let parts = part(sequences.iter().cloned());
        assert_eq!(parts, (sequences.clone(), sequences));
    }
}
