//! Chooses which waiting texts run together. This module is pure.
//!
//! Linear layers compute one packed token per distinct token, without padding. Attention of all targets but `cpu` works on `[B, S]`,
//! so one long document beside forty short queries would pad all of them to its length. Two budgets bound a batch: tokens, and
//! padded slots in proportion to tokens.

/// Bounds of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Maximum tokens in a batch. A single longer text runs alone.
    pub max_tokens: usize,
    /// Maximum slots of the padded attention input per token.
    pub max_padding: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_tokens: 16_384,
            max_padding: 2,
        }
    }
}

/// Slots that every batch may have: below this, padding costs less than another run of the graph.
pub(crate) const FREE_SLOTS: usize = 1024;

/// The token budget of a batch never falls below this: smaller batches save hardly any memory.
pub(crate) const MIN_TOKEN_BUDGET: usize = 256;

/// Chooses texts from their lengths, given in serving order. Returns their positions in ascending order.
///
/// The first text is always chosen. Others are added while both budgets hold; a text that does not fit is skipped.
///
/// ```
/// use lexivec_runtime::batch::{Limits, select};
///
/// // The second short text would be padded to the length of the long one.
/// assert_eq!(select([4000, 10, 10], &Limits::default()), [0, 1]);
/// ```
pub fn select(lengths: impl IntoIterator<Item = usize>, limits: &Limits) -> Vec<usize> {
    let mut chosen = Vec::new();
    let (mut tokens, mut longest) = (0, 0);
    for (position, length) in lengths.into_iter().enumerate() {
        let slots = (chosen.len() + 1) * length.max(longest);
        let budget = FREE_SLOTS.max(limits.max_padding * (tokens + length));
        if chosen.is_empty() || (tokens + length <= limits.max_tokens && slots <= budget) {
            chosen.push(position);
            tokens += length;
            longest = longest.max(length);
        }
        if tokens >= limits.max_tokens {
            break;
        }
    }
    chosen
}

/// Divides texts into batches as [`select`] fills them. `lengths` is in serving order; each batch lists the positions
/// of its texts in ascending order.
///
/// ```
/// use lexivec_runtime::batch::{Limits, batches};
///
/// let limits = Limits { max_tokens: 100, ..Limits::default() };
/// assert_eq!(batches(&[60, 60, 40], &limits), [vec![0, 2], vec![1]]);
/// ```
pub fn batches(lengths: &[usize], limits: &Limits) -> Vec<Vec<usize>> {
    let mut left: Vec<usize> = (0..lengths.len()).collect();
    let mut batches = Vec::new();
    while !left.is_empty() {
        let chosen = select(left.iter().map(|position| lengths[*position]), limits);
        let batch: Vec<usize> = chosen.iter().map(|place| left[*place]).collect();
        left.retain(|position| batch.binary_search(position).is_err());
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_long_document_runs_without_the_short_queries_behind_it() {
        let lengths = std::iter::once(4000).chain(std::iter::repeat_n(10, 40));
        assert_eq!(select(lengths, &Limits::default()), [0, 1]);
        let short_first = std::iter::repeat_n(10, 40).chain([4000]);
        assert_eq!(select(short_first, &Limits::default()).len(), 40);
    }

    #[test]
    fn a_text_beyond_the_budget_runs_alone() {
        assert_eq!(select([40_000, 3], &Limits::default()), [0]);
    }

    proptest! {
        #[test]
        fn every_text_is_in_one_batch(
            lengths in prop::collection::vec(1usize..3000, 0..100),
            max_tokens in 1usize..9000,
        ) {
            let limits = Limits { max_tokens, ..Limits::default() };
            let batches = batches(&lengths, &limits);
            prop_assert!(batches.iter().all(|batch| batch.is_sorted_by(|a, b| a < b)));
            let mut all = batches.concat();
            all.sort_unstable();
            prop_assert!(all.into_iter().eq(0..lengths.len()));
        }

        #[test]
        fn the_first_runs_and_the_budgets_hold(
            lengths in prop::collection::vec(1usize..3000, 1..200),
            max_tokens in 1usize..9000,
            max_padding in 1usize..5,
        ) {
            let limits = Limits { max_tokens, max_padding };
            let chosen = select(lengths.iter().copied(), &limits);
            prop_assert_eq!(chosen[0], 0);
            prop_assert!(chosen.is_sorted_by(|a, b| a < b));
            if chosen.len() > 1 {
                let tokens: usize = chosen.iter().map(|i| lengths[*i]).sum();
                let longest = chosen.iter().map(|i| lengths[*i]).max().unwrap();
                prop_assert!(tokens <= max_tokens);
                prop_assert!(chosen.len() * longest <= FREE_SLOTS.max(max_padding * tokens));
            }
        }
    }
}
