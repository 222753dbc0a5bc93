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

/// Parts sequences into those that products are solved for and those that are kept back; a few are all of both.
pub(super) fn part(sequences: &[Vec<u32>]) -> (Vec<Vec<u32>>, Vec<Vec<u32>>) {
    if sequences.len() < 2 * KEPT_BACK {
        return (sequences.to_vec(), sequences.to_vec());
    }
    let solved = |(i, _): &(usize, &Vec<u32>)| i % KEPT_BACK > 0;
    let (solved, kept): (Vec<_>, Vec<_>) = sequences.iter().enumerate().partition(solved);
    let own = |part: Vec<(usize, &Vec<u32>)>| part.into_iter().map(|(_, s)| s.clone()).collect();
    (own(solved), own(kept))
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
        let (solved, kept) = part(&sequences);
        assert_eq!((solved.len(), kept.len()), (56, 19));
        let mut all = [solved, kept].concat();
        all.sort();
        assert_eq!(all, sequences);
    }

    #[test]
    fn a_few_are_all_solved_for() {
        let sequences = vec![vec![1], vec![2]];
        assert_eq!(part(&sequences), (sequences.clone(), sequences));
    }
}
