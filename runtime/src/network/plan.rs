//! Merges the common prefixes of a batch: finds the packed tokens that the graph computes, and the indices that
//! distribute their results.
//!
//! The token sequences of a batch form a trie. In a causal decoder, a token's hidden state depends only on the tokens
//! before it, so every node of the trie is computed once, however many texts share it (RadixMLP, arXiv 2601.15013). A
//! node is a *packed token*. Index tensors say which packed tokens each sequence
//! reads. This module is pure.

use std::collections::HashMap;

/// The inputs of the packed graph: `T` packed tokens, `B` sequences, `S` the longest one's length.
///
/// ```
/// use lexivec_runtime::plan::Plan;
///
/// // Two texts of three tokens share the first two.
/// let plan = Plan::new(&[&[7, 8, 1], &[7, 8, 2]]);
/// assert_eq!((plan.packed_tokens(), plan.batch(), plan.length), (4, 2, 3));
/// assert_eq!(plan.input_ids, [7, 8, 1, 2]);
/// assert_eq!(plan.last_row, [2, 3]);
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// `[T]` id of each packed token.
    pub input_ids: Vec<i64>,
    /// `[T]` position of each packed token in its sequences.
    pub position_ids: Vec<i64>,
    /// `[B, S]` index, among the cached tokens and then the packed ones, of each position's key and value.
    pub kv_index: Vec<i64>,
    /// `[B, S]` packed token whose query each position uses; 0 if the position is padding or cached.
    pub query_index: Vec<i64>,
    /// `[T]` slot in the flat `[B * S]` attention output that holds each packed token's result.
    pub token_index: Vec<i64>,
    /// `[B]` packed token at the end of each sequence.
    pub last_row: Vec<i64>,
    /// `[B]` slot of each sequence's last token in the flat attention output.
    pub last_slot: Vec<i64>,
    /// Length of the longest sequence, S.
    pub length: usize,
}

/// The sizes of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Number of packed tokens, T.
    pub packed_tokens: usize,
    /// Number of sequences, B.
    pub batch: usize,
    /// Length of the longest sequence, S.
    pub length: usize,
}

impl Shape {
    /// Whether a plan of this shape can be padded to another one.
    #[must_use]
    pub fn fits(self, other: Self) -> bool {
        self.packed_tokens <= other.packed_tokens
            && self.batch <= other.batch
            && self.length <= other.length
    }

    /// The shape of a graph's input.
    pub(crate) fn of_input(self, name: &str) -> Vec<usize> {
        match name {
            "kv_index" | "query_index" => vec![self.batch, self.length],
            "last_row" | "last_slot" => vec![self.batch],
            _ => vec![self.packed_tokens],
        }
    }
}

/// The tokens of a batch whose keys and values are cached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CachedTokens {
    /// For each sequence, the cached tokens that it begins with, never its last token. An empty list stands for none at
    /// all.
    pub paths: Vec<Vec<usize>>,
    /// Number of distinct tokens among them, P.
    pub count: usize,
}

impl Plan {
    /// Plans a batch of non-empty sequences.
    ///
    /// # Panics
    /// If a sequence is empty. The tokenizer adds at least one token to every text.
    #[must_use]
    pub fn new(sequences: &[&[u32]]) -> Self {
        Self::with_cached(&CachedTokens::default(), sequences)
    }

    /// Plans a batch of which some tokens are cached.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    #[must_use]
    pub fn with_cached(cached: &CachedTokens, sequences: &[&[u32]]) -> Self {
        let mut trie = Trie::new(cached.count);
        let paths: Vec<Vec<usize>> = sequences
            .iter()
            .enumerate()
            .map(|(b, sequence)| {
                trie.insert(cached.paths.get(b).map_or(&[], Vec::as_slice), sequence)
            })
            .collect();
        Self::of_paths(trie, &paths, sequences)
    }

    /// Plans a batch in which sequences share no packed tokens.
    ///
    /// # Panics
    /// As [`new`](Self::new).
    pub(crate) fn unshared(sequences: &[&[u32]]) -> Self {
        let mut trie = Trie::new(0);
        let paths: Vec<Vec<usize>> = sequences
            .iter()
            .map(|sequence| {
                trie.children.clear();
                trie.insert(&[], sequence)
            })
            .collect();
        Self::of_paths(trie, &paths, sequences)
    }

    /// The plan of sequences whose tokens have these indices.
    fn of_paths(trie: Trie, paths: &[Vec<usize>], sequences: &[&[u32]]) -> Self {
        let cached = trie.cached;
        let length = sequences.iter().map(|s| s.len()).max().unwrap_or(0);
        let slots = sequences.len() * length;
        let mut plan = Self {
            token_index: vec![-1; trie.input_ids.len()],
            input_ids: trie.input_ids,
            position_ids: trie.position_ids,
            kv_index: Vec::with_capacity(slots),
            query_index: vec![0; slots],
            last_row: Vec::with_capacity(sequences.len()),
            last_slot: Vec::with_capacity(sequences.len()),
            length,
        };
        for (b, path) in paths.iter().enumerate() {
            let last = *path.last().expect("a sequence has at least one token");
            plan.kv_index.extend(path.iter().map(|index| *index as i64));
            // Nothing reads the padding on the right, so any token will do.
            plan.kv_index.resize((b + 1) * length, last as i64);
            for (s, index) in path.iter().enumerate() {
                // Cached tokens are not computed here.
                let Some(index) = index.checked_sub(cached) else {
                    continue;
                };
                let slot = b * length + s;
                plan.query_index[slot] = index as i64;
                if plan.token_index[index] < 0 {
                    plan.token_index[index] = slot as i64;
                }
            }
            plan.last_row.push((last - cached) as i64);
            plan.last_slot.push((b * length + path.len() - 1) as i64);
        }
        plan
    }

