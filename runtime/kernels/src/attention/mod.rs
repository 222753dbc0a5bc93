//! Causal attention with grouped key/value heads over packed tokens.
//!
//! A batch's sequences form a trie of their prefixes, and each node of it is one packed token. A token attends to its ancestors, in
//! its own row and in the rows of a KV cache, where they are: nothing is padded, copied into sequences, or computed twice. Memory is
//! linear in the number of tokens, because keys are visited in blocks with a running maximum and sum (FlashAttention, arXiv
//! 2205.14135; the online softmax is arXiv 1805.02867).
//!
//! Queries and keys are normalised per head (Qwen3; optional) and rotated (RoPE, arXiv 2104.09864, half-rotation form) on the way.
//!
//! A result does not depend on the batch, on sharing, or on threads, to the last bit: blocks of keys are counted from the beginning
//! of a sequence, and a query's numbers are added in an order that depends on nothing but its position.

mod block;
mod heads;
mod panel;
mod products;
mod segments;
#[cfg(test)]
mod tests;
#[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
mod tiles;

use crate::parallel::{Parallel, Shared};
use crate::simd::InstructionSet;

/// The number of heads, and their size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Query heads, a multiple of `key_value`.
    pub query: usize,
    /// Key and value heads.
    pub key_value: usize,
    /// Numbers per head.
    pub size: usize,
}

impl Heads {
    /// The most query heads that share a key head.
    pub const MAX_GROUP: usize = 16;
    /// A head's size is a multiple of this.
    pub const SIZE_STEP: usize = 16;
    /// The largest head.
    pub const MAX_SIZE: usize = 256;

    /// Whether the kernels support these heads.
    #[must_use]
    pub fn supported(self) -> bool {
        self.key_value > 0
            && self.query.is_multiple_of(self.key_value)
            && (1..=Self::MAX_GROUP).contains(&(self.query / self.key_value))
            && self.size > 0
            && self.size <= Self::MAX_SIZE
            && self.size.is_multiple_of(Self::SIZE_STEP)
    }

    /// The query heads that share a key head.
    pub(crate) fn group(self) -> usize {
        self.query / self.key_value
    }

    /// The width of a row of queries.
    #[must_use]
    pub fn query_width(self) -> usize {
        self.query * self.size
    }

    /// The width of a row of keys or values.
    #[must_use]
    pub fn key_width(self) -> usize {
        self.key_value * self.size
    }
}

/// The cosines and sines of position times frequency, `[positions, size / 2]` each.
#[derive(Debug, Clone, Copy)]
pub struct RotaryTables<'a> {
    /// Cosines.
    pub cos: &'a [f32],
    /// Sines.
    pub sin: &'a [f32],
}

/// The root mean square norms of query and key heads.
#[derive(Debug, Clone, Copy)]
pub struct HeadNorms<'a> {
    /// The weight of queries, `[size]`.
    pub query: &'a [f32],
    /// The weight of keys, `[size]`.
    pub key: &'a [f32],
    /// Added to the mean square.
    pub epsilon: f32,
}

/// Which tokens each packed token attends to. T is the number of packed tokens, P of cached tokens, B of sequences, S the length of
/// the longest one.
#[derive(Debug, Clone, Copy)]
pub struct Tokens<'a> {
    /// `[T]` position of each packed token in its sequences: `token_index % S`.
    pub positions: &'a [i64],
    /// `[B, S]` the token at each position of each sequence: a cached one below P, else P plus a packed one.
    pub kv_index: &'a [i64],
    /// Length of the longest sequence, S.
    pub length: usize,
    /// `[T]` slot in `kv_index` of each packed token.
    pub token_index: &'a [i64],
    /// `[Q]` the packed tokens that are queries; all of them if `None`. Consecutive ones are computed fastest.
    pub queries: Option<&'a [i64]>,
}

/// The factors of products: of queries with keys, and of probabilities with values. Sums and softmax are float32.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factors {
    /// float32.
    Float32,
    /// bf16 where the processor multiplies it in tile registers, which is several times as fast, else float32.
    Bf16,
}

/// The inputs of one layer's attention. All matrices are row-major.
#[derive(Debug, Clone, Copy)]
pub struct Attention<'a> {
    /// The heads.
    pub heads: Heads,
    /// The queries before norm and rotation, a row of [`Heads::query_width`] for each query token.
    pub q: &'a [f32],
    /// The keys before norm and rotation, `[T, key_width]`.
    pub k: &'a [f32],
    /// The values, `[T, key_width]`.
    pub v: &'a [f32],
    /// The keys of cached tokens, after norm and rotation, `[P, key_width]`.
    pub cached_keys: &'a [f32],
    /// The values of cached tokens, `[P, key_width]`.
    pub cached_values: &'a [f32],
    /// Which tokens attend to which.
    pub tokens: Tokens<'a>,
    /// The norms of heads, in models that have them.
    pub norms: Option<HeadNorms<'a>>,
    /// The rotation.
    pub rotary: RotaryTables<'a>,
    /// The factors of products.
    pub factors: Factors,
}