    /// The same batch repeated, each copy with packed tokens of its own, for copies that differ in value. The plan must
    /// have no cached tokens.
    #[must_use]
    pub fn repeated(&self, count: usize) -> Self {
        let (tokens, slots) = (self.packed_tokens(), self.batch() * self.length);
        let shifted = |indices: &[i64], by: usize| -> Vec<i64> {
            let copies = (0..count).map(|copy| (copy * by) as i64);
            copies
                .flat_map(|offset| indices.iter().map(move |i| i + offset))
                .collect()
        };
        Self {
            input_ids: self.input_ids.repeat(count),
            position_ids: self.position_ids.repeat(count),
            kv_index: shifted(&self.kv_index, tokens),
            query_index: shifted(&self.query_index, tokens),
            token_index: shifted(&self.token_index, slots),
            last_row: shifted(&self.last_row, tokens),
            last_slot: shifted(&self.last_slot, slots),
            length: self.length,
        }
    }

    /// The same batch in a larger shape: packed tokens, texts and positions that nothing reads are added behind. The
    /// plan must have no cached tokens.
    ///
    /// # Panics
    /// If the plan does not [fit](Shape::fits).
    #[must_use]
    pub fn padded(&self, to: Shape) -> Self {
        assert!(self.shape().fits(to), "a plan is padded to a larger shape");
        let tokens = |values: &[i64]| resized(values, to.packed_tokens);
        let texts = |values: &[i64]| resized(values, to.batch);
        // Slots are counted along the `[B, S]` rectangle, whose rows are longer now.
        let slot = |slot: &i64| {
            let slot = *slot as usize;
            (slot / self.length * to.length + slot % self.length) as i64
        };
        let rectangle = |values: &[i64]| {
            let texts = values.chunks(self.length);
            let texts = texts.flat_map(|text| resized(text, to.length));
            resized(&texts.collect::<Vec<_>>(), to.batch * to.length)
        };
        Self {
            input_ids: tokens(&self.input_ids),
            position_ids: tokens(&self.position_ids),
            kv_index: rectangle(&self.kv_index),
            query_index: rectangle(&self.query_index),
            token_index: tokens(&self.token_index.iter().map(slot).collect::<Vec<_>>()),
            last_row: texts(&self.last_row),
            last_slot: texts(&self.last_slot.iter().map(slot).collect::<Vec<_>>()),
            length: to.length,
        }
    }

    /// The plan's sizes.
    #[must_use]
    pub fn shape(&self) -> Shape {
        Shape {
            packed_tokens: self.packed_tokens(),
            batch: self.batch(),
            length: self.length,
        }
    }

    /// The values of the graph's input with this name.
    pub(crate) fn input(&self, name: &str) -> Option<&[i64]> {
        Some(match name {
            "input_ids" => &self.input_ids,
            "position_ids" => &self.position_ids,
            "kv_index" => &self.kv_index,
            "query_index" => &self.query_index,
            "token_index" => &self.token_index,
            "last_row" => &self.last_row,
            "last_slot" => &self.last_slot,
            _ => return None,
        })
    }

    /// The number of packed tokens.
    #[must_use]
    pub fn packed_tokens(&self) -> usize {
        self.input_ids.len()
    }

    /// The number of sequences.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.last_row.len()
    }
}

/// Indices, padded with zeros; packed token 0 exists in every plan.
fn resized(values: &[i64], length: usize) -> Vec<i64> {
    let mut values = values.to_vec();
    values.resize(length, 0);
    values
}

/// The distinct prefixes found so far. A node's number is its token's index, cached tokens first.
struct Trie {
    /// (parent's index, token id) -> index. Roots have [`ROOT`] as parent.
    children: HashMap<(usize, u32), usize>,
    cached: usize,
    input_ids: Vec<i64>,
    position_ids: Vec<i64>,
}

const ROOT: usize = usize::MAX;

impl Trie {
    fn new(cached: usize) -> Self {
        Self {
            children: HashMap::new(),
            cached,
            input_ids: Vec::new(),
            position_ids: Vec::new(),
        }
    }

    /// The indices of a sequence's tokens. Adds the tokens that are new; `cached` holds the first ones.
    fn insert(&mut self, cached: &[usize], sequence: &[u32]) -> Vec<usize> {
        let mut path = Vec::with_capacity(sequence.len());
        path.extend(cached);
        for (position, token) in sequence.iter().enumerate().skip(cached.len()) {
            let parent = path.last().copied().unwrap_or(ROOT);
            let next = self.cached + self.input_ids.len();
            let index = *self.children.entry((parent, *token)).or_insert(next);
            if index == next {
                self.input_ids.push(i64::from(*token));
                self.position_ids.push(position as i64);
            }
            path.push(index);
        }
        path
    }
}

#[cfg(test)]
mod tests;