impl Attention<'_> {
    /// The number of packed tokens, T.
    fn packed(&self) -> usize {
        self.tokens.positions.len()
    }

    /// The number of cached tokens, P.
    fn cached(&self) -> usize {
        self.cached_keys.len() / self.heads.key_width()
    }

    /// The number of queries.
    fn queries(&self) -> usize {
        self.tokens.queries.map_or(self.packed(), <[i64]>::len)
    }

    /// Checks that all sizes agree and that every index is within its range.
    ///
    /// # Errors
    /// Names the input that does not fit.
    pub fn check(&self) -> Result<(), String> {
        let (heads, tokens) = (self.heads, &self.tokens);
        if !heads.supported() {
            return Err(format!("{heads:?} are not supported"));
        }
        let (packed, width) = (self.packed(), heads.key_width());
        let half = heads.size / 2;
        let slots = tokens.kv_index.len();
        let sizes = [
            ("q", self.q.len(), self.queries() * heads.query_width()),
            ("k", self.k.len(), packed * width),
            ("v", self.v.len(), packed * width),
            ("cached_keys", self.cached_keys.len(), self.cached() * width),
            (
                "cached_values",
                self.cached_values.len(),
                self.cached_keys.len(),
            ),
            ("token_index", tokens.token_index.len(), packed),
            ("sin", self.rotary.sin.len(), self.rotary.cos.len()),
            (
                "kv_index",
                slots,
                slots.checked_div(tokens.length).unwrap_or(0) * tokens.length,
            ),
            (
                "query norm",
                self.norms.map_or(heads.size, |n| n.query.len()),
                heads.size,
            ),
            (
                "key norm",
                self.norms.map_or(heads.size, |n| n.key.len()),
                heads.size,
            ),
        ];
        if let Some((name, found, expected)) = sizes
            .into_iter()
            .find(|(_, found, expected)| found != expected)
        {
            return Err(format!("{name} has {found} numbers instead of {expected}"));
        }
        let ranges = [
            (
                "position_ids",
                tokens.positions,
                self.rotary.cos.len() / half,
            ),
            ("kv_index", tokens.kv_index, self.cached() + packed),
            ("token_index", tokens.token_index, slots),
            ("query_tokens", tokens.queries.unwrap_or_default(), packed),
        ];
        for (name, values, end) in ranges {
            let outside = |value: &&i64| !(0..end as i64).contains(*value);
            if let Some(value) = values.iter().find(outside) {
                return Err(format!("{name} contains {value}, which is not in 0..{end}"));
            }
        }
        let slots = tokens.positions.iter().zip(tokens.token_index);
        let elsewhere =
            |(position, slot): &(&i64, &i64)| **slot % tokens.length as i64 != **position;
        match { slots }.find(elsewhere) {
            Some((position, slot)) => Err(format!(
                "position_ids says {position} for the token in slot {slot} of sequences of {}",
                tokens.length
            )),
            None => Ok(()),
        }
    }

    /// Computes `keys`, `[T, key_width]` after norm and rotation, and `out`, a row of [`Heads::query_width`] for each query.
    ///
    /// # Errors
    /// As [`check`](Self::check); the outputs are then unchanged.
    ///
    /// # Panics
    /// If an output has another size, or the processor lacks the instruction set.
    pub fn compute(
        &self,
        set: InstructionSet,
        threads: &dyn Parallel,
        keys: &mut [f32],
        out: &mut [f32],
    ) -> Result<(), String> {
        self.check()?;
        set.assert_available();
        assert_eq!(keys.len(), self.k.len(), "keys have the size of k");
        assert_eq!(out.len(), self.q.len(), "the output has the size of q");
        heads::rotate_keys(self, threads, keys);
        let segments = segments::of(self);
        let (kernel, queries) = self.kernel(set);
        let tasks = segments::tasks(self, &segments, queries / self.heads.group());
        let out = Shared::new(out);
        threads.each(tasks.len(), &|number| {
            let task = &tasks[number];
            let work = block::Work {
                attention: self,
                keys,
                segment: &segments[task.segment],
                task,
                out: &out,
            };
            // SAFETY: tasks differ in the queries or in the head that they write. The inputs were checked, and the processor has the
            // set.
            unsafe { kernel(&work) };
        });
        Ok(())
    }

    /// The kernel of an instruction set, and the queries of a task at most, counting each head.
    fn kernel(&self, set: InstructionSet) -> (block::Kernel, usize) {
        #[cfg(any(test, all(target_arch = "x86_64", target_os = "linux")))]
        if self.factors == Factors::Bf16
            && tiles::supports(self.heads)
            && let Some(kernel) = tiles::kernel(set)
        {
            return (kernel, tiles::QUERIES);
        }
        (block::kernel(set, self.heads.size), block::QUERIES)
    }
}
